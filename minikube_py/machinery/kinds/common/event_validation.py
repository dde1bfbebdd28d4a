"""Validation of events: loose for the old form, strict for events.k8s.io (``core/validation/events.go``)."""

from __future__ import annotations

from collections.abc import Mapping
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


def validate_core_event(event: Object) -> list[FieldError]:
    """A v1 event; one with an eventTime is held to the new rules in part."""
    namespace = (event.get("metadata") or {}).get("namespace") or ""
    errors = _namespace_errors(namespace, event.get("involvedObject") or {}, "involvedObject")
    errors += [invalid_value("namespace", namespace, text) for text in dns1123_subdomain_errors(namespace)]
    return errors


def _namespace_errors(namespace: str, involved: Mapping[str, Any], field: str) -> list[FieldError]:
    """Events lie in the namespace of their object; those of cluster-scoped ones in "default"."""
    target = involved.get("namespace") or ""
    if not target:
        if namespace not in ("", *_CLUSTER_NAMESPACES):
            return [invalid_value(f"{field}.namespace", target, "does not match event.namespace")]
        return []
    if namespace != target:
        return [invalid_value(f"{field}.namespace", target, "does not match event.namespace")]
    return []


def validate_core_event_update(event: Object, old: Object) -> list[FieldError]:
    """``ValidateEventUpdate`` for v1 requests: nothing more than on creation."""
    return validate_core_event(event)


def validate_new_event(event: Object) -> list[FieldError]:
    """``ValidateEventCreate`` for events.k8s.io/v1 requests."""
    namespace = (event.get("metadata") or {}).get("namespace") or ""
    errors = _namespace_errors(namespace, event.get("regarding") or {}, "involvedObject")
    if not event.get("eventTime"):
        errors.append(required("eventTime"))
    if event.get("type") not in ("Normal", "Warning"):
        errors.append(invalid_value("type", "", f"has invalid value: {event.get('type') or ''}"))
    errors += [invalid_value("namespace", namespace, text) for text in dns1123_subdomain_errors(namespace)]
    errors += _reporter_errors(event)
    return errors + _series_errors(event.get("series"))


def _reporter_errors(event: Object) -> list[FieldError]:
    controller = event.get("reportingController") or ""
    errors: list[FieldError] = []
    if not controller:
        errors.append(required("reportingController"))
    errors += qualified_name("reportingController", controller)
    for field, limit in (("reportingInstance", 128), ("action", _ACTION_LENGTH), ("reason", _REASON_LENGTH)):
        value = event.get(field) or ""
        if not value:
            errors.append(required(field))
        if len(value) > limit:
            errors.append(invalid_value(field, "", f"can have at most {limit} characters"))
    if len(event.get("note") or "") > _NOTE_LENGTH:
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
    errors: list[FieldError] = []
    for field, new_name in _FROZEN:
        errors += _kept(field, event.get(new_name), old.get(new_name))
    return validate_new_event(event) + errors


def _kept(field: str, new: Any, before: Any) -> list[FieldError]:
    if (new or None) == (before or None):
        return []
    if field in ("involvedObject", "related") and isinstance(new, dict):
        new = go_object("ObjectReference", new)
    return immutable(field, new, before)
