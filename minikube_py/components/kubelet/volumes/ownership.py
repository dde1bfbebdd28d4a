"""fsGroup: gives a volume's files to a group (``pkg/volume/volume_linux.go``). Blocking."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_READ_WRITE = 0o660
_READ_ONLY = 0o440
_EXECUTE = 0o110


def give_to_group(root: Path, group: int, *, readonly: bool, only_if_root_differs: bool = False) -> None:
    """Let ``group`` own everything below ``root`` with read (and write) permission.

    With ``only_if_root_differs`` (fsGroupChangePolicy OnRootMismatch) a root that is right already
    is taken as proof for the rest.
    """
    if only_if_root_differs and _is_right(root, group, readonly=readonly):
        return
    for folder, directories, files in os.walk(root):
        for name in files:
            _give(Path(folder) / name, group, readonly=readonly)
        for name in directories:
            if (Path(folder) / name).is_symlink():
                _give(Path(folder) / name, group, readonly=readonly)
        if Path(folder) != root:
            _give(Path(folder), group, readonly=readonly)
    # The root comes last: it proves that the rest is done.
    _give(root, group, readonly=readonly)


def _mask(mode: int, *, readonly: bool) -> int:
    mask = _READ_ONLY if readonly else _READ_WRITE
    if stat.S_ISDIR(mode):
        mask |= stat.S_ISGID | _EXECUTE
    return mask


def _is_right(root: Path, group: int, *, readonly: bool) -> bool:
    found = root.stat()
    mask = _mask(found.st_mode, readonly=readonly)
    return found.st_gid == group and found.st_mode & mask == mask


def _give(path: Path, group: int, *, readonly: bool) -> None:
    # Files may vanish under a running pod; that is no failure of ours.
    with contextlib.suppress(FileNotFoundError):
        os.lchown(path, -1, group)
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) | _mask(mode, readonly=readonly))
