"""Mounts through the kernel's own calls. Blocking; call in a thread. Raises OSError."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str, *, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    done = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(target: Path) -> None:
    """umount2(2), detaching at once even if files are open. A target that is no mount is left alone."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        if number not in (22, 2):  # EINVAL: not a mount point; ENOENT
            raise OSError(number, os.strerror(number), str(target))


def is_mount_point(path: Path) -> bool:
    return str(path) in mount_points()


def mount_points() -> set[str]:
    """Every mount point of this process's namespace."""
    found = set()
    with Path("/proc/self/mountinfo").open() as lines:
        for line in lines:
            found.add(line.split(" ", 5)[4].encode().decode("unicode_escape"))
    return found


def mounts_under(folder: Path) -> Sequence[Path]:
    """Mount points at or below a folder, the deepest first."""
    prefix = str(folder)
    found = [point for point in mount_points() if point == prefix or point.startswith(prefix + "/")]
    return [Path(point) for point in sorted(found, key=len, reverse=True)]


def mount_tmpfs(target: Path, *, size_bytes: int = 0, mode: int = 0o777) -> None:
    """A tmpfs at ``target`` (made if missing); left alone when one is there already."""
    target.mkdir(parents=True, exist_ok=True)
    if is_mount_point(target):
        return
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    mount("tmpfs", target, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=options)


def remove_tree(folder: Path) -> None:
    """Unmount what is mounted below and remove the folder, never crossing into a mount that stayed."""
    for point in mounts_under(folder):
        unmount(point)
    if mounts_under(folder):
        raise OSError(16, "still mounted", str(folder))
    _remove(folder)


def _remove(path: Path) -> None:
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _remove(Path(entry.path))
        else:
            Path(entry.path).unlink(missing_ok=True)
    path.rmdir()
