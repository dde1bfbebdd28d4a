"""A definition with two versions of different shape, and the webhook that converts between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from tests.unit.admission.admission_cluster import Cluster

V1, V2 = "example.com/v1", "example.com/v2"
DOORS_V1 = Resource("example.com", "v1", "doors", "Door")
DOORS_V2 = Resource("example.com", "v2", "doors", "Door")
Change = Callable[[list[Object]], list[Any]]


def version(name: str, fields: Object, **more: Any) -> Object:
    spec = {"type": "object", "properties": fields}
    status = {"type": "object", "properties": {"ready": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    return {"name": name, "served": True, "storage": False, "schema": {"openAPIV3Schema": schema}, **more}


def definition(cluster: Cluster, *, storage: str = "v1", path: str = "/convert", **conversion: Any) -> Object:
    """v1 has ``spec.size: "<width>x<height>"``, v2 has ``spec.width`` and ``spec.height``."""
    number = {"type": "integer"}
    versions = [
        version("v1", {"size": {"type": "string"}, "colour": {"type": "string", "default": "grey"}}),
        version(
            "v2",
            {"width": number, "height": number, "colour": {"type": "string"}, "count": number},
            subresources={
                "status": {},
                "scale": {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.ready"},
            },
            selectableFields=[{"jsonPath": ".spec.width"}],
        ),
    ]
    for item in versions:
        item["storage"] = item["name"] == storage
    webhook = {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": cluster.url(path), "caBundle": cluster.ca_bundle},
    }
    return {
        "metadata": {"name": "doors.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "doors", "kind": "Door"},
            "versions": versions,
            "conversion": {"strategy": "Webhook", "webhook": {**webhook, **conversion}},
        },
    }


def door(name: str, size: str = "2x3", **meta: Any) -> Object:
    return {"apiVersion": V1, "kind": "Door", "metadata": {"name": name, **meta}, "spec": {"size": size}}


def convert(obj: Object, wanted: str) -> Object:
    """What the webhook does with one object."""
    result = {**thaw(obj), "apiVersion": wanted}
    spec = result.get("spec") or {}
    if wanted == V2 and "size" in spec:
        width, _, height = spec.pop("size").partition("x")
        spec |= {"width": int(width), "height": int(height)}
    elif wanted == V1 and "width" in spec:
        spec["size"] = f"{spec.pop('width')}x{spec.pop('height')}"
    if result["metadata"].get("labels", {}).get("mark"):
        result["metadata"]["labels"]["mark"] = wanted.rpartition("/")[2]
    return result


def answers(
    cluster: Cluster, change: Change = lambda objects: objects, path: str = "/convert", **response: Any
) -> None:
    """Convert at ``path``; ``change`` spoils the converted objects and ``response`` the answer."""

    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        asked = body["request"]
        made = [convert(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
        full = {"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": change(made), **response}
        return web.json_response({"apiVersion": body["apiVersion"], "kind": body["kind"], "response": full})

    cluster.handlers[path] = handler


@asynccontextmanager
async def serving(cluster: Cluster) -> AsyncIterator[None]:
    """Custom kinds come and go as in a running server."""
    ready = asyncio.Event()
    running = asyncio.create_task(cluster.api.run(ready.set))
    await ready.wait()
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


async def establish(cluster: Cluster, crd: Object) -> Object:
    """Create a definition and wait until its versions are served."""
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
    return await settled(cluster, crd["metadata"]["name"])


async def settled(cluster: Cluster, name: str) -> Object:
    async with asyncio.timeout(30):
        while True:
            found = await cluster.client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
            status = found.get("status") or {}
            stored = [item["name"] for item in found["spec"]["versions"] if item["storage"]]
            if condition_is_true(status.get("conditions"), "Established") and stored[0] in status["storedVersions"]:
                return found
            await asyncio.sleep(0)


async def change_definition(cluster: Cluster, patch: Object) -> Object:
    await cluster.client.patch(CUSTOM_RESOURCE_DEFINITIONS, "doors.example.com", patch)
    return await settled(cluster, "doors.example.com")
