"""Makes and deletes the PersistentVolumes of class ``local-path``; runs on servers.

In: PersistentVolumeClaims that the volume binder left to this provisioner, with the node that the scheduler chose;
PersistentVolumes, StorageClasses, Nodes. Out: PersistentVolumes, events, and at the start the class if it is missing.

Invariants: a claim has one volume, by its name, however many servers run this; a volume is deleted only when it is
Released and its policy is Delete; its folder's finalizer is taken off here only when its node is no more.
"""

from __future__ import annotations

from collections.abc import Callable

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, DeleteOptions, EventRecorder, EventType, WriteOptions
from minikube_py.client.workqueue import WorkQueue
from minikube_py.machinery import local_volumes
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object, annotations_of, is_deleting, key_of, name_of, split_key, uid_of
from minikube_py.machinery.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from minikube_py.machinery.volume_binding import SELECTED_NODE, STORAGE_PROVISIONER, class_of, phase_of, spec_of

_CLAIM, _VOLUME = "claim:", "volume:"
_WRITE = WriteOptions(field_manager="local-path-provisioner")


async def run_provisioner(
    client: Client, recorder: EventRecorder, clock: Clock, root: str, ready: Callable[[], None]
) -> None:
    """Run until cancelled; ``root`` is the folder for volumes on every node. Raises ApiError at the start."""
    await _ensure_class(client)
    ready()
    await Provisioner(client, recorder, clock, root).run()


async def _ensure_class(client: Client) -> None:
    """Make the class if it is missing; what an administrator changed in it stands."""
    try:
        await client.create(STORAGE_CLASSES, local_volumes.storage_class(), options=_WRITE)
    except ApiError as error:
        if not is_already_exists(error):
            raise


class Provisioner:
    """The loop; its keys are ``claim:namespace/name`` and ``volume:name``."""

    def __init__(self, client: Client, recorder: EventRecorder, clock: Clock, root: str) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._root = root
        self._claims = client.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = client.informer(PERSISTENT_VOLUMES)
        self._classes = client.informer(STORAGE_CLASSES)
        self._nodes = client.informer(NODES)
        self._queue: WorkQueue[str] = WorkQueue(clock, name="local-path-provisioner")

    async def run(self) -> None:
        """Run until cancelled."""
        for informer in (self._claims, self._volumes, self._classes, self._nodes):
            await informer.synced()
        ends = [
            self._claims.subscribe(self._on_claim),
            self._volumes.subscribe(self._on_volume),
            self._nodes.subscribe(self._on_node),
        ]
        try:
            await run_controller(
                self._queue, self.reconcile, name="local-path-provisioner", clock=self._clock, workers=2
            )
        finally:
            for end in ends:
                end()

    def _on_claim(self, type: EventType, claim: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and _is_asked(claim):
            self._queue.add(_CLAIM + key_of(claim))

    def _on_volume(self, type: EventType, volume: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and local_volumes.is_local_path(volume):
            self._queue.add(_VOLUME + name_of(volume))

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        if type is EventType.DELETED:
            for volume in self._volumes.list():
                if local_volumes.node_of_volume(volume) == name_of(node):
                    self._queue.add(_VOLUME + name_of(volume))

    async def reconcile(self, key: str) -> None:
        """One claim or one volume. Raises ApiError."""
        if key.startswith(_VOLUME):
            volume = self._volumes.get(key.removeprefix(_VOLUME))
            if volume is not None and local_volumes.is_local_path(volume):
                await self._volume(volume)
            return
        namespace, name = split_key(key.removeprefix(_CLAIM))
        claim = self._claims.get(name, namespace)
        if claim is not None and _is_asked(claim) and not is_deleting(claim):
            await self._provision(claim)

    async def _provision(self, claim: Object) -> None:
        if self._volumes.get(local_volumes.volume_name(claim)) is not None:
            return
        of_class, chosen = self._classes.get(class_of(claim)), annotations_of(claim).get(SELECTED_NODE, "")
        if of_class is None:
            return
        problem = local_volumes.refusal(claim)
        if not chosen:
            problem = problem or "no node is chosen yet: the class must have volumeBindingMode WaitForFirstConsumer"
        if problem:
            self._recorder.event(claim, "Warning", "ProvisioningFailed", problem)
            return
        node = self._nodes.get(chosen)
        if node is None:
            await self._let_choose_again(claim)
            return
        volume = local_volumes.volume_for(claim, of_class, node, self._root)
        try:
            await self._client.create(PERSISTENT_VOLUMES, volume, options=_WRITE)
        except ApiError as error:
            if not is_already_exists(error):  # another server was faster
                raise
            return
        text = f"Successfully provisioned volume {name_of(volume)}"
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", text)

    async def _let_choose_again(self, claim: Object) -> None:
        """The chosen node is gone: without the annotation the scheduler looks for another one."""
        patch: Object = {"metadata": {"uid": uid_of(claim), "annotations": {SELECTED_NODE: None}}}
        namespace, name = split_key(key_of(claim))
        await self._client.patch(PERSISTENT_VOLUME_CLAIMS, name, patch, namespace, options=_WRITE)

    async def _volume(self, volume: Object) -> None:
        try:
            if local_volumes.awaits_its_folder(volume):
                if self._nodes.get(local_volumes.node_of_volume(volume)) is None:
                    patch = local_volumes.without_folder_finalizer(volume)
                    await self._client.patch(PERSISTENT_VOLUMES, name_of(volume), patch, options=_WRITE)
            elif phase_of(volume) == "Released" and local_volumes.data_goes_too(volume) and not is_deleting(volume):
                guard = DeleteOptions(precondition_uid=uid_of(volume))
                await self._client.delete(PERSISTENT_VOLUMES, name_of(volume), options=guard)
        except ApiError as error:
            if not is_not_found(error):
                raise


def _is_asked(claim: Object) -> bool:
    asked = annotations_of(claim).get(STORAGE_PROVISIONER) == local_volumes.PROVISIONER
    return asked and not spec_of(claim).get("volumeName")
