"""The horizontal pod autoscaler against the real API server: it scales a custom kind, and its status is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from open_server import open_server

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client
from minikube_py.components.controllers import ControllerSettings, run_controllers
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    Resource,
)

WORKERS = Resource("example.com", "v1", "workers", "Worker")
QUEUE = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue"
patience_seconds = 120.0


class Queue:
    """An external metric that is always 30."""

    def serves(self, group: str, version: str) -> bool:
        return True

    async def read(self, path: str, query: Mapping[str, str]) -> Object:
        if path != QUEUE:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return {"items": [{"metricName": "queue", "value": "30"}]}


def definition() -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
               "subresources": {"status": {}, "scale": scale}}  # fmt: skip
    names = {"plural": "workers", "kind": "Worker"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": "workers.example.com"}, "spec": spec}


async def until(read: Callable[[], Any]) -> Any:
    """What ``read`` gives once it is something and the server knows the kind."""
    async with asyncio.timeout(patience_seconds):
        while True:
            try:
                found = await read()
            except ApiError as error:
                if not is_not_found(error):
                    raise
                found = None
            if found:
                return found
            await asyncio.sleep(0.01)


async def prepare(client: Client) -> None:
    """A worker of size 1 and its autoscaler, which wants 10 of the queue for each."""
    await client.create(NAMESPACES, {"metadata": {"name": "default"}})
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition())
    worker = {"metadata": {"name": "w"}, "spec": {"size": 1}, "kind": "Worker", "apiVersion": "example.com/v1"}
    made = await until(lambda: client.create(WORKERS, worker, "default"))
    status = {"size": 1, "selector": "app=w"}
    await client.update(WORKERS, {**made, "status": status}, "default", subresource="status")
    metric = {
        "type": "External",
        "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
    }
    reference = {"apiVersion": "example.com/v1", "kind": "Worker", "name": "w"}
    spec = {"scaleTargetRef": reference, "maxReplicas": 5, "metrics": [metric]}
    await client.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "w"}, "spec": spec}, "default")


async def test_a_custom_kind_is_scaled_through_its_scale(tmp_path: Path) -> None:
    async with open_server(tmp_path) as api:
        client = api.client()
        settings = ControllerSettings(metrics=Queue())
        loops = asyncio.create_task(
            run_controllers(client, settings, SystemClock(), lambda: None, resources=lambda: [WORKERS])
        )
        await prepare(client)

        async def scaled() -> bool:
            return bool((await client.get(WORKERS, "w", "default"))["spec"]["size"] == 3)

        async def told() -> Object:
            found: Object = (await client.get(HORIZONTAL_POD_AUTOSCALERS, "w", "default")).get("status") or {}
            return found if found.get("desiredReplicas") == 3 else {}

        async def event() -> list[Object]:
            return [item for item in (await client.list(EVENTS, "default")).items
                    if item["reason"] == "SuccessfulRescale"]  # fmt: skip

        await until(scaled)
        status = await until(told)
        [entry] = await until(event)
        loops.cancel()
        await asyncio.wait({loops})
    assert (status["currentReplicas"], status["desiredReplicas"]) == (1, 3)
    assert [item["type"] for item in status["conditions"]] == ["AbleToScale", "ScalingActive", "ScalingLimited"]
    assert status["currentMetrics"][0]["external"]["current"] == {"averageValue": "30"}
    assert entry["message"] == "New size: 3; reason: external metric queue(nil) above target"
    assert entry["source"]["component"] == "horizontal-pod-autoscaler"
