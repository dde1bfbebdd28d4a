"""HorizontalPodAutoscaler v2, the form in which autoscalers are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.autoscaling import hpa_validation
from minikube_py.machinery.kinds.autoscaling.conversion import CPU_PERCENT, cpu_metric
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.kinds.common.strategy import fresh_status
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"
SPEC, STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"
RESOURCE = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")


def fill(autoscaler: Object) -> None:
    """``SetDefaults_HorizontalPodAutoscaler``: one replica at least, 80 % of cpu, the standard behavior."""
    spec = child(autoscaler, "spec")
    set_default(spec, minReplicas=1)
    if not spec.get("metrics"):
        spec["metrics"] = [cpu_metric(CPU_PERCENT)]
    default_behavior(spec)


def default_behavior(spec: Object) -> None:
    """``SetDefaults_HorizontalPodAutoscalerBehavior``."""
    behavior = spec.get("behavior")
    if behavior is None:
        return
    up, down = child(behavior, "scaleUp"), child(behavior, "scaleDown")
    set_default(up, stabilizationWindowSeconds=0, selectPolicy="Max")
    if up.get("policies") is None:
        up["policies"] = [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]
    set_default(down, selectPolicy="Max")
    if down.get("policies") is None:
        down["policies"] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def default(autoscaler: Object) -> None:
    """The wire form and the defaults. A list of no policies is not defaulted: it is an error."""
    behavior = (autoscaler.get("spec") or {}).get("behavior") or {}
    empty = [side for side in ("scaleUp", "scaleDown") if (behavior.get(side) or {}).get("policies") == []]
    to_wire_form(DEFINITION, autoscaler)
    if empty:
        behavior = child(child(autoscaler, "spec"), "behavior")
    for side in empty:
        child(behavior, side)["policies"] = []
    fill(autoscaler)


def row(autoscaler: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(autoscaler, "spec"), part(autoscaler, "status")
    target = part(spec, "scaleTargetRef")
    low = spec.get("minReplicas")
    return (
        name(autoscaler),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics_text(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        "<unset>" if low is None else str(low),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(autoscaler, now),
    )


_SHOWN = 2


def _metrics_text(metrics: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]) -> str:
    """``formatHPAMetrics``: current over target, the first two and how many more."""
    if not metrics:
        return "<none>"
    texts = [
        _metric_text(metric, current[index] if index < len(current) else {}) for index, metric in enumerate(metrics)
    ]
    shown = ", ".join(texts[:_SHOWN])
    return shown + (f" + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else "")


def _metric_text(metric: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    kind = metric.get("type") or ""
    field = kind[:1].lower() + kind[1:]
    source, now = part(metric, field), part(current, field, "current")
    target = part(source, "target")
    if kind in ("Resource", "ContainerResource"):
        prefix = f"{source.get('name', '')}: "
        if target.get("averageValue") is not None:
            return f"{prefix}{now.get('averageValue') or '<unknown>'}/{target['averageValue']}"
        used, wanted = now.get("averageUtilization"), target.get("averageUtilization")
        wanted_text = "<auto>" if wanted is None else f"{wanted}%"
        return f"{prefix}{'<unknown>' if used is None else f'{used}%'}/{wanted_text}"
    if target.get("averageValue") is not None:
        suffix = "" if kind == "Pods" else " (avg)"
        return f"{now.get('averageValue') or '<unknown>'}/{target['averageValue']}{suffix}"
    return f"{now.get('value') or '<unknown>'}/{target.get('value', '')}"


COLUMNS = (
    NAME,
    column("Reference", f"{SPEC}.scaleTargetRef"),
    column("Targets", f"{SPEC}.metrics"),
    column("MinPods", f"{SPEC}.minReplicas"),
    column("MaxPods", f"{SPEC}.maxReplicas"),
    column("Replicas", f"{STATUS}.currentReplicas"),
    AGE,
)

KIND = Kind(
    resource=RESOURCE,
    singular="horizontalpodautoscaler",
    definition=DEFINITION,
    short_names=("hpa",),
    categories=("all",),
    subresources=(Subresource("status"),),
    default=default,
    prepare_create=fresh_status(DEFINITION),
    validate=hpa_validation.validate,
    validate_update=hpa_validation.validate_update,
    validate_status=hpa_validation.validate_status,
    has_status=True,
    columns=COLUMNS,
    row=row,
)
