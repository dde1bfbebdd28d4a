"""Defaults, validation and printing that admission policies and their bindings share.

The expressions themselves are checked by ``expressions``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from minikube_py.machinery.errors import duplicate, forbidden_field, invalid_value, required
from minikube_py.machinery.kind import Cell
from minikube_py.machinery.kinds.admissionregistration.expressions import Scope, check_variables
from minikube_py.machinery.kinds.admissionregistration.webhooks import default_rules, rule_errors
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label_selector_errors,
    named,
    not_supported_in_order,
    one_of,
    subdomain,
)
from minikube_py.machinery.kinds.common.printing import age, name, part
from minikube_py.machinery.kinds.common.setting import set_default
from minikube_py.machinery.names import dns1035_label_errors, dns1123_subdomain_errors, path_segment_errors
from minikube_py.machinery.objects import Object

SPEC = "io.k8s.api.admissionregistration.v1"
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip


def default_match_resources(resources: Object | None) -> None:
    """``SetDefaults_MatchResources``."""
    if resources is None:
        return
    set_default(resources, matchPolicy="Equivalent", namespaceSelector={}, objectSelector={})
    default_rules(resources, "resourceRules")
    default_rules(resources, "excludeResourceRules")


def match_resources_errors(path: str, resources: Mapping[str, Any]) -> Errors:
    """``validateMatchResources``."""
    errors: Errors = []
    if resources.get("matchPolicy") is None:
        errors.append(required(f"{path}.matchPolicy"))
    else:
        errors += one_of(f"{path}.matchPolicy", resources["matchPolicy"], ("Equivalent", "Exact"))
    for field in ("namespaceSelector", "objectSelector"):
        if resources.get(field) is None:
            errors.append(required(f"{path}.{field}"))
        else:
            errors += label_selector_errors(f"{path}.{field}", resources[field])
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(field) or ()):
            errors += _resource_name_errors(f"{path}.{field}[{index}].resourceNames", rule.get("resourceNames") or ())
            errors += rule_errors(f"{path}.{field}[{index}]", rule)
    return errors


def _resource_name_errors(path: str, names: Sequence[str]) -> Errors:
    errors: Errors = []
    for index, called in enumerate(names):
        errors += named(f"{path}[{index}]", called, path_segment_errors)
        if called in names[:index]:
            errors.append(duplicate(f"{path}[{index}]", called))
    return errors


def variables_errors(path: str, variables: Sequence[Mapping[str, Any]], scope: Scope) -> tuple[Errors, Scope]:
    """(names that expressions cannot use and variables that do not compile, the scope with the variables in it)."""
    errors: Errors = []
    types, problems = check_variables(scope, variables)
    for index, (variable, why) in enumerate(zip(variables, problems, strict=True)):
        called, text = variable.get("name") or "", variable.get("expression") or ""
        if not called.strip():
            errors.append(required(f"{path}[{index}].name", "name is not specified"))
        elif _IDENTIFIER.fullmatch(called) is None or called in _RESERVED:
            errors.append(invalid_value(f"{path}[{index}].name", called, "must be a valid CEL identifier"))
        if not text.strip():
            errors.append(required(f"{path}[{index}].expression", "expression is not specified"))
        elif why:
            errors.append(invalid_value(f"{path}[{index}].expression", text, why))
    return errors, replace(scope, variables=types)


def policy_head_errors(spec: Mapping[str, Any]) -> Errors:
    """Failure policy, parameter kind and match constraints of a policy."""
    errors: Errors = []
    if spec.get("failurePolicy") is None:
        errors.append(required("spec.failurePolicy"))
    else:
        errors += one_of("spec.failurePolicy", spec["failurePolicy"], ("Fail", "Ignore"))
    kind = spec.get("paramKind")
    if kind is not None:
        errors += _param_kind_errors("spec.paramKind", kind)
    constraints = spec.get("matchConstraints")
    if constraints is None:
        errors.append(required("spec.matchConstraints"))
    else:
        errors += match_resources_errors("spec.matchConstraints", constraints)
        if not constraints.get("resourceRules"):
            errors.append(required("spec.matchConstraints.resourceRules"))
    return errors


def _param_kind_errors(path: str, kind: Mapping[str, Any]) -> Errors:
    version, called = kind.get("apiVersion") or "", kind.get("kind") or ""
    errors: Errors = []
    if not version:
        errors.append(required(f"{path}.apiVersion"))
    elif version.count("/") > 1:
        errors.append(invalid_value(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    else:
        group, _, number = version.rpartition("/")
        errors += _joined(f"{path}.apiVersion", group, dns1123_subdomain_errors(group)) if group else []
        if not number:
            errors.append(invalid_value(f"{path}.apiVersion", version, "version must be specified"))
        else:
            errors += _joined(f"{path}.apiVersion", number, dns1035_label_errors(number))
    if not called:
        return [*errors, required(f"{path}.kind")]
    prefix = "may have mixed case, but should otherwise match: "
    return errors + _joined(f"{path}.kind", called, dns1035_label_errors(called.lower()), prefix)


def _joined(path: str, value: str, texts: Sequence[str], prefix: str = "") -> Errors:
    """All texts against a name in one error."""
    return [invalid_value(path, value, prefix + ",".join(texts))] if texts else []


def binding_errors(binding: Object, *, actions: bool) -> Errors:
    """``validateValidatingAdmissionPolicyBindingSpec`` and its mutating kin."""
    spec = binding.get("spec") or {}
    policy = spec.get("policyName") or ""
    errors = subdomain("spec.policyName", policy) if policy else [required("spec.policyName")]
    if spec.get("paramRef") is not None:
        errors += _param_reference_errors("spec.paramRef", spec["paramRef"])
    if spec.get("matchResources") is not None:
        errors += match_resources_errors("spec.matchResources", spec["matchResources"])
    return errors + (_action_errors("spec.validationActions", spec.get("validationActions") or ()) if actions else [])


_EXCLUSIVE = "name and selector are mutually exclusive"


def _param_reference_errors(path: str, reference: Mapping[str, Any]) -> Errors:
    called, selector, action = (
        reference.get("name"),
        reference.get("selector"),
        reference.get("parameterNotFoundAction"),
    )
    errors: Errors = []
    both = bool(called) and selector is not None
    if called:
        errors += named(f"{path}.name", called, path_segment_errors)
    errors += [forbidden_field(f"{path}.name", _EXCLUSIVE)] if both else []
    errors += label_selector_errors(f"{path}.selector", selector)
    errors += [forbidden_field(f"{path}.selector", _EXCLUSIVE)] if both else []
    if not called and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    if not action:
        errors.append(required(f"{path}.parameterNotFoundAction"))
    elif action not in ("Deny", "Allow"):
        errors.append(not_supported_in_order(f"{path}.parameterNotFoundAction", action, ("Deny", "Allow")))
    return errors


def _action_errors(path: str, actions: Sequence[str]) -> Errors:
    if not actions:
        return [required(path, "at least one validation action is required")]
    errors: Errors = []
    for index, action in enumerate(actions):
        errors += one_of(f"{path}[{index}]", action, ("Audit", "Deny", "Warn"))
        if action in actions[:index]:
            errors.append(duplicate(f"{path}[{index}]", action))
    if "Deny" in actions and "Warn" in actions:
        text = "must not contain both Deny and Warn (repeating the same validation failure information in the API "
        text += "response and headers serves no purpose)"
        errors.append(invalid_value(path, list(actions), text))
    return errors


def parameter_kind_text(spec: Mapping[str, Any]) -> str:
    kind = spec.get("paramKind")
    return "<unset>" if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"


def binding_row(binding: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(binding, "spec")
    reference, shown = spec.get("paramRef"), "<unset>"
    if reference is not None:
        namespace = f"{reference['namespace']}/" if reference.get("namespace") else ""
        shown = namespace + (reference.get("name") or "*")
    return (name(binding), spec.get("policyName") or "", shown, age(binding, now))
