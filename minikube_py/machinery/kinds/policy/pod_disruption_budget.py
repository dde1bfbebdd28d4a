"""PodDisruptionBudget: how many pods may be gone at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import (
    int_or_percent,
    label_selector_errors,
    non_negative,
    one_of,
    percent_over_100,
)
from minikube_py.machinery.kinds.common.condition_validation import condition_errors
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import fresh_status, wire_form
from minikube_py.machinery.names import name_is_path_segment
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import POD_DISRUPTION_BUDGETS

DEFINITION = "io.k8s.api.policy.v1.PodDisruptionBudget"


def validate(budget: Object) -> list[FieldError]:
    """``ValidatePodDisruptionBudgetSpec``."""
    spec = budget.get("spec") or {}
    errors: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        shown = go_object("PodDisruptionBudgetSpec", spec)
        errors.append(invalid_value("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        value = spec.get(field)
        if value is not None:
            errors += int_or_percent(f"spec.{field}", value) + percent_over_100(f"spec.{field}", value)
    errors += label_selector_errors("spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None:
        errors += one_of("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
    return errors


def validate_status(budget: Object, old: Object) -> list[FieldError]:
    """``ValidatePodDisruptionBudgetStatusUpdate``: conditions are complete, no count is negative."""
    status = budget.get("status") or {}
    errors = condition_errors("status.conditions", status.get("conditions") or ())
    for field in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        path = "status.podDisruptionsAllowed" if field == "disruptionsAllowed" else f"status.{field}"
        errors += non_negative(path, status.get(field))
    return errors


def row(budget: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(budget, "spec")
    return (
        name(budget),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        part(budget, "status").get("disruptionsAllowed", 0),
        age(budget, now),
    )


KIND = Kind(
    resource=POD_DISRUPTION_BUDGETS,
    singular="poddisruptionbudget",
    definition=DEFINITION,
    short_names=("pdb",),
    subresources=(Subresource("status"),),
    default=wire_form(DEFINITION),
    prepare_create=fresh_status(DEFINITION),
    validate=validate,
    validate_update=lambda new, old: validate(new),
    validate_status=validate_status,
    generation=True,
    has_status=True,
    unconditional_update=False,
    name_errors=name_is_path_segment,  # its strategy looks at no metadata: the generic rule is the only one
    columns=(
        NAME,
        column("Min Available", text="The minimum number of pods that must be available."),
        column("Max Unavailable", text="The maximum number of pods that may be unavailable."),
        column(
            "Allowed Disruptions", text="Calculated number of pods that may be disrupted at this time.", type="integer"
        ),
        AGE,
    ),
    row=row,
)
