"""Looking at a datastore from outside: the log, the notes and the sizes, while a server may be using it.

``inspecting`` gives an ``Inspection`` of one moment. SQLite's is a read-only connection, which needs
no lock on the file and holds nobody up; PostgreSQL's a read-only transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from minikube_py.datastore.churn import ChurnRow
from minikube_py.datastore.endpoints import check_there, sqlite_path
from minikube_py.datastore.rows import Row

_ROWS_AT_ONCE = 2000
_NO_BOUND = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Inspection:
    """``faults`` is what the database itself finds wrong with its file; ``leases`` are (id, TTL)."""

    meta: Mapping[str, int]
    leases: Sequence[tuple[int, int]]
    churn: Sequence[ChurnRow]
    size_bytes: int
    faults: Sequence[str]
    rows: AsyncIterator[Sequence[Row]]


@asynccontextmanager
async def inspecting(endpoint: str, *, deep: bool = False) -> AsyncIterator[Inspection]:
    """Look at what ``endpoint`` names; ``deep`` lets the database check its own structures.

    Raises ValueError (bad endpoint), StoreUnavailable (not there, not reachable), StoreCorrupt.
    """
    path = sqlite_path(endpoint)
    inspection = _sqlite(path, deep=deep) if path is not None else _postgres(endpoint)
    async with inspection as found:
        yield found


@asynccontextmanager
async def _sqlite(path: Path, *, deep: bool) -> AsyncIterator[Inspection]:
    from minikube_py.datastore.sqlite import file, log
    from minikube_py.datastore.sqlite.disk import DiskThread

    await check_there(path)
    disk = DiskThread(path, file.open_inspector, name="datastore-inspector")
    try:
        sizes = await asyncio.to_thread(lambda: sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*")))
        faults = await disk.call(_structure_faults) if deep else []

        async def rows() -> AsyncIterator[Sequence[Row]]:
            after = 0
            while batch := await disk.call(partial(log.rows_after, after=after, upto=_NO_BOUND, limit=_ROWS_AT_ONCE)):
                yield batch
                after = batch[-1][0]

        meta, leases, churn = await disk.call(_notes)
        yield Inspection(meta, leases, churn, sizes, faults, rows())
    finally:
        await disk.close()


def _notes(connection: sqlite3.Connection) -> tuple[dict[str, int], list[tuple[int, int]], list[ChurnRow]]:
    connection.execute("BEGIN")  # one moment for everything that follows; ends with the connection
    return (
        dict(connection.execute("SELECT name, value FROM meta")),
        connection.execute("SELECT id, ttl_seconds FROM lease ORDER BY id").fetchall(),
        [ChurnRow(*row) for row in connection.execute("SELECT folder, client, revisions, bytes FROM churn")],
    )


def _structure_faults(connection: sqlite3.Connection) -> list[str]:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(100)")]
    return [] if found == ["ok"] else found


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Inspection]:
    import asyncpg

    from minikube_py.datastore.postgres import log
    from minikube_py.datastore.postgres.errors import CONNECTION_ERRORS, translated
    from minikube_py.datastore.postgres.url import check_files

    await check_files(url)
    try:
        connection: Any = await asyncpg.connect(url, timeout=10.0)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                meta = dict(await connection.fetch("SELECT name, value FROM pyk3s_meta"))
                leases = [(lease, ttl) for lease, ttl, _ in await log.live_leases(connection)]
                churn = await connection.fetch("SELECT folder, client, revisions, bytes FROM pyk3s_churn")
                size = await log.size_bytes(connection)

                async def rows() -> AsyncIterator[Sequence[Row]]:
                    after = 0
                    while batch := await log.rows_after(connection, after, _NO_BOUND, _ROWS_AT_ONCE):
                        yield batch
                        after = batch[-1][0]

                yield Inspection(meta, leases, [ChurnRow(*row) for row in churn], size, [], rows())
        finally:
            await connection.close()
    except CONNECTION_ERRORS as failure:
        raise translated(failure) from failure
