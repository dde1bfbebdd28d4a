"""Housekeeping of the SQLite engine: flushing heartbeats, sweeping what is compacted, giving space back.

Everything waits for events: a store without writes does not wake up, and one with heartbeats only
wakes up once for each flush. Work on the disk comes in steps of a few milliseconds, each queued
behind whatever batch is waiting, so a write waits for one step (and one of ``checkpoints``) at most.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from minikube_py.datastore.rows import last_row_id
from minikube_py.datastore.sqlite import log
from minikube_py.datastore.sqlite.checkpoints import Checkpoints
from minikube_py.datastore.sqlite.disk import DiskThread
from minikube_py.datastore.upkeep import Pace, attempt
from minikube_py.machinery.clock import Clock

T = TypeVar("T")
_SWEEP_ROWS = 256
_VACUUM_PAGES = 128
_SPARE_PAGES = 64


async def sweep(disk: DiskThread, checkpoints: Checkpoints, swept: int, target: int) -> int:
    """Remove what compaction to ``target`` makes superfluous, from ``swept`` on; returns the rows removed.

    The steps are sized by how long the disk takes for them, so that a slow one does not hold writers up.
    """
    removed, reached, pace = 0, last_row_id(swept), Pace(_SWEEP_ROWS)
    while reached < last_row_id(target):
        step = partial(log.sweep, swept=reached, target=target, limit=pace.size)
        (reached, gone), seconds = await disk.call(partial(_timed, step))
        pace.adjust(seconds)
        removed += gone
        checkpoints.wrote(gone)  # each may have a page of its own
    return removed


def _timed(step: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> tuple[T, float]:
    began = time.perf_counter()
    return step(connection), time.perf_counter() - began


async def give_back_space(disk: DiskThread, checkpoints: Checkpoints) -> None:
    """Return free pages to the file system, but for a few that the next writes take, and empty the WAL."""
    free, total = await disk.call(log.page_counts)
    if free <= _spare(total):
        return
    pace = Pace(_VACUUM_PAGES)
    while free > _spare(total):
        before = free
        step = partial(log.give_back_pages, pages=min(pace.size, free - _spare(total)))
        (free, total), seconds = await disk.call(partial(_timed, step))
        pace.adjust(seconds)
        if free >= before:
            return  # not a file with incremental vacuum
        checkpoints.wrote(2 * (before - free))  # another one moves into its place
    await checkpoints.empty()


def _spare(pages: int) -> int:
    return max(_SPARE_PAGES, pages // 10)


async def flush_forever(
    flush: Callable[[], Awaitable[None]], clock: Clock, pending: asyncio.Event, interval: float
) -> None:
    """Flush volatile keys ``interval`` seconds after the first unwritten one (``pending``) came."""
    while True:
        await pending.wait()
        await clock.sleep(interval)
        pending.clear()
        await attempt("flush of volatile keys", flush)
