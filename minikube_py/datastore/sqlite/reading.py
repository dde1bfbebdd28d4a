"""Reads of the past: from the log on disk, together with volatile records that are not there yet.

Every function first notes the unwritten records, then reads the log in the reader's thread: a
flush in between makes a record appear in both, never in none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from minikube_py.datastore.index import KeyIndex
from minikube_py.datastore.past import Source
from minikube_py.datastore.sqlite import log
from minikube_py.datastore.sqlite.disk import DiskThread
from minikube_py.datastore.sqlite.volatile import VolatileKeys
from minikube_py.datastore.types import Change, Record
from minikube_py.datastore.watching import Tap

REPLAY_STEP_CHANGES = 500


def past_of(
    disk: Callable[[], DiskThread],
    index: KeyIndex,
    tap: Callable[[Tap], Callable[[], None]],
    check: Callable[[int], None],
) -> Source:
    """What ``past.read_past`` needs. ``disk`` gives the reader's thread, or raises while the log must not be read."""

    async def superseded(start: str, end: str, after: int, upto: int) -> list[tuple[str, int]]:
        return await disk().call(lambda connection: log.superseded(connection, start, end, after, upto))

    async def records(rows: Sequence[int]) -> dict[int, Record]:
        return await disk().call(lambda connection: log.records_of(connection, rows))

    return Source(index, tap, superseded, records, check)


async def replay(
    disk: DiskThread, volatile: VolatileKeys, prefix: str, start: int, upto: int
) -> tuple[list[Change], int]:
    """One step of ``watching.Replay``."""
    unwritten = [e for e in volatile.due(upto) if e.record.mod_revision >= start and e.record.key.startswith(prefix)]

    def job(connection: sqlite3.Connection) -> tuple[list[Change], int]:
        changes, reached = log.replay(connection, prefix, start, upto, REPLAY_STEP_CHANGES)
        if not unwritten:
            return changes, reached
        present = {change.revision for change in changes}
        for entry in unwritten:
            if entry.record.mod_revision <= reached and entry.record.mod_revision not in present:
                before = log.records_of(connection, [entry.on_disk]).get(entry.on_disk)
                changes.append(Change(entry.record, before, deleted=False))
        changes.sort(key=lambda change: change.revision)  # stable: positions of one revision keep their order
        return changes, reached

    return await disk.call(job)
