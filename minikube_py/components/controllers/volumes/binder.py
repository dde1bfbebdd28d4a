"""Binds claims to volumes and reclaims volumes whose claims are gone (``persistentvolume-binder``).

In: PersistentVolumeClaims, PersistentVolumes, StorageClasses, Pods (only to say which of them a claim waits for).
Out: ``spec.volumeName`` and ``spec.claimRef``, the phases of both, annotations for external provisioners, events.

Invariants, as in kube-controller-manager's ``pv_controller.go``: a volume is bound to one claim; the volume is
written before the claim, so a crash between the two leaves a volume that its claim finds again; a claim whose volume
is lost never gets another one. One worker does all keys in turn, so no two claims choose the same volume. Kubernetes
looks at everything again every 15 seconds; here a change wakes those whom it concerns.
"""

from __future__ import annotations

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.components.controllers.pods import is_finished
from minikube_py.components.controllers.storage_protection import claims_used
from minikube_py.components.controllers.volumes import writing
from minikube_py.components.controllers.volumes.reclaiming import reclaim
from minikube_py.machinery import volume_binding as binding
from minikube_py.machinery.objects import Object, annotations_of, is_deleting, key_of, name_of, split_key, uid_of
from minikube_py.machinery.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)

_CLAIM, _VOLUME = "claim:", "volume:"
_BY_CLAIM, _UNBOUND = "claim", "unbound"
_LOST = "Data on the volume is lost!"


def _unbound_class(claim: Object) -> tuple[str, ...]:
    return () if binding.BIND_COMPLETED in annotations_of(claim) else (binding.class_of(claim),)


def _only_reported(claim: Object, old: Object) -> bool:
    """Whether nothing but the status changed: an echo of this loop, which would only repeat its events."""
    return claim.get("spec") == old.get("spec") and annotations_of(claim) == annotations_of(old)


class VolumeBinder:
    """The loop; its keys are ``claim:namespace/name`` and ``volume:name``."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._claims = kit.client.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = kit.client.informer(PERSISTENT_VOLUMES)
        self._classes = kit.client.informer(STORAGE_CLASSES)
        self._pods = kit.client.informer(PODS)
        self._claims.add_index(_UNBOUND, _unbound_class)
        self._pods.add_index(_BY_CLAIM, claims_used)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="persistentvolume-binder")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._pods.synced()
        await follow(
            self._kit,
            "persistentvolume-binder",
            self._queue,
            self.reconcile,
            (self._classes, self._on_class),
            (self._volumes, self._on_volume),
            (self._claims, self._on_claim),
            workers=1,
        )

    def _on_claim(self, type: EventType, claim: Object, old: Object | None) -> None:
        if type is EventType.MODIFIED and old is not None and _only_reported(claim, old):
            return
        if type is not EventType.DELETED:
            self._queue.add(_CLAIM + key_of(claim))
        volume = binding.spec_of(claim).get("volumeName")
        if volume:
            self._queue.add(_VOLUME + str(volume))

    def _on_volume(self, type: EventType, volume: Object, old: Object | None) -> None:
        reference = binding.spec_of(volume).get("claimRef")
        if type is not EventType.DELETED:
            self._queue.add(_VOLUME + name_of(volume))
        if reference is not None:
            self._queue.add(f"{_CLAIM}{reference.get('namespace')}/{reference.get('name')}")
        elif binding.phase_of(volume) == "Available":
            self._wake_unbound(binding.class_of(volume))

    def _on_class(self, type: EventType, storage_class: Object, old: Object | None) -> None:
        self._wake_unbound(name_of(storage_class))
        self._wake_unbound("")  # it may have become the default

    def _wake_unbound(self, storage_class: str) -> None:
        for claim in self._claims.by_index(_UNBOUND, storage_class):
            self._queue.add(_CLAIM + key_of(claim))

    async def reconcile(self, key: str) -> None:
        """Bring one claim or one volume further. Raises ApiError."""
        if key.startswith(_VOLUME):
            volume = self._volumes.get(key.removeprefix(_VOLUME))
            if volume is not None:
                await self._volume(volume)
            return
        namespace, name = split_key(key.removeprefix(_CLAIM))
        claim = self._claims.get(name, namespace)
        if claim is None:
            return
        if binding.BIND_COMPLETED in annotations_of(claim):
            await self._bound_claim(claim)
        else:
            await self._unbound_claim(await self._with_default_class(claim))

    # Claims

    async def _with_default_class(self, claim: Object) -> Object:
        if binding.has_class(claim) or binding.spec_of(claim).get("volumeName"):
            return claim
        default = binding.default_class(self._classes.list())
        return claim if default is None else await writing.give_class(self._kit, claim, default)

    async def _unbound_claim(self, claim: Object) -> None:
        wanted = binding.spec_of(claim).get("volumeName")
        if wanted:
            await self._claim_of_a_volume(claim, self._volumes.get(str(wanted)))
            return
        storage_class = self._classes.get(binding.class_of(claim)) if binding.class_of(claim) else None
        delayed = binding.waits_for_consumer(storage_class)
        volume = binding.best_volume(claim, self._volumes.list(), delayed=delayed)
        if volume is not None:
            await writing.bind(self._kit, volume, claim)
            return
        if delayed and binding.SELECTED_NODE not in annotations_of(claim):
            self._tell_what_it_waits_for(claim)
        elif binding.class_of(claim):
            claim = await self._ask_provisioner(claim, storage_class)
        else:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._kit.recorder.event(claim, "Normal", "FailedBinding", text)
        await writing.set_claim_phase(self._kit, claim, "Pending")

    async def _claim_of_a_volume(self, claim: Object, volume: Object | None) -> None:
        """The user asked for one volume by its name."""
        if volume is not None and binding.spec_of(volume).get("claimRef") is None:
            problem = binding.unfit(volume, claim)
            if not problem:
                await writing.bind(self._kit, volume, claim)
                return
            text = f'Cannot bind to requested volume "{name_of(volume)}": {problem}'
            self._kit.recorder.event(claim, "Warning", "VolumeMismatch", text)
        elif volume is not None and binding.is_bound_to(volume, claim):
            await writing.bind(self._kit, volume, claim)
            return
        elif volume is not None:
            text = f'volume "{name_of(volume)}" already bound to a different claim.'
            self._kit.recorder.event(claim, "Warning", "FailedBinding", text)
        await writing.set_claim_phase(self._kit, claim, "Pending")

    def _tell_what_it_waits_for(self, claim: Object) -> None:
        pods = sorted(
            name_of(pod)
            for pod in self._pods.by_index(_BY_CLAIM, key_of(claim))
            if not is_finished(pod) and not (pod.get("spec") or {}).get("nodeName")
        )
        if not pods:
            reason, text = "WaitForFirstConsumer", "waiting for first consumer to be created before binding"
        elif len(pods) == 1:
            reason, text = "WaitForPodScheduled", f"waiting for pod {pods[0]} to be scheduled"
        else:
            reason, text = "WaitForPodScheduled", f"waiting for pods {','.join(pods)} to be scheduled"
        self._kit.recorder.event(claim, "Normal", reason, text)

    async def _ask_provisioner(self, claim: Object, storage_class: Object | None) -> Object:
        """Leave the claim to whoever provisions for its class: always a program outside of this loop."""
        name = binding.class_of(claim)
        if storage_class is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self._kit.recorder.event(claim, "Warning", "ProvisioningFailed", text)
            return claim
        provisioner = str(storage_class.get("provisioner"))
        if provisioner.startswith("kubernetes.io/"):
            text = f"no volume plugin matched name: {provisioner}"
            self._kit.recorder.event(claim, "Warning", "ProvisioningFailed", text)
            return claim
        claim = await writing.name_provisioner(self._kit, claim, provisioner)
        text = (
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
            "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
            "correctly registered."
        )
        self._kit.recorder.event(claim, "Normal", "ExternalProvisioning", text)
        return claim

    async def _bound_claim(self, claim: Object) -> None:
        name = binding.spec_of(claim).get("volumeName")
        volume = self._volumes.get(str(name)) if name else None
        if volume is None:
            lost = "its PersistentVolume" if name else "reference to PersistentVolume"
            await self._lose(claim, "ClaimLost", f"Bound claim has lost {lost}. {_LOST}")
            return
        reference = binding.spec_of(volume).get("claimRef")
        if reference is None or reference.get("uid") == uid_of(claim):
            await writing.bind(self._kit, volume, claim)
        else:
            text = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lose(claim, "ClaimMisbound", text)

    async def _lose(self, claim: Object, reason: str, text: str) -> None:
        if binding.phase_of(claim) != "Lost":
            await writing.set_claim_phase(self._kit, claim, "Lost")
            self._kit.recorder.event(claim, "Warning", reason, text)

    # Volumes

    async def _volume(self, volume: Object) -> None:
        reference = binding.spec_of(volume).get("claimRef")
        if reference is None or not reference.get("uid"):
            await writing.set_volume_phase(self._kit, volume, "Available")
            return
        claim = await self._claim_named_by(reference)
        if claim is None:
            await reclaim(self._kit, volume)
            return
        wanted = binding.spec_of(claim).get("volumeName")
        if not wanted:
            if binding.mode_of(volume) != binding.mode_of(claim):
                text = "Cannot bind PersistentVolume to requested PersistentVolumeClaim due to incompatible volumeMode."
                self._kit.recorder.event(volume, "Warning", "VolumeMismatch", text)
                self._kit.recorder.event(claim, "Warning", "VolumeMismatch", text)
                return
            self._queue.add(_CLAIM + key_of(claim))
        elif wanted == name_of(volume):
            await writing.set_volume_phase(self._kit, volume, "Bound")
        elif _was_provisioned(volume):
            await reclaim(self._kit, volume)
        else:
            await writing.unbind_volume(self._kit, volume)

    async def _claim_named_by(self, reference: Object) -> Object | None:
        """The claim that a volume is bound to; None when it is gone, which only the server can tell for certain."""
        name, namespace = str(reference.get("name")), str(reference.get("namespace"))
        claim = self._claims.get(name, namespace)
        if claim is None:
            selector = f"metadata.name={name}"
            listed = await self._kit.client.list(PERSISTENT_VOLUME_CLAIMS, namespace, field_selector=selector)
            claim = listed.items[0] if listed.items else None
        return claim if claim is not None and uid_of(claim) == reference.get("uid") else None


def _was_provisioned(volume: Object) -> bool:
    """Whether nobody needs it any more once its claim has got another volume."""
    policy = binding.spec_of(volume).get("persistentVolumeReclaimPolicy")
    return binding.PROVISIONED_BY in annotations_of(volume) and policy == "Delete" and not is_deleting(volume)
