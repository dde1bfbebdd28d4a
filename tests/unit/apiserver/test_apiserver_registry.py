"""Creating, changing and deleting through the local client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.types import Client, DeleteOptions, EventType, PatchType, WriteOptions
from minikube_py.datastore.sqlite import SqliteDatastore
from minikube_py.datastore.tools import top
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES, NAMESPACES, PODS, SERVICES


def config(name: str = "a", **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def refused(awaitable: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await awaitable
    return caught.value


async def test_create_fills_system_fields(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config(k="v"), "x")
    meta = made["metadata"]
    assert (made["kind"], made["apiVersion"], meta["namespace"]) == ("ConfigMap", "v1", "x")
    assert meta["uid"]
    assert meta["creationTimestamp"]
    assert int(meta["resourceVersion"]) > 0
    assert await client.get(CONFIG_MAPS, "a", "x") == made


async def test_create_twice(client: Client) -> None:
    await client.create(CONFIG_MAPS, config(), "x")
    error = await refused(client.create(CONFIG_MAPS, config(), "x"))
    assert (error.code, error.message) == (409, 'configmaps "a" already exists')


async def test_generated_names_differ(client: Client) -> None:
    draft = {"metadata": {"generateName": "a-"}}
    first, second = [await client.create(CONFIG_MAPS, draft, "x") for _ in range(2)]
    assert first["metadata"]["name"].startswith("a-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_update_conflict_and_no_op(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config(k="1"), "x")
    changed = thaw(made)
    changed["data"]["k"] = "2"
    updated = await client.update(CONFIG_MAPS, changed, "x")
    assert int(updated["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert (await refused(client.update(CONFIG_MAPS, changed, "x"))).reason == "Conflict"
    same = await client.update(CONFIG_MAPS, thaw(updated), "x")
    assert same["metadata"]["resourceVersion"] == updated["metadata"]["resourceVersion"]


async def test_concurrent_patches_all_count(client: Client) -> None:
    await client.create(CONFIG_MAPS, config(k="1"), "x")
    patches = [client.patch(CONFIG_MAPS, "a", {"data": {f"k{n}": "v"}}, "x") for n in range(20)]
    await asyncio.gather(*patches)
    assert len((await client.get(CONFIG_MAPS, "a", "x"))["data"]) == 21


async def test_apply_creates_and_detects_conflicts(client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "1"}}
    options = WriteOptions(field_manager="one")
    made = await client.patch(CONFIG_MAPS, "a", body, "x", patch_type=PatchType.APPLY, options=options)
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
    other = {**body, "data": {"k": "2"}}
    error = await refused(
        client.patch(
            CONFIG_MAPS, "a", other, "x", patch_type=PatchType.APPLY, options=WriteOptions(field_manager="two")
        )
    )
    assert (error.code, error.reason) == (409, "Conflict")


async def test_dry_run_stores_nothing(client: Client) -> None:
    await client.create(CONFIG_MAPS, config(), "x", options=WriteOptions(dry_run=True))
    assert (await refused(client.get(CONFIG_MAPS, "a", "x"))).code == 404


async def test_finalizers_hold_an_object(client: Client) -> None:
    draft = config()
    draft["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(CONFIG_MAPS, draft, "x")
    marked = await client.delete(CONFIG_MAPS, "a", "x")
    assert marked["metadata"]["deletionTimestamp"]
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "x")
    assert (await refused(client.get(CONFIG_MAPS, "a", "x"))).code == 404


@pytest.mark.parametrize(("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")])
async def test_propagation_policies_are_finalizers(client: Client, policy: str, finalizer: str) -> None:
    await client.create(CONFIG_MAPS, config(), "x")
    marked = await client.delete(CONFIG_MAPS, "a", "x", options=DeleteOptions(propagation_policy=policy))
    assert marked["metadata"]["finalizers"] == [finalizer]


async def test_delete_preconditions(client: Client) -> None:
    await client.create(CONFIG_MAPS, config(), "x")
    error = await refused(client.delete(CONFIG_MAPS, "a", "x", options=DeleteOptions(precondition_uid="other")))
    assert error.reason == "Conflict"
    assert "the UID in the precondition (other)" in error.message


async def test_pod_deletion_waits_for_its_node(client: Client) -> None:
    await client.create(PODS, pod("free"), "x")
    await client.create(PODS, pod("placed", nodeName="n"), "x")
    await client.delete(PODS, "free", "x")
    assert (await refused(client.get(PODS, "free", "x"))).code == 404
    marked = await client.delete(PODS, "placed", "x")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await client.delete(PODS, "placed", "x", options=DeleteOptions(grace_period_seconds=5))
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    await client.delete(PODS, "placed", "x", options=DeleteOptions(grace_period_seconds=0))
    assert (await refused(client.get(PODS, "placed", "x"))).code == 404


async def test_binding_happens_once(client: Client) -> None:
    made = await client.create(PODS, pod("p"), "x")
    nominated = {**made, "status": {**made["status"], "nominatedNodeName": "m"}}
    await client.update(PODS, nominated, "x", subresource="status")
    target = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    await client.create(PODS, target, "x", name="p", subresource="binding")
    bound = await client.get(PODS, "p", "x")
    assert bound["spec"]["nodeName"] == "n"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    assert "nominatedNodeName" not in bound["status"]
    error = await refused(client.create(PODS, target, "x", name="p", subresource="binding"))
    assert error.message.endswith('pod p is already assigned to node "n"')


async def test_status_and_spec_are_written_apart(client: Client) -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("p")["spec"]},
    }
    made = await client.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec, "status": {"replicas": 9}}, "x")
    assert not made["status"].get("replicas")
    assert made["metadata"]["generation"] == 1
    draft = thaw(made)
    draft["spec"]["replicas"], draft["status"] = 7, {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    written = await client.update(DEPLOYMENTS, draft, "x", subresource="status")
    assert (written["spec"]["replicas"], written["status"]["replicas"]) == (1, 1)
    assert written["metadata"]["generation"] == 1
    scale = await client.get(DEPLOYMENTS, "d", "x", subresource="scale")
    assert (scale["spec"]["replicas"], scale["status"]["selector"]) == (1, "a=b")
    await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 3}}, "x", subresource="scale")
    scaled = await client.get(DEPLOYMENTS, "d", "x")
    assert (scaled["spec"]["replicas"], scaled["metadata"]["generation"]) == (3, 2)


async def test_service_addresses_and_ports_are_unique(client: Client) -> None:
    def service(name: str) -> Object:
        return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}

    made = await asyncio.gather(*(client.create(SERVICES, service(f"s{n}"), "x") for n in range(20)))
    assert len({obj["spec"]["clusterIP"] for obj in made}) == 20
    assert len({obj["spec"]["ports"][0]["nodePort"] for obj in made}) == 20
    taken = service("again")
    taken["spec"]["clusterIP"] = made[0]["spec"]["clusterIP"]
    error = await refused(client.create(SERVICES, taken, "x"))
    assert (error.code, "provided IP is already allocated" in error.message) == (422, True)
    await client.delete(SERVICES, "s0", "x")
    await client.create(SERVICES, taken, "x")


async def test_namespace_goes_when_it_is_finalized(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    marked = await client.delete(NAMESPACES, "n")
    assert marked["status"]["phase"] == "Terminating"
    draft = thaw(marked)
    draft["spec"]["finalizers"] = []
    await client.update(NAMESPACES, draft, subresource="finalize")
    assert (await refused(client.get(NAMESPACES, "n"))).code == 404


async def test_informer_is_a_window_on_the_cache(client: Client) -> None:
    informer = client.informer(CONFIG_MAPS, "x", label_selector="a=b")
    informer.add_index("k", lambda obj: [obj.get("data", {}).get("k", "")])
    seen: list[tuple[EventType, str, bool]] = []
    end = informer.subscribe(lambda event, obj, old: seen.append((event, obj["metadata"]["name"], old is not None)))
    labelled = config(k="v")
    labelled["metadata"]["labels"] = {"a": "b"}
    made = await client.create(CONFIG_MAPS, labelled, "x")
    await client.create(CONFIG_MAPS, config("other"), "x")
    assert informer.get("a", "x") is made
    assert informer.by_index("k", "v") == [made]
    assert informer.get("other", "x") is None
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"a": "c"}}}, "x")
    assert seen == [(EventType.ADDED, "a", False), (EventType.DELETED, "a", True)]
    assert informer.by_index("k", "v") == []
    end()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param({"clusterIP": "192.168.1.1"}, "does not match the current range", id="range"),
        pytest.param({"clusterIP": "fd00::1"}, "IPv6 is not configured on this cluster", id="ipv6"),
        pytest.param({"ipFamilyPolicy": "RequireDualStack"}, "not configured for dual-stack services", id="dual-stack"),
        pytest.param(
            {"clusterIP": "10.43.0.8", "clusterIPs": ["10.43.0.9"]}, "first value must match `clusterIP`", id="mismatch"
        ),
    ],
)
async def test_addresses_that_services_cannot_have(client: Client, spec: Object, why: str) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, **spec}}
    error = await refused(client.create(SERVICES, service, "x"))
    assert (error.code, why in error.message) == (422, True)


async def test_new_objects_bring_no_revision(client: Client) -> None:
    draft = {"metadata": {"name": "a", "resourceVersion": "5"}}
    error = await refused(client.create(CONFIG_MAPS, draft, "x"))
    assert (error.code, error.message) == (500, "resourceVersion should not be set on objects to be created")
    made = await client.create(CONFIG_MAPS, draft, "x", options=WriteOptions(dry_run=True))
    assert made["metadata"]["resourceVersion"] == "5"


async def test_only_heartbeats_of_nodes_may_be_lost(client: Client, store: SqliteDatastore, tmp_path: Path) -> None:
    lease = {"metadata": {"name": "holder"}, "spec": {"holderIdentity": "me"}}
    for namespace in ("kube-node-lease", "elections"):
        await client.create(LEASES, lease, namespace)
        live = thaw(await client.get(LEASES, "holder", namespace))
        live["spec"]["holderIdentity"] = "you"
        await client.update(LEASES, live, namespace)
    written = await top(f"sqlite:///{tmp_path}/state.db")
    revisions = {usage.name: usage.revisions for usage in written.keys}
    assert revisions == {"/registry/coordination.k8s.io/leases/elections/holder": 2}
