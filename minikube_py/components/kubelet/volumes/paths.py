"""Volumes that are places on this host: emptyDir, hostPath, and claims bound to hostPath or local."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

from minikube_py.components.kubelet.volumes.mounting import is_mount_point, mount, mount_tmpfs
from minikube_py.components.kubelet.volumes.ownership import give_to_group
from minikube_py.components.kubelet.volumes.types import Mounted, VolumeContext, VolumeProblem
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, name_of, namespace_of, uid_of
from minikube_py.machinery.owners import is_controlled_by
from minikube_py.machinery.quantities import quantity_value
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, Resource


async def empty_dir(context: VolumeContext) -> Mounted:
    """A folder that lives as long as the pod: on disk, in memory (tmpfs) or on huge pages."""
    folder, medium = context.folder("empty-dir"), str(context.source.get("medium") or "")
    await asyncio.to_thread(_make_empty_dir, folder, medium, _memory_size(context), context.fs_group)
    return Mounted(folder)


def _memory_size(context: VolumeContext) -> int:
    limit = context.source.get("sizeLimit")
    wanted = quantity_value(limit) if limit is not None else 0
    bounds = [value for value in (wanted, context.memory_limit) if value > 0]
    return min(bounds, default=0)


def _make_empty_dir(folder: Path, medium: str, size_bytes: int, group: int | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = not folder.exists()
    if medium == "Memory":
        mount_tmpfs(folder, size_bytes=size_bytes)
    elif medium.startswith("HugePages"):
        folder.mkdir(exist_ok=True)
        if not is_mount_point(folder):
            page = medium.partition("-")[2].removesuffix("i")
            mount("nodev", folder, "hugetlbfs", options=f"pagesize={page}" if page else "")
    elif medium:
        raise VolumeProblem(f'unknown storage medium "{medium}"')
    else:
        folder.mkdir(exist_ok=True)
    if fresh:
        folder.chmod(0o777)
        if group is not None:
            give_to_group(folder, group, readonly=False)


async def host_path(context: VolumeContext) -> Mounted:
    """A path of the host, checked or made as its type says."""
    return Mounted(await asyncio.to_thread(_checked_host_path, context.source))


def _checked_host_path(source: Object) -> Path:
    path, kind = Path(source["path"]), str(source.get("type") or "")
    if kind == "":
        return path
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    elif kind == "FileOrCreate" and not path.exists():
        if not path.parent.is_dir():
            raise VolumeProblem(f"hostPath type check failed: {path.parent} is not a directory")
        path.touch(mode=0o644)
    test, text = _HOST_PATH_TYPES.get(kind, (None, ""))
    if test is None:
        raise VolumeProblem(f"{kind} is an invalid volume type")
    if not path.exists() or not test(path.stat().st_mode):
        raise VolumeProblem(f"hostPath type check failed: {path} is not {text}")
    return path


_HOST_PATH_TYPES: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


async def claim(context: VolumeContext) -> Mounted:
    """The volume that a PersistentVolumeClaim is bound to."""
    return await _claimed(context, context.source["claimName"], bool(context.source.get("readOnly")))


async def ephemeral(context: VolumeContext) -> Mounted:
    """The claim made for this pod's volume (``<pod>-<volume>``); it must belong to this very pod."""
    return await _claimed(context, f"{name_of(context.pod)}-{context.name}", False, own=True)


async def _claimed(context: VolumeContext, name: str, readonly: bool, *, own: bool = False) -> Mounted:
    namespace = namespace_of(context.pod)
    bound = await _get(context, PERSISTENT_VOLUME_CLAIMS, name, namespace)
    if own and not is_controlled_by(bound, context.pod):
        raise VolumeProblem(f"PVC {namespace}/{name} was not created for pod {namespace}/{name_of(context.pod)}")
    volume_name = (bound.get("spec") or {}).get("volumeName")
    if (bound.get("status") or {}).get("phase") != "Bound" or not volume_name:
        raise VolumeProblem(f"PVC {namespace}/{name} is not bound")
    if (bound.get("metadata") or {}).get("deletionTimestamp"):
        raise VolumeProblem("PVC is being deleted")
    volume = await _get(context, PERSISTENT_VOLUMES, volume_name, None)
    spec = volume.get("spec") or {}
    owner = spec.get("claimRef") or {}
    if owner.get("uid") != uid_of(bound):
        raise VolumeProblem(f"PVC {namespace}/{name} is not bound to volume {volume_name}")
    readonly = readonly or list(spec.get("accessModes") or ()) == ["ReadOnlyMany"]
    if "hostPath" in spec:
        return Mounted(await asyncio.to_thread(_checked_host_path, spec["hostPath"]), readonly)
    if "local" in spec:
        return await _local(context, Path(spec["local"]["path"]), readonly)
    kinds = ", ".join(key for key in spec if isinstance(spec[key], dict) and key not in ("claimRef", "capacity"))
    raise VolumeProblem(f"no volume plugin matched for {volume_name} ({kinds})")


async def _get(context: VolumeContext, resource: Resource, name: str, namespace: str | None) -> Object:
    try:
        return await context.client.get(resource, name, namespace)
    except ApiError as error:
        if is_not_found(error):
            raise VolumeProblem(error.message.replace("persistentvolumeclaims", "persistentvolumeclaim", 1)) from error
        raise


async def _local(context: VolumeContext, path: Path, readonly: bool) -> Mounted:
    def work() -> None:
        if not path.is_dir():
            raise VolumeProblem(f'path "{path}" does not exist')
        if context.fs_group is not None and not readonly:
            policy = ((context.pod.get("spec") or {}).get("securityContext") or {}).get("fsGroupChangePolicy")
            give_to_group(path, context.fs_group, readonly=False, only_if_root_differs=policy == "OnRootMismatch")

    await asyncio.to_thread(work)
    return Mounted(path, readonly)
