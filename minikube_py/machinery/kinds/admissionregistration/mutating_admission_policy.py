"""MutatingAdmissionPolicy: changes of writes, in CEL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, not_supported, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.admissionregistration.expressions import (
    APPLIED,
    PATCH,
    Scope,
    expression_errors,
)
from minikube_py.machinery.kinds.admissionregistration.policies import (
    default_match_resources,
    parameter_kind_text,
    policy_head_errors,
    variables_errors,
)
from minikube_py.machinery.kinds.admissionregistration.webhooks import condition_errors
from minikube_py.machinery.kinds.common.checks import Errors, one_of
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy"
_TYPES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_RESULTS = {"ApplyConfiguration": APPLIED, "JSONPatch": PATCH}


def fill(policy: Object) -> None:
    spec = child(policy, "spec")
    set_default(spec, failurePolicy="Fail")
    default_match_resources(spec.get("matchConstraints"))


def validate(policy: Object) -> list[FieldError]:
    """``validateMutatingAdmissionPolicySpec``."""
    spec = policy.get("spec") or {}
    errors = policy_head_errors(spec)
    scope = Scope(params=spec.get("paramKind") is not None, mutation=True)
    errors += condition_errors("spec.matchConditions", spec.get("matchConditions") or (), params=scope.params)
    wrong, scope = variables_errors("spec.variables", spec.get("variables") or (), scope)
    errors += wrong
    mutations = spec.get("mutations") or ()
    if not mutations:
        errors.append(required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(mutations):
        errors += _mutation_errors(f"spec.mutations[{index}]", mutation, scope)
    if not spec.get("reinvocationPolicy"):
        errors.append(required("spec.reinvocationPolicy"))
    else:
        errors += one_of("spec.reinvocationPolicy", spec["reinvocationPolicy"], ("IfNeeded", "Never"))
    return errors


def _mutation_errors(path: str, mutation: Mapping[str, Any], scope: Scope) -> Errors:
    kind = mutation.get("patchType") or ""
    if not kind:
        return [required(f"{path}.patchType")]
    if kind not in _TYPES:
        return [not_supported(f"{path}.patchType", kind, _TYPES)]
    errors: Errors = []
    for other, field in _TYPES.items():
        found = mutation.get(field)
        if other == kind and found is None:
            errors.append(required(f"{path}.{field}"))
        elif other == kind and found is not None:
            text = found.get("expression") or ""
            if not text.strip():
                errors.append(required(f"{path}.{field}.expression", f"{other} expression is not specified"))
            errors += expression_errors(f"{path}.{field}.expression", text, scope, _RESULTS[other])
        elif found is not None:
            text = f"must not be specified when patchType is {kind}"
            errors.append(invalid_value(f"{path}.{field}", f"{{{field}}}", text))
    return errors


def row(policy: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(policy, "spec")
    return (name(policy), len(spec.get("mutations") or ()), parameter_kind_text(spec), age(policy, now))


KIND = Kind(
    resource=Resource(
        "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False
    ),
    singular="mutatingadmissionpolicy",
    definition=DEFINITION,
    categories=("api-extensions",),
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=lambda new, old: validate(new),
    generation=True,
    unconditional_update=False,
    columns=(
        NAME,
        column(
            "Mutations",
            text="Mutations indicates the number of mutations rules defined in this configuration",
            type="integer",
        ),
        column("ParamKind", text="ParamKind specifies the kind of resources used to parameterize this policy"),
        AGE,
    ),
    row=row,
)
