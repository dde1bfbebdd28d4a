"""Large objects are worked on beside the event loop, small ones on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest

from minikube_py.client.types import NO_DELETE_OPTIONS
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.delete import delete_collection
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.storage.cache import CacheEvent
from minikube_py.components.apiserver.storage.selection import select
from minikube_py.components.apiserver.types import LOOPBACK, RequestContext
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, Resource

MAPS = "/api/v1/namespaces/x/configmaps"
APPLY, MERGE, JSON = (
    {"Content-Type": f"application/{form}"} for form in ("apply-patch+yaml", "merge-patch+json", "json")
)
LARGE = {f"key-{number:05d}": "v" * 80 for number in range(4000)}


def config_map(name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Threads:
    """Which steps of a kind ran in which thread."""

    def __init__(self, core: Core, resource: Resource) -> None:
        self.loop = threading.get_ident()
        self.seen: list[tuple[str, bool]] = []
        kind = core.kinds.of(resource)
        names = ("default", "validate", "validate_update")
        steps: dict[str, Any] = {name: self._watched(name, getattr(kind, name)) for name in names}
        core.kinds.add(replace(kind, **steps))

    def _watched(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            self.seen.append((name, threading.get_ident() != self.loop))
            return step(*arguments)

        return watched

    def beside(self) -> dict[str, bool]:
        """The steps since the last call, and whether they ran beside the loop."""
        found, self.seen = dict(self.seen), []
        return found


@pytest.fixture
async def threads(api: ApiServer) -> Threads:
    return Threads(api.core, CONFIG_MAPS)


@pytest.mark.parametrize(("data", "beside"), [({"a": "b"}, False), (LARGE, True)], ids=["small", "large"])
async def test_steps_of_a_write(
    http: aiohttp.ClientSession, threads: Threads, data: dict[str, str], beside: bool
) -> None:
    changed, made, url = {**data, "more": "x"}, {"default": beside, "validate": beside}, f"{MAPS}/a"
    updated = {"default": beside, "validate_update": beside}
    requests: list[tuple[str, str, Any, dict[str, str], int, dict[str, bool]]] = [
        ("POST", MAPS, config_map("a", data), JSON, 201, made),
        ("PUT", url, config_map("a", changed), JSON, 200, updated),
        ("PATCH", url, {"data": {"one": "1"}}, MERGE, 200, updated),  # a small change of it
        ("PATCH", f"{url}?fieldManager=m&force=1", config_map("a", data), APPLY, 200, updated),
        ("PATCH", f"{MAPS}/b?fieldManager=m", config_map("b", data), APPLY, 201, made),
    ]
    for method, path, body, headers, status, expected in requests:
        async with http.request(method, path, json=body, headers=headers) as answer:
            found = await answer.json()
            assert answer.status == status, found
            assert found["data"].items() >= data.items()
        assert threads.beside() == expected


async def test_definitions_are_never_small(http: aiohttp.ClientSession, api: ApiServer) -> None:
    threads = Threads(api.core, CUSTOM_RESOURCE_DEFINITIONS)
    body = {"metadata": {"name": "a"}, "spec": {}}
    async with http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=body) as answer:
        assert answer.status == 422
    assert threads.beside() == {"default": True, "validate": True}


async def test_a_deleted_collection_leaves_no_parsed_objects_behind(
    http: aiohttp.ClientSession, api: ApiServer
) -> None:
    for number in range(20):
        async with http.post(MAPS, json=config_map(f"m{number:02}", {"k": "v"})) as answer:
            assert answer.status == 201
    kind = api.core.kinds.of(CONFIG_MAPS)
    page = await delete_collection(api.core, RequestContext(LOOPBACK), kind, select(kind, "x"), NO_DELETE_OPTIONS)
    assert [entry.name for entry in page.entries] == [f"m{number:02}" for number in range(20)]
    assert all(entry._object is None for entry in page.entries)
    assert api.core.cache(kind).count == 0


@pytest.mark.parametrize(
    "view", ["", ";as=Table;v=v1;g=meta.k8s.io", ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"]
)
async def test_a_deleted_collection_is_shown_as_a_list_is(http: aiohttp.ClientSession, view: str) -> None:
    for name in ("a", "b"):
        async with http.post(MAPS, json=config_map(name, {"k": "v"})) as answer:
            assert answer.status == 201
    accept = {"Accept": f"application/json{view}"}
    async with http.get(MAPS, headers=accept) as answer:
        listed = await answer.json()
    async with http.delete(MAPS, headers=accept) as answer:
        assert (answer.status, await answer.json()) == (200, listed)


async def test_a_large_object_that_is_written_is_not_parsed_again(http: aiohttp.ClientSession, api: ApiServer) -> None:
    cache, seen = api.core.cache(api.core.kinds.of(CONFIG_MAPS)), list[tuple[bool, bool]]()

    def published(event: CacheEvent) -> None:
        entry = event.current or event.gone
        parsed = {"kind": "ConfigMap", "apiVersion": "v1", **orjson.loads(entry.item)}
        known = entry._object
        seen.append((known is not None, known is None or orjson.dumps(known) == orjson.dumps(parsed)))

    cache.subscribe(published)
    url = f"{MAPS}/a"
    requests: list[tuple[str, str, Any, dict[str, str]]] = [
        ("POST", MAPS, config_map("a", LARGE), JSON),
        ("PUT", url, config_map("a", {**LARGE, "more": "x"}), JSON),
        ("PATCH", url, {"metadata": {"labels": {"a": "b"}}}, MERGE),
        ("PATCH", f"{url}?fieldManager=m&force=1", config_map("a", {"one": "1"}), APPLY),
        ("DELETE", url, None, {}),
    ]
    for method, path, body, headers in requests:
        async with http.request(method, path, json=body, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
    assert seen == [(True, True)] * len(requests)
