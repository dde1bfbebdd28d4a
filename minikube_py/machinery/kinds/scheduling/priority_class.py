"""PriorityClass: a name for a priority of pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import preemption_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.setting import set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import PRIORITY_CLASSES

DEFINITION = "io.k8s.api.scheduling.v1.PriorityClass"
HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def fill(priority_class: Object) -> None:
    """Pods of the class preempt others unless it says otherwise."""
    set_default(priority_class, preemptionPolicy="PreemptLowerPriority")


def prepare_create(priority_class: Object) -> None:
    """A class has a generation, which counts nothing: what may change of it does not make a new one."""
    priority_class["metadata"]["generation"] = 1


def validate(priority_class: Object) -> list[FieldError]:
    """``ValidatePriorityClass``."""
    called, value = name_of(priority_class), priority_class.get("value") or 0
    errors: list[FieldError] = []
    if called.startswith("system-"):
        why = _unlike_system_class(called, value, by_default=bool(priority_class.get("globalDefault")))
        if why:
            text = f"priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            errors.append(forbidden_field("metadata.name", text))
    elif value > HIGHEST_USER_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        errors.append(forbidden_field("value", text))
    return errors + preemption_errors("preemptionPolicy", priority_class.get("preemptionPolicy"))


def _unlike_system_class(called: str, value: int, *, by_default: bool) -> str:
    """In what a class differs from the system's own of its name (``IsKnownSystemPriorityClass``)."""
    if called not in _SYSTEM:
        return f"{called} is not a known system priority class"
    if value != _SYSTEM[called]:
        return f"value of {called} PriorityClass must be {_SYSTEM[called]}"
    return f"globalDefault of {called} PriorityClass must be false" if by_default else ""


def validate_update(priority_class: Object, old: Object) -> list[FieldError]:
    """Value and preemption policy never change."""
    errors: list[FieldError] = []
    if (priority_class.get("value") or 0) != (old.get("value") or 0):
        errors.append(forbidden_field("value", "may not be changed in an update."))
    return errors + immutable("preemptionPolicy", priority_class.get("preemptionPolicy"), old.get("preemptionPolicy"))


def row(priority_class: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (
        name(priority_class),
        priority_class.get("value", 0),
        bool(priority_class.get("globalDefault")),
        age(priority_class, now),
        priority_class.get("preemptionPolicy") or "",
    )


KIND = Kind(
    resource=PRIORITY_CLASSES,
    singular="priorityclass",
    definition=DEFINITION,
    short_names=("pc",),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    validate=validate,
    validate_update=validate_update,
    columns=(
        NAME,
        column("Value", f"{DEFINITION}.value", type="integer"),
        column("Global-Default", f"{DEFINITION}.globalDefault", type="boolean"),
        AGE,
        column("PreemptionPolicy", f"{DEFINITION}.preemptionPolicy"),
    ),
    row=row,
)
