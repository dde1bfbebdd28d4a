"""Validation of the standard conditions of a status (``metav1validation.ValidateConditions``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, invalid_value, required, too_long
from minikube_py.machinery.kinds.common.checks import Errors, one_of, qualified_name
from minikube_py.machinery.names import matches, regex_error

_MAX_REASON, _MAX_MESSAGE = 1024, 32 * 1024
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'"
)
_EXAMPLES = ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")


def condition_errors(path: str, conditions: Sequence[Mapping[str, Any]]) -> Errors:
    """Errors of a list of ``metav1.Condition``."""
    errors: Errors = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        kind = condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(f"{path}[{index}].type", kind))
        seen.add(kind)
        errors += _one_condition_errors(f"{path}[{index}]", condition)
    return errors


def _one_condition_errors(path: str, condition: Mapping[str, Any]) -> Errors:
    errors = qualified_name(f"{path}.type", condition.get("type") or "")
    errors += one_of(f"{path}.status", condition.get("status") or "", ("False", "True", "Unknown"))
    generation, reason = condition.get("observedGeneration") or 0, condition.get("reason") or ""
    if generation < 0:
        text = "must be greater than or equal to zero"
        errors.append(invalid_value(f"{path}.observedGeneration", generation, text))
    if not condition.get("lastTransitionTime"):
        errors.append(required(f"{path}.lastTransitionTime", "must be set"))
    if not reason:
        errors.append(required(f"{path}.reason", "must be set"))
    elif not matches(_REASON, reason):
        errors.append(invalid_value(f"{path}.reason", reason, regex_error(_REASON_TEXT, _REASON, *_EXAMPLES)))
    if len(reason.encode()) > _MAX_REASON:
        errors.append(too_long(f"{path}.reason", _MAX_REASON))
    if len((condition.get("message") or "").encode()) > _MAX_MESSAGE:
        errors.append(too_long(f"{path}.message", _MAX_MESSAGE))
    return errors
