"""A disk that hangs: reads, watches, heartbeats go on, durable writes fail clearly, all is put right afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore import tools
from minikube_py.datastore.sqlite import SqliteDatastore, SqliteSettings, log, open_sqlite
from minikube_py.datastore.sqlite.overtaking import Move
from minikube_py.datastore.stall import Stall
from minikube_py.datastore.transactions import Compare, Put, Relation, Target, Transaction
from minikube_py.datastore.types import (
    Change,
    Compacted,
    DatastoreError,
    RevisionMismatch,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    Watch,
)

HURRIED = SqliteSettings(close_seconds=0.05)
Until = Callable[[Callable[[], bool]], Awaitable[None]]


class Brake:
    """Holds a thread of the store at its next job until it is released."""

    def __init__(self, disk: Any) -> None:
        self._gate = threading.Event()
        disk.submit(lambda connection: self._gate.wait(30), lambda result, error: None)

    def release(self) -> None:
        self._gate.set()


@pytest.fixture
async def store(tmp_path: Path, clock: Any) -> AsyncIterator[SqliteDatastore]:
    opened = await open_sqlite(tmp_path / "s.db", clock=clock)
    yield opened
    await opened.close()


@contextlib.contextmanager
def impatient(store: SqliteDatastore, seconds: float = 0.05) -> Iterator[None]:
    """What is sent to the disk meanwhile is a stall soon; before and after it a slow machine makes none."""
    patience, store._writer._stall_seconds = store._writer._stall_seconds, seconds
    try:
        yield
    finally:
        store._writer._stall_seconds = patience


async def stalled(store: SqliteDatastore, *writes: Awaitable[Any]) -> Brake:
    """Stop the disk with ``writes`` on their way to it; they have been told so when this returns."""
    brake = Brake(store._disk)
    with impatient(store):
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(outcome, StoreTimeout) for outcome in outcomes), outcomes
    return brake


async def take(watch: Watch, revision: int) -> list[Change]:
    found: list[Change] = []
    async with asyncio.timeout(30):
        while not found or found[-1].revision < revision:
            found += await watch.__anext__()
    return found


async def check(store: SqliteDatastore) -> None:
    """What is on the disk is what is in memory, and makes sense."""
    await store.flush_volatile()
    assert (await tools.check(f"sqlite:///{store.path}")).findings == []
    newest = {row[1]: row async for rows in store.rows() for row in rows}
    on_disk = {key: (row[0] >> 20, row[2], row[3]) for key, row in newest.items() if not row[7]}
    assert on_disk == {r.key: (r.mod_revision, r.value, r.create_revision) for r in store.current("")}


async def test_heartbeats_overtake_a_batch_that_hangs(store: SqliteDatastore, until: Until) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    told: list[str] = []
    end = store.on_stall(told.append)
    watch = store.watch("", start_revision=3)
    brake = await stalled(store, store.create("/a", b"1"), store.create("/b", b"1"))
    assert "has not finished a write for 0.05 s" in store.stall
    for n in range(3):
        beat = await store.update("/beat", b"%d" % n, expected_revision=beat.mod_revision, volatile=True)
    assert [r.key for r in store.current("")] == ["/beat"] and (await store.get("/beat")) == beat
    assert [c.record.value for c in await take(watch, beat.mod_revision)] == [b"0", b"1", b"2"]
    with pytest.raises(RevisionMismatch):
        await store.update("/beat", b"", expected_revision=2, volatile=True)
    with pytest.raises(StoreUnavailable, match="reads go on") as refused:
        await store.create("/c", b"1")
    assert not isinstance(refused.value, StoreTimeout)  # it has not taken place, and never will
    brake.release()
    changes = await take(watch, beat.mod_revision + 2)
    assert [(c.record.key, c.revision) for c in changes] == [
        ("/a", beat.mod_revision + 1),
        ("/b", beat.mod_revision + 2),
    ]
    assert [c.record.create_revision for c in changes] == [c.revision for c in changes]
    await until(lambda: not store.stall)
    assert told == [told[0], ""]
    end()
    record = await store.update("/a", b"2", expected_revision=changes[0].revision)
    assert (record.version, record.mod_revision) == (2, beat.mod_revision + 3)
    assert (await store.get("/a", revision=changes[0].revision)) == changes[0].record
    await check(store)


async def test_a_heartbeat_in_the_batch_that_hangs_is_answered_without_the_disk(
    store: SqliteDatastore, until: Until
) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    brake = Brake(store._disk)
    write = asyncio.create_task(store.create("/a", b"1"))
    with impatient(store):
        beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    assert store.stall and (await store.get("/beat")) == beat
    with pytest.raises(StoreTimeout):
        await write
    brake.release()
    await until(lambda: not store.stall)
    assert [(r.key, r.mod_revision) for r in store.current("")] == [
        ("/a", beat.mod_revision + 1),
        ("/beat", beat.mod_revision),
    ]
    await check(store)


async def test_chains_transactions_and_leases_are_moved_as_they_are(store: SqliteDatastore, until: Until) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    first = await store.create("/k", b"0")
    lease = await store.grant_lease(60)
    pair = Transaction(
        compares=[Compare("/k", Target.VALUE, Relation.EQUAL, b"0")],
        success=[Put("/k", b"1"), Put("/l", b"1", lease=lease)],
    )
    brake = await stalled(
        store, store.transact(pair), store.transact(Transaction(success=[Put("/k", b"2"), Put("/m", b"2")]))
    )
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    assert await store.get("/k") == first
    brake.release()
    await until(lambda: not store.stall)
    found = {r.key: r for r in store.current("")}
    one, two = beat.mod_revision + 1, beat.mod_revision + 2
    assert [found[key].mod_revision for key in ("/l", "/k", "/m")] == [one, two, two]
    assert (found["/k"].version, found["/k"].create_revision) == (3, first.create_revision)
    assert (found["/m"].create_revision, found["/l"].lease) == (two, lease)
    assert [r.value for r in (await store.scan("/k", revision=one)).records] == [b"1"]
    assert (await store.lease_status(lease)).keys == ["/l"]
    changes = await take(store.watch("/k", start_revision=first.mod_revision), two)
    assert [c.previous.mod_revision if c.previous else 0 for c in changes] == [0, first.mod_revision, one]
    await check(store)


async def test_a_flush_that_is_overtaken_keeps_the_lineage(store: SqliteDatastore, until: Until) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    brake = Brake(store._disk)
    with impatient(store), pytest.raises(StoreTimeout):
        await store.flush_volatile()
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    brake.release()
    await until(lambda: not store.stall)
    await store.update("/beat", b"2", expected_revision=beat.mod_revision)
    await check(store)


async def test_a_stall_that_is_overtaken_while_it_ends_is_moved_again(
    store: SqliteDatastore, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    gate, moves, real = threading.Event(), [], Move.carry_out

    def slow(move: Move, connection: sqlite3.Connection, meta: Any) -> None:
        moves.append(move)
        if len(moves) == 1:
            gate.wait(30)
        real(move, connection, meta)

    monkeypatch.setattr(Move, "carry_out", slow)
    brake = await stalled(store, store.create("/a", b"1"))
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    brake.release()
    await until(lambda: len(moves) == 1)
    beat = await store.update("/beat", b"2", expected_revision=beat.mod_revision, volatile=True)
    with pytest.raises(StoreUnavailable):
        await store.get("/a", revision=1)
    gate.set()
    await until(lambda: not store.stall)
    assert len(moves) == 2 and store.current("/a")[0].mod_revision == beat.mod_revision + 1
    await check(store)


async def test_a_move_that_fails_is_tried_again(
    store: SqliteDatastore, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minikube_py.datastore.sqlite.writer._MOVE_AGAIN_SECONDS", 0.001)
    beat = await store.create("/beat", b"0", volatile=True)
    attempts, real = [], Move.carry_out

    def failing(move: Move, connection: sqlite3.Connection, meta: Any) -> None:
        attempts.append(move)
        if len(attempts) < 3:
            raise sqlite3.OperationalError("disk I/O error")
        real(move, connection, meta)

    monkeypatch.setattr(Move, "carry_out", failing)
    brake = await stalled(store, store.create("/a", b"1"))
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    brake.release()
    await until(lambda: not store.stall)
    assert len(attempts) == 3 and store.current("/a")[0].mod_revision > beat.mod_revision
    await check(store)


async def test_a_batch_that_fails_after_it_was_overtaken_is_gone(
    store: SqliteDatastore, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    real = log.append

    def failing(connection: sqlite3.Connection, batch: log.Batch) -> None:
        monkeypatch.setattr(log, "append", real)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(log, "append", failing)
    brake = await stalled(store, store.create("/a", b"1"))
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    brake.release()
    await until(lambda: "disk I/O error" in store.stall)
    assert store.current("/a") == [] and await store.get("/beat") == beat
    assert (await store.create("/a", b"2")).mod_revision == beat.mod_revision + 1
    assert store.stall == ""
    await check(store)


async def test_the_log_is_neither_read_nor_compacted_while_a_batch_is_overtaken(
    store: SqliteDatastore, until: Until
) -> None:
    beat = await store.create("/beat", b"0", volatile=True)
    record = await store.create("/a", b"1")
    brake = await stalled(store, store.update("/a", b"2", expected_revision=record.mod_revision))
    assert await store.get("/a", revision=record.mod_revision) == record  # not overtaken yet
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    assert [r.key for r in (await store.range("/")).records] == ["/a", "/beat"]
    for refused in (
        store.range("/", revision=record.mod_revision),
        store.watch("/", start_revision=2).__anext__(),
        store.compact(record.mod_revision),
    ):
        with pytest.raises(StoreUnavailable):
            await refused
    brake.release()
    await until(lambda: not store.stall)
    assert (await store.range("/a", revision=record.mod_revision)).records == [record]


async def test_a_process_that_dies_while_a_batch_is_overtaken(tmp_path: Path, clock: Any) -> None:
    """The batch is found with its old revision; who saw a later one must list again."""
    store = await open_sqlite(tmp_path / "s.db", clock=clock)
    beat = await store.create("/beat", b"0", volatile=True)
    brake = await stalled(store, store.create("/a", b"1"))
    beat = await store.update("/beat", b"1", expected_revision=beat.mod_revision, volatile=True)
    store._writer._settle = lambda batch, error: None  # type: ignore[method-assign]  # nobody hears of the batch
    brake.release()
    store._closed = True
    await store._reader.close()
    await store._disk.close()
    os.close(store._lock)
    again = await open_sqlite(tmp_path / "s.db", clock=clock)
    assert [r.key for r in again.current("")] == ["/a"]
    assert again.current_revision > beat.mod_revision
    with pytest.raises(Compacted):
        await again.watch("", start_revision=beat.mod_revision + 1).__anext__()
    await check(again)
    await again.close()


async def test_reads_of_the_past_wait_within_bounds(store: SqliteDatastore) -> None:
    record = await store.create("/a", b"1")
    await store.update("/a", b"2", expected_revision=record.mod_revision)
    assert await store.get("/a", revision=2) == record
    brake, patience = Brake(store._reader), store._reader._within
    store._reader._within = 0.05
    with pytest.raises(StoreTimeout, match="has not finished a read"):
        await store.get("/a", revision=2)
    assert (await store.create("/b", b"1")).mod_revision == 4
    brake.release()
    store._reader._within = patience
    assert await store.get("/a", revision=2) == record


async def test_closing_ends_while_the_disk_hangs_and_keeps_the_file_locked(tmp_path: Path, clock: Any) -> None:
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=HURRIED)
    brake = await stalled(store, store.create("/a", b"1"))
    with pytest.raises(StoreUnavailable, match="reads go on"):
        await store.close()
    with pytest.raises(StoreLocked):
        await open_sqlite(tmp_path / "s.db", clock=clock)
    brake.release()
    await asyncio.to_thread(store._disk._thread.join)
    os.close(store._lock)  # the end of the process does this
    again = await open_sqlite(tmp_path / "s.db", clock=clock)
    assert [r.key for r in again.current("")] == ["/a"]
    await again.close()


async def test_closing_ends_when_the_disk_begins_to_hang(tmp_path: Path, clock: Any) -> None:
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=HURRIED)
    brake = Brake(store._disk)
    write = asyncio.create_task(store.create("/a", b"1"))
    await asyncio.sleep(0)
    with impatient(store), pytest.raises(StoreUnavailable):
        await store.close()
    with pytest.raises(StoreTimeout):
        await write
    brake.release()
    await asyncio.to_thread(store._disk._thread.join)
    os.close(store._lock)


@pytest.mark.parametrize("seed", range(6))
async def test_random_stalls_lose_and_reorder_nothing(
    tmp_path: Path, clock: Any, until: Until, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any mix of writes and stalls: watchers see growing revisions that lead to the state, and the disk agrees."""
    chance = random.Random(seed)
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=SqliteSettings(volatile_reserve=40))
    acknowledged: dict[str, bytes] = {}
    moves: list[Move] = []
    over = asyncio.Event()
    real = Move.carry_out
    monkeypatch.setattr(Move, "carry_out", lambda move, *rest: (moves.append(move), real(move, *rest))[1])
    seen: list[Change] = []
    store.tap(seen.extend)

    async def write(name: str, volatile: bool) -> None:
        for n in itertools.count():
            if over.is_set():
                return
            await asyncio.sleep(0.001)
            key, value = f"/{name}/{chance.randrange(3)}", b"%d" % n
            before = store.current(key)
            try:
                if not before:
                    await store.create(key, value, volatile=volatile)
                elif not volatile and chance.random() < 0.2:
                    await store.delete(key, expected_revision=before[0].mod_revision)
                    acknowledged.pop(key, None)
                    continue
                else:
                    await store.update(key, value, expected_revision=before[0].mod_revision, volatile=volatile)
                acknowledged[key] = value
            except StoreTimeout:
                acknowledged.pop(key, None)  # unknown
                await until(lambda: not store.stall)
            except DatastoreError:
                await asyncio.sleep(0.002)

    async def stall_now_and_then() -> None:
        """Five stalls, and more and longer ones until a batch was overtaken: which one is, chance decides."""
        for count in range(100):
            brake = Brake(store._disk)
            await asyncio.sleep((0.02 + chance.random() * 0.03) * (1 + count // 5))
            brake.release()
            await until(lambda: not store.stall)
            if moves and count >= 4:
                break
        over.set()

    async def flush() -> None:
        for _ in range(10):
            await asyncio.sleep(0.005)
            try:
                await store.flush_volatile()
            except StoreUnavailable:
                continue

    with impatient(store, 0.01):
        await asyncio.gather(
            *(write(f"w{n}", False) for n in range(3)), *(write(f"v{n}", True) for n in range(2)),
            stall_now_and_then(), flush(),
        )  # fmt: skip
    await until(lambda: not store.stall)
    revisions = [change.revision for change in seen]
    assert revisions == sorted(set(revisions)) and revisions[-1] == store.current_revision
    state: dict[str, Any] = {}
    for change in seen:
        assert state.get(change.record.key) == change.previous
        state[change.record.key] = None if change.deleted else change.record
    assert {k: r for k, r in state.items() if r} == {r.key: r for r in store.current("")}
    current = {r.key: r.value for r in store.current("")}
    assert {k: current.get(k) for k in acknowledged} == acknowledged
    await check(store)
    before = store.current("")
    await store.close()
    assert moves
    store = await open_sqlite(tmp_path / "s.db", clock=clock)
    assert store.current("") == before
    await store.close()


def test_a_stall_has_the_reasons_of_its_sources() -> None:
    stall, told = Stall(), []
    end = stall.follow(told.append)
    stall.set("first", "writer")
    stall.set("again", "writer")
    stall.set("second", "follower")
    stall.clear("writer")
    stall.clear("writer")
    stall.clear("follower")
    end()
    stall.set("unheard")
    assert told == ["first", "second", ""] and stall.why == "unheard"
