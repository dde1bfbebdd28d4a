"""Validation and printing that roles and bindings share (``pkg/apis/rbac/validation``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import invalid_value, required
from minikube_py.machinery.kind import Cell
from minikube_py.machinery.kinds.common.checks import Errors, named, not_supported_in_order, subdomain
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, joined, name, part
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.names import path_segment_errors
from minikube_py.machinery.objects import Object

GROUP = "rbac.authorization.k8s.io"


def rule_errors(rules: Sequence[Mapping[str, Any]], *, namespaced: bool) -> Errors:
    """``ValidatePolicyRule`` for each rule."""
    errors: Errors = []
    for index, rule in enumerate(rules):
        path, urls = f"rules[{index}]", rule.get("nonResourceURLs") or []
        if not rule.get("verbs"):
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if urls:
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                errors.append(invalid_value(f"{path}.nonResourceURLs", urls, text))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(invalid_value(f"{path}.nonResourceURLs", urls, text))
            continue
        if not rule.get("apiGroups"):
            errors.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            errors.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def default_binding(binding: Object) -> None:
    """Groups of references and subjects follow from their kinds."""
    reference = child(binding, "roleRef")
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in items(binding, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            set_default(subject, apiGroup=GROUP)


def binding_errors(binding: Object, *, kinds: Sequence[str], namespaced: bool) -> Errors:
    """``ValidateRoleBinding`` and ``ValidateClusterRoleBinding``."""
    reference = binding.get("roleRef") or {}
    errors: Errors = []
    if reference.get("apiGroup") != GROUP:
        errors.append(not_supported_in_order("roleRef.apiGroup", reference.get("apiGroup") or "", [GROUP]))
    kind, called = reference.get("kind") or "", reference.get("name") or ""
    if kind not in kinds:
        errors.append(not_supported_in_order("roleRef.kind", kind, kinds))
    errors += named("roleRef.name", called, path_segment_errors) if called else [required("roleRef.name")]
    for index, subject in enumerate(binding.get("subjects") or ()):
        errors += _subject_errors(f"subjects[{index}]", subject, namespaced)
    return errors


def _subject_errors(path: str, subject: Mapping[str, Any], namespaced: bool) -> Errors:
    kind, called, group = subject.get("kind") or "", subject.get("name") or "", subject.get("apiGroup") or ""
    errors: Errors = [] if called else [required(f"{path}.name")]
    if kind == "ServiceAccount":
        errors += subdomain(f"{path}.name", called) if called else []
        if group:
            errors.append(not_supported_in_order(f"{path}.apiGroup", group, [""]))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.append(not_supported_in_order(f"{path}.apiGroup", group, [GROUP]))
    else:
        errors.append(not_supported_in_order(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
    return errors


def binding_update_errors(errors: Errors, binding: Object, old: Object) -> Errors:
    """The errors of a changed binding: the strategy checks all of it twice, then the role it grants."""
    return 2 * errors + role_reference_change_errors(binding, old)


def role_reference_change_errors(binding: Object, old: Object) -> Errors:
    """The role a binding grants never changes."""
    if binding.get("roleRef") == old.get("roleRef"):
        return []
    shown = go_object("RoleRef", binding.get("roleRef"))
    return [invalid_value("roleRef", shown, "cannot change roleRef")]


_UNRESOLVED = "If the RoleRef cannot be resolved, the Authorizer must return an error."
_ROLE = {
    "roleBinding": "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. "
    + _UNRESOLVED,
    "clusterRoleBinding": f"RoleRef can only reference a ClusterRole in the global namespace. {_UNRESOLVED}",
}


def binding_columns(called: str) -> tuple[Any, ...]:
    return (
        NAME,
        column("Role", text=_ROLE[called]),
        AGE,
        column("Users", text=f"Users in the {called}", wide=True),
        column("Groups", text=f"Groups in the {called}", wide=True),
        column("ServiceAccounts", text=f"ServiceAccounts in the {called}", wide=True),
    )


def binding_row(binding: Mapping[str, Any], now: float) -> Sequence[Cell]:
    reference = part(binding, "roleRef")
    subjects = binding.get("subjects") or ()
    users = [s.get("name", "") for s in subjects if s.get("kind") == "User"]
    groups = [s.get("name", "") for s in subjects if s.get("kind") == "Group"]
    accounts = [f"{s.get('namespace', '')}/{s.get('name', '')}" for s in subjects if s.get("kind") == "ServiceAccount"]
    return (
        name(binding),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        age(binding, now),
        joined(users),
        joined(groups),
        joined(accounts),
    )
