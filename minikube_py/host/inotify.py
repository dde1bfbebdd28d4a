"""Tells that something in some folders has changed, through inotify: no polling, one descriptor for each watch.

It says neither what changed nor how often: whoever waits clears the event, looks at the folder and waits again, so a
change while it looks is never lost.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MODIFY, _CLOSE_WRITE, _MOVED, _CREATE, _DELETE, _SELF = 0x2, 0x8, 0xC0, 0x100, 0x200, 0xC00
_MASK = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF
_largest_read_bytes = 1 << 16


@contextmanager
def folder_changes(folders: Iterable[Path], *, each_write: bool = False) -> Iterator[asyncio.Event]:
    """An event that is set whenever a file of the folders is written and closed, made, renamed or removed.

    With ``each_write`` every write counts, before the writer closes the file. The folders' own removal counts too.
    Raises OSError when a folder is not there or the user's watches are used up.
    """
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
            if libc.inotify_add_watch(descriptor, os.fsencode(folder), _MASK | (_MODIFY if each_write else 0)) < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(folder))
        loop.add_reader(descriptor, drain)
        yield changed
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
