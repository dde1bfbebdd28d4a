"""What every client promises: the fake, the API server's local client, and HTTP to that server."""

from __future__ import annotations

import asyncio

import pytest

from minikube_py.client.informer import InformerPool
from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.client.types import Client, DeleteOptions, EventType, PatchType
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, name_of, resource_version_of, thaw, uid_of
from minikube_py.machinery.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS

POD_SPEC: Object = {"containers": [{"name": "c", "image": "i"}]}


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_create_get_update_delete(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a", x="1"), "default")
    assert uid_of(made)
    draft = thaw(made)
    draft["data"]["x"] = "2"
    changed = await client.update(CONFIG_MAPS, draft)
    assert int(resource_version_of(changed)) > int(resource_version_of(made))
    with pytest.raises(ApiError) as conflict:
        await client.update(CONFIG_MAPS, draft)
    assert conflict.value.reason == "Conflict"
    await client.delete(CONFIG_MAPS, "a", "default")
    with pytest.raises(ApiError) as missing:
        await client.get(CONFIG_MAPS, "a", "default")
    assert missing.value.reason == "NotFound"


async def test_a_name_is_taken_once_and_generated_names_differ(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    with pytest.raises(ApiError) as taken:
        await client.create(CONFIG_MAPS, config_map("a"), "default")
    assert taken.value.reason == "AlreadyExists"
    generated = {"metadata": {"generateName": "a-"}}
    names = {name_of(await client.create(CONFIG_MAPS, generated, "default")) for _ in range(3)}
    assert len(names) == 3


async def test_status_is_apart_and_generation_counts_the_spec(client: Client) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await client.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec}, "default")
    draft = thaw(made)
    draft["status"] = {"replicas": 1}
    unchanged = await client.update(DEPLOYMENTS, draft)
    assert "replicas" not in (unchanged.get("status") or {})
    draft["spec"]["replicas"] = 5
    draft["metadata"].pop("resourceVersion")
    with_status = await client.update(DEPLOYMENTS, draft, subresource="status")
    assert (with_status["status"]["replicas"], with_status["spec"]["replicas"]) == (1, 1)
    assert with_status["metadata"]["generation"] == 1
    patched = await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 3}}, "default", patch_type=PatchType.MERGE)
    assert patched["metadata"]["generation"] == 2


async def test_finalizers_hold_a_deleted_object(client: Client) -> None:
    await client.create(CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": ["x/y"]}}, "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    waiting = await client.get(CONFIG_MAPS, "a", "default")
    assert waiting["metadata"]["deletionTimestamp"]
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "default")
    assert (await client.list(CONFIG_MAPS, "default")).items == []


async def test_deletion_respects_preconditions(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    with pytest.raises(ApiError) as wrong:
        await client.delete(CONFIG_MAPS, "a", "default", options=DeleteOptions(precondition_uid="other"))
    assert wrong.value.reason == "Conflict"


async def test_namespaces_end_when_finalized(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    leaving = await client.delete(NAMESPACES, "n")
    assert leaving["status"]["phase"] == "Terminating"
    await client.update(NAMESPACES, {**thaw(leaving), "spec": {"finalizers": []}}, subresource="finalize")
    assert (await client.list(NAMESPACES)).items == []


async def test_pods_on_nodes_get_a_grace_period(client: Client) -> None:
    await client.create(PODS, {"metadata": {"name": "p"}, "spec": {**POD_SPEC, "nodeName": "n"}}, "default")
    leaving = await client.delete(PODS, "p", "default")
    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    await client.delete(PODS, "p", "default", options=DeleteOptions(grace_period_seconds=0))
    assert (await client.list(PODS, "default")).items == []


async def test_pages_cover_a_list_once(client: Client) -> None:
    for number in range(5):
        await client.create(CONFIG_MAPS, config_map(f"c{number}"), "default")
    names, token = [], ""
    while True:
        page = await client.list(CONFIG_MAPS, "default", limit=2, continue_token=token)
        names += [name_of(item) for item in page.items]
        token = page.continue_token
        if not token:
            break
    assert names == [f"c{number}" for number in range(5)]


async def test_watch_delivers_every_change_once_and_in_order(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a"), "default")
    async with client.watch(CONFIG_MAPS, resource_version=resource_version_of(made)) as events:
        await client.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, "default")
        await client.delete(CONFIG_MAPS, "a", "default")
        seen = [await anext(events) for _ in range(2)]
    assert [event.type for event in seen] == [EventType.MODIFIED, EventType.DELETED]
    assert seen[1].object["data"] == {"x": "1"}


async def test_a_watch_with_selectors_sees_objects_come_and_go(client: Client) -> None:
    first = await client.create(CONFIG_MAPS, config_map("other"), "default")
    async with client.watch(
        CONFIG_MAPS, "default", resource_version=resource_version_of(first), label_selector="app=a"
    ) as events:
        await client.create(CONFIG_MAPS, {"metadata": {"name": "a", "labels": {"app": "a"}}}, "default")
        await client.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, "default")
        await client.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"app": "b"}}}, "default")
        seen = [(await anext(events)).type for _ in range(3)]
    assert seen == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]


async def test_a_compacted_version_is_expired() -> None:
    client = FakeClient(FakeClock())
    made = await client.create(CONFIG_MAPS, config_map("a"), "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    client.forget_history(CONFIG_MAPS)
    with pytest.raises(ApiError) as gone:
        async with client.watch(CONFIG_MAPS, resource_version=resource_version_of(made)):
            pass
    assert gone.value.code == 410


async def test_lists_select_by_labels_and_fields(client: Client) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await client.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"app": app}}}, "default")
    by_label = await client.list(CONFIG_MAPS, "default", label_selector="app in (x)")
    by_field = await client.list(CONFIG_MAPS, field_selector="metadata.name=b")
    assert [name_of(item) for item in by_label.items] == ["a", "c"]
    assert [name_of(item) for item in by_field.items] == ["b"]
    assert {item["kind"] for item in by_label.items} == {"ConfigMap"}
    await client.delete_collection(CONFIG_MAPS, "default", label_selector="app=x")
    assert [name_of(item) for item in (await client.list(CONFIG_MAPS, "default")).items] == ["b"]


async def test_an_informer_shows_what_is_there_and_what_changes(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    informer = client.informer(CONFIG_MAPS)
    await informer.synced()
    seen: list[tuple[EventType, str]] = []
    gone = asyncio.Event()

    def on_event(change: EventType, obj: Object, old: Object | None) -> None:
        seen.append((change, name_of(obj)))
        if change is EventType.DELETED:
            gone.set()

    end = informer.subscribe(on_event)
    await client.create(CONFIG_MAPS, config_map("b"), "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    async with asyncio.timeout(30):
        await gone.wait()
    assert seen == [(EventType.ADDED, "a"), (EventType.ADDED, "b"), (EventType.DELETED, "a")]
    assert informer.get("a", "default") is None
    assert informer.get("b", "default") is not None
    end()


async def test_an_informer_follows_over_relists() -> None:
    clock = FakeClock()
    client = FakeClient(clock)
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    pool = InformerPool(client, clock)
    informer = pool.informer(CONFIG_MAPS)
    assert pool.informer(CONFIG_MAPS) is informer
    await informer.synced()
    seen: list[tuple[EventType, str]] = []
    informer.subscribe(lambda change, obj, old: seen.append((change, name_of(obj))))
    await client.create(CONFIG_MAPS, config_map("b"), "default")
    await clock.settle()
    client.forget_history(CONFIG_MAPS)
    await client.delete(CONFIG_MAPS, "a", "default")
    await clock.settle()
    assert seen == [(EventType.ADDED, "a"), (EventType.ADDED, "b"), (EventType.DELETED, "a")]
    assert [name_of(obj) for obj in informer.list("default")] == ["b"]
    await pool.close()
    assert len(asyncio.all_tasks()) == 1


async def test_indexes_follow_changes() -> None:
    client = FakeClient(FakeClock())
    informer = client.informer(CONFIG_MAPS)
    informer.add_index("x", lambda obj: [obj["data"]["x"]] if "x" in (obj.get("data") or {}) else [])
    await client.create(CONFIG_MAPS, config_map("a", x="1"), "default")
    assert [name_of(obj) for obj in informer.by_index("x", "1")] == ["a"]
    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, "default")
    assert informer.by_index("x", "1") == []
    assert [name_of(obj) for obj in informer.by_index("x", "2")] == ["a"]
