"""The objects of flow control that every server has, whose specs nobody may change.

Those of ``apiserver/pkg/apis/flowcontrol/bootstrap`` that it calls mandatory; suggested ones are free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import duplicate, invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.objects import Object, name_of

_EVERYTHING: Mapping[str, Any] = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _groups(*names: str) -> list[Any]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


_SCHEMAS: Mapping[str, Any] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": [{"subjects": _groups("system:masters"), **_EVERYTHING}],
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": _groups("system:unauthenticated", "system:authenticated"), **_EVERYTHING}],
    },
}
_LEVELS: Mapping[str, Any] = {
    "exempt": {"type": "Exempt"},
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    },
}


def schema_errors(schema: Object) -> Errors:
    """A mandatory FlowSchema is as it was made."""
    called, spec = name_of(schema), schema.get("spec") or {}
    if called not in _SCHEMAS or spec == _SCHEMAS[called]:
        return []
    text = f"spec of '{called}' must equal the fixed value"
    return [invalid_value("spec", go_object("FlowSchemaSpec", spec), text)]


def level_errors(level: Object) -> Errors:
    """A mandatory PriorityLevelConfiguration is as it was made; only what "exempt" lends may change."""
    called, spec = name_of(level), level.get("spec") or {}
    free = "exempt" if called == "exempt" else ""
    if called not in _LEVELS or {key: value for key, value in spec.items() if key != free} == _LEVELS[called]:
        return []
    besides = " except the 'spec.exempt' field" if free else ""
    text = f"spec of '{called}'{besides} must equal the fixed value"
    return [invalid_value("spec", go_object("PriorityLevelConfigurationSpec", spec), text)]


def status_errors(obj: Object) -> Errors:
    """Conditions of either kind have a type, each its own."""
    errors: Errors = []
    seen: set[str] = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(path, kind))
        seen.add(kind)
        if not kind:
            errors.append(required(path, "must not be empty"))
    return errors
