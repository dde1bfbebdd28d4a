"""Claims get volumes, keep them, and give them back."""

from __future__ import annotations

from typing import Any

import pytest
from controllers_world import NAMESPACE, World

from minikube_py.components.controllers.volumes.binder import VolumeBinder
from minikube_py.components.controllers.volumes.ephemeral import EphemeralVolumeController
from minikube_py.machinery.objects import Object, annotations_of, thaw
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES


def volume(name: str, size: str = "1Gi", *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    body = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain"}
    return {
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {**body, "hostPath": {"path": "/x"}, **spec},
        "status": {"phase": "Pending"},
    }


def claim(name: str = "c", size: str = "1Gi", *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    body = {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}},
        "spec": {**body, **spec},
        "status": {"phase": "Pending"},
    }


def storage_class(name: str = "disk", *, default: bool = False, **fields: Any) -> Object:
    marks = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": marks}, "provisioner": "example.com/disk", **fields}


class Storage:
    """The world, seen by its volumes and claims."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def give(self, *objects: Object) -> None:
        for obj in objects:
            resource = (
                PERSISTENT_VOLUMES
                if "capacity" in obj.get("spec", {})
                else STORAGE_CLASSES
                if "provisioner" in obj
                else PERSISTENT_VOLUME_CLAIMS
            )
            namespace = NAMESPACE if resource.namespaced else None
            await self.world.client.create(resource, obj, namespace)
        await self.world.settle()

    def volume(self, name: str) -> Object:
        return self.world.client.one(PERSISTENT_VOLUMES, name)

    def claim(self, name: str = "c") -> Object:
        return self.world.client.one(PERSISTENT_VOLUME_CLAIMS, name, NAMESPACE)

    def phases(self, *names: str) -> list[str]:
        return [self.volume(name)["status"]["phase"] for name in names]

    async def drop_claim(self, name: str = "c") -> None:
        await self.world.client.delete(PERSISTENT_VOLUME_CLAIMS, name, NAMESPACE)
        await self.world.settle()

    def told(self) -> list[tuple[str, str]]:
        return [(event.reason, event.message) for event in self.world.recorder.events]


@pytest.fixture
def storage(world: World) -> Storage:
    world.start(VolumeBinder)
    return Storage(world)


@pytest.mark.parametrize("claim_first", [True, False], ids=["the claim comes first", "the volumes come first"])
async def test_a_claim_gets_the_smallest_volume_that_is_large_enough(storage: Storage, claim_first: bool) -> None:
    volumes = [volume("small", "1Gi"), volume("large", "9Gi"), volume("right", "3Gi")]
    wanted = claim(size="2Gi")
    if claim_first:
        await storage.give(wanted)
        assert storage.claim()["status"] == {"phase": "Pending"}
        assert storage.told()[0][0] == "FailedBinding"
        await storage.give(volumes[2])
    else:
        await storage.give(*volumes, wanted)
        assert storage.phases("small", "large") == ["Available", "Available"]
    bound, owner = storage.claim(), storage.volume("right")["spec"]["claimRef"]
    assert bound["spec"]["volumeName"] == "right" and owner["uid"] == bound["metadata"]["uid"]
    assert bound["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "3Gi"}}
    assert {"pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"} <= set(annotations_of(bound))
    assert storage.phases("right") == ["Bound"]


async def test_two_claims_never_share_a_volume(storage: Storage) -> None:
    await storage.give(volume("a"), claim("c"), claim("d"))
    phases = sorted(storage.claim(name)["status"]["phase"] for name in "cd")
    assert phases == ["Bound", "Pending"]
    await storage.give(volume("b"))
    assert {storage.claim(name)["spec"]["volumeName"] for name in "cd"} == {"a", "b"}


@pytest.mark.parametrize(
    ("wanted", "phase", "reason"),
    [
        pytest.param(claim(volumeName="a"), "Bound", "", id="fits"),
        pytest.param(claim(size="5Gi", volumeName="a"), "Pending", "VolumeMismatch", id="too small"),
        pytest.param(claim(volumeName="taken"), "Pending", "FailedBinding", id="somebody else's"),
        pytest.param(claim(volumeName="none"), "Pending", "", id="not there"),
    ],
)
async def test_a_claim_that_names_its_volume(storage: Storage, wanted: Object, phase: str, reason: str) -> None:
    owner = {"namespace": "elsewhere", "name": "x"}
    await storage.give(volume("a"), volume("taken", claimRef=owner), wanted)
    assert storage.claim()["status"]["phase"] == phase
    assert {each for each, _ in storage.told()} == ({reason} if reason else set())


async def test_a_volume_reserved_by_name_waits_for_its_claim(storage: Storage) -> None:
    await storage.give(volume("a"), volume("b", "9Gi", claimRef={"namespace": NAMESPACE, "name": "c"}))
    assert storage.phases("a", "b") == ["Available", "Available"]
    await storage.give(claim())
    assert storage.claim()["spec"]["volumeName"] == "b"
    assert "pv.kubernetes.io/bound-by-controller" not in annotations_of(storage.volume("b"))


@pytest.mark.parametrize(
    ("policy", "annotations", "phase", "reason"),
    [
        pytest.param("Retain", {}, "Released", "", id="retain"),
        pytest.param("Delete", {}, "Failed", "VolumeFailedDelete", id="delete what nobody can delete"),
        pytest.param(
            "Delete",
            {"pv.kubernetes.io/provisioned-by": "example.com/disk"},
            "Released",
            "",
            id="left to the provisioner",
        ),
        pytest.param("Recycle", {}, "Failed", "VolumeFailedRecycle", id="recycle"),
    ],
)
async def test_what_becomes_of_a_volume(
    storage: Storage, policy: str, annotations: dict[str, str], phase: str, reason: str
) -> None:
    await storage.give(volume("a", persistentVolumeReclaimPolicy=policy, annotations=annotations), claim())
    assert storage.phases("a") == ["Bound"]
    await storage.drop_claim()
    assert storage.phases("a") == [phase]
    assert [each for each, _ in storage.told()] == ([reason] if reason else [])
    await storage.give(claim())
    assert storage.claim()["status"]["phase"] == "Pending"  # a released volume is for nobody


async def test_a_claim_that_lost_its_volume_gets_no_other(storage: Storage) -> None:
    await storage.give(volume("a"), claim())
    await storage.world.client.delete(PERSISTENT_VOLUMES, "a")
    await storage.give(volume("b"))
    assert storage.claim()["status"] == {"phase": "Lost"}
    text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    assert ("ClaimLost", text) in storage.told()


async def test_a_volume_chosen_for_a_claim_that_got_another_is_free_again(storage: Storage) -> None:
    await storage.give(volume("a"), claim())
    bound = storage.claim()
    reference = {"namespace": NAMESPACE, "name": "c", "uid": bound["metadata"]["uid"]}
    by_controller = {"pv.kubernetes.io/bound-by-controller": "yes"}
    await storage.give(volume("b", claimRef=reference, annotations=by_controller), volume("c", claimRef=reference))
    assert storage.phases("b", "c") == ["Available", "Available"]
    assert "claimRef" not in storage.volume("b")["spec"]
    assert storage.volume("c")["spec"]["claimRef"] == {"namespace": NAMESPACE, "name": "c"}


async def test_a_provisioner_is_asked_and_its_volume_taken(storage: Storage) -> None:
    await storage.give(storage_class(), claim(storageClassName="disk"))
    waiting = storage.claim()
    assert annotations_of(waiting)["volume.kubernetes.io/storage-provisioner"] == "example.com/disk"
    assert storage.told()[0][0] == "ExternalProvisioning"
    reference = {"namespace": NAMESPACE, "name": "c", "uid": waiting["metadata"]["uid"]}
    await storage.give(volume("made", storageClassName="disk", claimRef=reference))
    assert storage.claim()["status"]["phase"] == "Bound"


@pytest.mark.parametrize(
    ("present", "text"),
    [
        pytest.param([], 'storageclass.storage.k8s.io "disk" not found', id="no class"),
        pytest.param(
            [storage_class() | {"provisioner": "kubernetes.io/no-provisioner"}],
            "no volume plugin matched name: kubernetes.io/no-provisioner", id="nobody provisions",
        ),
    ],
)  # fmt: skip
async def test_nobody_can_provision(storage: Storage, present: list[Object], text: str) -> None:
    await storage.give(*present, claim(storageClassName="disk"))
    assert storage.told()[0] == ("ProvisioningFailed", text)


async def test_a_delayed_claim_waits_for_its_pod(storage: Storage) -> None:
    late = storage_class(volumeBindingMode="WaitForFirstConsumer")
    await storage.give(late, volume("a", storageClassName="disk"), claim(storageClassName="disk"))
    text = "waiting for first consumer to be created before binding"
    assert storage.told() == [("WaitForFirstConsumer", text)]
    assert storage.phases("a") == ["Available"]
    chosen = thaw(storage.claim())
    chosen["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = "n"
    await storage.world.client.update(PERSISTENT_VOLUME_CLAIMS, chosen, NAMESPACE)
    await storage.world.settle()
    assert "volume.kubernetes.io/storage-provisioner" in annotations_of(storage.claim())


async def test_a_claim_without_a_class_gets_the_default_one_later(storage: Storage) -> None:
    without = claim()
    del without["spec"]["storageClassName"]
    await storage.give(without, claim("none"))
    await storage.give(storage_class(default=True))
    assert storage.claim()["spec"]["storageClassName"] == "disk"
    assert storage.claim("none")["spec"]["storageClassName"] == ""


def ephemeral_pod() -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    return {"metadata": {"name": "p", "namespace": NAMESPACE}, "spec": {"volumes": volumes}}


async def test_ephemeral_volumes_get_claims_of_their_pod(world: World) -> None:
    world.start(EphemeralVolumeController)
    pod = await world.client.create(PODS, ephemeral_pod(), NAMESPACE)
    await world.settle()
    made = world.client.one(PERSISTENT_VOLUME_CLAIMS, "p-scratch", NAMESPACE)
    assert made["metadata"]["labels"] == {"a": "b"} and made["spec"] == {"accessModes": ["ReadWriteOnce"]}
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"]) == (pod["metadata"]["uid"], True)
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "p-scratch", NAMESPACE)
    await world.settle()
    assert (
        world.client.one(PERSISTENT_VOLUME_CLAIMS, "p-scratch", NAMESPACE)["metadata"]["uid"] != made["metadata"]["uid"]
    )


async def test_a_foreign_claim_is_left_alone(world: World) -> None:
    world.client.seed(PERSISTENT_VOLUME_CLAIMS, claim("p-scratch"))
    world.start(EphemeralVolumeController)
    await world.client.create(PODS, ephemeral_pod(), NAMESPACE)
    await world.settle()
    [event] = world.recorder.events
    assert event.reason == "FailedBinding"
    assert event.message == (
        "ephemeral volume scratch: PVC default/p-scratch was not created for pod default/p (pod is not owner)"
    )
