"""What only the SQLite engine promises: restarts, the volatile class, housekeeping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore import tools
from minikube_py.datastore.index import SortedKeys, prefix_end
from minikube_py.datastore.sqlite import SqliteDatastore, SqliteSettings, open_sqlite
from minikube_py.datastore.sqlite.file import APPLICATION_ID, MIGRATIONS
from minikube_py.datastore.transactions import Put, Transaction
from minikube_py.datastore.types import Change, Compacted, LeaseNotFound

Reopen = Callable[[], Awaitable[SqliteDatastore]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@contextlib.asynccontextmanager
async def running(store: SqliteDatastore) -> AsyncIterator[None]:
    """The store with its housekeeping."""
    task = asyncio.create_task(store.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def crash(store: SqliteDatastore) -> None:
    """Let go of the file as a killed process does: nothing is written any more."""
    store._closed = True
    await store._reader.close()
    await store._disk.close()
    os.close(store._lock)


async def test_a_restart_keeps_everything(stores: Reopen) -> None:
    store = await stores()
    await store.create("/a", b"1")
    lease = await store.grant_lease(60)
    await store.create("/b", b"2", lease=lease)
    await store.delete("/a")
    before = (store.current_revision, store.current(""))
    store = await stores()
    assert (store.current_revision, store.current("")) == before
    assert (await store.get("/a", revision=2)) is not None
    await store.revoke_lease(lease)
    assert store.current("") == []


async def test_compaction_survives_a_restart(stores: Reopen) -> None:
    store = await stores()
    await store.create("/a", b"1")
    await store.update("/a", b"2", expected_revision=2)
    await store.compact(3)
    store = await stores()
    with pytest.raises(Compacted):
        await store.get("/a", revision=2)
    assert store.garbage().superseded == 0


async def test_a_tap_sees_a_change_before_its_writer_is_answered(stores: Reopen) -> None:
    store = await stores()
    seen: list[int] = []

    def follow(changes: Sequence[Change]) -> None:
        seen.extend(c.revision for c in changes)
        assert store.current_revision == changes[-1].revision
        assert store.current("/")[-1] == changes[-1].record

    stop = store.tap(follow)
    record = await store.create("/a", b"1")
    assert seen == [record.mod_revision]
    stop()
    await store.create("/b", b"1")
    assert seen == [2]


async def test_volatile_writes_keep_order_and_touch_no_disk(stores: Reopen) -> None:
    store = await stores()
    await store.create("/lease", b"0")
    await store.update("/lease", b"1", expected_revision=2, volatile=True)  # notes the floor once
    watch = store.watch("/", start_revision=4)
    store._written.clear()
    batches: list[object] = []
    store._disk.submit = lambda job, outcome: batches.append(job)  # type: ignore[method-assign]
    for n in range(20):
        await store.update("/lease", b"v%d" % n, expected_revision=3 + n, volatile=True)
    del store._disk.submit  # type: ignore[method-assign]
    assert batches == []
    assert not store._written.is_set()
    changes: list[Change] = []
    while len(changes) < 20:
        changes += await watch.__anext__()
    assert [c.revision for c in changes] == list(range(4, 24))
    assert [c.record.version for c in changes] == list(range(3, 23))


async def test_volatile_keys_are_written_at_close(stores: Reopen) -> None:
    store = await stores()
    await store.create("/a", b"0", volatile=True)
    await store.update("/a", b"1", expected_revision=2, volatile=True)
    store = await stores()
    record = await store.get("/a")
    assert record is not None and (record.value, record.mod_revision, record.version) == (b"1", 3, 2)
    assert store.current_revision == 3
    assert (await store.create("/b", b"")).mod_revision == 4


async def test_a_crash_loses_only_volatile_values_and_never_goes_back(
    stores: Reopen, tmp_path: Path, clock: Any
) -> None:
    store = await stores()
    await store.create("/durable", b"0")
    await store.create("/beat", b"0")
    await store.update("/beat", b"1", expected_revision=3, volatile=True)
    await store.create("/later", b"0")
    newest = store.current_revision
    await crash(store)
    store = await open_sqlite(tmp_path / "state.db", clock=clock)
    try:
        assert [(r.key, r.value) for r in store.current("")] == [("/beat", b"0"), ("/durable", b"0"), ("/later", b"0")]
        assert store.current_revision > newest
        with pytest.raises(Compacted):  # this watcher may have seen the lost heartbeat
            await store.watch("/", start_revision=newest + 1).__anext__()
        watch = store.watch("/", start_revision=4)  # this one has not
        assert [c.record.key for c in await watch.__anext__()] == ["/later"]
        fresh = store.watch("/", start_revision=store.current_revision + 1)
        await store.create("/new", b"")
        assert [c.record.key for c in await fresh.__anext__()] == ["/new"]
    finally:
        await store.close()


async def test_volatile_records_appear_in_history_and_replays(stores: Reopen) -> None:
    store = await stores()
    first = await store.create("/a", b"0")
    await store.create("/b", b"0")
    beat = await store.update("/a", b"1", expected_revision=2, volatile=True)
    await store.create("/c", b"0")
    await store.delete("/c")
    assert [r.value for r in (await store.range("/", revision=4)).records] == [b"1", b"0"]
    assert [r.value for r in (await store.range("/", revision=3)).records] == [b"0", b"0"]
    changes = await store.watch("/", start_revision=3).__anext__()
    assert [c.revision for c in changes] == [3, 4, 5, 6]
    assert changes[1] == Change(beat, first, deleted=False)


async def test_a_durable_change_takes_the_volatile_record_along(stores: Reopen) -> None:
    store = await stores()
    await store.create("/a", b"0", volatile=True)
    beat = await store.update("/a", b"1", expected_revision=2, volatile=True)
    await store.delete("/a")
    store = await stores()
    changes = await store.watch("/", start_revision=3).__anext__()
    assert [(c.revision, c.deleted, c.previous) for c in changes] == [(3, False, None), (4, True, beat)]


@pytest.mark.parametrize("flush_first", [False, True], ids=["unwritten", "flushed"])
async def test_compaction_passes_volatile_records(stores: Reopen, flush_first: bool) -> None:
    store = await stores()
    await store.create("/a", b"0")
    await store.update("/a", b"1", expected_revision=2, volatile=True)
    if flush_first:
        await store.flush_volatile()
    await store.create("/b", b"0")
    await store.compact(4)
    store = await stores()
    assert [r.value for r in (await store.range("/", revision=4)).records] == [b"1", b"0"]
    assert store.garbage().superseded == 0


async def test_heartbeats_reach_the_disk_at_the_interval(stores: Reopen, clock: Any, until: Until) -> None:
    store = await stores()
    await store.create("/a", b"0")
    async with running(store):
        await store.update("/a", b"1", expected_revision=2, volatile=True)
        await until(lambda: clock.sleepers >= 2)
        clock.advance(599)
        await asyncio.sleep(0.01)
        assert store._volatile.unwritten
        clock.advance(1)
        await until(lambda: not store._volatile.unwritten)


async def test_an_idle_store_sleeps(stores: Reopen, clock: Any, until: Until) -> None:
    store = await stores()
    async with running(store):
        await store.create("/a", b"0")
        for _ in range(8):
            await until(lambda: clock.sleepers > 0 or store.compacted_revision == 2)
            clock.advance(75)
            await asyncio.sleep(0.005)
        await until(lambda: store.compacted_revision == 2)
        await asyncio.sleep(0.01)
        assert clock.sleepers == 0


async def test_a_lease_runs_out(stores: Reopen, clock: Any, until: Until) -> None:
    store = await stores()
    async with running(store):
        lease = await store.grant_lease(10)
        await store.create("/a", b"1", lease=lease)
        await until(lambda: clock.sleepers >= 1)
        clock.advance(8)
        assert await store.keep_alive(lease) == 10
        clock.advance(8)
        await asyncio.sleep(0.005)
        assert await store.get("/a") is not None
        for _ in range(3):
            await until(lambda: clock.sleepers >= 1 or not store.current("/"))
            clock.advance(10)
        await until(lambda: not store.current("/"))
        with pytest.raises(LeaseNotFound):
            await store.keep_alive(lease)


async def test_the_file_follows_the_live_data(stores: Reopen, clock: Any, until: Until) -> None:
    """Some thousand updates of 100 keys of 1 kB; after housekeeping the file is below three times the live data."""
    store = await stores()
    revisions = [
        r.mod_revision for r in await asyncio.gather(*(store.create(f"/k/{n}", b"x" * 1000) for n in range(100)))
    ]
    async with running(store):
        for _ in range(60):
            updates = (store.update(f"/k/{n}", b"y" * 1000, expected_revision=r) for n, r in enumerate(revisions))
            revisions = [r.mod_revision for r in await asyncio.gather(*updates)]
        grown = await store.size_bytes()
        for _ in range(8):  # a minute
            await until(lambda: (clock.sleepers > 0 or not store.garbage().heavy) and not store._compacting.locked())
            clock.advance(7.5)
            await asyncio.sleep(0.005)
        await until(lambda: not store.garbage().heavy and not store._compacting.locked())
        size = await store.size_bytes()
    assert grown > 6_000_000
    # 64 pages stay for the next writes, 32 kB are the WAL's index
    assert size < 3 * 100_000 + 64 * 4096 + 32_768


async def test_writes_go_on_during_compaction(stores: Reopen) -> None:
    store = await stores()
    await asyncio.gather(*(store.create(f"/k/{n}", b"x" * 200) for n in range(3000)))
    await asyncio.gather(*(store.delete(f"/k/{n}") for n in range(3000)))
    compaction = asyncio.create_task(store.compact(store.current_revision))
    during = 0
    while not compaction.done():
        await store.create(f"/new/{during}", b"x")
        during += 1
    await compaction
    assert during > 3
    assert (await store.range("/")).count == during


async def test_rows_are_counted_right_through_compactions(stores: Reopen) -> None:
    store = await stores()
    record = await store.create("/a", b"0")
    for n in range(300):
        record = await store.update("/a", b"%d" % n, expected_revision=record.mod_revision)
    compaction = asyncio.create_task(store.compact(store.current_revision))
    others = 0
    while not compaction.done():
        await store.create(f"/b/{others}", b"")
        others += 1
    await compaction
    counted = store.garbage()
    store = await stores()
    assert store.garbage() == counted
    assert (counted.rows, counted.superseded) == (1 + others, 0)


async def test_settings_bound_how_far_revisions_jump(tmp_path: Path, clock: Any) -> None:
    settings = SqliteSettings(volatile_reserve=5)
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=settings)
    record = await store.create("/a", b"", volatile=True)
    for _ in range(20):
        record = await store.update("/a", b"", expected_revision=record.mod_revision, volatile=True)
    await crash(store)
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=settings)
    assert record.mod_revision < store.current_revision <= record.mod_revision + 7
    await store.close()


def test_sorted_keys_equal_a_sorted_list() -> None:
    keys = SortedKeys()
    names = [f"/k/{(n * 7919) % 5003:05}" for n in range(5003)]
    for name in names:
        keys.add(name)
    assert list(keys.between("", "")) == sorted(names)
    for name in names[::2]:
        keys.remove(name)
    left = sorted(names[1::2])
    assert list(keys.between("/k/01", "/k/02")) == [name for name in left if "/k/01" <= name < "/k/02"]
    assert keys.count_between("/k/01", "/k/02") == len([name for name in left if "/k/01" <= name < "/k/02"])
    for name in left:
        keys.remove(name)
    assert list(keys.between("", "")) == [] and keys.count_between("", "") == 0


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("/a/", "/a0"), ("", ""), ("\U0010ffff", ""), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")],
    ids=["a folder", "everything", "the last character", "carries over", "skips the surrogates"],
)
def test_prefix_ends(prefix: str, end: str) -> None:
    assert prefix_end(prefix) == end


_FIRST_SCHEMA_ROWS = [
    (2, "/a", b"1", 2, 1, 0, 0, 0),
    (3, "/b", b"1", 3, 1, 0, 0, 0),
    (4, "/a", b"2", 2, 2, 2, 0, 0),
    (5, "/b", b"", 0, 0, 3, 0, 1),
]


async def test_a_file_of_the_first_schema_is_migrated(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "s.db"
    raw = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        raw.execute(statement)
    raw.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _FIRST_SCHEMA_ROWS)
    raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    raw.execute("PRAGMA user_version = 1")
    raw.commit()
    raw.close()
    store = await open_sqlite(path, clock=clock)
    assert [(r.key, r.mod_revision, r.version) for r in store.current("")] == [("/a", 4, 2)]
    assert [r.value for r in (await store.range("/", revision=3)).records] == [b"1", b"1"]
    changes = await store.watch("/", start_revision=4).__anext__()
    assert [(c.revision, c.deleted, c.previous and c.previous.value) for c in changes] == [
        (4, False, b"1"),
        (5, True, b"1"),
    ]
    assert (await store.create("/c", b"")).mod_revision == 6
    await store.compact(6)
    assert store.garbage().superseded == 0
    await store.close()


async def test_a_file_of_the_second_schema_is_migrated(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "s.db"
    raw = sqlite3.connect(path)
    for statement in (*MIGRATIONS[0], *MIGRATIONS[1]):
        raw.execute(statement)
    rows = [*_FIRST_SCHEMA_ROWS, (6, "/b", b"3" * 10_000, 6, 1, 5, 0, 0)]  # names the deletion
    raw.executemany("INSERT INTO log VALUES (? << 20, ?, ?, ?, ?, ? << 20, ?, ?)", rows)
    raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    raw.execute("PRAGMA user_version = 2")
    raw.commit()
    raw.close()
    store = await open_sqlite(path, clock=clock)
    assert [(r.key, r.mod_revision, len(r.value)) for r in store.current("")] == [("/a", 4, 1), ("/b", 6, 10_000)]
    assert [r.key for r in (await store.range("/", revision=5)).records] == ["/a"]
    assert [r.value for r in (await store.range("/", revision=3)).records] == [b"1", b"1"]
    changes = await store.watch("/", start_revision=6).__anext__()
    assert [(c.revision, c.previous) for c in changes] == [(6, None)]
    await store.close()
    assert (await tools.check(f"sqlite:///{path}")).findings == []


async def test_a_closed_store_leaves_no_file_open(tmp_path: Path, clock: Any) -> None:
    async def use() -> None:
        store = await open_sqlite(tmp_path / "s.db", clock=clock)
        await store.put("/a", b"1")
        await store.put("/a", b"2")
        await store.range("/", revision=store.current_revision - 1)
        await store.give_back_space()
        await store.close()
        await store.close()

    await use()
    before = await asyncio.to_thread(os.listdir, "/proc/self/fd")
    for _ in range(3):
        await use()
    assert len(await asyncio.to_thread(os.listdir, "/proc/self/fd")) == len(before)


async def test_transactions_and_churn_survive_a_restart(stores: Reopen) -> None:
    store = await stores()
    await store.transact(Transaction(success=[Put(f"/{n}", b"1") for n in range(3)]), client="me")
    store = await stores()
    record = await store.update("/2", b"2", expected_revision=2, volatile=True)
    assert record.mod_revision == 3
    store = await stores()
    changes = await store.watch("/", start_revision=3).__anext__()
    assert [(c.record.key, c.previous and c.previous.value) for c in changes] == [("/2", b"1")]
    await store.compact(3)
    assert store.garbage().superseded == 0
    assert [(row.client, row.revisions) for row in store.churn()] == [("me", 3), ("", 1)]


async def test_a_replay_never_cuts_a_transaction(stores: Reopen) -> None:
    store = await stores()
    await store.create("/first", b"")
    await store.transact(Transaction(success=[Put(f"/k/{n}", b"1") for n in range(800)]))
    await store.create("/last", b"")
    watch = store.watch("/", start_revision=2)
    batches = [await watch.__anext__(), await watch.__anext__()]
    assert [len(batch) for batch in batches] == [801, 1]
    assert len(await store.watch("/k/7", start_revision=3).__anext__()) == 111


async def test_a_quota_slows_the_flooding_client_only(tmp_path: Path, clock: Any, until: Until) -> None:
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=SqliteSettings(client_rate=8))  # 1/8 s is exact
    flood = [asyncio.create_task(store.create(f"/flood/{n}", b"", client="loop")) for n in range(150)]
    await until(lambda: sum(task.done() for task in flood) == 80)  # ten seconds' worth at once
    await asyncio.gather(*(store.create(f"/{name}", b"", client=name) for name in ("kubelet", "admin", "")))
    assert sum(task.done() for task in flood) == 80
    clock.advance(1.0)
    await until(lambda: sum(task.done() for task in flood) == 88)
    clock.advance(60.0)
    await asyncio.gather(*flood)
    assert store.current_revision == 154
    await store.close()
