"""ResourceQuota: how much a namespace may use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.pod_defaults import round_up_milli
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.resource_names import is_quota_name, quota_name_errors, quota_value_errors
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import RESOURCE_QUOTAS

DEFINITION = "io.k8s.api.core.v1.ResourceQuota"
_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip
_COMPUTE = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_OF_PODS = _COMPUTE | {"pods"}
_ACCEPTED = {
    "Terminating": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "NotBestEffort": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "CrossNamespacePodAffinity": _OF_PODS,
    "BestEffort": frozenset({"pods"}),
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
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
    errors += _scope_errors(spec) + _scope_selector_errors(spec)
    return errors + _status_errors(quota)


def _scope_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    scopes: Sequence[str] = spec.get("scopes") or ()
    errors: list[FieldError] = []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(invalid_value("spec.scopes", list(scopes), "unsupported scope"))
        errors += [
            invalid_value("spec.scopes", list(scopes), "unsupported scope applied to resource")
            for _ in _unfit_resources(spec, scope)
        ]
    return errors + _conflict_errors("spec.scopes", scopes, list(scopes) or None)


def _conflict_errors(path: str, scopes: Collection[str], shown: Any) -> list[FieldError]:
    return [
        invalid_value(path, shown, "conflicting scopes")
        for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
        if one in scopes and other in scopes
    ]


def _unfit_resources(spec: Mapping[str, Any], scope: str) -> list[str]:
    """Standard resources of the quota that the scope does not choose among (``IsResourceQuotaScopeValidForResource``).

    Scopes of pods go with what pods use; that of volume attributes classes with claims.
    """
    accepted = _ACCEPTED.get(scope)
    if accepted is None:
        return []
    return sorted(name for name in spec.get("hard") or () if is_quota_name(name) and name not in accepted)


def _scope_selector_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    """``validateScopedResourceSelectorRequirement``; the index of an expression is no part of its path."""
    selector = spec.get("scopeSelector")
    errors: list[FieldError] = []
    path, scopes = "spec.scopeSelector.matchExpressions", set()
    for wanted in (selector or {}).get("matchExpressions") or ():
        scope, operator = wanted.get("scopeName") or "", wanted.get("operator") or ""
        values = wanted.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid_value(f"{path}.scopeName", scope, "unsupported scope"))
        errors += [
            invalid_value(path, go_object("ScopeSelector", selector), "unsupported scope applied to resource")
            for _ in _unfit_resources(spec, scope)
        ]
        if scope in _EXISTING and operator != "Exists":
            errors.append(invalid_value(f"{path}.operator", operator, _ONLY_EXISTS))
        if operator in ("In", "NotIn") and not values:
            text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            errors.append(required(f"{path}.values", text))
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            errors.append(invalid_value(f"{path}.values", list(values), text))
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            errors.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
        scopes.add(scope)
    return errors + _conflict_errors(path, scopes, list(spec.get("scopes") or ()) or None)


_EXISTING = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def validate_update(quota: Object, old: Object) -> list[FieldError]:
    """``ValidateResourceQuotaUpdate``: scopes stay as they are."""
    errors = validate(quota)
    scopes, before = ((obj.get("spec") or {}).get("scopes") or [] for obj in (quota, old))
    if set(scopes) != set(before):
        errors.append(invalid_value("spec.scopes", list(scopes), "field is immutable"))
    return errors


def validate_status(quota: Object, old: Object) -> list[FieldError]:
    """``ValidateResourceQuotaStatusUpdate``."""
    return _status_errors(quota)


def _status_errors(quota: Object) -> list[FieldError]:
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
