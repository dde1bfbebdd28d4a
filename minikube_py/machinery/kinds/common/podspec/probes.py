"""Probes and life-cycle hooks of containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors, non_negative, one_of, port_number_or_name
from minikube_py.machinery.names import http_header_name_errors

_SECONDS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_SECOND_HANDLER = "may not specify more than 1 handler type"


def container_probe_errors(path: str, container: Mapping[str, Any], grace_seconds: int | None) -> Errors:
    """Life-cycle hooks and the three probes of a container that runs along with the pod."""
    errors: Errors = []
    lifecycle = container.get("lifecycle")
    if lifecycle is not None:
        for hook in ("postStart", "preStop"):
            if lifecycle.get(hook) is not None:
                errors += _handler_errors(f"{path}.lifecycle.{hook}", lifecycle[hook], grace_seconds)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            errors += _probe_errors(f"{path}.{name}", name, container[name], grace_seconds)
    return errors


def _probe_errors(path: str, name: str, probe: Mapping[str, Any], grace_seconds: int | None) -> Errors:
    errors = _handler_errors(path, probe, grace_seconds)
    for field in _SECONDS:
        errors += non_negative(f"{path}.{field}", probe.get(field))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        errors.append(invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if name == "readinessProbe":
        if grace is not None:
            text = "must not be set for readinessProbes"
            errors.append(invalid_value(f"{path}.terminationGracePeriodSeconds", grace, text))
    elif probe.get("successThreshold") != 1:
        errors.append(invalid_value(f"{path}.successThreshold", probe.get("successThreshold") or 0, "must be 1"))
    return errors


def _handler_errors(path: str, handler: Mapping[str, Any], grace_seconds: int | None) -> Errors:
    """``validateHandler``: exactly one way to ask."""
    errors: list[FieldError] = []
    given = [name for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep") if handler.get(name) is not None]
    for index, name in enumerate(given):
        field, action = f"{path}.{name}", handler[name]
        if index > 0:
            errors.append(forbidden_field(field, _SECOND_HANDLER))
        elif name == "exec":
            errors += [] if action.get("command") else [required(f"{field}.command")]
        elif name == "httpGet":
            errors += _http_get_errors(field, action)
        elif name == "sleep":
            errors += _sleep_errors(field, action.get("seconds") or 0, grace_seconds)
        else:
            errors += port_number_or_name(f"{field}.port", action.get("port"))
    if not given:
        errors.append(required(path, "must specify a handler type"))
    return errors


def _http_get_errors(path: str, action: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if action.get("path") else [required(f"{path}.path")]
    errors += port_number_or_name(f"{path}.port", action.get("port"))
    errors += one_of(f"{path}.scheme", action.get("scheme") or "", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        errors += [invalid_value(f"{path}.httpHeaders", name, text) for text in http_header_name_errors(name)]
    return errors


def _sleep_errors(path: str, seconds: int, grace_seconds: int | None) -> Errors:
    if grace_seconds is not None and (seconds < 0 or seconds > grace_seconds):
        text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
        return [invalid_value(path, seconds, text)]
    return []
