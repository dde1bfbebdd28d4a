"""Claims that wait for their first consumer: the scheduler chooses the node, and with it the volume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from scheduler_objects import node, pod
from test_scheduler_component import World, running

from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.settings import ControllerSettings
from minikube_py.components.controllers.volumes.binder import VolumeBinder
from minikube_py.components.scheduler import component
from minikube_py.machinery.objects import Object, annotations_of, thaw
from minikube_py.machinery.resources import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)
from minikube_py.machinery.volume_binding import NO_PROVISIONER, SELECTED_NODE


def local_volume(name: str, on: str, size: str = "1Gi") -> Object:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}]}
    spec = {
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
        "persistentVolumeReclaimPolicy": "Retain", "local": {"path": "/x"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }  # fmt: skip
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Pending"}}


def claim(name: str, size: str = "1Gi") -> Object:
    resources = {"requests": {"storage": size}}
    spec = {"resources": resources, "accessModes": ["ReadWriteOnce"], "storageClassName": "local"}
    meta = {"name": name, "namespace": "default"}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}


def local_class(provisioner: str = NO_PROVISIONER, **fields: Any) -> Object:
    waits = {"volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete"}
    return {"metadata": {"name": "local"}, "provisioner": provisioner, **waits, **fields}


def using(name: str, *claims: str, **spec: Any) -> Object:
    volumes = [
        {"name": f"v{number}", "persistentVolumeClaim": {"claimName": each}} for number, each in enumerate(claims)
    ]
    return pod(name, volumes=volumes, **spec)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A cluster of nodes a and b with volume binder and a scheduler that binds one pod at a time."""
    monkeypatch.setattr(component, "most_bindings_at_once", 1)
    made = World()
    made.client.seed(NODES, node("a"), node("b"))
    binder = VolumeBinder(Kit(made.client, made.clock, made.recorder, ControllerSettings(), lambda: ()))
    task = asyncio.ensure_future(binder.run())
    try:
        async with running(made):
            yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def give(world: World, *objects: Object) -> None:
    for obj in objects:
        resource = (
            PODS
            if "containers" in obj.get("spec", {})
            else STORAGE_CLASSES
            if "provisioner" in obj
            else PERSISTENT_VOLUMES
            if "capacity" in obj["spec"]
            else PERSISTENT_VOLUME_CLAIMS
        )
        await world.client.create(resource, obj, "default" if resource.namespaced else None)


def claim_in(world: World, name: str) -> Object:
    return world.client.one(PERSISTENT_VOLUME_CLAIMS, name, "default")


def reports(world: World, name: str) -> str:
    return str(world.scheduled_condition(name).get("message", ""))


async def test_the_pod_goes_where_a_volume_is(world: World) -> None:
    await give(world, local_class(), local_volume("on-b", "b"), claim("data"), using("p", "data"))
    await world.clock.until(lambda: world.node_of("p") == "b")
    assert claim_in(world, "data")["spec"]["volumeName"] == "on-b"
    assert SELECTED_NODE not in annotations_of(claim_in(world, "data"))


async def test_all_claims_of_a_pod_must_be_met_on_one_node(world: World) -> None:
    volumes = [local_volume("a1", "a"), local_volume("a2", "a", "5Gi"), local_volume("b1", "b")]
    await give(world, local_class(), *volumes, claim("large", "2Gi"), claim("small"), using("p", "large", "small"))
    await world.clock.until(lambda: world.node_of("p") == "a")
    chosen = {name: claim_in(world, name)["spec"]["volumeName"] for name in ("large", "small")}
    assert chosen == {"large": "a2", "small": "a1"}


async def test_two_pods_never_get_the_same_volume(world: World) -> None:
    await give(world, local_class(), local_volume("one", "a"), claim("c"), claim("d"))
    world.client.seed(PODS, using("p", "c"), using("q", "d"))
    await world.clock.until(lambda: bool(world.node_of("p")) != bool(world.node_of("q")))
    waiting = "q" if world.node_of("p") else "p"
    text = "2 node(s) didn't find available persistent volumes to bind"
    await world.clock.until(lambda: text in reports(world, waiting))
    await give(world, local_volume("two", "b"))
    await world.clock.until(lambda: world.node_of(waiting) == "b")


async def test_a_provisioner_is_told_the_node(world: World) -> None:
    topology = [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["b"]}]}]
    await give(world, local_class("example.com/disk", allowedTopologies=topology), claim("data"), using("p", "data"))
    await world.clock.until(lambda: annotations_of(claim_in(world, "data")).get(SELECTED_NODE) == "b")
    assert world.node_of("p") == ""
    made = local_volume("made", "b")
    made["spec"]["claimRef"] = {
        "namespace": "default",
        "name": "data",
        "uid": claim_in(world, "data")["metadata"]["uid"],
    }
    await give(world, made)
    await world.clock.until(lambda: world.node_of("p") == "b")


async def test_who_waits_for_volumes_takes_nobodys_turn(world: World) -> None:
    await give(world, local_class("example.com/disk"), claim("data"), using("waits", "data"))
    await world.clock.until(lambda: SELECTED_NODE in annotations_of(claim_in(world, "data")))
    await give(world, using("plain"))
    await world.clock.until(lambda: bool(world.node_of("plain")))
    assert world.node_of("waits") == ""


async def test_a_provisioner_that_gives_up_sets_the_pod_free(world: World) -> None:
    await give(world, local_class("example.com/disk"), claim("data"), using("p", "data", nodeSelector={"x": "y"}))
    await world.clock.until(lambda: bool(reports(world, "p")))
    fits = node("c", labels={"x": "y"})
    world.client.seed(NODES, fits)
    await world.clock.until(lambda: annotations_of(claim_in(world, "data")).get(SELECTED_NODE) == "c")
    draft = thaw(claim_in(world, "data"))
    del draft["metadata"]["annotations"][SELECTED_NODE]
    await world.client.update(PERSISTENT_VOLUME_CLAIMS, draft, "default")
    await world.clock.until(lambda: annotations_of(claim_in(world, "data")).get(SELECTED_NODE) == "c")
    assert world.node_of("p") == ""


async def test_a_bound_claim_decides_the_node(world: World) -> None:
    await give(world, local_class(), local_volume("on-a", "a"), claim("data"), using("first", "data"))
    await world.clock.until(lambda: world.node_of("first") == "a")
    for number in range(4):
        await give(world, using(f"p{number}", "data"))
        await world.clock.until(lambda number=number: world.node_of(f"p{number}") == "a")  # type: ignore[misc]
