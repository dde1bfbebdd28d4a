"""Reads of the past: from the log on disk, together with volatile records that are not there yet.

Every function first notes the unwritten records, then reads the log in the reader's thread: a
flush in between makes a record appear in both, never in none.
"""

from __future__ import annotations

import sqlite3

from minikube_py.datastore.sqlite import log
from minikube_py.datastore.sqlite.disk import DiskThread
from minikube_py.datastore.sqlite.volatile import VolatileKeys
from minikube_py.datastore.types import Change, Record

REPLAY_STEP_CHANGES = 500


async def record_at(disk: DiskThread, volatile: VolatileKeys, key: str, revision: int) -> Record | None:
    """The record of ``key`` as of ``revision``."""
    entry = volatile.unwritten.get(key)
    if entry is not None and entry.record.mod_revision <= revision:
        return entry.record
    return await disk.call(lambda connection: log.record_at(connection, key, revision))


async def range_at(
    disk: DiskThread,
    volatile: VolatileKeys,
    start: str,
    end: str,
    revision: int,
    *,
    limit: int = 0,
    keys_only: bool = False,
) -> tuple[list[Record], int]:
    """Live records with start <= key < end ("": no bound) as of ``revision``, in key order, and the count of all."""
    unwritten = [
        entry.record
        for entry in volatile.due(revision)
        if entry.record.key >= start and (not end or entry.record.key < end)
    ]

    def job(connection: sqlite3.Connection) -> tuple[list[Record], int]:
        if unwritten or not limit:
            found = log.range_at(connection, start, end, revision, keys_only=keys_only)
            return found, len(found)
        page = log.range_at(connection, start, end, revision, limit=limit, keys_only=keys_only)
        return page, len(page) if len(page) < limit else log.count_at(connection, start, end, revision)

    records, count = await disk.call(job)
    if unwritten:
        by_key = {record.key: record for record in records}
        by_key.update((record.key, record) for record in unwritten)
        records, count = [by_key[key] for key in sorted(by_key)], len(by_key)
    return (records[:limit] if limit else records), count


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
                before = log.record_of(connection, entry.on_disk) if entry.on_disk else None
                changes.append(Change(entry.record, before, deleted=False))
        changes.sort(key=lambda change: change.revision)  # stable: positions of one revision keep their order
        return changes, reached

    return await disk.call(job)
