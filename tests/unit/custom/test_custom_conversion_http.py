"""What clients on the network see of versions that a webhook makes: lists, tables, pages, watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from custom_conversion import DOORS_V1, V2, answers, definition, door, establish, serving

from minikube_py.machinery.objects import Object
from tests.unit.admission.admission_cluster import Cluster
from tests.unit.open_server import Everybody

DOORS = "/apis/example.com/v2/namespaces/ns/doors"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def http(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with a server that lets everybody in and serves three doors of version 1."""
    answers(cluster)
    everybody = Everybody()
    cluster.api.secure(everybody, everybody, everybody, {})
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        for width in range(3):
            await cluster.client.create(DOORS_V1, door(f"d{width}", f"{width}x9"), "ns")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{cluster.api.port}") as session:
            yield session


async def fetch(http: aiohttp.ClientSession, path: str, **options: dict[str, str]) -> Object:
    async with http.get(path, **options) as answer:  # type: ignore[arg-type]
        found: Object = await answer.json(content_type=None)
        return found


async def test_reads(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    found = await fetch(http, DOORS)
    assert (found["kind"], found["apiVersion"]) == ("DoorList", V2)
    assert [(item["apiVersion"], item["spec"]["width"]) for item in found["items"]] == [(V2, 0), (V2, 1), (V2, 2)]
    for _ in range(2):  # the second one may take the quick way
        assert (await fetch(http, f"{DOORS}/d1"))["spec"] == {"colour": "grey", "height": 9, "width": 1}
        assert (await fetch(http, f"{DOORS.replace('v2', 'v1')}/d1"))["spec"] == {"colour": "grey", "size": "1x9"}
    table = await fetch(http, DOORS, headers=TABLE)
    assert [row["cells"][0] for row in table["rows"]] == ["d0", "d1", "d2"]
    page = await fetch(http, f"{DOORS}?limit=2")
    rest = await fetch(http, f"{DOORS}?limit=2&continue={page['metadata']['continue']}")
    assert [item["spec"]["width"] for item in (*page["items"], *rest["items"])] == [0, 1, 2]
    chosen = await fetch(http, f"{DOORS}?fieldSelector=spec.width%3D2")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["d2"]


async def test_a_failed_conversion_is_the_answer(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    answers(cluster, lambda objects: [])
    async with http.get(f"{DOORS}/d0") as answer:
        assert answer.status == 500
        status = await answer.json()
    assert status["message"] == "conversion webhook for example.com/v1, Kind=Door returned 0 objects, expected 1"
    assert "reason" not in status
    async with http.get(DOORS) as answer:
        assert answer.status == 500
    async with http.get(f"{DOORS.replace('v2', 'v1')}") as answer:
        assert answer.status == 200


async def test_watches(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    query = "watch=1&fieldSelector=spec.width%3D1&sendInitialEvents=true&allowWatchBookmarks=true"
    async with asyncio.timeout(30), http.get(f"{DOORS}?{query}&resourceVersionMatch=NotOlderThan") as answer:
        lines = answer.content.__aiter__()
        first = orjson.loads(await anext(lines))
        assert (first["type"], first["object"]["apiVersion"], first["object"]["spec"]["width"]) == ("ADDED", V2, 1)
        assert orjson.loads(await anext(lines))["type"] == "BOOKMARK"
        await cluster.client.patch(DOORS_V1, "d0", {"spec": {"size": "1x1"}}, "ns")
        await cluster.client.delete(DOORS_V1, "d1", "ns")
        seen = [orjson.loads(await anext(lines)) for _ in range(2)]
        assert [(event["type"], event["object"]["metadata"]["name"]) for event in seen] == [
            ("ADDED", "d0"), ("DELETED", "d1"),
        ]  # fmt: skip
        answers(cluster, lambda objects: [])
        await cluster.client.create(DOORS_V1, door("bad"), "ns")
        last = orjson.loads(await anext(lines))
        assert (last["type"], last["object"]["code"]) == ("ERROR", 500)
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def test_delete_collection(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    async with http.delete(f"{DOORS}?fieldSelector=spec.width%3D1") as answer:
        assert [item["spec"]["width"] for item in (await answer.json())["items"]] == [1]
    assert [item["metadata"]["name"] for item in (await fetch(http, DOORS))["items"]] == ["d0", "d2"]
