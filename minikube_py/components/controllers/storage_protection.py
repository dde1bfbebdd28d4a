"""Keeps claims and volumes that are in use (``pvcprotection`` and ``pvprotection`` of ``pkg/controller/volume``).

Admission gives every PersistentVolumeClaim and PersistentVolume a finalizer. These loops take it off
an object that is being deleted once nothing uses it: no scheduled pod names the claim, no claim is
bound to the volume. Until then the object stays, and its users work on.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.components.controllers.pods import is_finished
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    metadata,
    name_of,
    namespace_of,
    resource_version_of,
    split_key,
    uid_of,
)
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
_BY_CLAIM = "claim"


def claims_used(pod: Object) -> Sequence[str]:
    """The keys of the claims that a pod names, those of its ephemeral volumes included."""
    found: list[str] = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        source = volume.get("persistentVolumeClaim")
        if source is not None:
            found.append(f"{namespace_of(pod)}/{source.get('claimName')}")
        elif volume.get("ephemeral") is not None:
            found.append(f"{namespace_of(pod)}/{name_of(pod)}-{volume.get('name')}")
    return found


def holds(pod: Object, claim: str) -> bool:
    """Whether a pod uses a claim: only scheduled pods do, as no kubelet starts one whose claim goes away."""
    return bool((pod.get("spec") or {}).get("nodeName")) and claim in claims_used(pod)


async def remove_finalizer(kit: Kit, resource: Resource, obj: Object, finalizer: str) -> None:
    """Take one finalizer off; an object that is gone is fine. Raises Conflict."""
    rest = [each for each in metadata(obj).get("finalizers") or () if each != finalizer]
    guard = {"uid": uid_of(obj), "resourceVersion": resource_version_of(obj)}
    patch: Object = {"metadata": {**guard, "finalizers": rest or None}}
    try:
        await kit.client.patch(resource, name_of(obj), patch, namespace_of(obj) or None, options=WRITE)
    except ApiError as error:
        if not is_not_found(error):
            raise


def _waits(obj: Object, finalizer: str) -> bool:
    return is_deleting(obj) and finalizer in (metadata(obj).get("finalizers") or ())


class ClaimProtectionController:
    """The loop of claims."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._claims = kit.client.informer(PERSISTENT_VOLUME_CLAIMS)
        self._pods = kit.client.informer(PODS)
        self._pods.add_index(_BY_CLAIM, claims_used)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="pvc-protection")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "pvc-protection",
            self._queue,
            self.reconcile,
            (self._pods, self._on_pod),
            (self._claims, self._on_claim),
            workers=2,
        )

    def _on_claim(self, type: EventType, claim: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and _waits(claim, CLAIM_FINALIZER):
            self._queue.add(key_of(claim))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        if type is EventType.DELETED or is_finished(pod):
            for key in claims_used(pod):
                self._queue.add(key)

    async def reconcile(self, key: str) -> None:
        """Let one claim go if nothing uses it; the server has the last word on its pods."""
        namespace, name = split_key(key)
        claim = self._claims.get(name, namespace)
        if claim is None or not _waits(claim, CLAIM_FINALIZER):
            return
        if any(holds(pod, key) for pod in self._pods.by_index(_BY_CLAIM, key)):
            return
        if any(holds(pod, key) for pod in (await self._kit.client.list(PODS, namespace)).items):
            return
        await remove_finalizer(self._kit, PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER)


class VolumeProtectionController:
    """The loop of volumes."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._volumes = kit.client.informer(PERSISTENT_VOLUMES)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="pv-protection")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit, "pv-protection", self._queue, self.reconcile, (self._volumes, self._on_volume), workers=1
        )

    def _on_volume(self, type: EventType, volume: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and _waits(volume, VOLUME_FINALIZER):
            self._queue.add(key_of(volume))

    async def reconcile(self, key: str) -> None:
        """Let one volume go if it is not bound."""
        volume = self._volumes.get(key)
        if volume is None or not _waits(volume, VOLUME_FINALIZER):
            return
        if (volume.get("status") or {}).get("phase") != "Bound":
            await remove_finalizer(self._kit, PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER)
