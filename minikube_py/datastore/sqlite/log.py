"""The log table: its statements, as functions of a connection. No policy, no asyncio.

A row is one revision of one key (see ``file.MIGRATIONS``). Every function is one short transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from minikube_py.datastore.churn import ChurnRow
from minikube_py.datastore.index import prefix_end
from minikube_py.datastore.rows import (
    POSITION_BITS,
    Row,
    last_row_id,
    position_of,
    revision_of,
    row_id,
)
from minikube_py.datastore.sqlite.file import rollback
from minikube_py.datastore.types import Change, Record

_COLUMNS = "id, key, value, create_revision, version, previous, lease, deleted"  # as in ``rows.Row``
# Numbers of rows that one statement can insert: what is common exactly, the rest in few steps.
_INSERTS = {
    size: f"INSERT INTO log ({_COLUMNS}) VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * size)
    for size in (64, 48, 32, 24, *range(16, 0, -1))
}
_SET_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_ADD_CHURN = """
    INSERT INTO churn VALUES (?, ?, ?, ?) ON CONFLICT (folder, client) DO UPDATE
    SET revisions = revisions + excluded.revisions, bytes = bytes + excluded.bytes"""
_RECORD = f"key, value, id >> {POSITION_BITS}, create_revision, version, lease"
_CURRENT = f"""
    SELECT {_RECORD}, id FROM log
    WHERE NOT deleted AND id NOT IN (SELECT previous FROM log) ORDER BY id"""
# The columns beside min() are those of the row that has it.
_SUPERSEDED = """
    SELECT key, previous, min(id) FROM log
    WHERE id > ? AND id <= ? AND key >= ? {upper} GROUP BY key"""
_RECORDS = f"SELECT id, {_RECORD} FROM log WHERE NOT deleted AND id IN (SELECT value FROM json_each(?))"
_REPLAY = f"""
    SELECT l.key, l.value, l.id >> {POSITION_BITS}, l.create_revision, l.version, l.lease, l.deleted,
           p.key, p.value, p.id >> {POSITION_BITS}, p.create_revision, p.version, p.lease, l.id
    FROM log l LEFT JOIN log p ON p.id = l.previous
    WHERE l.id >= ? AND l.id <= ? AND l.key >= ? {{upper}} ORDER BY l.id LIMIT ?"""
# From a row to those that it supersedes, up to the first that is old enough.
_ANCESTOR = f"""
    WITH RECURSIVE line (id, previous) AS (
        SELECT id, previous FROM log WHERE id = :row
        UNION ALL SELECT log.id, log.previous FROM line JOIN log ON log.id = line.previous WHERE line.id > :upto)
    SELECT {_RECORD} FROM log WHERE id = (SELECT id FROM line WHERE id <= :upto)"""
_ROWS = f"""
    SELECT {_COLUMNS} FROM log
    WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"""
_WINDOW = "SELECT count(*), max(id) FROM (SELECT id FROM log WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)"
# One statement, because the driver must win the GIL back for each, and for each row that it gives.
_SWEEP = """
    DELETE FROM log WHERE id IN (
        SELECT previous FROM log WHERE id > :swept AND id <= :reached AND previous
        UNION ALL SELECT id FROM log WHERE id > :swept AND id <= :reached AND deleted AND id < :target)"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes."""

    rows: Sequence[Row] = ()
    meta: Sequence[tuple[str, int]] = ()
    new_leases: Sequence[tuple[int, int]] = ()
    dropped_leases: Sequence[tuple[int]] = ()
    churn: Sequence[ChurnRow] = ()

    def is_empty(self) -> bool:
        return not (self.rows or self.meta or self.new_leases or self.dropped_leases or self.churn)


@dataclass(slots=True)
class Loaded:
    """What an opened store holds. ``rows`` counts superseded rows and tombstones too.

    ``positions`` are those of current records that are not the first change of their revision.
    """

    records: list[Record]
    rows: int
    newest: int
    meta: dict[str, int] = field(default_factory=dict)
    leases: list[tuple[int, int]] = field(default_factory=list)
    churn: list[ChurnRow] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)


def load(connection: sqlite3.Connection) -> Loaded:
    """Everything that is current."""
    connection.execute("BEGIN")
    try:
        rows, newest = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM log").fetchone()
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        leases = connection.execute("SELECT id, ttl_seconds FROM lease").fetchall()
        churn = [ChurnRow(*row) for row in connection.execute("SELECT folder, client, revisions, bytes FROM churn")]
        records, positions = _current(connection)
    finally:
        rollback(connection)
    return Loaded(records, rows, revision_of(newest), meta, leases, churn, positions)


def _current(connection: sqlite3.Connection) -> tuple[list[Record], dict[str, int]]:
    """Live records and positions (see ``Loaded``), row by row: a list of all rows would leave holes in memory."""
    records: list[Record] = []
    positions: dict[str, int] = {}
    for key, value, modified, created, version, lease, row in connection.execute(_CURRENT):
        # One number for both where they are equal: a store that was just filled has nothing but such.
        records.append(Record(key, value, modified, modified if created == modified else created, version, lease))
        if position := position_of(row):
            positions[key] = position
    return records, positions


def append(connection: sqlite3.Connection, batch: Batch) -> None:
    """Write a batch in one transaction; on return it is on the disk, on an error none of it is."""
    inserts = _inserts(batch.rows)
    if len(inserts) == 1 and not (batch.meta or batch.new_leases or batch.dropped_leases or batch.churn):
        connection.execute(*inserts[0])  # a statement is a transaction of its own
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for insert in inserts:
            connection.execute(*insert)
        if batch.meta:
            connection.executemany(_SET_META, batch.meta)
        if batch.new_leases:
            connection.executemany("INSERT INTO lease VALUES (?, ?)", batch.new_leases)
        if batch.dropped_leases:
            connection.executemany("DELETE FROM lease WHERE id = ?", batch.dropped_leases)
        if batch.churn:
            connection.executemany(_ADD_CHURN, [(c.folder, c.client, c.revisions, c.bytes) for c in batch.churn])
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise


def execute_with_meta(
    connection: sqlite3.Connection, statement: str, arguments: Mapping[str, int], meta: Sequence[tuple[str, int]]
) -> None:
    """One statement and some notes in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(statement, arguments)
        connection.executemany(_SET_META, meta)
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise


def _inserts(rows: Sequence[Row]) -> list[tuple[str, tuple[object, ...]]]:
    """Statements, with their arguments, that insert the rows.

    As few as possible: the driver lets go of the GIL in each and must win it back, which takes up to
    5 ms when the loop is busy. A statement for each row made every row of a batch wait that long.
    """
    found: list[tuple[str, tuple[object, ...]]] = []
    at, left = 0, len(rows)
    for size, statement in _INSERTS.items():
        while size <= left:
            found.append((statement, tuple(chain.from_iterable(rows[at : at + size]))))
            at, left = at + size, left - size
    return found


def superseded(connection: sqlite3.Connection, start: str, end: str, after: int, upto: int) -> list[tuple[str, int]]:
    """Of the keys in [start, end) that changed in revisions (after, upto]: what the first of these changes superseded.

    That is the id of a row, or 0 where the key did not exist.
    """
    upper, bounds = _bounds(start, end)
    arguments = (last_row_id(after), last_row_id(upto), *bounds)
    return [(key, row) for key, row, _ in connection.execute(_SUPERSEDED.format(upper=upper), arguments)]


def ancestor(connection: sqlite3.Connection, row: int, revision: int) -> Record | None:
    """What the key of a row was at ``revision``, by what it supersedes; None also when that is compacted."""
    found = connection.execute(_ANCESTOR, {"row": row, "upto": last_row_id(revision)}).fetchone()
    return None if found is None else Record(*found)


def records_of(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, Record]:
    """The records that rows hold, by their ids, of those that are still there."""
    found = connection.execute(_RECORDS, (json.dumps(rows),))
    return {row[0]: Record(*row[1:]) for row in found}


def replay(connection: sqlite3.Connection, prefix: str, start: int, upto: int, limit: int) -> tuple[list[Change], int]:
    """Changes under ``prefix`` with revision in [start, upto], in order, and up to which revision they are complete.

    It ends after the revision of the ``limit``-th change; a revision is never cut in two.
    """
    upper, bounds = _bounds(prefix, prefix_end(prefix))
    statement = _REPLAY.format(upper=upper.replace("key", "l.key"))
    rows = connection.execute(statement, (row_id(start), last_row_id(upto), *bounds, limit)).fetchall()
    reached = upto
    if len(rows) == limit:
        last = rows[-1][13]
        reached = revision_of(last)
        rows += connection.execute(statement, (last + 1, last_row_id(reached), *bounds, -1)).fetchall()
    changes = [
        Change(Record(*row[:6]), Record(*row[7:13]) if row[7] is not None else None, bool(row[6])) for row in rows
    ]
    return changes, reached


def rows_after(connection: sqlite3.Connection, after: int, upto: int, limit: int) -> list[Row]:
    """At most ``limit`` rows with id in (after, upto], in order."""
    return connection.execute(_ROWS, (after, upto, limit)).fetchall()


def sweep(connection: sqlite3.Connection, swept: int, target: int, limit: int) -> tuple[int, int]:
    """One step of compaction to revision ``target``: look at up to ``limit`` rows with id above ``swept``.

    A row's predecessor is superseded at or below ``target`` and goes; so do tombstones below it (those
    of ``target`` itself stay, for watches that start there). Returns the id up to which the sweep has
    come and how many rows went. It needs no fsync: a sweep that a power cut undoes is simply done again.
    """
    count, last = connection.execute(_WINDOW, (swept, last_row_id(target), limit)).fetchone()
    reached = last if count == limit else last_row_id(target)
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        bounds = {"swept": swept, "reached": reached, "target": row_id(target)}
        removed = connection.execute(_SWEEP, bounds).rowcount
        # Only whole revisions below `target`: its own tombstones are looked at again next time.
        connection.execute(_SET_META, ("swept", min(revision_of(reached), target) - 1))
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise
    finally:
        connection.execute("PRAGMA synchronous = FULL")
    return reached, max(0, removed)


def page_counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many pages of the file are free, and how many there are."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (total,) = connection.execute("PRAGMA page_count").fetchone()
    return int(free), int(total)


def give_back_pages(connection: sqlite3.Connection, pages: int) -> tuple[int, int]:
    """Return up to ``pages`` free pages to the file system; returns the page counts after it."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    finally:
        connection.execute("PRAGMA synchronous = FULL")
    return page_counts(connection)


def checkpoint(connection: sqlite3.Connection) -> int:
    """Move pages from the WAL into the database, waiting for nobody; how many are left in it.

    Some are left when somebody still reads the pages that they replace, or when more came meanwhile.
    """
    _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages) - int(moved)


def empty_wal(connection: sqlite3.Connection) -> None:
    """Move the WAL into the database and cut it off, unless a reader is still in it: that one is not waited for."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")


def copy_to(connection: sqlite3.Connection, path: str) -> None:
    """Write a compact copy of the whole database to a new file."""
    connection.execute("VACUUM INTO ?", (path,))


def _bounds(start: str, end: str) -> tuple[str, tuple[str, ...]]:
    return ("AND key < ?", (start, end)) if end else ("", (start,))
