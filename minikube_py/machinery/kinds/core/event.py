"""Event (core): what happened to an object; events.k8s.io serves the same objects in its own form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Cell, Column, Kind
from minikube_py.machinery.kinds.common.event_validation import validate_core_event, validate_core_event_update
from minikube_py.machinery.kinds.common.printing import META, column, human_duration, name, part, since
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.names import name_is_path_segment
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import EVENTS
from minikube_py.machinery.times import parse_time

DEFINITION = "io.k8s.api.core.v1.Event"

COLUMNS = (
    column("Last Seen", f"{DEFINITION}.lastTimestamp"),
    column("Type", f"{DEFINITION}.type"),
    column("Reason", f"{DEFINITION}.reason"),
    column("Object", f"{DEFINITION}.involvedObject"),
    column("Subobject", "io.k8s.api.core.v1.ObjectReference.fieldPath", wide=True),
    column("Source", f"{DEFINITION}.source", wide=True),
    column("Message", f"{DEFINITION}.message"),
    column("First Seen", f"{DEFINITION}.firstTimestamp", wide=True),
    column("Count", f"{DEFINITION}.count", wide=True),
    Column("Name", "string", "name", "", 1, f"{META}.ObjectMeta.name"),
)


def row(event: Mapping[str, Any], now: float) -> Sequence[Cell]:
    """``printEvent``: when, what, about whom."""
    first = _ago(event.get("firstTimestamp") or event.get("eventTime"), now)
    last = _ago(event.get("lastTimestamp"), now) if event.get("lastTimestamp") else first
    count = event.get("count") or 1
    series = event.get("series")
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count") or 0
    involved = part(event, "involvedObject")
    return (
        last,
        event.get("type") or "",
        event.get("reason") or "",
        f"{str(involved.get('kind') or '').lower()}/{involved.get('name') or ''}",
        involved.get("fieldPath") or "",
        source_text(event),
        (event.get("message") or "").strip(),
        first,
        count,
        name(event),
    )


def _ago(timestamp: Any, now: float) -> str:
    return human_duration(now - parse_time(timestamp)) if timestamp else "<unknown>"


def source_text(event: Mapping[str, Any]) -> str:
    """``formatEventSource``: component and host, of the old or the new fields."""
    source = part(event, "source")
    component = source.get("component") or event.get("reportingComponent") or ""
    instance = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else str(component)


def _involved(field: str) -> Callable[[Object], str]:
    return lambda event: str(part(event, "involvedObject").get(field) or "")


INVOLVED_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def validate(event: Object) -> list[FieldError]:
    """``ValidateEventCreate`` for v1 requests."""
    return validate_core_event(event)


KIND = Kind(
    resource=EVENTS,
    singular="event",
    definition=DEFINITION,
    short_names=("ev",),
    default=wire_form(DEFINITION),
    validate=validate,
    validate_update=validate_core_event_update,
    name_errors=name_is_path_segment,
    create_on_update=True,
    columns=COLUMNS,
    row=row,
    selectable={
        **{f"involvedObject.{field}": _involved(field) for field in INVOLVED_FIELDS},
        "reason": lambda event: str(event.get("reason") or ""),
        "reportingComponent": lambda event: str(event.get("reportingComponent") or ""),
        "source": lambda event: str(part(event, "source").get("component") or event.get("reportingComponent") or ""),
        "type": lambda event: str(event.get("type") or ""),
    },
    extra={"unsupported_field": "field label not supported: {field}"},
)
