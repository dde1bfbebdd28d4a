"""Makes and removes the folders of ``local-path`` volumes on one node.

In: PersistentVolumes of this node. Out: folders that every user may write to, as in other provisioners of this kind
(who may read what is inside is the pod's business), and the finalizer that is taken off once a folder is gone.

Invariants: only a folder whose name is the volume's own is ever touched; it is removed only when the volume's object
goes away, its claim is gone and its reclaim policy is Delete. Links in it are never followed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.machinery import local_volumes
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, name_of
from minikube_py.machinery.resources import PERSISTENT_VOLUMES
from minikube_py.machinery.volume_binding import spec_of

log = logging.getLogger(__name__)


async def run_folders(client: Client, clock: Clock, node_name: str, ready: Callable[[], None]) -> None:
    """Run until cancelled."""
    folders = Folders(client, clock, node_name)
    ready()
    await folders.run()


class Folders:
    """The loop; its keys are volumes."""

    def __init__(self, client: Client, clock: Clock, node_name: str) -> None:
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._volumes = client.informer(PERSISTENT_VOLUMES)
        self._queue: WorkQueue[str] = WorkQueue(clock, name="local-path-folders")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._volumes.synced()
        end = self._volumes.subscribe(self._on_volume)
        try:
            await run_controller(self._queue, self.reconcile, name="local-path-folders", clock=self._clock, workers=2)
        finally:
            end()

    def _on_volume(self, type: EventType, volume: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and self._is_mine(volume):
            self._queue.add(name_of(volume))

    def _is_mine(self, volume: Object) -> bool:
        return local_volumes.is_local_path(volume) and local_volumes.node_of_volume(volume) == self._node_name

    async def reconcile(self, name: str) -> None:
        """Bring the folder of one volume to where it should be. Raises ApiError, OSError."""
        volume = self._volumes.get(name)
        if volume is None or not self._is_mine(volume):
            return
        folder = folder_of(volume)
        if folder is None:
            log.error("path of a volume is not of its own name", extra={"volume": name})
        elif not is_deleting(volume):
            await asyncio.to_thread(make_folder, folder)
            return
        if not local_volumes.awaits_its_folder(volume):
            return
        if folder is not None and local_volumes.data_goes_too(volume):
            await asyncio.to_thread(remove_folder, folder)
        try:
            await self._client.patch(PERSISTENT_VOLUMES, name, local_volumes.without_folder_finalizer(volume))
        except ApiError as error:
            if not is_not_found(error):
                raise


def folder_of(volume: Object) -> Path | None:
    """Where the volume's data lies; None when the path is not one that the provisioner makes."""
    path = Path(str((spec_of(volume).get("local") or {}).get("path") or ""))
    proper = path.is_absolute() and ".." not in path.parts and path.name == local_volumes.folder_name(volume)
    return path if proper else None


def make_folder(folder: Path) -> None:
    """Make it if it is missing. Blocking; raises OSError."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    folder.chmod(0o777)


def remove_folder(folder: Path) -> None:
    """Remove it with all that is in it; one that is gone is fine. Blocking; raises OSError."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
