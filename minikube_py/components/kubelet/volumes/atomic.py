"""Writes a set of files so that readers see all of the old ones or all of the new ones.

The layout is Kubernetes': user-visible names are links into ``..data``, itself a link to a
timestamped folder that is exchanged by one rename. Blocking; call in a thread. Raises OSError.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DATA = "..data"
_DATA_TMP = "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """Content and permission bits of one file; ``owner`` None leaves it to the writer (root)."""

    content: bytes
    mode: int = 0o644
    owner: int | None = None


Payload = Mapping[str, File]
"""Relative path -> file."""


class BadPath(ValueError):
    """A path that would leave the volume."""


def check_path(path: str) -> None:
    """Refuse absolute paths and ``..``. Raises BadPath."""
    parts = PurePosixPath(path).parts
    if not path or path.startswith("/"):
        raise BadPath(f"invalid path: must be relative path: {path}")
    if ".." in parts or parts[0].startswith(".."):
        raise BadPath(f"invalid path: must not start with '..' or contain '..': {path}")


def write_payload(target: Path, payload: Payload, *, group: int | None = None) -> bool:
    """Bring ``target`` to exactly this payload; False when it was so already."""
    for path in payload:
        check_path(path)
    if _current(target) == {path: (file.content, _wanted_mode(file, group)) for path, file in payload.items()}:
        return False
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime())
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=target))
    fresh.chmod(0o755)
    previous = target / DATA
    old = target / previous.readlink() if previous.is_symlink() else None
    try:
        for path, file in payload.items():
            _write(fresh, path, file, group)
        if group is not None:
            _give_folders(fresh, group)
        temporary = target / _DATA_TMP
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(fresh.name)
        temporary.rename(previous)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link_names(target, payload)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _wanted_mode(file: File, group: int | None) -> int:
    return file.mode | 0o440 if group is not None else file.mode


def _write(folder: Path, path: str, file: File, group: int | None) -> None:
    destination = folder / path
    destination.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    destination.write_bytes(file.content)
    destination.chmod(_wanted_mode(file, group))
    if file.owner is not None or group is not None:
        os.chown(destination, -1 if file.owner is None else file.owner, -1 if group is None else group)


def _give_folders(fresh: Path, group: int) -> None:
    for folder, _, _ in os.walk(fresh):
        os.chown(folder, -1, group)
        path = Path(folder)
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_ISGID | 0o550)


def _link_names(target: Path, payload: Payload) -> None:
    """Make the top-level names links into ``..data`` and remove those of files that are gone."""
    wanted = {PurePosixPath(path).parts[0] for path in payload}
    for name in wanted:
        link = target / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in os.scandir(target):
        if not entry.name.startswith("..") and entry.name not in wanted:
            Path(entry.path).unlink()


def _current(target: Path) -> dict[str, tuple[bytes, int]] | None:
    """What ``target`` holds; None before the first write."""
    data = target / DATA
    if not data.is_dir():
        return None
    found: dict[str, tuple[bytes, int]] = {}
    for folder, _, files in os.walk(data.resolve()):
        for name in files:
            path = Path(folder) / name
            relative = str(path.relative_to(data.resolve()))
            found[relative] = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    return found
