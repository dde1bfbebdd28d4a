"""What the metrics APIs say: metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io.

All three are served by aggregated API servers, if at all. Values are in thousandths. Errors are told in the words of
client-go and kube-controller-manager, since they end up in the conditions of autoscalers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.quantities import quantity_milli
from minikube_py.machinery.times import parse_time

RESOURCE_API, EXTERNAL_API = "metrics.k8s.io/v1beta1", "external.metrics.k8s.io/v1beta1"
_CUSTOM_GROUP, _CUSTOM_VERSIONS = "custom.metrics.k8s.io", ("v1beta2", "v1beta1")
_default_window_seconds = 60.0
_PART = re.compile(r"([0-9.]+)(ms|us|µs|ns|h|m|s)")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class MetricsApi(Protocol):
    """Reads paths of aggregated API servers."""

    def serves(self, group: str, version: str) -> bool:
        """Whether there is a server for a group version."""

    async def read(self, path: str, query: Mapping[str, str]) -> Object:
        """The object at a path. Raises ApiError; without details when it is not the server's own answer."""


class NoMetrics(MetricsApi):
    """Nobody serves metrics."""

    def serves(self, group: str, version: str) -> bool:
        return False

    async def read(self, path: str, query: Mapping[str, str]) -> Object:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")


class Unmeasured(Exception):
    """A metric that cannot be had, or says nothing; the text tells why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured of one pod."""

    value: int
    timestamp: float = 0.0
    window_seconds: float = _default_window_seconds


Samples = dict[str, Sample]
"""Samples by the names of pods."""


async def resource_samples(
    api: MetricsApi, namespace: str, resource: str, selector: str, container: str = ""
) -> Samples:
    """The use of a resource by pods, or by one container of each. Raises Unmeasured."""
    path = f"/apis/{RESOURCE_API}/namespaces/{namespace}/pods"
    items = await _items(api, path, {"labelSelector": selector}, "pods.metrics.k8s.io", "resource metrics API")
    found: Samples = {}
    for item in items:
        used = _container_use(item, resource, container) if container else _pod_use(item, resource)
        if used is not None:
            found[name_of(item)] = Sample(used, _moment(item), _seconds(item.get("window")))
    return found


def _pod_use(item: Object, resource: str) -> int | None:
    """The sum over containers; None unless all of them have a value."""
    values = [(part.get("usage") or {}).get(resource) for part in item.get("containers") or ()]
    if not values or None in values:
        return None
    return sum(quantity_milli(value) for value in values)


def _container_use(item: Object, resource: str, container: str) -> int | None:
    for part in item.get("containers") or ():
        if part.get("name") == container:
            value = (part.get("usage") or {}).get(resource)
            return None if value is None else quantity_milli(value)
    where = f"{namespace_of(item)}/{name_of(item)}"
    raise Unmeasured(f"failed to get container metrics: container {container} not present in metrics for pod {where}")


async def pod_samples(api: MetricsApi, namespace: str, metric: str, selector: str, metric_selector: str) -> Samples:
    """A custom metric of each pod. Raises Unmeasured."""
    path = f"{_custom_path(api)}/namespaces/{namespace}/pods/*/{metric}"
    query = {"labelSelector": selector, "metricLabelSelector": metric_selector}
    items = await _items(api, path, query, f"pods.{_CUSTOM_GROUP} *", "custom metrics API")
    found: Samples = {}
    for item in items:
        seconds = item.get("windowSeconds", item.get("window"))
        window = _default_window_seconds if seconds is None else float(seconds)
        name = str((item.get("describedObject") or {}).get("name"))
        found[name] = Sample(quantity_milli(item.get("value")), _moment(item), window)
    return found


async def object_value(api: MetricsApi, namespace: str, resource: str, name: str, metric: str, selector: str) -> int:
    """A custom metric of one object; ``resource`` is its qualified plural. Raises Unmeasured."""
    where = f"namespaces/{namespace}" + ("" if resource == "namespaces" else f"/{resource}/{name}")
    path = f"{_custom_path(api)}/{where}/{'metrics/' if resource == 'namespaces' else ''}{metric}"
    query = {"metricLabelSelector": selector}
    items = await _items(
        api, path, query, f"{resource}.{_CUSTOM_GROUP} {name}", "custom metrics API", may_be_empty=True
    )
    if len(items) != 1:
        told = f"the custom metrics API server returned {len(items)} results when we asked for exactly one"
        raise Unmeasured(f"unable to fetch metrics from custom metrics API: {told}")
    return quantity_milli(items[0].get("value"))


async def external_value(api: MetricsApi, namespace: str, metric: str, selector: str) -> int:
    """The sum of all values of an external metric. Raises Unmeasured."""
    path = f"/apis/{EXTERNAL_API}/namespaces/{namespace}/{metric}"
    asked = f"{metric}.external.metrics.k8s.io"
    items = await _items(api, path, {"labelSelector": selector}, asked, "external metrics API")
    return sum(quantity_milli(item.get("value")) for item in items)


def _custom_path(api: MetricsApi) -> str:
    for version in _CUSTOM_VERSIONS:
        if api.serves(_CUSTOM_GROUP, version):
            return f"/apis/{_CUSTOM_GROUP}/{version}"
    told = f"no custom metrics API ({_CUSTOM_GROUP}) registered"
    raise Unmeasured(f"unable to fetch metrics from custom metrics API: {told}")


async def _items(
    api: MetricsApi, path: str, query: Mapping[str, str], asked: str, named: str, *, may_be_empty: bool = False
) -> Sequence[Object]:
    try:
        found = await api.read(path, {key: value for key, value in query.items() if value})
    except ApiError as error:
        told = error.message if error.details else f"{error.message} (get {asked})"
        raise Unmeasured(f"unable to fetch metrics from {named}: {told}") from error
    items = found.get("items") or ()
    if not items and not may_be_empty:
        raise Unmeasured(f"no metrics returned from {named}")
    return items


def _moment(item: Object) -> float:
    try:
        return parse_time(str(item.get("timestamp")))
    except ValueError:
        return 0.0


def _seconds(window: Any) -> float:
    """A Go duration in seconds."""
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(str(window or "")))
