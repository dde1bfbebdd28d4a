"""Checkpoints: pages go from the WAL into the database beside the writer, not in its way.

Left to itself SQLite does it in whatever commit makes the WAL too long: a thousand pages and two fsyncs, 10 ms, or
60 ms when the machine is busy, during which no write gets on. So a connection and thread of its own moves
the pages while the writer goes on appending, in passes that get shorter, and the writer moves the few pages
that are left then. Nothing else can do that last bit: the WAL is begun anew only when everything in it has been moved.

How full the WAL is SQLite does not tell, so the pages that are written are estimated. Should a pass take too long, or
fail, the writer's commits do it as they always did, at ``file.WAL_PAGES_LIMIT``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from minikube_py.datastore.sqlite import file, log
from minikube_py.datastore.sqlite.disk import DiskThread

_logger = logging.getLogger(__name__)
_DUE_PAGES = 1500
_REST_PAGES = 64
_PASSES = 6
_ROW_BYTES = 256  # without the value


class Checkpoints:
    """Of one store, next to its ``writer``. All methods run on the event loop."""

    def __init__(self, path: Path, writer: DiskThread) -> None:
        self._writer = writer
        self._beside = DiskThread(path, file.open_copier, name="datastore-checkpoint")
        self._pages = 0  # written since the last checkpoint began, at most
        self._running = False
        self._closed = False

    def wrote(self, pages: int) -> None:
        """The writer has committed something of about so many pages."""
        self._pages += pages
        if self._pages < _DUE_PAGES or self._running or self._closed:
            return
        self._pages = 0
        self._running = True
        self._move(_PASSES, None)

    async def empty(self) -> None:
        """Move everything and give the WAL's space back, unless somebody reads in it. Raises what the disk does."""
        await self._beside.call(log.checkpoint)
        await self._writer.call(log.empty_wal)

    async def close(self, *, within: float) -> bool:
        """See ``DiskThread.close``. One that is at work is finished, but for the writer's part."""
        self._closed = True
        return await self._beside.close(within=within)

    def _move(self, passes: int, left_before: int | None) -> None:
        """Pass after pass beside the writer, until little is left; then the rest in the writer."""

        def done(left: int, error: Exception | None) -> None:
            if error is not None or self._closed:
                self._end(left, error)
            elif left <= _REST_PAGES or passes == 1:
                self._writer.submit(log.checkpoint, self._end)
            elif left_before is not None and left >= left_before:
                self._end(left, None)  # a long read keeps it from getting on
            else:
                self._move(passes - 1, left)

        self._beside.submit(log.checkpoint, done)

    def _end(self, left: int, error: Exception | None) -> None:
        self._running = False
        if error is not None:
            _logger.warning("datastore: a checkpoint failed, will be tried again: %s", error)


def pages_of(rows: int, value_bytes: int) -> int:
    """About how many pages a commit of rows writes; it may be twice as many.

    Rows are put at the end of the log, in pages that may stay half empty. The last page is written again with each
    commit, and with each new page those that lead to it and count it.

    >>> pages_of(10, 9000)
    6
    """
    return 1 + (rows * _ROW_BYTES + value_bytes >> 11)
