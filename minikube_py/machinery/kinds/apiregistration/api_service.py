"""APIService: who serves a group version; the API server itself or another server behind a Service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import Errors, named, one_of_in_order, subdomain
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.kinds.common.strategy import defaults, keep_metadata
from minikube_py.machinery.names import dns1035_label_errors, name_is_path_segment
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import API_SERVICES

DEFINITION = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService"


def fill(api_service: Object) -> None:
    """Services listen on 443 unless it says otherwise."""
    service = child(api_service, "spec").get("service")
    if service is not None:
        set_default(service, port=443)


def validate(api_service: Object) -> list[FieldError]:
    """``ValidateAPIService``."""
    spec, called = api_service.get("spec") or {}, name_of(api_service)
    group, version, service = spec.get("group") or "", spec.get("version") or "", spec.get("service")
    errors: Errors = []
    if called and called != f"{version}.{group}":
        text = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        errors.append(invalid_value("metadata.name", called, text))
    if group:
        errors += subdomain("spec.group", group)
    errors += named("spec.version", version, dns1035_label_errors)
    group_priority, version_priority = spec.get("groupPriorityMinimum") or 0, spec.get("versionPriority") or 0
    if not 0 < group_priority <= 20000:
        text = "must be positive and less than 20000"
        errors.append(invalid_value("spec.groupPriorityMinimum", group_priority, text))
    if not 0 < version_priority <= 1000:
        errors.append(invalid_value("spec.versionPriority", version_priority, "must be positive and less than 1000"))
    if service is None:
        if spec.get("caBundle"):
            text = "local APIServices may not have a caBundle"
            errors.append(invalid_value("spec.caBundle", f"{_decoded_length(spec['caBundle'])} bytes", text))
        if spec.get("insecureSkipTLSVerify"):
            text = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(invalid_value("spec.insecureSkipTLSVerify", True, text))
        return errors
    errors += [required(f"spec.service.{field}") for field in ("namespace", "name") if not service.get(field)]
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        text = "port is not valid: must be between 1 and 65535, inclusive"
        errors.append(invalid_value("spec.service.port", port, text))
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        text = "may not be true if caBundle is present"
        errors.append(invalid_value("spec.insecureSkipTLSVerify", True, text))
    return errors


def _decoded_length(text: str) -> int:
    """Bytes that base64 text stands for."""
    return len(text.rstrip("=")) * 3 // 4


def prepare_create(api_service: Object) -> None:
    """``apiServerStrategy.PrepareForCreate``: what the API server serves itself is available at once."""
    api_service["status"] = {}
    if part(api_service, "spec").get("service") is None:
        created = part(api_service, "metadata").get("creationTimestamp")
        api_service["status"]["conditions"] = [{**_LOCAL, "lastTransitionTime": created}]
    to_wire_form(DEFINITION, api_service)


_LOCAL: Object = {
    "type": "Available",
    "status": "True",
    "lastTransitionTime": None,
    "reason": "Local",
    "message": "Local APIServices are always available",
}


def validate_status(api_service: Object, old: Object) -> list[FieldError]:
    """``ValidateAPIServiceStatus``: conditions are true, false or unknown."""
    errors: Errors = []
    for index, condition in enumerate(part(api_service, "status").get("conditions") or ()):
        path = f"status.conditions[{index}].status"
        errors += one_of_in_order(path, condition.get("status") or "", ("True", "False", "Unknown"))
    return errors


def row(api_service: Mapping[str, Any], now: float) -> Sequence[Cell]:
    service = part(api_service, "spec").get("service")
    shown = "Local" if service is None else f"{service.get('namespace')}/{service.get('name')}"
    return (name(api_service), shown, _available_text(part(api_service, "status")), age(api_service, now))


def _available_text(status: Mapping[str, Any]) -> str:
    condition = next((c for c in status.get("conditions") or () if c.get("type") == "Available"), None)
    if condition is None:
        return "Unknown"
    state = str(condition.get("status") or "")
    reason = str(condition.get("reason") or "")
    return f"{state} ({reason})" if reason and state != "True" else state


KIND = Kind(
    resource=API_SERVICES,
    singular="apiservice",
    definition=DEFINITION,
    categories=("api-extensions",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=lambda new, old: validate(new),
    validate_status=validate_status,
    name_errors=name_is_path_segment,
    has_status=True,
    unconditional_update=False,
    columns=(
        NAME,
        column("Service", text="The reference to the service that hosts this API endpoint."),
        column("Available", text="Whether this service is available."),
        AGE,
    ),
    row=row,
)
