"""Where a pod may run: affinity, tolerations, topology spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import (
    SELECTOR_OPERATOR,
    Errors,
    label,
    label_selector_errors,
    named,
    not_supported_in_order,
    one_of,
    one_of_in_order,
    qualified_name,
    subdomain,
)
from minikube_py.machinery.names import label_value_errors

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def affinity_errors(path: str, affinity: Mapping[str, Any] | None) -> Errors:
    """``validateAffinity``."""
    if affinity is None:
        return []
    errors: Errors = []
    if affinity.get("nodeAffinity") is not None:
        errors += _node_affinity_errors(f"{path}.nodeAffinity", affinity["nodeAffinity"])
    for name in ("podAffinity", "podAntiAffinity"):
        if affinity.get(name) is not None:
            errors += _pod_affinity_errors(f"{path}.{name}", affinity[name])
    return errors


def _node_affinity_errors(path: str, affinity: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    if affinity.get(_REQUIRED) is not None:
        errors += node_selector_errors(f"{path}.{_REQUIRED}", affinity[_REQUIRED])
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        field = f"{path}.{_PREFERRED}[{index}]"
        errors += _weight_errors(f"{field}.weight", term.get("weight") or 0)
        preference = term.get("preference") or {}
        errors += node_selector_term_errors(f"{field}.preference", preference, any_value=True)
    return errors


def node_selector_errors(path: str, selector: Mapping[str, Any]) -> Errors:
    """``ValidateNodeSelector``."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    errors: Errors = []
    for index, term in enumerate(terms):
        errors += node_selector_term_errors(f"{path}.nodeSelectorTerms[{index}]", term)
    return errors


def node_selector_term_errors(path: str, term: Mapping[str, Any], *, any_value: bool = False) -> Errors:
    """``ValidateNodeSelectorTerm``; ``any_value``: values need not be label values (preferences)."""
    errors: Errors = []
    for index, wanted in enumerate(term.get("matchExpressions") or ()):
        errors += _expression_errors(f"{path}.matchExpressions[{index}]", wanted, any_value)
    for index, wanted in enumerate(term.get("matchFields") or ()):
        errors += _field_errors(f"{path}.matchFields[{index}]", wanted)
    return errors


def _expression_errors(path: str, wanted: Mapping[str, Any], any_value: bool) -> Errors:
    operator, values = wanted.get("operator") or "", wanted.get("values") or ()
    errors: Errors = []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden_field(f"{path}.values", text))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(f"{path}.values", text))
    else:
        errors.append(invalid_value(f"{path}.operator", operator, SELECTOR_OPERATOR))
    errors += qualified_name(f"{path}.key", wanted.get("key") or "")
    for index, value in enumerate(() if any_value else values):
        errors += named(f"{path}.values[{index}]", value, label_value_errors)
    return errors


def _field_errors(path: str, wanted: Mapping[str, Any]) -> Errors:
    operator, values, key = wanted.get("operator") or "", wanted.get("values") or (), wanted.get("key") or ""
    errors: Errors = []
    if operator not in ("In", "NotIn"):
        errors.append(invalid_value(f"{path}.operator", operator, SELECTOR_OPERATOR))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(f"{path}.values", text))
    if key != "metadata.name":
        return [*errors, invalid_value(f"{path}.key", key, "not a valid field selector key")]
    for index, value in enumerate(values):
        errors += subdomain(f"{path}.values[{index}]", value)
    return errors


def _weight_errors(path: str, weight: int) -> Errors:
    return [] if 1 <= weight <= 100 else [invalid_value(path, weight, "must be in the range 1-100")]


def _pod_affinity_errors(path: str, affinity: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        errors += _pod_term_errors(f"{path}.{_REQUIRED}[{index}]", term)
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        field = f"{path}.{_PREFERRED}[{index}]"
        errors += _weight_errors(f"{field}.weight", term.get("weight") or 0)
        errors += _pod_term_errors(f"{field}.podAffinityTerm", term.get("podAffinityTerm") or {})
    return errors


def _pod_term_errors(path: str, term: Mapping[str, Any]) -> Errors:
    errors = label_selector_errors(f"{path}.labelSelector", term.get("labelSelector"))
    errors += label_selector_errors(f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        errors += label(f"{path}.namespace", namespace)
    for name in ("matchLabelKeys", "mismatchLabelKeys"):
        errors += _label_key_errors(f"{path}.{name}", term.get(name) or (), term.get("labelSelector"))
    errors += _twice_selected_errors(path, term)
    key = term.get("topologyKey") or ""
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    return errors + qualified_name(f"{path}.topologyKey", key)


def _twice_selected_errors(path: str, term: Mapping[str, Any]) -> Errors:
    """A key of ``matchLabelKeys`` may not be selected otherwise too; its own requirement is there by now."""
    keys, apart = list(term.get("matchLabelKeys") or ()), term.get("mismatchLabelKeys") or ()
    selector = term.get("labelSelector")
    errors: Errors = []
    if selector is not None:
        seen = set(selector.get("matchLabels") or ())
        for wanted in selector.get("matchExpressions") or ():
            key = wanted.get("key") or ""
            if key in keys and key in seen:
                text = "exists in both matchLabelKeys and labelSelector"
                errors.append(invalid_value(f"{path}[{keys.index(key)}]", key, text))
            seen.add(key)
    for index, key in enumerate(keys):
        if key in apart:
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid_value(f"{path}.matchLabelKeys[{index}]", key, text))
    return errors


def _label_key_errors(path: str, keys: Sequence[str], selector: Mapping[str, Any] | None) -> Errors:
    if keys and selector is None:
        return [forbidden_field(path, "must not be specified when labelSelector is not set")]
    errors: Errors = []
    for index, key in enumerate(keys):
        errors += qualified_name(f"{path}[{index}]", key)
    return errors


def toleration_errors(path: str, tolerations: Sequence[Mapping[str, Any]]) -> Errors:
    """``ValidateTolerations``."""
    errors: Errors = []
    for index, toleration in enumerate(tolerations):
        errors += _toleration_errors(f"{path}[{index}]", toleration)
    return errors


def _toleration_errors(path: str, toleration: Mapping[str, Any]) -> Errors:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    errors: Errors = qualified_name(f"{path}.key", key) if key else []
    if not key and operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.append(invalid_value(f"{path}.operator", operator, text))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(invalid_value(f"{path}.effect", effect, text))
    if operator in ("Equal", ""):
        wrong = label_value_errors(value)
        if wrong:
            errors.append(invalid_value(f"{path}.operator", value, ";".join(wrong)))
    elif operator == "Exists":
        if value:
            text = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid_value(f"{path}.operator", value, text))
    else:
        numeric = ("Lt", "Gt") if operator in ("Lt", "Gt") else ()  # known, but behind a gate that is off
        errors.append(not_supported_in_order(f"{path}.operator", operator, ("Equal", "Exists", *numeric)))
    if effect:
        errors += one_of_in_order(f"{path}.effect", effect, _EFFECTS)
    return errors


def taint_effect_errors(path: str, effect: str) -> Errors:
    """``validateTaintEffect`` of a taint, which must have one."""
    return one_of_in_order(path, effect, _EFFECTS) if effect else [required(path)]


def spread_errors(path: str, constraints: Sequence[Mapping[str, Any]]) -> Errors:
    """``validateTopologySpreadConstraints``."""
    errors: Errors = []
    for index, constraint in enumerate(constraints):
        errors += _constraint_errors(f"{path}[{index}]", constraint, constraints[index + 1 :])
    return errors


def _constraint_errors(path: str, constraint: Mapping[str, Any], later: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    if (constraint.get("maxSkew") or 0) <= 0:
        errors.append(invalid_value(f"{path}.maxSkew", constraint.get("maxSkew") or 0, "must be greater than zero"))
    key, action = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    errors += one_of(f"{path}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
    if any((o.get("topologyKey") or "", o.get("whenUnsatisfiable") or "") == (key, action) for o in later):
        errors.append(duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
    errors += _min_domains_errors(f"{path}.minDomains", constraint.get("minDomains"), action)
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if constraint.get(name) is not None:
            errors += one_of(f"{path}.{name}", constraint[name], ("Honor", "Ignore"))
    keys = constraint.get("matchLabelKeys") or ()
    if keys:
        errors += _label_key_errors(f"{path}.matchLabelKeys", keys, constraint.get("labelSelector"))
        errors += _twice_selected_errors(path, constraint)
    return errors + label_selector_errors(f"{path}.labelSelector", constraint.get("labelSelector"))


def _min_domains_errors(path: str, domains: int | None, action: str) -> Errors:
    if domains is None:
        return []
    errors = [] if domains > 0 else [invalid_value(path, domains, "must be greater than zero")]
    if action != "DoNotSchedule":
        text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        errors.append(invalid_value(path, domains, text))
    return errors
