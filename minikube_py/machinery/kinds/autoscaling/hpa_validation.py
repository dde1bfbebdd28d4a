"""Validation of HorizontalPodAutoscalers in their v2 form (``pkg/apis/autoscaling/validation``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import Errors, label_selector_errors, named, one_of, quantity
from minikube_py.machinery.names import path_segment_errors
from minikube_py.machinery.objects import Object

_SOURCES = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "External": "external",
    "ContainerResource": "containerResource",
}
_MAX_PERIOD_SECONDS = 1800
_MAX_WINDOW_SECONDS = 3600


def validate(autoscaler: Object) -> Errors:
    """``ValidateHorizontalPodAutoscaler``."""
    spec = autoscaler.get("spec") or {}
    low, high, metrics = spec.get("minReplicas"), spec.get("maxReplicas") or 0, spec.get("metrics") or ()
    errors: Errors = []
    if low is not None and low < 1:
        errors.append(invalid_value("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    if low is not None and high < low:
        errors.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    errors += _target_errors("spec.scaleTargetRef", spec.get("scaleTargetRef") or {})
    errors += _metric_list_errors("spec.metrics", metrics, low)
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if behavior.get(direction) is not None:
            errors += _rule_errors(f"spec.behavior.{direction}", behavior[direction])
    return errors


def _target_errors(path: str, target: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for field in ("kind", "name"):
        value = target.get(field) or ""
        errors += named(f"{path}.{field}", value, path_segment_errors) if value else [required(f"{path}.{field}")]
    version = target.get("apiVersion") or ""
    if version.count("/") > 1:
        errors.append(invalid_value(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    elif not version.rpartition("/")[0] and (target.get("kind") or "") != "ReplicationController":
        errors.append(invalid_value(f"{path}.apiVersion", version, "apiVersion must specify API group"))
    return errors


def _metric_list_errors(path: str, metrics: Sequence[Mapping[str, Any]], low: int | None) -> Errors:
    errors: Errors = []
    external = False
    for index, metric in enumerate(metrics):
        errors += _metric_errors(f"{path}[{index}]", metric)
        external = external or metric.get("type") in ("Object", "External")
    if low == 0 and not external:
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(forbidden_field(path, text))
    return errors


def _metric_errors(path: str, metric: Mapping[str, Any]) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        return [required(f"{path}.type", "must specify a metric source type")]
    errors: Errors = [] if kind in _SOURCES else [not_supported(f"{path}.type", kind, _SOURCES)]
    for name, field in _SOURCES.items():
        source = metric.get(field)
        if source is None:
            continue
        if name == kind:
            errors += _source_errors(f"{path}.{field}", name, source)
        else:
            text = "must populate the given metric source only"
            errors.append(forbidden_field(f"{path}.{field}", text))
    if kind not in _SOURCES:
        errors.append(not_supported(f"{path}.type", kind, _SOURCES))
    elif metric.get(_SOURCES[kind]) is None:
        text = "must populate information for the given metric source"
        errors.append(required(f"{path}.{_SOURCES[kind]}", text))
    return errors


def _source_errors(path: str, kind: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    target = source.get("target") or {}
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            errors.append(required(f"{path}.name", "must specify a resource name"))
        if kind == "ContainerResource" and not source.get("container"):
            errors.append(required(f"{path}.container", "must specify a container"))
        return errors + _resource_target_errors(f"{path}.target", target)
    metric = source.get("metric") or {}
    if kind == "Object":
        errors += _target_errors(f"{path}.describedObject", source.get("describedObject") or {})
    called = metric.get("name") or ""
    errors += (
        named(f"{path}.metric.name", called, path_segment_errors)
        if called
        else [required(f"{path}.metric.name", "must specify a metric name")]
    )
    errors += label_selector_errors(f"{path}.metric.selector", metric.get("selector"))
    return errors + _value_target_errors(f"{path}.target", kind, target)


def _type_errors(path: str, target: Mapping[str, Any]) -> Errors:
    kind = target.get("type") or ""
    if not kind:
        return [required(f"{path}.type", "must specify a metric target type")]
    if kind not in ("Utilization", "Value", "AverageValue"):
        return [invalid_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")]
    errors: Errors = []
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantity(target[field]).nano <= 0:
            errors.append(invalid_value(f"{path}.{field}", str(quantity(target[field])), "must be positive"))
    return errors


def _resource_target_errors(path: str, target: Mapping[str, Any]) -> Errors:
    errors = _type_errors(path, target)
    percent, average = target.get("averageUtilization"), target.get("averageValue")
    if percent is not None and percent < 1:
        errors.append(invalid_value(f"{path}.averageUtilization", percent, "must be greater than 0"))
    if percent is None and average is None:
        text = "must set either a target raw value or a target utilization"
        errors.append(required(f"{path}.averageUtilization", text))
    if percent is not None and average is not None:
        text = "may not set both a target raw value and a target utilization"
        errors.append(forbidden_field(f"{path}.averageValue", text))
    return errors


def _value_target_errors(path: str, kind: str, target: Mapping[str, Any]) -> Errors:
    errors = _type_errors(path, target)
    value, average = target.get("value"), target.get("averageValue")
    if kind == "Pods":
        if average is None or quantity(average).nano <= 0:
            errors.append(required(f"{path}.averageValue", "must specify a positive target averageValue"))
    elif value is None and average is None:
        text = (
            "must set either a target value for metric or a per-pod target"
            if kind == "External"
            else ("must specify either a target value or target averageValue")
        )
        errors.append(required(f"{path}.averageValue", text))
    elif kind == "External" and value is not None and average is not None:
        text = "may not set both a target value for metric and a per-pod target"
        errors.append(forbidden_field(f"{path}.value", text))
    return errors


def _rule_errors(path: str, rules: Mapping[str, Any]) -> Errors:
    window, select, policies = (
        rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy"), rules.get("policies") or ()
    )  # fmt: skip
    errors: Errors = []
    if window is not None and window < 0:
        errors.append(
            invalid_value(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
        )
    if window is not None and window > _MAX_WINDOW_SECONDS:
        text = f"must be less than or equal to {_MAX_WINDOW_SECONDS}"
        errors.append(invalid_value(f"{path}.stabilizationWindowSeconds", window, text))
    if select is not None:
        errors += one_of(f"{path}.selectPolicy", select, ("Disabled", "Max", "Min"))
    if not policies:
        errors.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        errors += _policy_errors(f"{path}.policies[{index}]", policy)
    if rules.get("tolerance") is not None and quantity(rules["tolerance"]).nano < 0:
        text = "must be greater than or equal to 0"
        errors.append(invalid_value(f"{path}.tolerance", str(quantity(rules["tolerance"])), text))
    return errors


def _policy_errors(path: str, policy: Mapping[str, Any]) -> Errors:
    errors = one_of(f"{path}.type", policy.get("type") or "", ("Percent", "Pods"))
    value, period = policy.get("value") or 0, policy.get("periodSeconds") or 0
    if value <= 0:
        errors.append(invalid_value(f"{path}.value", value, "must be greater than zero"))
    if period <= 0:
        errors.append(invalid_value(f"{path}.periodSeconds", period, "must be greater than zero"))
    if period > _MAX_PERIOD_SECONDS:
        text = f"must be less than or equal to {_MAX_PERIOD_SECONDS}"
        errors.append(invalid_value(f"{path}.periodSeconds", period, text))
    return errors


def validate_status(autoscaler: Object, old: Object) -> Errors:
    """``ValidateHorizontalPodAutoscalerStatusUpdate``: no count is negative."""
    status = autoscaler.get("status") or {}
    text = "must be greater than or equal to 0"
    return [
        invalid_value(f"status.{field}", status[field], text)
        for field in ("currentReplicas", "desiredReplicas")
        if (status.get(field) or 0) < 0
    ]
