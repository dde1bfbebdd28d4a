"""Policies with their bindings, read once for each change of either.

A policy without a binding does nothing. Policies are asked in the order of their names, and so are the
bindings of one policy. Expressions are compiled when they are first evaluated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from minikube_py.client.types import Client, EventType
from minikube_py.components.apiserver.admission.expressions.composition import Composition, read_composition
from minikube_py.components.apiserver.admission.expressions.conditions import MatchConditions, read_conditions
from minikube_py.components.apiserver.admission.expressions.evaluation import Expression
from minikube_py.components.apiserver.admission.matching import Criteria, read_criteria
from minikube_py.components.apiserver.admission.policies.params import (
    ParamKind,
    ParamReference,
    read_param_kind,
    read_param_reference,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kinds.admissionregistration.expressions import (
    APPLIED,
    BOOLEAN,
    PATCH,
    TEXT,
    TEXT_OR_NULL,
    Scope,
)
from minikube_py.machinery.objects import Object, name_of, uid_of
from minikube_py.machinery.resources import Resource

log = logging.getLogger(__name__)
T = TypeVar("T")
_GROUP = "admissionregistration.k8s.io"
VALIDATING = Resource(_GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)
VALIDATING_BINDINGS = Resource(
    _GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False
)
MUTATING = Resource(_GROUP, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", False)
MUTATING_BINDINGS = Resource(_GROUP, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", False)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a policy is in force; without criteria wherever the policy matches."""

    name: str
    criteria: Criteria | None
    params: ParamReference | None
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """One rule of a validating policy."""

    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True, slots=True)
class AuditAnnotation:
    """One annotation for the audit log."""

    key: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a mutating policy; ``patch_type`` is ApplyConfiguration or JSONPatch."""

    patch_type: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of either sort with its bindings; the other sort's parts are empty."""

    name: str
    criteria: Criteria
    conditions: MatchConditions
    composition: Composition
    fails_closed: bool
    param_kind: ParamKind | None
    bindings: tuple[Binding, ...]
    validations: tuple[Validation, ...] = ()
    audit_annotations: tuple[AuditAnnotation, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    reinvoked: bool = False


class PolicySource:
    """The bound policies of one sort. It follows them from the first question on."""

    def __init__(self, client: Client, policies: Resource, bindings: Resource) -> None:
        self._client = client
        self._resources = (policies, bindings)
        self._policies: Sequence[Policy] | None = None
        self._kept: dict[tuple[str, int], Policy] = {}
        self._following = False

    def policies(self) -> Sequence[Policy]:
        """All policies with a binding, in their order."""
        if not self._following:
            self._following = True
            for resource in self._resources:
                self._client.informer(resource).subscribe(self._changed)
        if self._policies is None:
            self._policies = self._read()
        return self._policies

    def _changed(self, event: EventType, obj: Object, previous: Object | None) -> None:
        self._policies = None

    def _read(self) -> Sequence[Policy]:
        policies, bindings = (self._client.informer(resource).list() for resource in self._resources)
        bound: dict[str, list[Binding]] = {}
        for raw in sorted(bindings, key=name_of):
            binding = _readable(read_binding, raw)
            if binding is not None:
                bound.setdefault(str((raw.get("spec") or {}).get("policyName") or ""), []).append(binding)
        chosen = sorted((raw for raw in policies if name_of(raw) in bound), key=name_of)
        kept, self._kept = self._kept, {}
        read: list[Policy] = []
        for raw in chosen:
            version = (uid_of(raw), int(raw["metadata"].get("generation") or 0))
            policy = kept.get(version) or _readable(read_policy, raw)
            if policy is not None:
                self._kept[version] = policy  # a change of the status or a binding does not compile it again
                read.append(replace(policy, bindings=tuple(bound[policy.name])))
        return read


def _readable(read: Callable[[Object], T], raw: Object) -> T | None:
    """What ``read`` makes of an object; None of one that was written past validation and cannot be read.

    It must not stop all writes, because then nobody could remove it.
    """
    try:
        return read(raw)
    except (ApiError, AttributeError, KeyError, TypeError, ValueError):
        log.exception("admission policy or binding cannot be read and is ignored", extra={"key": name_of(raw)})
        return None


def read_binding(raw: Object) -> Binding:
    """A stored binding."""
    spec = raw.get("spec") or {}
    resources = spec.get("matchResources")
    return Binding(
        name_of(raw),
        None if resources is None else read_criteria(resources, rules="resourceRules", any_resource=True),
        read_param_reference(spec.get("paramRef")),
        tuple(spec.get("validationActions") or ()),
    )


def read_policy(raw: Object) -> Policy:
    """A stored policy of either sort, without bindings."""
    spec = raw.get("spec") or {}
    closed = (spec.get("failurePolicy") or "Fail") == "Fail"
    kind = read_param_kind(spec.get("paramKind"))
    scope = Scope(params=kind is not None, mutation="mutations" in spec)
    variables = read_composition(spec.get("variables") or (), scope)

    def expression(source: Any, result: str, seen: Scope = scope) -> Expression:
        return Expression(str(source or ""), result, seen, variables)

    return Policy(
        name=name_of(raw),
        criteria=read_criteria(spec.get("matchConstraints") or {}, rules="resourceRules", any_resource=True),
        conditions=read_conditions(spec.get("matchConditions") or (), fails_closed=closed, params=scope.params),
        composition=variables,
        fails_closed=closed,
        param_kind=kind,
        bindings=(),
        validations=tuple(_validation(item, expression, scope) for item in spec.get("validations") or ()),
        audit_annotations=tuple(
            AuditAnnotation(str(item.get("key") or ""), expression(item.get("valueExpression"), TEXT_OR_NULL))
            for item in spec.get("auditAnnotations") or ()
        ),
        mutations=tuple(_mutation(item, expression) for item in spec.get("mutations") or ()),
        reinvoked=spec.get("reinvocationPolicy") == "IfNeeded",
    )


def _validation(item: Mapping[str, Any], expression: Callable[..., Expression], scope: Scope) -> Validation:
    message = item.get("messageExpression")
    return Validation(
        expression(item.get("expression"), BOOLEAN),
        str(item.get("message") or ""),
        expression(message, TEXT, scope.without_authorizer()) if message else None,
        str(item.get("reason") or ""),
    )


def _mutation(item: Mapping[str, Any], expression: Callable[..., Expression]) -> Mutation:
    patch_type = str(item.get("patchType") or "")
    if patch_type == "ApplyConfiguration":
        return Mutation(patch_type, expression((item.get("applyConfiguration") or {}).get("expression"), APPLIED))
    return Mutation(patch_type, expression((item.get("jsonPatch") or {}).get("expression"), PATCH))
