"""Claims and volumes stay while they are used."""

from __future__ import annotations

from controllers_world import NAMESPACE, World

from minikube_py.client.types import DeleteOptions
from minikube_py.components.controllers.storage_protection import (
    CLAIM_FINALIZER,
    VOLUME_FINALIZER,
    ClaimProtectionController,
    VolumeProtectionController,
)
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS


def pod(name: str, *, node: str) -> Object:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    return {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"nodeName": node, "volumes": volumes}}


async def test_a_claim_stays_until_its_last_scheduled_pod_is_gone(world: World) -> None:
    world.client.seed(PODS, pod("runs", node="n"), pod("waits", node=""))
    claim = {"metadata": {"name": "c", "finalizers": [CLAIM_FINALIZER]}, "spec": {}}
    await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim, NAMESPACE)
    world.start(ClaimProtectionController)
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", NAMESPACE)
    await world.settle()
    assert len(world.client.all(PERSISTENT_VOLUME_CLAIMS)) == 1
    await world.client.delete(PODS, "runs", NAMESPACE, options=DeleteOptions(grace_period_seconds=0))
    await world.settle()
    assert world.client.all(PERSISTENT_VOLUME_CLAIMS) == []


async def test_a_volume_stays_while_it_is_bound(world: World) -> None:
    volume = {"metadata": {"name": "v", "finalizers": [VOLUME_FINALIZER]}, "status": {"phase": "Bound"}}
    world.client.seed(PERSISTENT_VOLUMES, volume)
    world.start(VolumeProtectionController)
    await world.client.delete(PERSISTENT_VOLUMES, "v")
    await world.settle()
    draft = thaw(world.client.one(PERSISTENT_VOLUMES, "v"))
    draft["status"]["phase"] = "Released"
    await world.client.update(PERSISTENT_VOLUMES, draft, subresource="status")
    await world.settle()
    assert world.client.all(PERSISTENT_VOLUMES) == []
