"""HorizontalPodAutoscaler v1 and v2: what v1 cannot say travels in annotations.

Objects are stored as v2. ``to_v2`` consumes a private v1 draft, ``from_v2`` copies a stored object.
The annotations are those of ``pkg/apis/autoscaling/v1/conversion.go``: metrics in v1's own older form
(``annotated_metrics``), the behavior with Go's field names, conditions as they are.
"""

from __future__ import annotations

from typing import Any

import orjson

from minikube_py.machinery.kinds.autoscaling.annotated_metrics import (
    spec_from_v1,
    spec_to_v1,
    status_from_v1,
    status_to_v1,
)
from minikube_py.machinery.kinds.common.go_text import go_json
from minikube_py.machinery.objects import Object, thaw

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_TOLERANCES = (
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
)
_ANNOTATIONS = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR, *_TOLERANCES)
CPU_PERCENT = 80
"""The utilization that is aimed at when no metric is asked for."""

_RULE_FIELDS = ("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance")
_POLICY_FIELDS = {"type": "", "value": 0, "periodSeconds": 0}
_CONDITION_FIELDS = ("type", "status", "lastTransitionTime", "reason", "message")


def cpu_metric(percent: int) -> Object:
    """The v2 metric that v1's percentage stands for."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def to_v2(draft: Object) -> Object:
    """A v1 draft as v2. The percentage comes after the metrics of the annotation."""
    draft["apiVersion"] = "autoscaling/v2"
    spec, status = draft.setdefault("spec", {}), draft.setdefault("status", {})
    annotations = (draft.get("metadata") or {}).get("annotations") or {}
    metrics = [spec_from_v1(metric) for metric in _loaded_list(annotations, METRICS)]
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None or not metrics:
        metrics.append(cpu_metric(CPU_PERCENT if percent is None else percent))
    spec["metrics"] = metrics
    behavior = _behavior_from_go(_loaded(annotations, BEHAVIOR))
    if behavior:
        spec["behavior"] = behavior
    used = status.pop("currentCPUUtilizationPercentage", None)
    current = [status_from_v1(metric) for metric in _loaded_list(annotations, CURRENT_METRICS)]
    if not current and used is not None:
        current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": used}}}]
    status["currentMetrics"] = current or None
    conditions = _loaded_list(annotations, CONDITIONS)
    if conditions:
        status["conditions"] = conditions
    _drop_annotations(draft)
    return draft


def from_v2(stored: Object) -> Object:
    """A stored v2 object as v1."""
    result = thaw(stored)
    result["apiVersion"] = "autoscaling/v1"
    _drop_annotations(result)
    spec, status = result.setdefault("spec", {}), result.setdefault("status", {})
    metrics = spec.pop("metrics", None) or []
    shares = [metric for metric in metrics if _utilization(metric, "target") is not None]
    if shares:
        spec["targetCPUUtilizationPercentage"] = _utilization(shares[0], "target")
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        used = _utilization(metric, "current")
        if used is not None:
            status["currentCPUUtilizationPercentage"] = used
    behavior = spec.pop("behavior", None)
    saved = {
        METRICS: [spec_to_v1(metric) for metric in metrics if _utilization(metric, "target") is None],
        CURRENT_METRICS: [status_to_v1(metric) for metric in current],
        BEHAVIOR: None if behavior is None else _behavior_to_go(behavior),
        CONDITIONS: [_condition(condition) for condition in status.pop("conditions", None) or ()],
    }
    texts = {key: go_json(value) for key, value in saved.items() if value}
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    if texts:
        result.setdefault("metadata", {}).setdefault("annotations", {}).update(texts)
    return result


def _drop_annotations(draft: Object) -> None:
    meta = draft.get("metadata") or {}
    annotations = meta.get("annotations")
    if annotations is None:
        return
    for key in _ANNOTATIONS:
        annotations.pop(key, None)
    if not annotations:
        del meta["annotations"]


def _utilization(metric: Object, field: str) -> int | None:
    """The percentage in ``target`` or ``current`` of a metric that v1 has fields for: the share of cpu."""
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    found: int | None = (resource.get(field) or {}).get("averageUtilization")
    return found


def _condition(condition: Object) -> Object:
    shown = {field: condition[field] for field in _CONDITION_FIELDS if condition.get(field)}
    return {"type": "", "status": "", "lastTransitionTime": None, **shown}


def _behavior_to_go(behavior: Object) -> Object:
    """The behavior as Go prints a structure without JSON names."""
    return {_go_name(field): _rules_to_go(behavior.get(field)) for field in ("scaleUp", "scaleDown")}


def _rules_to_go(rules: Object | None) -> Object | None:
    if rules is None:
        return None
    shown = {_go_name(field): rules.get(field) for field in _RULE_FIELDS}
    if rules.get("policies") is not None:
        shown["Policies"] = [
            {_go_name(field): policy.get(field, zero) for field, zero in _POLICY_FIELDS.items()}
            for policy in rules["policies"]
        ]
    return shown


def _behavior_from_go(behavior: Any) -> Object:
    found = {}
    for field in ("scaleUp", "scaleDown"):
        rules = _go_field(behavior, field)
        if isinstance(rules, dict):
            found[field] = _rules_from_go(rules)
    return found


def _rules_from_go(rules: Object) -> Object:
    found = {field: value for field in _RULE_FIELDS if (value := _go_field(rules, field)) is not None}
    if isinstance(found.get("policies"), list):
        found["policies"] = [
            {field: zero if (value := _go_field(policy, field)) is None else value
             for field, zero in _POLICY_FIELDS.items()}
            for policy in found["policies"]
        ]  # fmt: skip
    return found


def _go_name(field: str) -> str:
    return field[:1].upper() + field[1:]


def _go_field(value: Any, field: str) -> Any:
    """A field as Go's decoder finds it: in any case, by its exact Go name first."""
    if not isinstance(value, dict):
        return None
    if _go_name(field) in value:
        return value[_go_name(field)]
    return next((found for key, found in value.items() if key.lower() == field.lower()), None)


def _loaded_list(annotations: Object, key: str) -> list[Any]:
    found = _loaded(annotations, key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _loaded(annotations: Object, key: str) -> Any:
    text = annotations.get(key)
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None  # an annotation that anybody may write: what does not parse says nothing
