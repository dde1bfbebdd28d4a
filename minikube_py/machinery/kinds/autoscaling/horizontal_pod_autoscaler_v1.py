"""HorizontalPodAutoscaler v1, the old form: only cpu utilization as a field, the rest in annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Cell
from minikube_py.machinery.kinds.autoscaling import horizontal_pod_autoscaler_v2 as v2
from minikube_py.machinery.kinds.autoscaling import hpa_validation
from minikube_py.machinery.kinds.autoscaling.conversion import CPU_PERCENT, METRICS, from_v2, to_v2
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.objects import Object, annotations_of, thaw
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler"


def fill(autoscaler: Object) -> None:
    """One replica at least; 80 % of cpu when no metric is asked for."""
    spec = child(autoscaler, "spec")
    set_default(spec, minReplicas=1)
    if METRICS not in annotations_of(autoscaler):
        set_default(spec, targetCPUUtilizationPercentage=CPU_PERCENT)


def validate(autoscaler: Object) -> list[FieldError]:
    """Checked in its v2 form."""
    return hpa_validation.validate(to_v2(thaw(autoscaler)))


def validate_update(autoscaler: Object, old: Object) -> list[FieldError]:
    return hpa_validation.validate_update(to_v2(thaw(autoscaler)), to_v2(thaw(old)))


def to_stored(draft: Object) -> Object:
    """The v2 form with v2's defaults, as it is read back from the store."""
    stored = to_v2(draft)
    to_wire_form(v2.DEFINITION, stored)
    v2.default_behavior(stored["spec"])
    return stored


def row(autoscaler: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return v2.row(to_v2(thaw(dict(autoscaler))), now)


KIND = replace(
    v2.KIND,
    resource=Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    definition=DEFINITION,
    storage=v2.RESOURCE,
    to_storage=to_stored,
    from_storage=from_v2,
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    row=row,
)
