"""Event (events.k8s.io): the new form of events; stored as core events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from minikube_py.machinery.kind import Cell
from minikube_py.machinery.kinds.common.event_validation import validate_new_event, validate_new_event_update
from minikube_py.machinery.kinds.common.printing import part
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.kinds.core import event as core
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import EVENTS, Resource

DEFINITION = "io.k8s.api.events.v1.Event"
_NEW_TO_CORE = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_CORE_TO_NEW = {core_name: new for new, core_name in _NEW_TO_CORE.items()}
_TEXTS = ("reportingComponent", "reportingInstance")


def to_core(draft: Object) -> Object:
    """A draft of this version as a core event."""
    result = {_NEW_TO_CORE.get(field, field): value for field, value in draft.items()}
    result["apiVersion"] = "v1"
    for field in _TEXTS:
        result.setdefault(field, "")
    result.setdefault("involvedObject", {})
    return result


def from_core(stored: Object) -> Object:
    """A stored core event in this version."""
    result = {_CORE_TO_NEW.get(field, field): value for field, value in thaw(stored).items()}
    result["apiVersion"] = "events.k8s.io/v1"
    for field in ("reportingController", "reportingInstance"):
        if not result.get(field):
            result.pop(field, None)
    return result


def row(event: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return core.row(to_core(dict(event)), now)


def _regarding(field: str) -> Callable[[Object], str]:
    return lambda event: str(part(event, "regarding").get(field) or "")


KIND = replace(
    core.KIND,
    resource=Resource("events.k8s.io", "v1", "events", "Event"),
    definition=DEFINITION,
    storage=EVENTS,
    to_storage=to_core,
    from_storage=from_core,
    default=wire_form(DEFINITION),
    validate=validate_new_event,
    validate_update=validate_new_event_update,
    name_errors=None,
    row=row,
    selectable={
        **{f"regarding.{field}": _regarding(field) for field in core.INVOLVED_FIELDS},
        "reason": lambda event: str(event.get("reason") or ""),
        "reportingController": lambda event: str(event.get("reportingController") or ""),
        "type": lambda event: str(event.get("type") or ""),
    },
)
