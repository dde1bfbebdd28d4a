"""The log in PostgreSQL: its statements, as functions of a connection. No policy.

Rows have the ids of ``rows.Row``; keys are the UTF-8 of this store's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.datastore.churn import ChurnRow
from minikube_py.datastore.postgres.errors import FOREIGN_SCHEMA
from minikube_py.datastore.rows import POSITION_BITS, Row, last_row_id, position_of, revision_of, row_id
from minikube_py.datastore.types import Change, Record, StoreCorrupt

SCHEMA_VERSION = 2
CHANNEL = "pyk3s_log"
LOCK = 0x70796B3373  # advisory: whoever holds it may give out revisions

_COLUMNS = "id, key, value, create_revision, version, previous, lease, deleted"
_RECORD = f"key, value, id >> {POSITION_BITS}, create_revision, version, lease"
_CURRENT_AT_ONCE = 500  # not all rows at once: they would double the memory, and leave holes in it
_CURRENT = f"""
    SELECT {_RECORD}, id FROM pyk3s_log l
    WHERE deleted = 0 AND NOT EXISTS (SELECT FROM pyk3s_log later WHERE later.previous = l.id)"""
_STATE = f"""
    SELECT coalesce((SELECT value FROM pyk3s_meta WHERE name = 'compacted'), 0) AS compacted,
           greatest(1, coalesce((SELECT max(id) FROM pyk3s_log), 0) >> {POSITION_BITS},
                    coalesce((SELECT value FROM pyk3s_meta WHERE name = 'floor'), 0)) AS revision"""
_NEWS = f"""
    SELECT state.*, l.* FROM ({_STATE}) state LEFT JOIN LATERAL (
        SELECT {_COLUMNS} FROM pyk3s_log WHERE id > $1 ORDER BY id LIMIT $2) l ON true ORDER BY l.id"""
_APPEND = (
    "SELECT pyk3s_append($1, $2, $3, $4::bigint[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bigint[], "
    "$9::bigint[], $10::bigint[], $11::smallint[])"
)
_INSERT = f"""
    INSERT INTO pyk3s_log ({_COLUMNS}, batch)
    SELECT *, $9::bigint FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[],
                                     $6::bigint[], $7::bigint[], $8::smallint[])"""
_ROWS = f"SELECT {_COLUMNS} FROM pyk3s_log WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"
_SUPERSEDED = """
    SELECT DISTINCT ON (key) key, previous FROM pyk3s_log
    WHERE id > $1 AND id <= $2 AND key >= $3 AND ($4::bytea IS NULL OR key < $4) ORDER BY key, id"""
_REPLAY = f"""
    SELECT l.key, l.value, l.id >> {POSITION_BITS}, l.create_revision, l.version, l.lease, l.deleted, l.id,
           p.key, p.value, p.id >> {POSITION_BITS}, p.create_revision, p.version, p.lease
    FROM pyk3s_log l LEFT JOIN pyk3s_log p ON p.id = l.previous
    WHERE l.id >= $1 AND l.id <= $2 AND l.key >= $3 AND ($4::bytea IS NULL OR l.key < $4) ORDER BY l.id LIMIT $5"""
# The array makes it look each row up, where a subquery might make it read the whole table.
_SWEEP = """
    WITH seen AS MATERIALIZED (
        SELECT id, previous, deleted FROM pyk3s_log WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3
    ), gone AS (
        DELETE FROM pyk3s_log WHERE id = ANY (ARRAY(
            SELECT previous FROM seen WHERE previous > 0 UNION ALL SELECT id FROM seen WHERE deleted > 0 AND id < $4
        )) RETURNING id
    ) SELECT max(id), count(*), (SELECT count(*) FROM gone) FROM seen"""
_ANCESTOR = f"""
    WITH RECURSIVE line (id, previous) AS (
        SELECT id, previous FROM pyk3s_log WHERE id = $1
        UNION ALL SELECT l.id, l.previous FROM line JOIN pyk3s_log l ON l.id = line.previous WHERE line.id > $2)
    SELECT {_RECORD} FROM pyk3s_log WHERE id = (SELECT id FROM line WHERE id <= $2)"""
_NOW = "extract(epoch FROM clock_timestamp())"


@dataclass(frozen=True, slots=True)
class State:
    """What every server must know before it trusts its memory."""

    compacted: int
    revision: int


async def migrate(connection: Any) -> None:
    """Bring the schema up to date. Raises StoreCorrupt when it is newer than this program."""
    async with connection.transaction(isolation="read_committed"):
        await lock(connection)
        await connection.execute(
            "SET LOCAL client_min_messages = warning; "
            "CREATE TABLE IF NOT EXISTS pyk3s_migration (version BIGINT PRIMARY KEY)"
        )
        version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM pyk3s_migration")
        if version > SCHEMA_VERSION:
            raise StoreCorrupt(FOREIGN_SCHEMA.format(found=version, known=SCHEMA_VERSION))
        if version == SCHEMA_VERSION:
            return
        from minikube_py.datastore.postgres.schema import migrations

        for number, statements in enumerate(migrations()[version:], start=version + 1):
            for statement in statements:
                await connection.execute(statement)
            await connection.execute("INSERT INTO pyk3s_migration VALUES ($1)", number)


async def tune(connection: Any) -> None:
    """Have a new connection look rows up by their ids.

    A plan that was made while the log was short, and reads all of it, would be kept until the database has counted
    again, which may take it a minute. The price that it puts on such plans would make it compile them, too.
    """
    await connection.execute("SET enable_seqscan = off; SET jit = off")


async def lock(connection: Any) -> None:
    """Hold the right to give out revisions until the transaction ends."""
    await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")


async def state(connection: Any) -> State:
    return State(*await connection.fetchrow(_STATE))


async def load(connection: Any) -> tuple[State, list[Record], dict[str, int], int, list[ChurnRow]]:
    """At one moment: the state, current records, positions that are not 0, the rows of the log, the churn so far."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        now = await state(connection)
        records: list[Record] = []
        positions: dict[str, int] = {}
        async for row in connection.cursor(_CURRENT, prefetch=_CURRENT_AT_ONCE):
            record = _record(row)
            records.append(record)
            if position := position_of(row[6]):
                positions[record.key] = position
        count = await count_rows(connection)
        churn = await connection.fetch("SELECT folder, client, revisions, bytes FROM pyk3s_churn")
    return now, records, positions, count, [ChurnRow(*row) for row in churn]


async def append(connection: Any, rows: Sequence[Row], batch: int) -> None:
    """Add rows to the log, under the lock."""
    await connection.execute(_INSERT, *_columns(rows), batch)
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)


async def append_after(connection: Any, revision: int, rows: Sequence[Row], batch: int, listener: int) -> bool:
    """Take the lock and add rows to the log, if ``revision`` is the newest; a transaction in one round trip.

    Other followers than ``listener`` are notified, if there are any.
    """
    return bool(await connection.fetchval(_APPEND, revision, batch, listener, *_columns(rows)))


async def register(connection: Any) -> int:
    """Have this connection, which listens already, notified of what ``append_after`` adds; its process.

    It is noted under the lock. So what is added is either committed before, and seen by who looks now, or its
    transaction begins later and finds the note. Notes of processes that are gone go too.
    """
    async with connection.transaction(isolation="read_committed"):
        await lock(connection)
        await connection.execute("DELETE FROM pyk3s_listener WHERE process NOT IN (SELECT pid FROM pg_stat_activity)")
        await connection.execute("INSERT INTO pyk3s_listener VALUES (pg_backend_pid()) ON CONFLICT DO NOTHING")
    return int(connection.get_server_pid())


def _columns(rows: Sequence[Row]) -> list[Sequence[Any]]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    columns[1] = [key.encode() for key in columns[1]]
    return columns


async def news(connection: Any, after: int, limit: int) -> tuple[State, list[Row]]:
    """The state, and at most ``limit`` rows with id above ``after`` in order, of one moment; whole revisions."""
    found = await connection.fetch(_NEWS, after, limit)
    now = State(*found[0][:2])
    if found[0][2] is None:
        return now, []
    rows = [_row(row[2:]) for row in found]
    if len(rows) == limit:
        last = rows[-1][0]
        rows += map(_row, await connection.fetch(_ROWS, last, last_row_id(revision_of(last)), None))
    return now, rows


async def is_written(connection: Any, row: int, batch: int) -> bool:
    """Whether a row was written by a batch."""
    return bool(await connection.fetchval("SELECT true FROM pyk3s_log WHERE id = $1 AND batch = $2", row, batch))


async def rows_after(connection: Any, after: int, upto: int, limit: int) -> list[Row]:
    """At most ``limit`` rows with id in (after, upto], in order; but never a part of a revision's."""
    rows = await connection.fetch(_ROWS, after, upto, limit)
    if len(rows) == limit:
        last = rows[-1][0]
        rows += await connection.fetch(_ROWS, last, min(upto, last_row_id(revision_of(last))), None)
    return [_row(row) for row in rows]


async def superseded(connection: Any, start: str, end: str, after: int, upto: int) -> list[tuple[str, int]]:
    """As in the SQLite engine."""
    bounds = (start.encode(), end.encode() if end else None)
    rows = await connection.fetch(_SUPERSEDED, last_row_id(after), last_row_id(upto), *bounds)
    return [(key.decode(), row) for key, row in rows]


async def ancestor(connection: Any, row: int, revision: int) -> Record | None:
    """As in the SQLite engine."""
    found = await connection.fetchrow(_ANCESTOR, row, last_row_id(revision))
    return None if found is None else _record(found)


async def records_of(connection: Any, rows: Sequence[int]) -> dict[int, Record]:
    """As in the SQLite engine."""
    query = f"SELECT {_RECORD}, id FROM pyk3s_log WHERE deleted = 0 AND id = ANY($1::bigint[])"
    return {row[6]: _record(row) for row in await connection.fetch(query, rows)}


async def replay(connection: Any, prefix: str, end: str, start: int, upto: int, limit: int) -> tuple[list[Change], int]:
    """Changes of [prefix, end) with revision in [start, upto], in order, and up to which revision they are complete."""
    bounds = (prefix.encode(), end.encode() if end else None)
    rows = await connection.fetch(_REPLAY, row_id(start), last_row_id(upto), *bounds, limit)
    reached = upto
    if len(rows) == limit:
        last = rows[-1][7]
        reached = revision_of(last)
        rows += await connection.fetch(_REPLAY, last + 1, last_row_id(reached), *bounds, None)
    changes = [Change(_record(row), _record(row[8:14]) if row[8] is not None else None, bool(row[6])) for row in rows]
    return changes, reached


async def count_rows(connection: Any) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM pyk3s_log"))


async def meta(connection: Any, name: str) -> int:
    """0: it is not set."""
    return int(await connection.fetchval("SELECT value FROM pyk3s_meta WHERE name = $1", name) or 0)


async def set_meta(connection: Any, name: str, value: int) -> None:
    await connection.execute(
        "INSERT INTO pyk3s_meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
    )


async def add_churn(connection: Any, rows: Sequence[ChurnRow]) -> None:
    await connection.executemany(
        """INSERT INTO pyk3s_churn VALUES ($1, $2, $3, $4) ON CONFLICT (folder, client) DO UPDATE
        SET revisions = pyk3s_churn.revisions + excluded.revisions, bytes = pyk3s_churn.bytes + excluded.bytes""",
        [(row.folder, row.client, row.revisions, row.bytes) for row in rows],
    )


async def sweep(connection: Any, swept: int, target: int, limit: int) -> tuple[int, int]:
    """One step of compaction to revision ``target``, as in the SQLite engine: the id reached, and rows removed."""
    last, count, removed = await connection.fetchrow(_SWEEP, swept, last_row_id(target), limit, row_id(target))
    return last if count == limit else last_row_id(target), removed


async def size_bytes(connection: Any) -> int:
    """What the tables take, indexes included."""
    names = "'pyk3s_log', 'pyk3s_lease', 'pyk3s_meta', 'pyk3s_churn'"
    query = f"SELECT sum(pg_total_relation_size(name))::bigint FROM unnest(ARRAY[{names}]::regclass[]) AS name"
    return int(await connection.fetchval(query))


async def live_leases(connection: Any) -> list[tuple[int, int, float]]:
    """(id, TTL, seconds left) of all leases."""
    rows = await connection.fetch(f"SELECT id, ttl_seconds, expires_at - {_NOW} FROM pyk3s_lease ORDER BY id")
    return [(row[0], row[1], float(row[2])) for row in rows]


async def grant(connection: Any, lease: int, ttl_seconds: int) -> bool:
    """Whether it was made; False: there is one of that id."""
    done = await connection.execute(
        f"INSERT INTO pyk3s_lease VALUES ($1, $2::bigint, {_NOW} + $2::bigint) ON CONFLICT (id) DO NOTHING",
        lease,
        ttl_seconds,
    )
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
    return bool(done.endswith(" 1"))


async def keep_alive(connection: Any, lease: int) -> int | None:
    """The TTL; None: there is no such lease."""
    ttl = await connection.fetchval(
        f"UPDATE pyk3s_lease SET expires_at = {_NOW} + ttl_seconds WHERE id = $1 RETURNING ttl_seconds", lease
    )
    return None if ttl is None else int(ttl)


async def existing_leases(connection: Any, leases: Sequence[int]) -> set[int]:
    """Those that exist; they are locked against revocation until the transaction ends."""
    rows = await connection.fetch("SELECT id FROM pyk3s_lease WHERE id = ANY($1::bigint[]) FOR SHARE", leases)
    return {row[0] for row in rows}


async def drop_lease(connection: Any, lease: int, *, expired_only: bool) -> bool:
    """Whether it was there (and, if asked so, had run out)."""
    condition = f"AND expires_at <= {_NOW}" if expired_only else ""
    done = await connection.execute(f"DELETE FROM pyk3s_lease WHERE id = $1 {condition}", lease)
    return bool(done.endswith(" 1"))


def _row(row: Any) -> Row:
    return (row[0], row[1].decode(), row[2], row[3], row[4], row[5], row[6], row[7])


def _record(row: Any) -> Record:
    return Record(bytes(row[0]).decode(), bytes(row[1]), row[2], row[3], row[4], row[5])
