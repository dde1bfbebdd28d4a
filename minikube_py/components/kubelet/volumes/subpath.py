"""subPath mounts that cannot be tricked out of their volume (``pkg/volume/util/subpath``).

The path is walked folder by folder without following links, held open, and bind-mounted through
its file descriptor: what a container swaps afterwards makes no difference. Blocking.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from minikube_py.components.kubelet.volumes.mounting import MS_BIND, MS_REC, is_mount_point, mount
from minikube_py.components.kubelet.volumes.types import VolumeProblem


def bind_subpath(volume: Path, subpath: str, target: Path) -> Path:
    """Bind ``volume/subpath`` to ``target`` and return it; a missing path is made as a folder.

    Links inside the volume are followed as long as they stay inside. Raises VolumeProblem, OSError.
    """
    if Path(subpath).is_absolute() or ".." in Path(subpath).parts:
        raise VolumeProblem(f'subpath "{subpath}" is not within the volume')
    root = Path(os.path.realpath(volume))
    real = Path(os.path.realpath(root / subpath))
    if not real.is_relative_to(root):
        raise VolumeProblem(f'subpath "{real}" not within volume path "{root}"')
    if is_mount_point(target):
        return target
    descriptor = _open_inside(root, real.relative_to(root))
    try:
        _make_target(target, is_folder=stat.S_ISDIR(os.fstat(descriptor).st_mode))
        mount(f"/proc/{os.getpid()}/fd/{descriptor}", target, "", flags=MS_BIND | MS_REC)
    finally:
        os.close(descriptor)
    return target


def _open_inside(root: Path, relative: Path) -> int:
    """Open the path below ``root`` without following any link; folders that are missing are made like their parents."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    for part in relative.parts:
        try:
            following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
        except FileNotFoundError:
            following = _make_folder(part, descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise VolumeProblem(f'subpath "{relative}" changed while it was opened')
    return descriptor


def _make_folder(name: str, parent: int) -> int:
    """Make a folder with the owner and the mode of its parent, and open it.

    The mode is set once more afterwards, since this process's mask took some of it away, and users other than root
    are to write where they may write to the volume.
    """
    like = os.fstat(parent)
    os.mkdir(name, 0o700, dir_fd=parent)
    os.chown(name, like.st_uid, like.st_gid, dir_fd=parent, follow_symlinks=False)
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(like.st_mode))
    return descriptor


def _make_target(target: Path, *, is_folder: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if is_folder:
        target.mkdir(exist_ok=True, mode=0o750)
    else:
        target.touch(mode=0o640)
