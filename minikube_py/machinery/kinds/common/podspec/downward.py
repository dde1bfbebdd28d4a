"""References from a pod to its own fields and resources (the downward API)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import Errors, quantity
from minikube_py.machinery.names import qualified_name_errors

ENVIRONMENT_FIELDS = frozenset(
    [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ]
)
VOLUME_FIELDS = frozenset(
    ["metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"]
)
_KNOWN = ENVIRONMENT_FIELDS | VOLUME_FIELDS | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}
_SUBSCRIPTED = ("metadata.annotations", "metadata.labels")
_RESOURCES = frozenset(
    [
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
    ]
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


def field_selector_errors(path: str, selector: Mapping[str, Any], supported: frozenset[str]) -> Errors:
    """``validateObjectFieldSelector``."""
    version, field = selector.get("apiVersion") or "", selector.get("fieldPath") or ""
    if not version:
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    base, subscript = _split(field)
    if version != "v1":
        why = f"unsupported pod version: {version}"
        return [invalid_value(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")]
    if subscript is not None and base in _SUBSCRIPTED:
        key = subscript.lower() if base == "metadata.annotations" else subscript
        return [invalid_value(path, subscript, text) for text in qualified_name_errors(key)]
    if subscript is not None:
        why = f"field label does not support subscript: {field}"
        return [invalid_value(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")]
    if field == "spec.host":
        field = "spec.nodeName"
    if field not in _KNOWN:
        why = f"field label not supported: {field}"
        return [invalid_value(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")]
    if field not in supported:
        return [not_supported(f"{path}.fieldPath", field, supported)]
    return []


def _split(field: str) -> tuple[str, str | None]:
    """``metadata.labels['app']`` into path and subscript."""
    if field.endswith("']") and "['" in field:
        base, _, rest = field.partition("['")
        if base:
            return base, rest.removesuffix("']")
    return field, None


def resource_selector_errors(path: str, selector: Mapping[str, Any], *, volume: bool) -> Errors:
    """``validateContainerResourceFieldSelector``."""
    resource = selector.get("resource") or ""
    errors: list[FieldError] = []
    if volume and not selector.get("containerName"):
        errors.append(required(f"{path}.containerName"))
    elif not resource:
        errors.append(required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errors.append(not_supported(f"{path}.resource", resource, _RESOURCES))
    return errors + _divisor_errors(f"{path}.divisor", resource, selector.get("divisor"))


def _divisor_errors(path: str, resource: str, divisor: Any) -> Errors:
    amount = quantity(divisor)
    if not amount:
        return []
    sort = resource.partition(".")[2]
    allowed: tuple[str, ...]
    if sort == "cpu":
        allowed, text = ("1m", "1"), "only divisor's values 1m and 1 are supported with the cpu resource"
    else:
        called = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(sort, "hugepages")
        allowed, text = _SIZES, f"only divisor's values {', '.join(_SIZES)} are supported with the {called} resource"
    return [] if str(amount) in allowed else [invalid_value(path, resource, text)]
