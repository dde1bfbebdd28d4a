"""ResourceQuota: how much a namespace may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.kinds.common.pod_defaults import round_up_milli
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.resource_names import quota_name_errors, quota_value_errors
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import RESOURCE_QUOTAS

DEFINITION = "io.k8s.api.core.v1.ResourceQuota"
_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip
_COMPUTE = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_ACCEPTED = {
    "Terminating": _COMPUTE | {"pods"},
    "NotTerminating": _COMPUTE | {"pods"},
    "NotBestEffort": _COMPUTE | {"pods"},
    "PriorityClass": _COMPUTE | {"pods"},
    "BestEffort": frozenset({"pods"}),
}


def fill(quota: Object) -> None:
    """Amounts have milli precision at most."""
    for amounts in ((quota.get("spec") or {}).get("hard"), *_status_amounts(quota)):
        if amounts:
            round_up_milli(amounts)


def _status_amounts(quota: Object) -> list[Object | None]:
    status = quota.get("status") or {}
    return [status.get("hard"), status.get("used")]


def validate(quota: Object) -> list[FieldError]:
    """``ValidateResourceQuota``."""
    spec = quota.get("spec") or {}
    errors: list[FieldError] = []
    for resource, amount in sorted((spec.get("hard") or {}).items()):
        path = f"spec.hard[{resource}]"
        errors += quota_name_errors(path, resource) + quota_value_errors(path, resource, amount)
    return errors + _scope_errors(spec) + _scope_selector_errors(spec)


def _scope_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    scopes: Sequence[str] = spec.get("scopes") or ()
    errors: list[FieldError] = []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(invalid_value("spec.scopes", list(scopes), "unsupported scope"))
        for resource in spec.get("hard") or ():
            if _is_pod_resource(resource) and scope in _ACCEPTED and resource not in _ACCEPTED[scope]:
                text = "unsupported scope applied to resource"
                errors.append(invalid_value("spec.scopes", list(scopes), text))
    for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if one in scopes and other in scopes:
            errors.append(invalid_value("spec.scopes", list(scopes), "conflicting scopes"))
    return errors


def _is_pod_resource(resource: str) -> bool:
    return "/" not in resource


def _scope_selector_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    selector = spec.get("scopeSelector")
    errors: list[FieldError] = []
    for index, wanted in enumerate((selector or {}).get("matchExpressions") or ()):
        path = f"spec.scopeSelector.matchExpressions[{index}]"
        scope, operator = wanted.get("scopeName") or "", wanted.get("operator") or ""
        values = wanted.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid_value(f"{path}.scopeName", scope, "unsupported scope"))
        if scope not in ("PriorityClass", "VolumeAttributesClass") and operator != "Exists":
            text = (
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort "
                "or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.append(invalid_value(f"{path}.operator", operator, text))
        if operator in ("In", "NotIn") and not values:
            text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            errors.append(required(f"{path}.values", text))
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            errors.append(invalid_value(f"{path}.values", list(values), text))
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            errors.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    return errors


def validate_update(quota: Object, old: Object) -> list[FieldError]:
    """``ValidateResourceQuotaUpdate``: scopes stay as they are."""
    errors = validate(quota)
    scopes, before = ((obj.get("spec") or {}).get("scopes") or [] for obj in (quota, old))
    if set(scopes) != set(before):
        errors.append(invalid_value("spec.scopes", list(scopes), "field is immutable"))
    return errors


def validate_status(quota: Object, old: Object) -> list[FieldError]:
    """``ValidateResourceQuotaStatusUpdate``."""
    errors: list[FieldError] = []
    for field in ("hard", "used"):
        for resource, amount in sorted(((quota.get("status") or {}).get(field) or {}).items()):
            path = f"status.{field}[{resource}]"
            errors += quota_name_errors(path, resource) + quota_value_errors(path, resource, amount)
    return errors


def row(quota: Mapping[str, Any], now: float) -> tuple[str, str, str, str]:
    """``printResourceQuota``: used over hard, limits apart from the rest."""
    hard, used = part(quota, "status", "hard"), part(quota, "status", "used")
    texts = {True: [], False: []}  # type: dict[bool, list[str]]
    for resource in sorted(hard):
        texts[resource.startswith("limits")].append(f"{resource}: {used.get(resource, '0')}/{hard[resource]}")
    return (name(quota), ", ".join(texts[False]), ", ".join(texts[True]), age(quota, now))


_REQUEST = "Request represents a minimum amount of cpu/memory that a container may consume."
_LIMIT = (
    "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."
)

KIND = Kind(
    resource=RESOURCE_QUOTAS,
    singular="resourcequota",
    definition=DEFINITION,
    short_names=("quota",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    has_status=True,
    columns=(NAME, column("Request", text=_REQUEST), column("Limit", text=_LIMIT), AGE),
    row=row,
)
