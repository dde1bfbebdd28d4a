"""ValidatingAdmissionPolicy: rules about writes, in CEL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, not_supported, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.admissionregistration.expressions import (
    BOOLEAN,
    TEXT,
    TEXT_OR_NULL,
    Scope,
    expression_errors,
    problem,
)
from minikube_py.machinery.kinds.admissionregistration.policies import (
    default_match_resources,
    parameter_kind_text,
    policy_head_errors,
    variables_errors,
)
from minikube_py.machinery.kinds.admissionregistration.webhooks import condition_errors
from minikube_py.machinery.kinds.common.checks import Errors, qualified_name
from minikube_py.machinery.kinds.common.condition_validation import condition_errors as standard_condition_errors
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, keep_metadata
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy"
_MAX_AUDITS = 20
_LONGEST_AUDIT_EXPRESSION = 5 * 1024
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")


def fill(policy: Object) -> None:
    spec = child(policy, "spec")
    set_default(spec, failurePolicy="Fail")
    default_match_resources(spec.get("matchConstraints"))


def validate(policy: Object) -> list[FieldError]:
    """``validateValidatingAdmissionPolicySpec``."""
    spec = policy.get("spec") or {}
    errors = policy_head_errors(spec)
    scope = Scope(params=spec.get("paramKind") is not None)
    errors += condition_errors("spec.matchConditions", spec.get("matchConditions") or (), params=scope.params)
    wrong, scope = variables_errors("spec.variables", spec.get("variables") or (), scope)
    errors += wrong
    validations, audits = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not audits:
        text = "validations or auditAnnotations must contain at least one item"
        errors += [required("spec.validations", text), required("spec.auditAnnotations", text)]
    for index, entry in enumerate(validations):
        errors += _validation_errors(f"spec.validations[{index}]", entry, scope)
    seen: set[str] = set()
    if len(audits) > _MAX_AUDITS:
        shown = [go_object("AuditAnnotation", entry) for entry in audits]
        text = f"must not have more than {_MAX_AUDITS} auditAnnotations"
        errors.append(invalid_value("spec.auditAnnotations", shown, text))
    for index, entry in enumerate(audits):
        path, key = f"spec.auditAnnotations[{index}]", entry.get("key") or ""
        errors += _audit_errors(path, entry, name(policy), scope)
        if key in seen:
            errors.append(duplicate(f"{path}.key", key))
        seen.add(key)
    return errors


def _validation_errors(path: str, entry: Mapping[str, Any], scope: Scope) -> Errors:
    errors: Errors = []
    if not (entry.get("expression") or "").strip():
        errors.append(required(f"{path}.expression", "expression is not specified"))
    errors += expression_errors(f"{path}.expression", entry.get("expression") or "", scope, BOOLEAN)
    told = entry.get("messageExpression") or ""
    if told and not told.strip():
        errors.append(invalid_value(f"{path}.messageExpression", told, "must be non-empty if specified"))
    errors += expression_errors(f"{path}.messageExpression", told, scope.without_authorizer(), TEXT)
    message = entry.get("message") or ""
    if message:
        if not message.strip():
            errors.append(invalid_value(f"{path}.message", message, "must be non-empty if specified"))
        elif "\n" in message.strip() or "\r" in message.strip():
            errors.append(invalid_value(f"{path}.message", message, "must not contain line breaks"))
    reason = entry.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(f"{path}.reason", reason, _REASONS))
    return errors


def _audit_errors(path: str, entry: Mapping[str, Any], policy: str, scope: Scope) -> Errors:
    """``validateAuditAnnotation``: with the policy's name before it the key is a qualified name."""
    key, given = entry.get("key") or "", entry.get("valueExpression") or ""
    text = given.strip()
    nameless: Errors = [invalid_value(f"{path}.key", key, "requires metadata.name be non-empty")]
    errors = qualified_name(f"{path}.key", f"{policy}/{key}") if policy else nameless
    if not text:
        errors.append(required(f"{path}.valueExpression", "valueExpression is not specified"))
    elif len(text.encode()) > _LONGEST_AUDIT_EXPRESSION:
        too_long = f"must not exceed {_LONGEST_AUDIT_EXPRESSION} bytes in length"
        errors.append(required(f"{path}.valueExpression", too_long))
    else:
        why = problem(scope, text, TEXT_OR_NULL)
        errors += [invalid_value(f"{path}.valueExpression", given, why)] if why else []
    return errors


def validate_status(policy: Object, old: Object) -> list[FieldError]:
    """``validateValidatingAdmissionPolicyStatus``."""
    status = part(policy, "status")
    errors: list[FieldError] = []
    for index, warning in enumerate(part(status, "typeChecking").get("expressionWarnings") or ()):
        path = f"status.typeChecking.expressionWarnings[{index}]"
        if not warning.get("warning"):
            errors.append(required(f"{path}.warning"))
        if not (warning.get("fieldRef") or "").strip():
            errors.append(required(f"{path}.fieldRef"))
    return errors + standard_condition_errors("status.conditions", status.get("conditions") or ())


def row(policy: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(policy, "spec")
    return (name(policy), len(spec.get("validations") or ()), parameter_kind_text(spec), age(policy, now))


KIND = Kind(
    resource=Resource(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        namespaced=False,
    ),
    singular="validatingadmissionpolicy",
    definition=DEFINITION,
    categories=("api-extensions",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=lambda new, old: validate(new),
    validate_status=validate_status,
    generation=True,
    has_status=True,
    unconditional_update=False,
    columns=(
        NAME,
        column(
            "Validations",
            text="Validations indicates the number of validation rules defined in this configuration",
            type="integer",
        ),
        column("ParamKind", text="ParamKind specifies the kind of resources used to parameterize this policy"),
        AGE,
    ),
    row=row,
)
