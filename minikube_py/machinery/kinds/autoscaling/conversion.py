"""HorizontalPodAutoscaler v1 and v2: what v1 cannot say travels in annotations.

Objects are stored as v2. ``to_v2`` consumes a private v1 draft, ``from_v2`` copies a stored object.
"""

from __future__ import annotations

from typing import Any

import orjson

from minikube_py.machinery.objects import Object, thaw

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu"


def to_v2(draft: Object) -> Object:
    """A v1 draft as v2."""
    draft["apiVersion"] = "autoscaling/v2"
    spec, status = draft.setdefault("spec", {}), draft.setdefault("status", {})
    annotations = (draft.get("metadata") or {}).get("annotations") or {}
    metrics = _loaded(annotations, METRICS) or []
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _loaded(annotations, BEHAVIOR)
    if behavior:
        spec["behavior"] = behavior
    current = _loaded(annotations, CURRENT_METRICS) or []
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        entry = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": used}}}
        current.insert(0, entry)
    status["currentMetrics"] = current or None
    conditions = _loaded(annotations, CONDITIONS)
    if conditions:
        status["conditions"] = conditions
    for key in _ANNOTATIONS:
        annotations.pop(key, None)
    if not annotations:
        (draft.get("metadata") or {}).pop("annotations", None)
    return draft


def from_v2(stored: Object) -> Object:
    """A stored v2 object as v1."""
    result = thaw(stored)
    result["apiVersion"] = "autoscaling/v1"
    spec, status = result.setdefault("spec", {}), result.setdefault("status", {})
    metrics = spec.pop("metrics", None) or []
    current = status.pop("currentMetrics", None) or []
    saved: dict[str, Any] = {}
    percent = _take(metrics, "target")
    if percent is not None:
        spec["targetCPUUtilizationPercentage"] = percent
    used = _take(current, "current")
    if used is not None:
        status["currentCPUUtilizationPercentage"] = used
    for key, value in ((METRICS, metrics), (CURRENT_METRICS, current), (CONDITIONS, status.pop("conditions", None)),
                       (BEHAVIOR, spec.pop("behavior", None))):  # fmt: skip
        if value:
            saved[key] = orjson.dumps(value).decode()
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    if saved:
        result.setdefault("metadata", {}).setdefault("annotations", {}).update(saved)
    return result


def _take(metrics: list[Any], field: str) -> int | None:
    """Remove the first cpu utilization from the list and return its percentage."""
    for index, metric in enumerate(metrics):
        value = ((metric.get("resource") or {}).get(field) or {}).get("averageUtilization")
        if _is_cpu(metric) and value is not None:
            del metrics[index]
            return int(value)
    return None


def _loaded(annotations: Object, key: str) -> Any:
    text = annotations.get(key)
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None  # an annotation that anybody may write: what does not parse says nothing
