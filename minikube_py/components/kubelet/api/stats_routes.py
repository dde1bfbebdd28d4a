"""Routes about the node itself: statistics, metrics, configuration."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from minikube_py.components.kubelet.api.cadvisor import cadvisor_text
from minikube_py.components.kubelet.api.exposition import head, line
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
        self._measures.pods.count()
        return _text(generate_latest(self._kit.metrics.registry).decode())

    async def probes(self, request: web.Request) -> web.Response:
        registry = self._kit.metrics.registry.restricted_registry(["prober_probe_total"])
        return _text(generate_latest(registry).decode())

    async def resource(self, request: web.Request) -> web.Response:
        return _text("".join(resource_metrics(await self._measure())))

    async def cadvisor(self, request: web.Request) -> web.Response:
        seen, kit = await self._measure(), self._kit
        root = kit.settings.cgroup_root
        return _text(await asyncio.to_thread(cadvisor_text, seen, kit.cgroups, root, self._measures.machine))

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
    yield head("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds")
    yield line("node_cpu_usage_seconds_total", {}, seen.cpu_nanoseconds / 1e9, moment)
    yield head("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes")
    yield line("node_memory_working_set_bytes", {}, seen.memory_total - seen.memory_available, moment)
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
        yield head(name, kind, text)
        for uid, items in seen.containers.items():
            pod = seen.pods.get(uid)
            if pod is not None:
                labels = {"namespace": namespace_of(pod), "pod": name_of(pod)}
                yield line(name, labels, sum(_amount(item, what) for item in items), moment)
    yield head("node_swap_usage_bytes", "gauge", "Current swap usage of the node in bytes.")
    yield line("node_swap_usage_bytes", {}, seen.swap_used, moment)
    yield head("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise")
    yield line("resource_scrape_error", {}, 0, None)


def _each_container(seen: Measured, name: str, kind: str, text: str, what: str) -> Iterator[str]:
    yield head(name, kind, text)
    for uid, items in seen.containers.items():
        pod = seen.pods.get(uid)
        if pod is not None:
            for item in items:
                labels = {"container": item.name, "namespace": namespace_of(pod), "pod": name_of(pod)}
                yield line(name, labels, _amount(item, what), item.timestamp // 1_000_000)


def _amount(item: ContainerStats, what: str) -> float:
    return item.cpu_core_nanoseconds / 1e9 if what == "cpu" else item.memory_working_set_bytes
