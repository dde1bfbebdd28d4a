"""Quotas while many create and delete at once, and while their controller counts: nothing is ever exceeded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from admission_cluster import Cluster

from minikube_py.client.clock import SystemClock
from minikube_py.client.testing import FakeRecorder
from minikube_py.client.types import DeleteOptions
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.quota.controller import ResourceQuotaController
from minikube_py.components.controllers.settings import ControllerSettings
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS, PODS, RESOURCE_QUOTAS, SECRETS, SERVICES, Resource

COUNTED = (CONFIG_MAPS, PODS, SECRETS, SERVICES)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def controller(cluster: Cluster) -> ResourceQuotaController:
    settings = ControllerSettings(pending_charges=cluster.api.pending_charges)
    return ResourceQuotaController(Kit(cluster.api.client(), SystemClock(), FakeRecorder(), settings, lambda: COUNTED))


@asynccontextmanager
async def counting(cluster: Cluster) -> AsyncIterator[None]:
    task = asyncio.create_task(controller(cluster).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def make_quotas(cluster: Cluster, **quotas: dict[str, Any]) -> None:
    """Make them, and wait until their controller has looked at each."""
    for name, spec in quotas.items():
        await cluster.client.create(RESOURCE_QUOTAS, {"metadata": {"name": name}, "spec": spec}, "ns")
    await until(lambda: all(used(cluster, name) for name in quotas))


def used(cluster: Cluster, quota: str = "q") -> dict[str, str]:
    found = cluster.api.client().informer(RESOURCE_QUOTAS).get(quota, "ns")
    status: dict[str, Any] = (found or {}).get("status") or {}
    amounts: dict[str, str] = status.get("used") or {}
    return amounts


def config_map(name: str) -> Object:
    return {"metadata": {"name": name}}


class Held:
    """Writes to the store of one kind wait until they are let go, or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go, self.failing = asyncio.Event(), asyncio.Event(), False
        write = Core.write

        async def held(core: Core, kind: Any, draft: Any, old: Any, **more: Any) -> Any:
            if kind.resource == CONFIG_MAPS:
                self.reached.set()
                await self.go.wait()
                if self.failing:
                    raise ApiError(500, "InternalError", "the disk is gone")
            return await write(core, kind, draft, old, **more)

        monkeypatch.setattr(Core, "write", held)


async def test_what_is_charged_and_not_stored_yet_is_counted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async with counting(cluster):
        await make_quotas(cluster, q={"hard": {"count/configmaps": "1"}})
    held = Held(monkeypatch)
    first = asyncio.create_task(cluster.client.create(CONFIG_MAPS, config_map("first"), "ns"))
    await held.reached.wait()
    assert used(cluster) == {"count/configmaps": "1"}
    await controller(cluster).reconcile("ns/q")
    assert used(cluster) == {"count/configmaps": "1"}, "the object is not there yet, and will be"
    with pytest.raises(ApiError, match="exceeded quota: q"):
        await cluster.client.create(CONFIG_MAPS, config_map("second"), "ns")
    held.go.set()
    await first
    assert cluster.api.pending_charges("ns", "q") == {}
    await controller(cluster).reconcile("ns/q")
    assert used(cluster) == {"count/configmaps": "1"}


async def test_what_is_not_stored_in_the_end_is_given_back(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    held.failing = True
    async with counting(cluster):
        await make_quotas(cluster, q={"hard": {"count/configmaps": "1"}})
        first = asyncio.create_task(cluster.client.create(CONFIG_MAPS, config_map("first"), "ns"))
        await held.reached.wait()
        held.go.set()
        with pytest.raises(ApiError, match="the disk is gone"):
            await first
        assert cluster.api.pending_charges("ns", "q") == {}
        await until(lambda: used(cluster) == {"count/configmaps": "0"})


@pytest.mark.parametrize("way", ["cancelled", "refused"])
async def test_nothing_is_left_pending(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    async with counting(cluster):
        await make_quotas(cluster, q={"hard": {"count/configmaps": "2"}})
    held = Held(monkeypatch)
    task = asyncio.create_task(cluster.client.create(CONFIG_MAPS, config_map("first"), "ns"))
    await held.reached.wait()
    assert cluster.api.pending_charges("ns", "q")
    if way == "cancelled":
        task.cancel()
    held.failing = way == "refused"
    held.go.set()
    await asyncio.wait({task})
    assert cluster.api.pending_charges("ns", "q") == {}


LIMITS = {CONFIG_MAPS: 4, SECRETS: 3, SERVICES: 2, PODS: 5}
HARD = {"count/configmaps": "4", "secrets": "3", "services": "2", "pods": "5"}
BEST_EFFORT = 2
CREATED = 80
"""Many times what fits: what is deleted makes room for others."""


def wanted(resource: Resource, number: int) -> Object:
    body: Object = {"metadata": {"generateName": "x-"}}
    if resource == SERVICES:
        body["spec"] = {"ports": [{"port": 80}]}
    if resource == PODS:
        asked = {"resources": {"requests": {"cpu": "100m"}}} if number % 2 else {}
        body["spec"] = {"containers": [{"name": "c", "image": "a/b", **asked}]}
    return body


async def test_fifty_who_create_and_delete_at_once_never_exceed_a_quota(cluster: Cluster) -> None:
    """Several kinds, two quotas, one of them for some pods only; their controller counts all the time."""
    live: dict[Resource, set[str]] = {resource: set() for resource in LIMITS}
    client, over, made = cluster.client, list[str](), list[str]()

    def look() -> None:
        for resource, limit in LIMITS.items():
            found = cluster.api.client().informer(resource).list("ns")
            if len(found) > limit:
                over.append(f"{len(found)} {resource.plural}")
            if resource == PODS and sum(_is_best_effort(pod) for pod in found) > BEST_EFFORT:
                over.append("pods of best effort")

    async def creator(seed: int) -> None:
        rng = random.Random(seed)
        while len(made) < CREATED:
            resource = rng.choice(list(LIMITS))
            try:
                obj = await client.create(resource, wanted(resource, rng.randrange(2)), "ns")
            except ApiError as error:
                assert "exceeded quota" in error.message, error.message
            else:
                made.append(obj["metadata"]["name"])
                live[resource].add(obj["metadata"]["name"])
            look()
            if rng.random() < 0.3 and live[resource]:
                gone = live[resource].pop()
                await client.delete(resource, gone, "ns", options=DeleteOptions(grace_period_seconds=0))
            await asyncio.sleep(0.01)

    async with counting(cluster):
        scoped = {"hard": {"pods": str(BEST_EFFORT)}, "scopes": ["BestEffort"]}
        await make_quotas(cluster, q={"hard": HARD}, scoped=scoped)
        async with asyncio.timeout(240):
            await asyncio.gather(*(creator(seed) for seed in range(50)))
        assert over == []
        await until(lambda: used(cluster)["pods"] == str(len(live[PODS])))
        await until(lambda: used(cluster)["count/configmaps"] == str(len(live[CONFIG_MAPS])))


def _is_best_effort(pod: Object) -> bool:
    return not any((item.get("resources") or {}).get("requests") for item in pod["spec"]["containers"])
