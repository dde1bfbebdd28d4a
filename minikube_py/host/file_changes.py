"""Tells when files were replaced, through inotify on their folders: no polling, one descriptor.

Writers here and elsewhere replace files by renaming, often several in a row; a change is told once,
when nothing has moved for ``settle_seconds``. Files that were touched but are the same are not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from minikube_py.host.inotify import folder_changes
from minikube_py.machinery.clock import Clock

settle_seconds = 0.25
Signature = tuple[tuple[int, int, int] | None, ...]


async def file_changes(
    paths: Sequence[Path], clock: Clock, *, since: Signature | None = None
) -> AsyncGenerator[None, None]:
    """Yield after each change of one of the files; close it with ``aclosing``.

    ``since`` is the state (``signature_of``) that the caller has read already; without it what is there
    now counts as known. Changes while the caller is busy with one are told afterwards, together.
    Raises OSError when a folder cannot be watched.
    """
    with folder_changes({path.parent for path in paths}) as changed:
        seen = since or await asyncio.to_thread(signature_of, paths)
        if since:
            changed.set()
        while True:
            await changed.wait()
            while changed.is_set():
                changed.clear()
                await clock.sleep(settle_seconds)
            now = await asyncio.to_thread(signature_of, paths)
            if now != seen:
                seen = now
                yield


def signature_of(paths: Sequence[Path]) -> Signature:
    """What tells one state of files from another: inode, time and size; None for a missing one."""
    return tuple(_signature(path) for path in paths)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
