"""Names and amounts of resources: what may be asked for in containers, quotas and limits.

Rules: ``k8s.io/kubernetes/pkg/apis/core/helper`` and ``validateResourceName`` with its kin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value
from minikube_py.machinery.kinds.common.checks import non_negative_quantity, quantity
from minikube_py.machinery.names import qualified_name_errors
from minikube_py.machinery.quantities import parse_quantity

NameErrors = Callable[[str, str], list[FieldError]]

_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTED = frozenset(
    [
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ]
)
_COMPUTE = frozenset(
    [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    ]
)
_STANDARD = _CONTAINER | _COUNTED | _COMPUTE | {"storage"}
_QUOTA = _COUNTED | _COMPUTE
_HUGE = "hugepages-"


POD_RESOURCES = ("cpu", "hugepages-", "memory")
"""What a pod may ask for as a whole, as Kubernetes lists it."""


def is_huge_page(name: str) -> bool:
    return name.startswith(_HUGE)


def is_pod_resource(name: str) -> bool:
    """Whether a pod may ask for it as a whole (``IsSupportedPodLevelResource``)."""
    return name in POD_RESOURCES or is_huge_page(name)


def can_overcommit(name: str) -> bool:
    """Whether less may be asked for than the limit (``IsOvercommitAllowed``)."""
    return is_native(name) and not is_huge_page(name)


def is_native(name: str) -> bool:
    """Whether the name belongs to Kubernetes: without a domain, or in kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Whether it is somebody's own resource, such as ``example.com/gpu``."""
    return not is_native(name) and not name.startswith("requests.") and not qualified_name_errors(f"requests.{name}")


def is_integer(name: str) -> bool:
    """Whether amounts are whole numbers."""
    return name in _COUNTED or is_extended(name)


def standard_resource_errors(path: str, name: str) -> list[FieldError]:
    """``ValidateResourceName``: a qualified name that is standard when it has no domain."""
    errors = [invalid_value(path, name, text) for text in qualified_name_errors(name)]
    if errors:
        return errors
    if "/" not in name and name not in _STANDARD and not is_huge_page(name):
        return [invalid_value(path, name, "must be a standard resource type or fully qualified")]
    return []


def container_resource_errors(path: str, name: str) -> list[FieldError]:
    """``validateContainerResourceName``."""
    errors = standard_resource_errors(path, name)
    if "/" not in name:
        if name not in _CONTAINER and not is_huge_page(name):
            errors.append(invalid_value(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        errors.append(invalid_value(path, name, "doesn't follow extended resource name standard"))
    return errors


def quota_name_errors(path: str, name: str) -> list[FieldError]:
    """``ValidateResourceQuotaResourceName``."""
    errors = standard_resource_errors(path, name)
    if "/" not in name and not is_quota_name(name):
        errors.append(invalid_value(path, name, "must be a standard resource for quota"))
    return errors


def is_quota_name(name: str) -> bool:
    """``IsStandardQuotaResourceName``."""
    return name in _QUOTA or name.startswith((_HUGE, f"requests.{_HUGE}"))


def quota_value_errors(path: str, name: str, amount: Any) -> list[FieldError]:
    """``ValidateResourceQuantityValue``."""
    return non_negative_quantity(path, amount) + integer_errors(path, name, amount)


def integer_errors(path: str, name: str, amount: Any) -> list[FieldError]:
    found = quantity(amount)
    if is_integer(name) and found.nano % 10**9:
        return [invalid_value(path, str(found), "must be an integer")]
    return []


def requirements_errors(
    path: str, resources: Mapping[str, Any], name_errors: NameErrors = container_resource_errors
) -> list[FieldError]:
    """``validateResourceRequirements``: limits and requests (claims are checked by the pod)."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    errors: list[FieldError] = []
    for name, amount in sorted(limits.items()):
        field = f"{path}.limits[{name}]"
        errors += name_errors(field, name)
        errors += non_negative_quantity(field, amount) + integer_errors(field, name, amount)
        errors += _page_errors(field, name, amount)
    for name, amount in sorted(requests.items()):
        field = f"{path}.requests[{name}]"
        errors += name_errors(field, name)
        errors += non_negative_quantity(field, amount) + integer_errors(field, name, amount)
        errors += _request_errors(path, name, amount, limits) + _page_errors(field, name, amount)
    huge = any(is_huge_page(name) for name in (*limits, *requests))
    if huge and not {"cpu", "memory"} & {*limits, *requests}:
        errors.append(forbidden_field(path, "HugePages require cpu or memory"))
    return errors


def _request_errors(path: str, name: str, amount: Any, limits: Mapping[str, Any]) -> list[FieldError]:
    asked = quantity(amount)
    overcommit = can_overcommit(name)
    if name not in limits:
        return [] if overcommit else [required_limit(f"{path}.limits")]
    limit = quantity(limits[name])
    if asked != limit and not overcommit:
        return [invalid_value(f"{path}.requests", str(asked), f"must be equal to {name} limit of {limit}")]
    if asked > limit:
        return [invalid_value(f"{path}.requests", str(asked), f"must be less than or equal to {name} limit of {limit}")]
    return []


def _page_errors(path: str, name: str, amount: Any) -> list[FieldError]:
    """Huge pages come in whole pages of the size in their name."""
    if not is_huge_page(name):
        return []
    found = quantity(amount)
    try:
        page = parse_quantity(name.removeprefix(_HUGE)).value()
    except ValueError:
        page = 0
    if page > 0 and found.value() % page == 0:
        return []
    return [invalid_value(path, str(found), f"{found} is not positive integer multiple of {name}")]


def required_limit(path: str) -> FieldError:
    return FieldError("FieldValueRequired", path, "", "Limit must be set for non overcommitable resources")
