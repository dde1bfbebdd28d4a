"""Takes away what a pod leaves behind: containers, sandboxes, logs. Idempotent."""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
from collections.abc import Awaitable
from pathlib import Path

from minikube_py.client.types import DeleteOptions
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.model import describe, log_directory
from minikube_py.components.kubelet.pods.resources import pod_cgroup_path
from minikube_py.components.kubelet.pods.state import PodState, container_name, restart_count
from minikube_py.components.kubelet.runtime.types import ContainerState, RuntimeFailure
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.resources import PODS

log = logging.getLogger(__name__)

delete_retry_seconds = 1.0


async def free_node(kit: Kit, pod: Object, uid: str) -> None:
    """Unmount the pod's volumes and remove its cgroup. Raises OSError while one of them is busy."""
    await kit.volumes.remove(uid)
    path = pod_cgroup_path(pod, uid, kit.settings.cgroup_root)
    begin = kit.clock.monotonic()
    removed = await asyncio.to_thread(kit.cgroups.remove_pod, path)
    kit.metrics.cgroup_seconds.labels("destroy").observe(kit.clock.monotonic() - begin)
    if not removed:
        raise OSError(errno.EBUSY, "cgroup is busy", path)


async def delete_object(kit: Kit, pod: Object, uid: str, gone: asyncio.Event) -> None:
    """The deletion handshake's last step: remove the API object now that nothing of it runs.

    Retried until it has worked, or until ``gone`` says that somebody else did it.
    """
    options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid)
    while not gone.is_set():
        try:
            await kit.client.delete(PODS, name_of(pod), namespace_of(pod), options=options)
            return
        except ApiError as error:
            if is_not_found(error) or is_conflict(error):
                return
            log.info("cannot delete pod", extra={"pod": describe(pod), "error": error.message})
        await kit.clock.sleep(delete_retry_seconds)


async def forget_pod(kit: Kit, pod: Object, uid: str) -> None:
    """Containers, sandboxes and logs away, and every table's entries for the pod. Raises RuntimeFailure."""
    await remove_from_runtime(kit, uid)
    await asyncio.to_thread(remove_logs, kit.settings.pod_logs_dir, pod)
    kit.images.forget(uid)
    kit.metrics.forget_pod(uid)


async def remove_from_runtime(kit: Kit, uid: str) -> None:
    """Remove the pod's sandboxes, which removes their containers too. Raises RuntimeFailure."""
    for container in await kit.runtime.list_containers(pod_uid=uid):
        await _unless_gone(kit.runtime.remove_container(container.id))
    for sandbox in await kit.runtime.list_sandboxes(pod_uid=uid):
        await _unless_gone(kit.runtime.stop_sandbox(sandbox.id))
        await _unless_gone(kit.runtime.remove_sandbox(sandbox.id))


async def prune_dead(kit: Kit, pod: Object, state: PodState) -> None:
    """Keep one ended container of each name (for ``kubectl logs -p``) besides the newest one."""
    names = {container_name(item) for item in state.containers}
    for name in names:
        older = [item for item in state.all_of(name)[1:] if item.container.state is ContainerState.EXITED]
        for item in older[1:]:
            await _unless_gone(kit.runtime.remove_container(item.container.id))
            folder = log_directory(kit.settings.pod_logs_dir, pod) / name
            await asyncio.to_thread(_remove_attempt, folder, restart_count(item))


def _remove_attempt(folder: Path, attempt: int) -> None:
    for path in folder.glob(f"{attempt}.log*"):
        path.unlink(missing_ok=True)


async def _unless_gone(call: Awaitable[None]) -> None:
    try:
        await call
    except RuntimeFailure as failure:
        if not failure.not_found:
            raise


def remove_logs(root: Path, pod: Object) -> None:
    """Delete the pod's log folder and the links to it. Blocking."""
    shutil.rmtree(log_directory(root, pod), ignore_errors=True)
    links = root.parent / "containers"
    if root.name == "pods" and links.is_dir():
        for link in links.glob(f"{name_of(pod)}_{namespace_of(pod)}_*.log"):
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
