"""Webhooks that change what an object is, answer drop by drop, or pack gigabytes into an answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import Any

import pytest
from admission_cluster import Cluster, patch_of, reviewed
from aiohttp import web

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS


def replaced(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def added(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


async def created(cluster: Cluster) -> Object:
    return await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "cm"}, "data": {"a": "1"}}, "ns")


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(replaced("/metadata/namespace", "other"), id="namespace"),
        pytest.param(replaced("/kind", "Secret"), id="kind"),
        pytest.param(replaced("/apiVersion", "apps/v1"), id="group"),
        pytest.param(replaced("/metadata", None), id="no metadata"),
        pytest.param(replaced("/metadata", []), id="metadata of another type"),
        pytest.param(replaced("", {"kind": "ConfigMap"}), id="another object"),
        pytest.param(replaced("", 7), id="no object"),
        pytest.param({"op": "remove", "path": ""}, id="nothing left"),
        pytest.param(added("/metadata/resourceVersion", "7"), id="a version"),
    ],
)
async def test_what_an_object_is_cannot_be_changed(cluster: Cluster, operation: dict[str, Any]) -> None:
    cluster.always(**patch_of(operation))
    await cluster.register(cluster.webhook(), mutating=True)
    with pytest.raises(ApiError) as caught:
        await created(cluster)
    assert caught.value.code in (400, 422, 500), caught.value.message
    assert "panic" not in caught.value.message
    for namespace in ("ns", "other"):
        listed = await cluster.api.client().list(CONFIG_MAPS, namespace)
        assert [item["metadata"]["name"] for item in listed.items] == []


async def test_the_server_s_own_fields_stay_its_own(cluster: Cluster) -> None:
    cluster.always(
        **patch_of(
            added("/metadata/uid", "00000000-0000-0000-0000-000000000000"),
            added("/metadata/creationTimestamp", "1999-01-01T00:00:00Z"),
            added("/metadata/deletionTimestamp", "1999-01-01T00:00:00Z"),
            added("/metadata/selfLink", "/evil"),
        )
    )
    await cluster.register(cluster.webhook(), mutating=True)
    meta = (await created(cluster))["metadata"]
    assert not meta["uid"].startswith("00000000") and not meta["creationTimestamp"].startswith("1999")
    assert meta.keys().isdisjoint({"deletionTimestamp", "selfLink"})


async def test_an_answer_drop_by_drop_is_given_up_in_time(cluster: Cluster) -> None:
    async def drip(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.05)

    cluster.handlers["/hook"] = drip
    await cluster.register(cluster.webhook(timeoutSeconds=1))
    async with asyncio.timeout(60):
        with pytest.raises(ApiError, match="context deadline exceeded"):
            await created(cluster)


async def test_a_small_answer_that_unpacks_into_a_large_one_is_refused(cluster: Cluster) -> None:
    packed = gzip.compress(b" " * (64 << 20))
    assert len(packed) < 100_000

    async def bomb(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=packed, headers=headers)

    cluster.handlers["/hook"] = bomb
    await cluster.register(cluster.webhook())
    with pytest.raises(ApiError, match="failed calling webhook"):
        await created(cluster)


@pytest.mark.parametrize(
    "patch", ["not base64!", base64.b64encode(b"\xff\xfe").decode(), base64.b64encode(b"[[]]").decode(), "", 7, ["x"]]
)
async def test_a_patch_that_is_none(cluster: Cluster, patch: Any) -> None:
    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return reviewed(body, patchType="JSONPatch", patch=patch)

    cluster.handlers["/hook"] = handler
    await cluster.register(cluster.webhook(), mutating=True)
    with pytest.raises(ApiError, match="failed calling webhook"):
        await created(cluster)
