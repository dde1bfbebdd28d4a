"""Tells of changes in one folder through inotify: no polling, one file descriptor."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_CLOSE_WRITE, _MOVED, _CREATE, _DELETE, _SELF = 0x8, 0xC0, 0x100, 0x200, 0xC00
_libc = ctypes.CDLL(None, use_errno=True)


@asynccontextmanager
async def folder_changes(folder: Path) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever something in the folder changes; the user clears it.

    Raises OSError when the folder cannot be watched.
    """
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    changed, loop = asyncio.Event(), asyncio.get_running_loop()

    def drain() -> None:
        os.read(descriptor, 65536)
        changed.set()

    try:
        mask = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF
        if _libc.inotify_add_watch(descriptor, os.fsencode(folder), mask) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
        loop.add_reader(descriptor, drain)
        yield changed
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
