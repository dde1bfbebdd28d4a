"""Checkpoints beside the writer: the WAL begins anew under load, waits for no reader, and a failure is made good."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore import tools
from minikube_py.datastore.sqlite import SqliteDatastore, checkpoints, file, log, open_sqlite

Until = Callable[[Callable[[], bool]], Awaitable[None]]
DUE_PAGES = 50


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In which thread each checkpoint was made, from now on; one is due after a few writes."""
    made, real = [], log.checkpoint

    def checkpoint(connection: sqlite3.Connection) -> int:
        made.append(threading.current_thread().name)
        return real(connection)

    monkeypatch.setattr(log, "checkpoint", checkpoint)
    monkeypatch.setattr(checkpoints, "_DUE_PAGES", DUE_PAGES)
    return made


@pytest.fixture
async def opened(tmp_path: Path, clock: Any, threads: list[str]) -> AsyncIterator[SqliteDatastore]:
    found = await open_sqlite(tmp_path / "s.db", clock=clock)
    yield found
    await found.close()


async def write(store: SqliteDatastore, until: Until) -> None:
    """So much that one checkpoint is due, and wait until it is done."""
    for _ in range(DUE_PAGES):
        await store.put("/k", b"x" * 100)
    await until(lambda: not store._checkpoints._running)


async def test_the_wal_begins_anew(opened: SqliteDatastore, threads: list[str], until: Until) -> None:
    for _ in range(20):
        await write(opened, until)
    assert threads[:2] == ["datastore-checkpoint", "datastore-writer"]
    # A frame for each put: without checkpoints it were 20 times as long as with them.
    wal = await asyncio.to_thread(Path(f"{opened.path}-wal").stat)
    assert wal.st_size < 4 * DUE_PAGES * 4120
    assert (await tools.check(f"sqlite:///{opened.path}")).findings == []


async def test_a_long_read_is_not_waited_for(opened: SqliteDatastore, threads: list[str], until: Until) -> None:
    await opened.put("/k", b"0")
    reader = await asyncio.to_thread(file.open_reader, opened.path)
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM log").fetchone()
    # Whoever waited for the reader would now do so for longer than this test may take.
    await opened._disk.call(lambda connection: connection.execute("PRAGMA busy_timeout = 3600000").fetchall())
    for _ in range(3):
        await write(opened, until)
    await opened._checkpoints.empty()
    assert len(threads) < 3 * 4  # each gave up when it did not get on
    assert reader.execute("SELECT count(*) FROM log").fetchone() == before
    reader.close()
    assert await opened._disk.call(lambda connection: connection.execute("PRAGMA busy_timeout").fetchone()) == (
        3600000,
    )
    await opened._checkpoints.empty()
    assert (await asyncio.to_thread(Path(f"{opened.path}-wal").stat)).st_size == 0


async def test_a_failure_is_told_and_made_good(
    opened: SqliteDatastore, threads: list[str], until: Until, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real = log.checkpoint

    def failing(connection: sqlite3.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(log, "checkpoint", failing)
    await write(opened, until)
    assert "a checkpoint failed" in caplog.text and "disk I/O error" in caplog.text
    assert opened.stall == "" and threads == []
    monkeypatch.setattr(log, "checkpoint", real)
    await write(opened, until)
    assert threads[-1] == "datastore-writer"


async def test_closing_amid_a_checkpoint(tmp_path: Path, clock: Any, threads: list[str]) -> None:
    for _ in range(5):
        store, gate = await open_sqlite(tmp_path / "s.db", clock=clock), threading.Event()
        store._checkpoints._beside.submit(lambda connection, gate=gate: gate.wait(30), lambda result, error: None)
        await asyncio.gather(*(store.put(f"/k/{n}", b"x" * 5000) for n in range(DUE_PAGES)))
        assert store._checkpoints._running
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        gate.set()
        await closing
    assert (await tools.check(f"sqlite:///{tmp_path}/s.db")).findings == []
