"""How many replicas each metric of an autoscaler asks for, and what its status shows of the metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.components.controllers.horizontal_pod_autoscaler.metrics import (
    MetricsApi,
    Unmeasured,
    external_value,
    object_value,
    pod_samples,
    resource_samples,
)
from minikube_py.components.controllers.horizontal_pod_autoscaler.replicas import (
    Situation,
    by_average,
    by_share,
    by_total,
    by_utilization,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import Quantity, quantity_milli
from minikube_py.machinery.selectors import selector_from_label_selector

_MICRO = 10**6
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled, as metrics see it."""

    namespace: str
    selector: str
    situation: Situation
    observed: int
    """Replicas that the target's status counts."""
    resource_of: Callable[[Json], str]
    """The qualified plural of an object reference's kind. Raises Unmeasured."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for: replicas, how messages name the metric, its entry of ``status.currentMetrics``."""

    replicas: int
    name: str
    status: Object


class Unusable(Exception):
    """A metric says nothing: ``reason`` and ``detail`` for event and condition, the text for what sums them up."""

    def __init__(self, reason: str, detail: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.detail = detail


async def propose(api: MetricsApi, metric: Json, target: Target) -> Proposal:
    """What a metric of the specification asks for. Raises Unusable."""
    sort = str(metric.get("type"))
    compute, reason, failed = _SORTS[sort]
    field = sort[0].lower() + sort[1:]
    source = metric.get(field) or {}
    name = source.get("name") or (source.get("metric") or {}).get("name")
    try:
        replicas, told, entry = await compute(api, source, target)
    except Unmeasured as error:
        text = f"{failed.format(name=name)}: {_kind_of_target(sort, source, str(name))}{error}"
        raise Unusable(reason, str(error), text) from error
    return Proposal(replicas, told, {"type": sort, field: entry})


def _kind_of_target(sort: str, source: Json, name: str) -> str:
    """What sums of failures add for some kinds of targets."""
    average = (source.get("target") or {}).get("averageValue") is not None
    if sort == "External":
        return f"failed to get {name} external metric: " if average else f"failed to get external metric {name}: "
    return f"failed to get {name} object metric: " if sort == "Object" and average else ""


Computed = tuple[int, str, Object]


async def _resource(api: MetricsApi, source: Json, target: Target, container: str = "") -> Computed:
    name, wanted = str(source["name"]), source.get("target") or {}
    average = wanted.get("averageValue")
    try:
        try:
            samples = await resource_samples(api, target.namespace, name, target.selector, container)
        except Unmeasured as error:
            raise Unmeasured(f"unable to get metrics for resource {name}: {error}") from error
        if average is not None:
            replicas, used = by_average(target.situation, samples, name, quantity_milli(average))
            told = f"{name} resource"
            current: Object = {"averageValue": _milli_text(used)}
        else:
            aim = int(wanted["averageUtilization"])
            replicas, percent, used = by_utilization(target.situation, samples, name, container, aim)
            told = f"{name} {'container ' if container else ''}resource utilization (percentage of request)"
            current = {"averageValue": _milli_text(used), "averageUtilization": percent}
    except Unmeasured as error:
        measured = "utilization" if average is None else "usage"
        raise Unmeasured(f"failed to get {name} {measured}: {error}") from error
    return replicas, told, {"name": name, "current": current}


async def _container_resource(api: MetricsApi, source: Json, target: Target) -> Computed:
    container = str(source["container"])
    replicas, told, entry = await _resource(api, source, target, container)
    return replicas, told, {**entry, "container": container}


async def _pods(api: MetricsApi, source: Json, target: Target) -> Computed:
    name, selector = _identified(source)
    try:
        samples = await pod_samples(api, target.namespace, name, target.selector, selector)
    except Unmeasured as error:
        raise Unmeasured(f"unable to get metric {name}: {error}") from error
    replicas, used = by_average(target.situation, samples, "", quantity_milli(source["target"]["averageValue"]))
    return replicas, f"pods metric {name}", {"metric": source["metric"], "current": {"averageValue": _milli_text(used)}}


async def _object(api: MetricsApi, source: Json, target: Target) -> Computed:
    name, selector = _identified(source)
    described, wanted = source["describedObject"], source["target"]
    where = f"{described['kind']} on {target.namespace} {described['name']}"
    try:
        resource = target.resource_of(described)
        value = await object_value(api, target.namespace, resource, str(described["name"]), name, selector)
    except Unmeasured as error:
        raise Unmeasured(f"unable to get metric {name}: {where}/{error}") from error
    if wanted.get("type") == "Value":
        replicas = by_total(target.situation, value, quantity_milli(wanted["value"]))
        current = {"value": _milli_text(value)}
        entry = {"metric": source["metric"], "current": current, "describedObject": described}
        return replicas, f"{described['kind']} metric {name}", entry
    aim = quantity_milli(wanted["averageValue"])
    replicas, share = by_share(target.observed, target.situation.tolerances, value, aim)
    entry = {"metric": source["metric"], "current": {"averageValue": _milli_text(share)}}
    return replicas, _external_name(source), {**entry, "describedObject": {"kind": "", "name": ""}}


async def _external(api: MetricsApi, source: Json, target: Target) -> Computed:
    name, selector = _identified(source)
    wanted = source["target"]
    try:
        value = await external_value(api, target.namespace, name, selector)
    except Unmeasured as error:
        shown = go_label_selector(source["metric"].get("selector"))
        raise Unmeasured(f"unable to get external metric {target.namespace}/{name}/{shown}: {error}") from error
    if wanted.get("averageValue") is not None:
        aim = quantity_milli(wanted["averageValue"])
        replicas, share = by_share(target.observed, target.situation.tolerances, value, aim)
        current = {"averageValue": _milli_text(share)}
    else:
        replicas = by_total(target.situation, value, quantity_milli(wanted["value"]))
        current = {"value": _milli_text(value)}
    return replicas, _external_name(source), {"metric": source["metric"], "current": current}


_SORTS: Mapping[str, tuple[Any, str, str]] = {
    "Resource": (_resource, "FailedGetResourceMetric", "failed to get {name} resource metric value"),
    "ContainerResource": (
        _container_resource,
        "FailedGetContainerResourceMetric",
        "failed to get {name} container metric value",
    ),
    "Pods": (_pods, "FailedGetPodsMetric", "failed to get pods metric value"),
    "Object": (_object, "FailedGetObjectMetric", "failed to get object metric value"),
    "External": (_external, "FailedGetExternalMetric", "failed to get {name} external metric value"),
}
"""By type: what computes it, the reason of its failure, how the failure is summed up."""


def _identified(source: Json) -> tuple[str, str]:
    """The name of a custom or external metric, and its selector as text."""
    metric = source.get("metric") or {}
    selector = metric.get("selector")
    return str(metric.get("name")), str(selector_from_label_selector(selector)) if selector else ""


def _external_name(source: Json) -> str:
    metric = source["metric"]
    return f"external metric {metric['name']}({go_label_selector(metric.get('selector'))})"


def _milli_text(value: int) -> str:
    return str(Quantity(value * _MICRO))


def go_label_selector(selector: Json | None) -> str:
    """A label selector as Go prints it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    requirements = "".join(
        f"LabelSelectorRequirement{{Key:{item['key']},Operator:{item['operator']},"
        f"Values:[{' '.join(item.get('values') or ())}],}},"
        for item in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )
