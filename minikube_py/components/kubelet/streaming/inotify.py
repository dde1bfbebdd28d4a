"""Waits for changes of a folder's files with inotify: no polling, one descriptor for each watch."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path
from types import TracebackType

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE, _IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
_MASK = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF
_largest_read_bytes = 1 << 16


class FolderWatch:
    """``changed`` is set whenever a file of the folder is written, made, renamed into it or removed."""

    def __init__(self, folder: Path) -> None:
        self.changed = asyncio.Event()
        self._folder = folder
        self._descriptor = -1

    def __enter__(self) -> FolderWatch:
        """Raises OSError when the folder is not there or the user's watches are used up."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "cannot use inotify (fs.inotify.max_user_instances)")
        if libc.inotify_add_watch(self._descriptor, os.fsencode(self._folder), _MASK) < 0:
            number = ctypes.get_errno()
            os.close(self._descriptor)
            raise OSError(number, os.strerror(number), str(self._folder))
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_readable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _on_readable(self) -> None:
        try:
            os.read(self._descriptor, _largest_read_bytes)
        except BlockingIOError:
            return
        self.changed.set()
