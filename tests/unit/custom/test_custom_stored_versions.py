"""What is stored is read by the present schema, in every version; what is written is stored in the storage version."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from custom_conversion import DOORS_V1, DOORS_V2, V1, V2, change_definition, definition, door, establish, serving

from minikube_py.client.types import PatchType
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CUSTOM_RESOURCE_DEFINITIONS
from tests.unit.admission.admission_cluster import Cluster


def plain(cluster: Cluster, *names: str, storage: str = "v1") -> Object:
    """The definition without a webhook."""
    crd = definition(cluster, storage=storage)
    crd["spec"]["conversion"] = {"strategy": "None"}
    crd["spec"]["versions"] = [item for item in crd["spec"]["versions"] if item["name"] in names]
    return crd


def with_fields(crd: Object, **fields: Any) -> Object:
    """A patch that gives the spec of each version these fields."""
    versions = thaw(crd["spec"]["versions"])
    for item in versions:
        item["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] = fields
    return {"spec": {"versions": versions}}


async def test_defaults_and_pruning_from_storage(cluster: Cluster) -> None:
    client = cluster.client
    async with serving(cluster):
        crd = plain(cluster, "v1")
        await establish(cluster, crd)
        made = await client.create(DOORS_V1, door("a"), "ns")
        text = {"type": "string"}
        await change_definition(cluster, with_fields(crd, colour=text, lock={**text, "default": "open"}))
        expected = {"colour": "grey", "lock": "open"}
        read = await client.get(DOORS_V1, "a", "ns")
        assert read["spec"] == expected
        assert read["metadata"] == made["metadata"]
        assert [item["spec"] for item in (await client.list(DOORS_V1, "ns")).items] == [expected]
        async with client.watch(DOORS_V1, "ns") as events:
            assert (await anext(events)).object["spec"] == expected
        written = await client.update(DOORS_V1, thaw(read), "ns")  # nothing new, but the stored bytes are old
        assert written["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        again = await client.update(DOORS_V1, thaw(written), "ns")
        assert again["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]


async def test_versions_without_a_webhook(cluster: Cluster) -> None:
    client = cluster.client
    async with serving(cluster):
        crd = plain(cluster, "v1", "v2")
        await establish(cluster, crd)
        await client.create(DOORS_V1, door("a"), "ns")
        read = await client.get(DOORS_V2, "a", "ns")
        assert (read["apiVersion"], read["spec"]) == (V2, {"colour": "grey"})  # v2 has no size
        made = {"apiVersion": V2, "kind": "Door", "metadata": {"name": "b"}, "spec": {"width": 1, "colour": "red"}}
        assert (await client.create(DOORS_V2, made, "ns"))["spec"] == {"colour": "red"}  # v1, which is stored, no width
        assert (await client.get(DOORS_V1, "b", "ns"))["apiVersion"] == V1


async def test_the_storage_version_can_change(cluster: Cluster) -> None:
    client, caches = cluster.client, cluster.api.core.caches
    async with serving(cluster):
        await establish(cluster, plain(cluster, "v1", "v2"))
        await client.create(DOORS_V1, door("a"), "ns")
        crd = await change_definition(cluster, {"spec": plain(cluster, "v1", "v2", storage="v2")["spec"]})
        assert crd["status"]["storedVersions"] == ["v1", "v2"]
        await client.create(DOORS_V1, door("b"), "ns")
        stored = {entry.name: orjson_version(entry.stored()) for entry in caches.open(DOORS_V1).unordered()}
        assert stored == {"a": V1, "b": V2}
        await client.patch(DOORS_V2, "a", {}, "ns")
        stored = {entry.name: orjson_version(entry.stored()) for entry in caches.open(DOORS_V1).unordered()}
        assert stored == {"a": V2, "b": V2}


def orjson_version(stored: bytes) -> str:
    import orjson

    found: str = orjson.loads(stored)["apiVersion"]
    return found


async def test_stored_versions_survive_a_restart(cluster: Cluster) -> None:
    """The cache of a new process knows in which version each object is."""
    from minikube_py.components.apiserver.storage.caches import Caches

    client = cluster.client
    async with serving(cluster):
        await establish(cluster, plain(cluster, "v1", "v2"))
        await client.create(DOORS_V1, door("a"), "ns")
        await change_definition(cluster, {"spec": plain(cluster, "v1", "v2", storage="v2")["spec"]})
        await client.create(DOORS_V2, {**door("b"), "apiVersion": V2}, "ns")
        fresh = Caches(cluster.api.core.caches.store)
        cache = fresh.open(DOORS_V2, versioned=True)
        assert {entry.name: entry.object["apiVersion"] for entry in cache.unordered()} == {"a": V1, "b": V2}
        fresh.close()


async def test_a_version_can_go_when_nothing_is_stored_in_it(cluster: Cluster) -> None:
    client, name = cluster.client, "doors.example.com"
    async with serving(cluster):
        await establish(cluster, plain(cluster, "v1", "v2"))
        await client.create(DOORS_V1, door("a"), "ns")
        await change_definition(cluster, {"spec": plain(cluster, "v1", "v2", storage="v2")["spec"]})
        only = {"spec": {"versions": plain(cluster, "v2", storage="v2")["spec"]["versions"]}}
        with pytest.raises(ApiError, match=r"storedVersions\[0\]: Invalid value: .v1.: missing from spec\.versions"):
            await client.patch(CUSTOM_RESOURCE_DEFINITIONS, name, only)
        await client.patch(DOORS_V2, "a", {}, "ns")
        await client.patch(
            CUSTOM_RESOURCE_DEFINITIONS, name, {"status": {"storedVersions": ["v2"]}}, subresource="status"
        )
        crd = await change_definition(cluster, only)
        assert crd["status"]["storedVersions"] == ["v2"]
        assert cluster.api.kinds.get("example.com", "v1", "doors") is None
        assert (await client.get(DOORS_V2, "a", "ns"))["apiVersion"] == V2


async def test_a_change_that_leaves_objects_as_they_are_costs_readers_nothing(cluster: Cluster) -> None:
    async with serving(cluster):
        crd = plain(cluster, "v1")
        await establish(cluster, crd)
        await cluster.client.create(DOORS_V1, door("a"), "ns")
        kinds = cluster.api.kinds
        as_stored = asyncio.Event()

        def look() -> None:
            kind = kinds.get("example.com", "v1", "doors")
            if kind is not None and kind.from_storage is None:
                as_stored.set()

        kinds.on_change(look)
        text = {"type": "string"}
        await cluster.client.patch(
            CUSTOM_RESOURCE_DEFINITIONS, "doors.example.com", with_fields(crd, size=text, colour=text, lock=text)
        )
        async with asyncio.timeout(30):
            await as_stored.wait()
        assert (await cluster.client.get(DOORS_V1, "a", "ns"))["spec"] == {"size": "2x3", "colour": "grey"}


async def test_schemas_and_rules_are_compiled_once_for_a_specification(cluster: Cluster) -> None:
    def validator() -> object:
        return cluster.api.kinds.of(DOORS_V2).validate.__self__  # type: ignore[attr-defined]

    async with serving(cluster):
        await establish(cluster, definition(cluster))
        first = validator()
        condition = {"type": "Seen", "status": "True", "reason": "Test", "message": ""}
        operation = {"op": "add", "path": "/status/conditions/-", "value": condition}
        await cluster.client.patch(
            CUSTOM_RESOURCE_DEFINITIONS, "doors.example.com", [operation], patch_type=PatchType.JSON,
            subresource="status",
        )  # fmt: skip
        assert validator() is first
        await change_definition(cluster, {"spec": {"names": {"shortNames": ["dr"]}}})
        assert validator() is not first
