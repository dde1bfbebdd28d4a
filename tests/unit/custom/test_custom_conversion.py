"""Conversion webhooks: every way to read and write crosses versions, and no answer is believed that breaks a rule."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from custom_conversion import (
    DOORS_V1,
    DOORS_V2,
    V1,
    V2,
    answers,
    change_definition,
    definition,
    door,
    establish,
    serving,
)

from minikube_py.client.types import PatchType, WriteOptions
from minikube_py.components.apiserver.custom import conversion_webhook
from minikube_py.components.apiserver.metrics.values import Distribution
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CUSTOM_RESOURCE_DEFINITIONS
from tests.unit.admission.admission_cluster import Cluster, patch_of


async def test_reads_and_writes_cross_versions(cluster: Cluster) -> None:
    answers(cluster)
    client = cluster.client
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await client.create(DOORS_V1, door("a", finalizers=["x.example.com/y"], labels={"mark": "v1"}), "ns")
        assert cluster.reviews == []  # the storage version needs nobody

        read = await client.get(DOORS_V2, "a", "ns")
        assert (read["apiVersion"], read["spec"]) == (V2, {"width": 2, "height": 3, "colour": "grey"})
        assert (read["metadata"]["labels"], read["metadata"]["finalizers"]) == ({"mark": "v2"}, ["x.example.com/y"])
        await client.get(DOORS_V2, "a", "ns")
        assert len(cluster.reviews) == 1  # what is converted stays converted

        made = {"apiVersion": V2, "kind": "Door", "metadata": {"name": "b"}, "spec": {"width": 7, "height": 8}}
        created = await client.create(DOORS_V2, made, "ns")
        assert (created["apiVersion"], created["spec"]) == (V2, {"width": 7, "height": 8, "colour": "grey"})
        assert (await client.get(DOORS_V1, "b", "ns"))["spec"] == {"size": "7x8", "colour": "grey"}

        patched = await client.patch(DOORS_V2, "b", {"spec": {"width": 9}}, "ns")
        assert patched["spec"]["width"] == 9
        assert (await client.get(DOORS_V1, "b", "ns"))["spec"]["size"] == "9x8"

        draft = thaw(patched)
        draft["spec"]["height"] = 1
        await client.update(DOORS_V2, draft, "ns")
        assert (await client.get(DOORS_V1, "b", "ns"))["spec"]["size"] == "9x1"

        await client.delete(DOORS_V2, "b", "ns")
        assert [item["metadata"]["name"] for item in (await client.list(DOORS_V2, "ns")).items] == ["a"]


async def test_lists_are_converted_in_one_call_and_selected_afterwards(cluster: Cluster) -> None:
    answers(cluster)
    client = cluster.client
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        for width in range(5):
            await client.create(DOORS_V1, door(f"d{width}", f"{width}x1", labels={"mark": "v1"}), "ns")
        found = await client.list(DOORS_V2, "ns")
        assert [item["spec"]["width"] for item in found.items] == [0, 1, 2, 3, 4]
        assert [len(review["request"]["objects"]) for review in cluster.reviews] == [5]
        assert cluster.reviews[0]["request"]["desiredAPIVersion"] == V2

        by_field = await client.list(DOORS_V2, "ns", field_selector="spec.width=3")
        assert [item["metadata"]["name"] for item in by_field.items] == ["d3"]
        by_label = await client.list(DOORS_V2, "ns", label_selector="mark=v2", limit=2)
        assert [item["metadata"]["name"] for item in by_label.items] == ["d0", "d1"]
        assert (await client.list(DOORS_V1, "ns", label_selector="mark=v2")).items == []
        assert len(cluster.reviews) == 1


async def test_watches_convert_what_comes(cluster: Cluster) -> None:
    answers(cluster)
    client = cluster.client
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await client.create(DOORS_V1, door("a", "1x1"), "ns")
        async with client.watch(DOORS_V2, "ns", field_selector="spec.width=1") as events, asyncio.timeout(30):
            first = await anext(events)
            assert (first.type, first.object["spec"]["width"]) == ("ADDED", 1)
            await client.create(DOORS_V1, door("b", "2x1"), "ns")
            await client.create(DOORS_V1, door("c", "1x5"), "ns")
            await client.patch(DOORS_V1, "a", {"spec": {"size": "4x4"}}, "ns")
            await client.delete(DOORS_V1, "c", "ns")
            seen = [await anext(events) for _ in range(3)]
        assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [
            ("ADDED", "c"), ("DELETED", "a"), ("DELETED", "c"),
        ]  # fmt: skip
        assert seen[0].object["spec"]["height"] == 5


async def test_status_and_scale_of_another_version(cluster: Cluster) -> None:
    answers(cluster)
    client = cluster.client
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        made = {"metadata": {"name": "a"}, "spec": {"width": 1, "height": 1, "count": 2}}
        crd = await client.create(DOORS_V2, {"apiVersion": V2, "kind": "Door", **made}, "ns")
        assert "count" not in crd["spec"]  # the storage version has no such field
        scale = await client.get(DOORS_V2, "a", "ns", subresource="scale")
        assert (scale["kind"], scale["spec"]) == ("Scale", {})
        await change_definition(cluster, {"spec": {"versions": definition(cluster, storage="v2")["spec"]["versions"]}})
        await client.patch(DOORS_V2, "a", {"spec": {"replicas": 4}}, "ns", subresource="scale")
        assert (await client.get(DOORS_V2, "a", "ns"))["spec"]["count"] == 4
        await client.patch(DOORS_V2, "a", {"status": {"ready": 3}}, "ns", subresource="status")
        scale = await client.get(DOORS_V2, "a", "ns", subresource="scale")
        assert (scale["spec"], scale["status"]) == ({"replicas": 4}, {"replicas": 3})


async def test_a_write_that_changes_nothing_migrates_to_the_storage_version(cluster: Cluster) -> None:
    answers(cluster)
    client = cluster.client
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        old = await client.create(DOORS_V1, door("a"), "ns")
        crd = await change_definition(
            cluster, {"spec": {"versions": definition(cluster, storage="v2")["spec"]["versions"]}}
        )
        assert crd["status"]["storedVersions"] == ["v1", "v2"]
        assert cluster.api.core.caches.open(DOORS_V1).get("ns", "a").object["apiVersion"] == V1  # type: ignore[union-attr]
        read = await client.get(DOORS_V1, "a", "ns")
        migrated = await client.update(DOORS_V1, thaw(read), "ns")
        assert migrated["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
        stored = cluster.api.core.caches.open(DOORS_V2).get("ns", "a")
        assert stored is not None
        assert (stored.object["apiVersion"], stored.object["spec"]["width"]) == (V2, 2)
        again = await client.update(DOORS_V1, thaw(migrated), "ns")
        assert again["metadata"]["resourceVersion"] == migrated["metadata"]["resourceVersion"]


def _meta(**changes: Any) -> Any:
    def change(objects: list[Object]) -> list[Object]:
        for obj in objects:
            obj["metadata"].update(changes)
        return objects

    return change


def _field(**changes: Any) -> Any:
    def change(objects: list[Object]) -> list[Object]:
        for obj in objects:
            obj.update(changes)
        return objects

    return change


BAD_ANSWERS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "dropped": (lambda objects: [], {}, "returned 0 objects, expected 1"),
    "doubled": (lambda objects: objects * 2, {}, "returned 2 objects, expected 1"),
    "other name": (_meta(name="z"), {}, "returned invalid object: must have the same name: a != z"),
    "other namespace": (_meta(namespace="z"), {}, "returned invalid object: must have the same namespace: ns != z"),
    "other uid": (_meta(uid=""), {}, "returned invalid object: must have the same UID: {uid} != "),
    "labels no map": (
        _meta(labels=["a"]), {},
        "returned invalid metadata: invalid metadata.labels of type []interface {} in converted object",
    ),
    "label no text": (
        _meta(labels={"a": 1}), {},
        "returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object",
    ),
    "wrong version": (
        _field(apiVersion="example.com/v3"), {},
        "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v3)",
    ),
    "wrong kind": (
        _field(kind="Window"), {}, "returned invalid object at index 0: invalid kind (expected Door, received Window)",
    ),
    "other review": (
        lambda objects: objects, {"uid": "u"}, 'failed: expected response.uid="{review}", got "u"',
    ),
    "failure": (
        lambda objects: objects, {"result": {"status": "Failure", "message": "no idea"}}, "failed: no idea",
    ),
    "no result": (
        lambda objects: objects, {"result": {}}, "failed: response.result.status was '', not 'Success'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_answers_that_break_a_rule(cluster: Cluster, name: str) -> None:
    change, response, expected = BAD_ANSWERS[name]
    answers(cluster, change, **response)
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        made = await cluster.client.create(DOORS_V1, door("a"), "ns")
        with pytest.raises(ApiError) as caught:
            await cluster.client.get(DOORS_V2, "a", "ns")
        asked = cluster.reviews[-1]["request"]["uid"]
        text = expected.replace("{uid}", made["metadata"]["uid"]).replace("{review}", asked)
        assert caught.value.message == f"conversion webhook for example.com/v1, Kind=Door {text}"
        assert caught.value.code == 500
        assert (await cluster.client.get(DOORS_V1, "a", "ns"))["spec"]["size"] == "2x3"
        answers(cluster)  # nothing of a bad answer is kept
        assert (await cluster.client.get(DOORS_V2, "a", "ns"))["spec"]["width"] == 2


async def test_metadata_stays_what_it_was_but_for_labels_and_annotations(cluster: Cluster) -> None:
    changed = {"labels": {"new": "1"}, "annotations": {"note": "x"}, "finalizers": ["evil"], "generation": 99}
    answers(cluster, _meta(**changed, resourceVersion="1", creationTimestamp="1970-01-01T00:00:00Z"))
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        made = await cluster.client.create(DOORS_V1, door("a"), "ns")
        read = await cluster.client.get(DOORS_V2, "a", "ns")
        expected = {**made["metadata"], "labels": {"new": "1"}, "annotations": {"note": "x"}}
        assert read["metadata"] == expected


async def test_garbage_and_closed_doors(cluster: Cluster) -> None:
    async def garbage(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text="<html>", status=502)

    cluster.handlers["/convert"] = garbage
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await cluster.client.create(DOORS_V1, door("a"), "ns")
        start = "conversion webhook for example.com/v1, Kind=Door failed: "
        with pytest.raises(ApiError, match="an error on the server") as caught:
            await cluster.client.list(DOORS_V2, "ns")
        assert caught.value.message.startswith(start)
        config = {"url": None, "caBundle": None, "service": {"namespace": "ns", "name": "hook"}}
        await change_definition(cluster, {"spec": {"conversion": {"webhook": {"clientConfig": config}}}})
        with pytest.raises(ApiError) as caught:
            await cluster.client.get(DOORS_V2, "a", "ns")
        assert caught.value.message == f'{start}Post "https://hook.ns.svc:443/?timeout=30s": service "hook" not found'


async def test_many_readers_share_one_call(cluster: Cluster) -> None:
    answers(cluster)
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await cluster.client.create(DOORS_V1, door("a"), "ns")
        async with asyncio.TaskGroup() as tasks:
            reads = [tasks.create_task(cluster.client.get(DOORS_V2, "a", "ns")) for _ in range(8)]
        assert {read.result()["spec"]["width"] for read in reads} == {2}
        assert len(cluster.reviews) == 1


def owners(obj: Object) -> dict[tuple[str, str], Any]:
    """Who owns what of the spec, by manager and version."""
    return {
        (entry["manager"], entry["apiVersion"].rpartition("/")[2]): sorted(entry["fieldsV1"].get("f:spec", {}))
        for entry in obj["metadata"]["managedFields"]
    }


async def test_owners_are_compared_in_their_own_versions(cluster: Cluster) -> None:
    answers(cluster)
    client = cluster.client

    def applied(version: str, **spec: Any) -> Object:
        return {"apiVersion": version, "kind": "Door", "metadata": {"name": "a"}, "spec": spec}

    async def apply(body: Object, manager: str, *, force: bool = False) -> Object:
        resource = DOORS_V1 if body["apiVersion"] == V1 else DOORS_V2
        options = WriteOptions(field_manager=manager, force=force)
        return await client.patch(resource, "a", body, "ns", patch_type=PatchType.APPLY, options=options)

    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await apply(applied(V2, width=1, height=2), "two")
        assert (await client.get(DOORS_V1, "a", "ns"))["spec"]["size"] == "1x2"
        with pytest.raises(ApiError) as caught:  # of v1's one field, v2's manager owns two
            await apply(applied(V1, size="1x9"), "one")
        assert (caught.value.details or {})["causes"] == [
            {"reason": "FieldManagerConflict", "message": 'conflict with "two"', "field": ".spec.height"}
        ]
        forced = await apply(applied(V1, size="1x9"), "one", force=True)
        assert owners(forced) == {("two", "v2"): ["f:width"], ("one", "v1"): ["f:size"]}
        patched = await client.patch(
            DOORS_V1, "a", {"spec": {"size": "7x9"}}, "ns", options=WriteOptions(field_manager="three")
        )
        assert owners(patched) == {("three", "v1"): ["f:size"]}
        patched = await client.patch(
            DOORS_V2, "a", {"spec": {"height": 4}}, "ns", options=WriteOptions(field_manager="four")
        )
        assert owners(patched) == {("four", "v2"): ["f:height"]}


async def test_informers_of_a_version_that_a_webhook_makes(cluster: Cluster) -> None:
    answers(cluster)
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await cluster.client.create(DOORS_V1, door("a"), "ns")
        informer = cluster.client.informer(DOORS_V2)
        await informer.synced()
        assert [item["spec"]["width"] for item in informer.list("ns")] == [2]
        seen: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        informer.subscribe(lambda event, obj, old: seen.put_nowait((event.value, obj)))
        await cluster.client.create(DOORS_V1, door("b", "5x5"), "ns")
        async with asyncio.timeout(30):
            found = [await seen.get() for _ in range(2)]
        assert [(event, obj["spec"]["width"]) for event, obj in found] == [("ADDED", 2), ("ADDED", 5)]


async def test_informers_follow_a_definition_that_comes_again(cluster: Cluster) -> None:
    async with serving(cluster):
        crd = definition(cluster)
        await establish(cluster, crd)
        assert cluster.client.informer(DOORS_V1).list() == []
        await cluster.client.delete(CUSTOM_RESOURCE_DEFINITIONS, "doors.example.com")
        gone = asyncio.Event()
        cluster.api.kinds.on_change(
            lambda: gone.set() if cluster.api.kinds.get("example.com", "v1", "doors") is None else None
        )
        async with asyncio.timeout(30):
            await gone.wait()
        await establish(cluster, crd)
        await cluster.client.create(DOORS_V1, door("a"), "ns")
        assert [item["metadata"]["name"] for item in cluster.client.informer(DOORS_V1).list()] == ["a"]


async def test_admission_webhooks_see_and_change_the_version_they_ask_for(cluster: Cluster) -> None:
    answers(cluster)
    cluster.always("/mutate", **patch_of({"op": "replace", "path": "/spec/width", "value": 40}))
    rule = {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": ["example.com"],
        "apiVersions": ["v2"],
        "resources": ["doors"],
    }
    hook = cluster.webhook(path="/mutate", rules=[rule])
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await cluster.register(hook, mutating=True)
        made = await cluster.client.create(DOORS_V1, door("a", "1x2"), "ns")
        assert made["spec"]["size"] == "40x2"
        seen = [review["request"] for review in cluster.reviews if review["kind"] == "AdmissionReview"]
        assert (seen[0]["kind"]["version"], seen[0]["requestKind"]["version"]) == ("v2", "v1")
        assert (seen[0]["object"]["apiVersion"], seen[0]["object"]["spec"]["width"]) == (V2, 1)
        answers(cluster, lambda objects: [])
        with pytest.raises(
            ApiError, match=r"^Internal error occurred: conversion webhook for example\.com/v1, Kind=Door"
        ):
            await cluster.client.create(DOORS_V1, door("b"), "ns")


async def test_a_webhook_that_hangs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr(conversion_webhook, "timeout_seconds", 0.05)
    cluster.handlers["/convert"] = silent
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        await cluster.client.create(DOORS_V1, door("a"), "ns")
        with pytest.raises(ApiError) as caught:
            await cluster.client.get(DOORS_V2, "a", "ns")
        start = "conversion webhook for example.com/v1, Kind=Door failed: "
        url = cluster.url("/convert?timeout=0.05s")
        assert caught.value.message == f'{start}Post "{url}": context deadline exceeded'
        assert (await cluster.client.get(DOORS_V1, "a", "ns"))["kind"] == "Door"
        await cluster.client.delete(DOORS_V1, "a", "ns")


async def test_a_watch_says_why_it_ends(cluster: Cluster) -> None:
    answers(cluster)
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        async with cluster.client.watch(DOORS_V2, "ns") as events, asyncio.timeout(30):
            answers(cluster, lambda objects: [])
            await cluster.client.create(DOORS_V1, door("a"), "ns")
            with pytest.raises(ApiError, match="returned 0 objects, expected 1"):
                await anext(events)


async def test_conversions_are_counted(cluster: Cluster) -> None:
    """By outcome, and by definition and versions."""

    async def nothing(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=503)

    outcomes: list[tuple[str, Any]] = [
        ("", lambda objects: objects),
        ("conversion_webhook_partial_response_failure", lambda objects: []),
        ("conversion_webhook_invalid_converted_object_failure", _meta(name="z")),
        ("conversion_webhook_malformed_response_failure", None),
        ("conversion_webhook_call_failure", nothing),
    ]
    async with serving(cluster):
        await establish(cluster, definition(cluster))
        answers(cluster)
        for number, (failure, change) in enumerate(outcomes):
            await cluster.client.create(DOORS_V1, door(f"d{number}"), "ns")
            if change is nothing:
                cluster.handlers["/convert"] = nothing
            else:
                answers(cluster, change or (lambda objects: objects), **({} if change else {"uid": "other"}))
            if failure:
                with pytest.raises(ApiError):
                    await cluster.client.get(DOORS_V2, f"d{number}", "ns")
            else:
                await cluster.client.get(DOORS_V2, f"d{number}", "ns")
    found = {family.definition.name: dict(family.samples) for family in cluster.api.metrics.conversion.families()}
    counts = dict.fromkeys([("failure" if failure else "success", failure) for failure, _ in outcomes], 1)
    assert found["apiserver_conversion_webhook_request_total"] == counts
    assert found["apiserver_conversion_webhook_duration_seconds"].keys() == counts.keys()
    durations = found["apiserver_crd_conversion_webhook_duration_seconds"]
    assert {labels: sum(value.counts) for labels, value in durations.items() if isinstance(value, Distribution)} == {
        ("doors.example.com", "v1", "v2", "true"): 1,
        ("doors.example.com", "v1", "v2", "false"): 4,
    }
