"""Claims of class local-path: a volume on the chosen node, its folder, and what is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.components.localpath import run_folders, run_provisioner
from minikube_py.machinery.local_volumes import FINALIZER, PROVISIONER
from minikube_py.machinery.objects import Object, annotations_of, thaw
from minikube_py.machinery.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from minikube_py.machinery.volume_binding import SELECTED_NODE, STORAGE_PROVISIONER


class World:
    """A cluster of node n, with the server's half and the half of that node; ``root`` is where volumes lie."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.client = FakeClient(self.clock)
        self.recorder = FakeRecorder()
        self.root = root
        self.client.seed(NODES, {"metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "host-of-n"}}})

    async def claim(self, name: str = "c", node: str = "n", **spec: Any) -> Object:
        annotations = {STORAGE_PROVISIONER: PROVISIONER} | ({SELECTED_NODE: node} if node else {})
        body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        draft = {
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {**body, "storageClassName": "local-path", **spec},
        }
        made = await self.client.create(PERSISTENT_VOLUME_CLAIMS, draft, "default")
        await self.clock.settle()
        return made

    def volumes(self) -> list[Object]:
        return self.client.all(PERSISTENT_VOLUMES)

    def folders(self) -> list[str]:
        return sorted(entry.name for entry in self.root.iterdir()) if self.root.exists() else []

    async def set_phase(self, volume: Object, phase: str) -> None:
        draft = thaw(self.client.one(PERSISTENT_VOLUMES, volume["metadata"]["name"]))
        draft["status"] = {"phase": phase}
        await self.client.update(PERSISTENT_VOLUMES, draft, subresource="status")

    async def until(self, condition: Any) -> None:
        """Folders are made in threads, so this waits in real time as well."""
        async with asyncio.timeout(60):
            while not condition():
                await self.clock.settle()
                await asyncio.sleep(0.005)


def mode_of(volume: Object) -> int:
    return Path(volume["spec"]["local"]["path"]).stat().st_mode & 0o777


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "storage")
    ready = asyncio.Event()
    tasks = [
        asyncio.ensure_future(run_provisioner(made.client, made.recorder, made.clock, str(made.root), ready.set)),
        asyncio.ensure_future(run_folders(made.client, made.clock, "n", lambda: None)),
    ]
    await ready.wait()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_class_is_there_and_an_administrators_word_stands(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(2):
        ready = asyncio.Event()
        running = run_provisioner(world.client, world.recorder, world.clock, "/x", ready.set)
        task = asyncio.ensure_future(running)
        await ready.wait()
        draft = thaw(world.client.one(STORAGE_CLASSES, "local-path"))
        assert draft["volumeBindingMode"] == "WaitForFirstConsumer"
        draft["metadata"]["annotations"] = {"mine": "yes"}
        await world.client.update(STORAGE_CLASSES, draft)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert annotations_of(world.client.one(STORAGE_CLASSES, "local-path")) == {"mine": "yes"}


async def test_a_claim_gets_a_folder_of_its_node(world: World) -> None:
    claim = await world.claim()
    await world.until(world.folders)
    [volume] = world.volumes()
    uid = claim["metadata"]["uid"]
    assert world.folders() == [f"pvc-{uid}_default_c"]
    assert volume["spec"]["local"]["path"] == str(world.root / f"pvc-{uid}_default_c")
    await world.until(lambda: mode_of(volume) == 0o777)
    assert volume["spec"]["claimRef"]["uid"] == uid and volume["spec"]["capacity"] == {"storage": "1Gi"}
    [term] = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["host-of-n"]
    assert "ProvisioningSucceeded" in world.recorder.reasons()


@pytest.mark.parametrize(
    ("how", "text"),
    [
        pytest.param({"accessModes": ["ReadWriteMany"]}, "access modes ReadWriteMany are not supported", id="shared"),
        pytest.param({"volumeMode": "Block"}, "volumes of mode Block are not supported", id="block"),
        pytest.param({"selector": {"matchLabels": {}}, "node": "n"}, "", id="empty selector"),
        pytest.param({"selector": {"matchLabels": {"a": "b"}}}, "", id="selector"),
        pytest.param({"node": ""}, "no node is chosen yet", id="immediate binding"),
    ],
)
async def test_what_cannot_be_had_is_told(world: World, how: dict[str, Any], text: str) -> None:
    await world.claim(**how)
    await world.until(lambda: world.recorder.events)
    [event] = world.recorder.events
    assert (event.reason, world.volumes()) == ("ProvisioningFailed", [])
    assert event.message.startswith(text or "claims with a selector are not supported")


async def test_a_node_that_is_gone_is_chosen_anew(world: World) -> None:
    await world.claim(node="gone")
    claim = world.client.one(PERSISTENT_VOLUME_CLAIMS, "c", "default")
    assert SELECTED_NODE not in annotations_of(claim) and world.volumes() == []


@pytest.mark.parametrize(("policy", "kept"), [("Delete", False), ("Retain", True)])
async def test_what_is_left_of_a_released_volume(world: World, policy: str, kept: bool) -> None:
    await world.claim()
    await world.until(world.folders)
    [volume] = world.volumes()
    path = Path(volume["spec"]["local"]["path"])
    outside = world.root.parent / "precious"
    outside.write_text("stays")
    (path / "link").symlink_to(outside)
    (path / "data").write_text("x")
    draft = thaw(volume)
    draft["spec"]["persistentVolumeReclaimPolicy"] = policy
    await world.client.update(PERSISTENT_VOLUMES, draft)
    await world.set_phase(volume, "Released")
    if kept:
        await world.clock.settle()
        assert (
            world.client.one(PERSISTENT_VOLUMES, volume["metadata"]["name"])["metadata"].get("deletionTimestamp")
            is None
        )
        await world.client.delete(PERSISTENT_VOLUMES, volume["metadata"]["name"])
    await world.until(lambda: world.volumes() == [])
    assert world.folders() == ([path.name] if kept else [])
    assert outside.read_text() == "stays"


async def test_a_volume_in_use_keeps_its_folder(world: World) -> None:
    await world.claim()
    await world.until(world.folders)
    [volume] = world.volumes()
    draft = thaw(volume)
    draft["metadata"]["finalizers"] = [FINALIZER, "kubernetes.io/pv-protection"]
    await world.client.update(PERSISTENT_VOLUMES, draft)
    await world.set_phase(volume, "Bound")
    await world.client.delete(PERSISTENT_VOLUMES, volume["metadata"]["name"])
    await world.clock.settle()
    assert len(world.volumes()) == len(world.folders()) == 1


async def test_volumes_of_a_node_that_is_gone_go(world: World) -> None:
    world.client.seed(NODES, {"metadata": {"name": "m"}})
    await world.claim(node="m")
    [volume] = world.volumes()
    await world.set_phase(volume, "Released")
    await world.until(lambda: world.volumes()[0]["metadata"].get("deletionTimestamp"))
    assert world.folders() == []  # it is another node's business
    await world.client.delete(NODES, "m")
    await world.until(lambda: world.volumes() == [])


@pytest.mark.parametrize("path", ["{root}/precious", "{root}/x/../{name}", "relative/{name}", ""])
async def test_a_path_that_is_not_the_volumes_own_is_never_touched(world: World, path: str) -> None:
    name = "pvc-1_default_c"
    for folder in ("precious", name):
        (world.root / folder).mkdir(parents=True)
    volume: Object = {
        "metadata": {
            "name": "pvc-1",
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER, "pyk3s.io/local-path-node": "n"},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "local": {"path": path.format(name=name, root=world.root)},
            "claimRef": {"namespace": "default", "name": "c", "uid": "u"},
            "persistentVolumeReclaimPolicy": "Delete",
        },
    }
    await world.client.create(PERSISTENT_VOLUMES, volume)
    await world.set_phase(volume, "Released")
    await world.until(lambda: world.volumes() == [])  # the object goes, and nothing else
    assert world.folders() == sorted(["precious", name])
