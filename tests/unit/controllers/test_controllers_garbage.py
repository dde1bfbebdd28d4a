"""Garbage collection, namespaces and what every namespace has."""

from __future__ import annotations

import asyncio

from controllers_world import NAMESPACE, World, served

from minikube_py.client.types import DeleteOptions
from minikube_py.components.controllers.garbage.collector import GarbageCollector
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.namespaces import NamespaceController
from minikube_py.components.controllers.per_namespace import root_ca_controller, service_account_controller
from minikube_py.machinery.objects import Object, name_of, uid_of
from minikube_py.machinery.owners import owner_reference
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)


async def make(world: World, name: str, *owners: Object, block: bool = True) -> Object:
    references = [owner_reference(owner, "v1", "ConfigMap", controller=False, block=block) for owner in owners]
    meta: Object = {"name": name, "ownerReferences": references} if references else {"name": name}
    return await world.client.create(CONFIG_MAPS, {"metadata": meta}, NAMESPACE)


def names(world: World) -> list[str]:
    return [name_of(obj) for obj in world.client.all(CONFIG_MAPS, NAMESPACE)]


async def family(world: World) -> Object:
    parent = await make(world, "parent")
    child = await make(world, "child", parent)
    await make(world, "grandchild", child)
    world.start(GarbageCollector)
    await world.settle()
    return parent


async def test_background_deletion_takes_all_descendants(world: World) -> None:
    await family(world)
    assert len(names(world)) == 3
    await world.client.delete(CONFIG_MAPS, "parent", NAMESPACE)
    await world.settle()
    assert names(world) == []


async def test_foreground_deletion_goes_bottom_up(world: World) -> None:
    await family(world)
    await world.client.patch(CONFIG_MAPS, "grandchild", {"metadata": {"finalizers": ["x/hold"]}}, NAMESPACE)
    await world.client.delete(CONFIG_MAPS, "parent", NAMESPACE, options=DeleteOptions(propagation_policy="Foreground"))
    await world.settle()
    assert names(world) == ["child", "grandchild", "parent"]
    await world.client.patch(CONFIG_MAPS, "grandchild", {"metadata": {"finalizers": None}}, NAMESPACE)
    await world.settle()
    assert names(world) == []


async def test_orphaning_sets_the_dependents_free(world: World) -> None:
    await family(world)
    await world.client.delete(CONFIG_MAPS, "parent", NAMESPACE, options=DeleteOptions(propagation_policy="Orphan"))
    await world.settle()
    assert names(world) == ["child", "grandchild"]
    assert "ownerReferences" not in world.client.one(CONFIG_MAPS, "child", NAMESPACE)["metadata"]


async def test_one_living_owner_is_enough(world: World) -> None:
    one, two = await make(world, "one"), await make(world, "two")
    await make(world, "shared", one, two)
    world.start(GarbageCollector)
    await world.client.delete(CONFIG_MAPS, "one", NAMESPACE)
    await world.settle()
    references = world.client.one(CONFIG_MAPS, "shared", NAMESPACE)["metadata"]["ownerReferences"]
    assert [reference["uid"] for reference in references] == [uid_of(two)]


async def test_an_owner_that_never_was_counts_as_absent(world: World) -> None:
    ghost: Object = {"metadata": {"name": "ghost", "uid": "no-such-uid"}}
    world.start(GarbageCollector)
    await make(world, "child", ghost)
    await world.settle()
    assert names(world) == []


async def test_a_circle_of_foreground_deletions_ends(world: World) -> None:
    one = await make(world, "one")
    two = await make(world, "two", one)
    reference = owner_reference(two, "v1", "ConfigMap", controller=False)
    await world.client.patch(CONFIG_MAPS, "one", {"metadata": {"ownerReferences": [reference]}}, NAMESPACE)
    world.start(GarbageCollector)
    await world.client.delete(CONFIG_MAPS, "one", NAMESPACE, options=DeleteOptions(propagation_policy="Foreground"))
    await world.settle(10)
    assert names(world) == []


async def test_a_namespace_is_emptied_and_finalized(world: World) -> None:
    await world.client.create(NAMESPACES, {"metadata": {"name": "n"}})
    await world.client.create(SECRETS, {"metadata": {"name": "s"}}, "n")
    await world.client.create(CONFIG_MAPS, {"metadata": {"name": "held", "finalizers": ["x/hold"]}}, "n")
    await world.client.create(PODS, {"metadata": {"name": "p"}, "spec": {}}, "n")
    world.start(NamespaceController)
    await world.client.delete(NAMESPACES, "n")
    await world.settle(5)
    assert world.client.all(SECRETS, "n") == []
    conditions = {c["type"]: c for c in world.client.one(NAMESPACES, "n")["status"]["conditions"]}
    assert conditions["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: configmaps has 1 resource instances"
    )
    assert conditions["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: x/hold in 1 resource instances"
    )
    await world.client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "n")
    await world.settle(20)
    assert world.client.all(NAMESPACES) == []
    assert world.clock.sleepers == 0


async def test_every_namespace_has_an_account_and_the_root_certificate(world: World) -> None:
    world.start(service_account_controller)
    world.start(root_ca_controller)
    await world.client.create(NAMESPACES, {"metadata": {"name": "n"}})
    await world.settle()
    assert [name_of(obj) for obj in world.client.all(SERVICE_ACCOUNTS, "n")] == ["default"]
    await world.client.delete(SERVICE_ACCOUNTS, "default", "n")
    await world.client.patch(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, "n")
    await world.settle()
    assert [name_of(obj) for obj in world.client.all(SERVICE_ACCOUNTS, "n")] == ["default"]
    assert world.client.one(CONFIG_MAPS, "kube-root-ca.crt", "n")["data"] == {"ca.crt": "PEM"}
    world.kit.settings.root_ca.set("ROTATED")
    await world.settle()
    assert world.client.one(CONFIG_MAPS, "kube-root-ca.crt", "n")["data"] == {"ca.crt": "ROTATED"}


async def test_custom_resources_are_collected_as_soon_as_they_are_defined(world: World) -> None:
    widgets = Resource("example.com", "v1", "widgets", "Widget")
    known = [*served()]
    kit = Kit(world.client, world.clock, world.recorder, world.kit.settings, lambda: known)
    world.tasks.append(asyncio.ensure_future(GarbageCollector(kit).run()))
    owner = await world.client.create(widgets, {"metadata": {"name": "w"}}, NAMESPACE)
    reference = owner_reference(owner, "example.com/v1", "Widget")
    ghost = {**reference, "uid": "gone"}
    for name, each in (("owned", reference), ("left over", ghost)):
        await world.client.create(CONFIG_MAPS, {"metadata": {"name": name, "ownerReferences": [each]}}, NAMESPACE)
    await world.settle()
    assert names(world) == ["left over", "owned"]
    known.append(widgets)
    definition = {"metadata": {"name": "widgets.example.com"}}
    await world.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
    await world.settle(2)
    assert names(world) == ["owned"]
    await world.client.delete(widgets, "w", NAMESPACE)
    await world.settle()
    assert names(world) == []
