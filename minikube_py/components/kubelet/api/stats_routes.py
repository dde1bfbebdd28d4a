"""Routes about the node itself: statistics, metrics, configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from minikube_py.components.kubelet.api.measures import Measured, Measures
from minikube_py.components.kubelet.api.summary import summary
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.runtime.types import ContainerStats, RuntimeFailure
from minikube_py.machinery.objects import name_of, namespace_of


class StatsRoutes:
    """Handlers that tell of the node."""

    def __init__(self, kit: Kit, measures: Measures) -> None:
        self._kit = kit
        self._measures = measures

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/stats/summary", self.summary)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/metrics/probes", self.probes)
        app.router.add_get("/metrics/resource", self.resource)
        app.router.add_get("/metrics/cadvisor", self.cadvisor)
        app.router.add_get("/configz", self.configz)

    async def summary(self, request: web.Request) -> web.Response:
        body = summary(await self._measure(), self._kit.settings.node_name)
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        return _text(generate_latest(self._kit.metrics.registry).decode())

    async def probes(self, request: web.Request) -> web.Response:
        registry = self._kit.metrics.registry.restricted_registry(["prober_probe_total"])
        return _text(generate_latest(registry).decode())

    async def resource(self, request: web.Request) -> web.Response:
        return _text("".join(resource_metrics(await self._measure())))

    async def cadvisor(self, request: web.Request) -> web.Response:
        return _text("".join(cadvisor_metrics(await self._measure())))

    async def configz(self, request: web.Request) -> web.Response:
        settings = {
            item.name: _plain(getattr(self._kit.settings, item.name)) for item in dataclasses.fields(self._kit.settings)
        }
        return web.Response(body=orjson.dumps({"kubeletconfig": settings}), content_type="application/json")

    async def _measure(self) -> Measured:
        try:
            return await self._measures.take()
        except RuntimeFailure as failure:
            raise web.HTTPInternalServerError(text=f"Internal Error: {failure}") from failure


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value


def _text(body: str) -> web.Response:
    return web.Response(body=body.encode(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def resource_metrics(seen: Measured) -> Iterator[str]:
    """``/metrics/resource``: what metrics-server and autoscalers read."""
    moment = int(seen.time * 1000)
    yield _head("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds")
    yield _line("node_cpu_usage_seconds_total", {}, seen.cpu_nanoseconds / 1e9, moment)
    yield _head("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes")
    yield _line("node_memory_working_set_bytes", {}, seen.memory_total - seen.memory_available, moment)
    yield from _each_container(
        seen,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        "cpu",
    )
    yield from _each_container(
        seen,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        "memory",
    )
    for name, kind, text, what in (
        ("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", "cpu"),
        ("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", "memory"),
    ):
        yield _head(name, kind, text)
        for uid, items in seen.containers.items():
            pod = seen.pods.get(uid)
            if pod is not None:
                labels = {"namespace": namespace_of(pod), "pod": name_of(pod)}
                yield _line(name, labels, sum(_amount(item, what) for item in items), moment)
    yield _head(
        "resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise"
    )
    yield _line("resource_scrape_error", {}, 0, None)


def _each_container(seen: Measured, name: str, kind: str, text: str, what: str) -> Iterator[str]:
    yield _head(name, kind, text)
    for uid, items in seen.containers.items():
        pod = seen.pods.get(uid)
        if pod is not None:
            for item in items:
                labels = {"container": item.name, "namespace": namespace_of(pod), "pod": name_of(pod)}
                yield _line(name, labels, _amount(item, what), item.timestamp // 1_000_000)


def _amount(item: ContainerStats, what: str) -> float:
    return item.cpu_core_nanoseconds / 1e9 if what == "cpu" else item.memory_working_set_bytes


_CADVISOR = (
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds."),
    ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes, including all memory."),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes."),
    ("container_memory_rss", "gauge", "Size of RSS in bytes."),
    ("container_fs_usage_bytes", "gauge", "Number of bytes that are consumed by the container on this filesystem."),
)


def cadvisor_metrics(seen: Measured) -> Iterator[str]:
    """``/metrics/cadvisor``: the container metrics that dashboards are built on."""
    yield _head("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.")
    yield _line("machine_memory_bytes", {}, seen.memory_total, None)
    for name, kind, text in _CADVISOR:
        yield _head(name, kind, text)
        for uid, items in seen.containers.items():
            pod = seen.pods.get(uid)
            if pod is None:
                continue
            for item in items:
                labels = {
                    "container": item.name,
                    "id": f"/kubepods/pod{uid}/{item.container_id}",
                    "image": "",
                    "name": item.container_id,
                    "namespace": namespace_of(pod),
                    "pod": name_of(pod),
                }
                if name == "container_cpu_usage_seconds_total":
                    labels["cpu"] = "total"
                yield _line(name, labels, _cadvisor_value(name, item), item.timestamp // 1_000_000)


def _cadvisor_value(name: str, item: ContainerStats) -> float:
    return {
        "container_cpu_usage_seconds_total": item.cpu_core_nanoseconds / 1e9,
        "container_memory_usage_bytes": item.memory_usage_bytes,
        "container_memory_working_set_bytes": item.memory_working_set_bytes,
        "container_memory_rss": item.memory_rss_bytes,
        "container_fs_usage_bytes": item.writable_layer_bytes,
    }[name]


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _line(name: str, labels: Mapping[str, str], value: float, milliseconds: int | None) -> str:
    inner = ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels))
    stamp = f" {milliseconds}" if milliseconds else ""
    return f"{name}{{{inner}}} {value!r}{stamp}\n" if inner else f"{name} {value!r}{stamp}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
