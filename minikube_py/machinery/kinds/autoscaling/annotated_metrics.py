"""Metrics in the older form of autoscaling/v1, which only occurs in annotations.

There a metric has its target's values beside its name: ``{"type": "Pods", "pods": {"metricName": "m",
"targetAverageValue": "5"}}``. The order of fields is that of Go's structures, so that texts are equal
to Kubernetes'. Amounts that v1 requires are "0" where v2 has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.objects import Object

_Source = Mapping[str, Any]
_SOURCES = ("object", "pods", "resource", "containerResource", "external")


def spec_to_v1(metric: Object) -> Object:
    """A v2 metric that is aimed at, in v1's form."""
    return _converted(metric, lambda source, of: _source_to_v1(source, of, "target", "targetValue"))


def status_to_v1(metric: Object) -> Object:
    """A v2 metric that was measured, in v1's form."""
    return _converted(metric, lambda source, of: _source_to_v1(source, of, "current", "currentValue"))


def spec_from_v1(metric: Object) -> Object:
    """A metric that is aimed at, from v1's form; the type of its target follows from what is given."""
    return _converted(metric, _spec_source_from_v1)


def status_from_v1(metric: Object) -> Object:
    """A metric that was measured, from v1's form."""
    return _converted(metric, _status_source_from_v1)


def _converted(metric: Object, convert: Callable[[str, _Source], Object]) -> Object:
    result: Object = {"type": metric.get("type") or ""}
    for source in _SOURCES:
        if isinstance(metric.get(source), dict):
            result[source] = convert(source, metric[source])
    return result


def _given(**fields: Any) -> Object:
    """The fields that are not None, in their order."""
    return {name: value for name, value in fields.items() if value is not None}


def _reference(value: Any) -> Object:
    found = value if isinstance(value, dict) else {}
    shown: Object = {"kind": found.get("kind") or "", "name": found.get("name") or ""}
    return {**shown, "apiVersion": found["apiVersion"]} if found.get("apiVersion") else shown


def _selector(value: Any) -> Any:
    """A label selector with its fields in Go's order and its labels sorted."""
    if not isinstance(value, dict):
        return None
    labels, expressions = value.get("matchLabels"), value.get("matchExpressions") or ()
    listed = [_given(**{field: item.get(field) for field in ("key", "operator", "values")}) for item in expressions]
    return _given(matchLabels=dict(sorted(labels.items())) if labels else None, matchExpressions=listed or None)


def _average(value_field: str) -> str:
    """``targetValue``, ``currentValue``: ``targetAverageValue``, ``currentAverageValue``."""
    return value_field.replace("Value", "AverageValue")


def _source_to_v1(source: str, of: _Source, values: str, value_field: str) -> Object:
    amounts, measured = of.get(values) or {}, values == "current"
    average = amounts.get("averageValue")
    if source in ("resource", "containerResource"):
        fields = {
            "name": of.get("name") or "",
            value_field.replace("Value", "AverageUtilization"): amounts.get("averageUtilization"),
            _average(value_field): average or "0" if measured else average,
            "container": (of.get("container") or "") if source == "containerResource" else None,
        }
        return _given(**fields)
    metric = of.get("metric") or {}
    called, selector = metric.get("name") or "", _selector(metric.get("selector"))
    if source == "pods":
        return _given(metricName=called, **{_average(value_field): average or "0"}, selector=selector)
    value = amounts.get("value")
    if source == "external":
        shown = value or "0" if measured else value
        fields = {"metricName": called, "metricSelector": selector, value_field: shown, _average(value_field): average}
        return _given(**fields)
    fields = {"target": _reference(of.get("describedObject")), "metricName": called, value_field: value or "0"}
    return _given(**fields, selector=selector, averageValue=average)


def _identifier(of: _Source, selector: str = "selector") -> Object:
    return _given(name=of.get("metricName") or "", selector=of.get(selector))


def _spec_source_from_v1(source: str, of: _Source) -> Object:
    average = of.get("targetAverageValue")
    if source in ("resource", "containerResource"):
        percent = of.get("targetAverageUtilization")
        sort = "AverageValue" if percent is None else "Utilization"
        target = _given(type=sort, averageValue=average, averageUtilization=percent)
        container = (of.get("container") or "") if source == "containerResource" else None
        return _given(name=of.get("name") or "", container=container, target=target)
    if source == "pods":
        return {"metric": _identifier(of), "target": {"type": "AverageValue", "averageValue": average or "0"}}
    value = of.get("targetValue")
    if source == "external":
        target = _given(type="AverageValue" if value is None else "Value", value=value, averageValue=average)
        return {"metric": _identifier(of, "metricSelector"), "target": target}
    average = of.get("averageValue")
    target = _given(type="Value" if average is None else "AverageValue", value=value or "0", averageValue=average)
    return {"describedObject": _reference(of.get("target")), "metric": _identifier(of), "target": target}


def _status_source_from_v1(source: str, of: _Source) -> Object:
    average = of.get("currentAverageValue")
    if source in ("resource", "containerResource"):
        current = _given(averageValue=average or "0", averageUtilization=of.get("currentAverageUtilization"))
        container = (of.get("container") or "") if source == "containerResource" else None
        return _given(name=of.get("name") or "", container=container, current=current)
    if source == "pods":
        return {"metric": _identifier(of), "current": {"averageValue": average or "0"}}
    value = of.get("currentValue") or "0"
    if source == "external":
        return {"metric": _identifier(of, "metricSelector"), "current": _given(value=value, averageValue=average)}
    current = _given(value=value, averageValue=of.get("averageValue"))
    return {"metric": _identifier(of), "current": current, "describedObject": _reference(of.get("target"))}
