"""Validation of events: loose for the old form, strict for events.k8s.io (``core/validation/events.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kinds.common.checks import qualified_name
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.strategy import immutable
from minikube_py.machinery.names import dns1123_subdomain_errors
from minikube_py.machinery.objects import Object

_ACTION_LENGTH = 128
_REASON_LENGTH = 128
_NOTE_LENGTH = 1024
_CLUSTER_NAMESPACES = ("default", "kube-system")


@dataclass(frozen=True, slots=True)
class _Names:
    """How a version of the API calls what both have, and how Kubernetes blames the controller."""

    involved: str
    controller: str
    message: str


_CORE = _Names("involvedObject", "reportingComponent", "message")
_NEW = _Names("regarding", "reportingController", "note")


def validate_core_event(event: Object) -> list[FieldError]:
    """A v1 event; one with an eventTime is held to the new rules in part."""
    return _loose_errors(event, _CORE)


def _loose_errors(event: Object, names: _Names) -> list[FieldError]:
    """``legacyValidateEvent``: events lie in the namespace of their object, and new ones say who reports what."""
    namespace = (event.get("metadata") or {}).get("namespace") or ""
    target = (event.get(names.involved) or {}).get("namespace") or ""
    if event.get("eventTime"):
        astray = not target and namespace not in _CLUSTER_NAMESPACES
    else:
        astray = namespace != target if target else namespace not in ("", "default")
    errors: list[FieldError] = []
    if astray:
        errors.append(invalid_value("involvedObject.namespace", target, "does not match event.namespace"))
    if event.get("eventTime"):
        errors += _reporter_errors(event, names)
    return errors + [invalid_value("namespace", namespace, text) for text in dns1123_subdomain_errors(namespace)]


def validate_core_event_update(event: Object, old: Object) -> list[FieldError]:
    """``ValidateEventUpdate`` for v1 requests: nothing more than on creation."""
    return validate_core_event(event)


def validate_new_event(event: Object) -> list[FieldError]:
    """``ValidateEventCreate`` for events.k8s.io/v1 requests."""
    errors = _loose_errors(event, _NEW) + _series_errors(event.get("series"))
    if not event.get("eventTime"):
        errors.append(required("eventTime"))
    if event.get("type") not in ("Normal", "Warning"):
        errors.append(invalid_value("type", "", f"has invalid value: {event.get('type') or ''}"))
    for field in ("firstTimestamp", "lastTimestamp", "count"):
        if event.get(f"deprecated{field[0].upper()}{field[1:]}"):
            errors.append(invalid_value(field, "", _UNSET))
    if any((event.get("deprecatedSource") or {}).values()):
        errors.append(invalid_value("source", "", _UNSET))
    return errors


_UNSET = "needs to be unset"


def _reporter_errors(event: Object, names: _Names) -> list[FieldError]:
    controller = event.get(names.controller) or ""
    errors: list[FieldError] = []
    if not controller:
        errors.append(required(names.controller))
    errors += qualified_name(names.controller, controller)
    for field, limit in (("reportingInstance", 128), ("action", _ACTION_LENGTH), ("reason", _REASON_LENGTH)):
        value = event.get(field) or ""
        if not value:
            errors.append(required(field))
        if len(value.encode()) > limit:
            errors.append(invalid_value(field, "", f"can have at most {limit} characters"))
    if len((event.get(names.message) or "").encode()) > _NOTE_LENGTH:
        errors.append(invalid_value("message", "", f"can have at most {_NOTE_LENGTH} characters"))
    return errors


def _series_errors(series: Mapping[str, Any] | None) -> list[FieldError]:
    if series is None:
        return []
    errors: list[FieldError] = []
    if (series.get("count") or 0) < 2:
        errors.append(invalid_value("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(required("series.lastObservedTime"))
    return errors


_FROZEN = (
    ("involvedObject", "regarding"),
    ("reason", "reason"),
    ("message", "note"),
    ("reason", "reason"),  # twice, as the API server checks it
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
)
"""What an update may not change: the path that is reported and the field."""


def validate_new_event_update(event: Object, old: Object) -> list[FieldError]:
    """``ValidateEventUpdate`` for events.k8s.io/v1 requests: only the series moves on."""
    errors = _loose_errors(event, _NEW)
    if (event.get("series") or None) != (old.get("series") or None):
        errors += _series_errors(event.get("series"))
    for field, new_name in _FROZEN:
        errors += _kept(field, event.get(new_name), old.get(new_name))
    return errors


def _kept(field: str, new: Any, before: Any) -> list[FieldError]:
    if (new or None) == (before or None):
        return []
    if field in ("involvedObject", "related") and isinstance(new, dict):
        new = go_object("ObjectReference", new)
    return immutable(field, new, before)
