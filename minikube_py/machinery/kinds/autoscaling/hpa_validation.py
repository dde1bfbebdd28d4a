"""Validation of HorizontalPodAutoscalers in their v2 form (``pkg/apis/autoscaling/validation``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import Errors, label, named, one_of, quantity
from minikube_py.machinery.kinds.common.resource_names import container_resource_errors
from minikube_py.machinery.names import path_segment_errors
from minikube_py.machinery.objects import Object

_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
"""The types of metrics with their fields, in the order in which fields are looked at."""

_MAX_PERIOD_SECONDS = 1800
_MAX_WINDOW_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class _Options:
    """What an update may keep that a new object may not have."""

    least_replicas: int = 1
    any_target_version: bool = False
    any_object_version: bool = False


def validate(autoscaler: Object) -> Errors:
    """``ValidateHorizontalPodAutoscaler``."""
    return _spec_errors(autoscaler.get("spec") or {}, _Options())


def validate_update(autoscaler: Object, old: Object) -> Errors:
    """``ValidateHorizontalPodAutoscalerUpdate`` with the options of the strategy."""
    spec, before = autoscaler.get("spec") or {}, old.get("spec") or {}
    target, former = spec.get("scaleTargetRef") or {}, before.get("scaleTargetRef") or {}
    described = [
        (metric.get("object") or {}).get("describedObject") or {}
        for metric in before.get("metrics") or ()
        if metric.get("type") == "Object" and metric.get("object") is not None
    ]
    options = _Options(
        least_replicas=0 if before.get("minReplicas") == 0 else 1,
        any_target_version=all((target.get(f) or "") == (former.get(f) or "") for f in ("apiVersion", "kind")),
        any_object_version=any(_version_errors("", reference, core=True) for reference in described),
    )
    return _spec_errors(spec, options)


def _spec_errors(spec: Mapping[str, Any], options: _Options) -> Errors:
    low, high, metrics = spec.get("minReplicas"), spec.get("maxReplicas") or 0, spec.get("metrics") or ()
    errors: Errors = []
    if low is not None and low < options.least_replicas:
        text = f"must be greater than or equal to {options.least_replicas}"
        errors.append(invalid_value("spec.minReplicas", low, text))
    if high < 1:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    if low is not None and high < low:
        errors.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    errors += _reference_errors("spec.scaleTargetRef", target)
    if not options.any_target_version:
        core = target.get("kind") == "ReplicationController"
        errors += _version_errors("spec.scaleTargetRef", target, core=core)
    errors += _metric_list_errors("spec.metrics", metrics, low, options)
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if behavior.get(direction) is not None:
            errors += _rule_errors(f"spec.behavior.{direction}", behavior[direction])
    return errors


def _reference_errors(path: str, target: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for field in ("kind", "name"):
        value = target.get(field) or ""
        errors += named(f"{path}.{field}", value, path_segment_errors) if value else [required(f"{path}.{field}")]
    return errors


def _version_errors(path: str, target: Mapping[str, Any], *, core: bool) -> Errors:
    """``ValidateAPIVersion``; ``core``: the version may be one of the core group."""
    version = target.get("apiVersion") or ""
    if version.count("/") > 1:
        return [invalid_value(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")]
    if not version.rpartition("/")[0] and not core:
        return [invalid_value(f"{path}.apiVersion", version, "apiVersion must specify API group")]
    return []


def _metric_list_errors(path: str, metrics: Sequence[Mapping[str, Any]], low: int | None, options: _Options) -> Errors:
    errors: Errors = []
    external = False
    for index, metric in enumerate(metrics):
        errors += _metric_errors(f"{path}[{index}]", metric, options)
        external = external or metric.get("type") in ("Object", "External")
    if low == 0 and not external:
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(forbidden_field(path, text))
    return errors


def _metric_errors(path: str, metric: Mapping[str, Any], options: _Options) -> Errors:
    """``validateMetricSpec``: of several sources the first is checked, whatever the type says."""
    kind = metric.get("type") or ""
    unknown: Errors = [] if kind in _SOURCES else [not_supported(f"{path}.type", kind, _SOURCES)]
    errors: Errors = [] if kind else [required(f"{path}.type", "must specify a metric source type")]
    errors += unknown
    present = [(name, field) for name, field in _SOURCES.items() if metric.get(field) is not None]
    if present:
        name, field = present[0]
        errors += _source_errors(f"{path}.{field}", name, metric[field], options)
    expected = _SOURCES.get(kind)
    if expected is not None and metric.get(expected) is None:
        errors.append(required(f"{path}.{expected}", "must populate information for the given metric source"))
    errors += unknown
    if len(present) > 1:
        text = "must populate the given metric source only"
        errors += [forbidden_field(f"{path}.{field}", text) for _, field in present if field != expected]
    return errors


def _source_errors(path: str, kind: str, source: Mapping[str, Any], options: _Options) -> Errors:
    target = source.get("target") or {}
    if kind in ("Resource", "ContainerResource"):
        errors = _resource_errors(path, kind, source) + _target_errors(f"{path}.target", target)
        return errors + _share_errors(f"{path}.target", target)
    errors = []
    if kind == "Object":
        described = source.get("describedObject") or {}
        errors += _reference_errors(f"{path}.describedObject", described)
        if not options.any_object_version:
            errors += _version_errors(f"{path}.describedObject", described, core=True)
    called = (source.get("metric") or {}).get("name") or ""
    errors += (
        named(f"{path}.metric.name", called, path_segment_errors)
        if called
        else [required(f"{path}.metric.name", "must specify a metric name")]
    )
    return errors + _target_errors(f"{path}.target", target) + _amount_errors(f"{path}.target", kind, target)


def _resource_errors(path: str, kind: str, source: Mapping[str, Any]) -> Errors:
    """What is measured: a resource, of the pod or of one container."""
    called, container = source.get("name") or "", source.get("container") or ""
    errors: Errors = []
    if not called:
        errors.append(required(f"{path}.name", "must specify a resource name"))
    elif kind == "ContainerResource":
        errors += container_resource_errors(f"{path}.name", called)
    if kind == "ContainerResource":
        missing = [required(f"{path}.container", "must specify a container")]
        errors += label(f"{path}.container", container) if container else missing
    return errors


def _target_errors(path: str, target: Mapping[str, Any]) -> Errors:
    """``validateMetricTarget``."""
    kind, percent = target.get("type") or "", target.get("averageUtilization")
    errors: Errors = [] if kind else [required(f"{path}.type", "must specify a metric target type")]
    if kind not in ("Utilization", "Value", "AverageValue"):
        errors.append(invalid_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantity(target[field]).nano <= 0:
            errors.append(invalid_value(f"{path}.{field}", str(quantity(target[field])), "must be positive"))
    if percent is not None and percent < 1:
        errors.append(invalid_value(f"{path}.averageUtilization", percent, "must be greater than 0"))
    return errors


def _share_errors(path: str, target: Mapping[str, Any]) -> Errors:
    """A resource is aimed at as a share of what is requested, or as an amount."""
    percent, average = target.get("averageUtilization"), target.get("averageValue")
    if percent is None and average is None:
        return [required(f"{path}.averageUtilization", "must set either a target raw value or a target utilization")]
    if percent is not None and average is not None:
        text = "may not set both a target raw value and a target utilization"
        return [forbidden_field(f"{path}.averageValue", text)]
    return []


_AMOUNT_MISSING = {
    "Object": "must set either a target value or averageValue",
    "External": "must set either a target value for metric or a per-pod target",
    "Pods": "must specify a positive target averageValue",
}


def _amount_errors(path: str, kind: str, target: Mapping[str, Any]) -> Errors:
    value, average = target.get("value"), target.get("averageValue")
    if average is None and (value is None or kind == "Pods"):
        return [required(f"{path}.averageValue", _AMOUNT_MISSING[kind])]
    if kind == "External" and value is not None and average is not None:
        text = "may not set both a target value for metric and a per-pod target"
        return [forbidden_field(f"{path}.value", text)]
    return []


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
