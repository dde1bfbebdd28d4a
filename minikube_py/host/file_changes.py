"""Tells when files were replaced, through inotify on their folders: no polling, one descriptor.

Writers here and elsewhere replace files by renaming, often several in a row; a change is told once,
when nothing has moved for ``settle_seconds``. Files that were touched but are the same are not told.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minikube_py.machinery.clock import Clock

_CLOSE_WRITE, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x80, 0x100, 0x200
_MASK = _CLOSE_WRITE | _MOVED_TO | _CREATE | _DELETE
_largest_read_bytes = 1 << 16
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
    with _watch({path.parent for path in paths}) as changed:
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


@contextmanager
def _watch(folders: set[Path]) -> Iterator[asyncio.Event]:
    """An event that is set whenever something in one of the folders has changed; the user clears it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "cannot use inotify (fs.inotify.max_user_instances)")
    changed, loop = asyncio.Event(), asyncio.get_running_loop()

    def drain() -> None:
        try:
            os.read(descriptor, _largest_read_bytes)
        except BlockingIOError:
            return
        changed.set()

    try:
        for folder in folders:
            if libc.inotify_add_watch(descriptor, os.fsencode(folder), _MASK) < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(folder))
        loop.add_reader(descriptor, drain)
        yield changed
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
