"""What every engine promises: keys, guards, revisions, history, watches, leases, compaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from minikube_py.datastore.types import (
    Change,
    Compacted,
    Datastore,
    FutureRevision,
    KeyExists,
    LeaseNotFound,
    RevisionMismatch,
    StoreUnavailable,
    Watch,
    WatcherTooSlow,
)


async def take(watch: Watch, count: int) -> list[Change]:
    found: list[Change] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += await watch.__anext__()
    return found


def seen(changes: Sequence[Change]) -> list[tuple[str, str, int]]:
    return [("-" if c.deleted else "+", c.record.key, c.revision) for c in changes]


async def test_an_empty_store_is_at_revision_one(store: Datastore) -> None:
    assert store.current_revision == 1
    assert await store.get("/a") is None
    assert (await store.range("/")).records == []


async def test_versions_and_revisions_follow_the_key(store: Datastore) -> None:
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", expected_revision=first.mod_revision)
    assert (first.mod_revision, first.create_revision, first.version) == (2, 2, 1)
    assert (second.mod_revision, second.create_revision, second.version) == (3, 2, 2)
    gone = await store.delete("/a", expected_revision=3)
    assert gone is not None and (gone.value, gone.mod_revision) == (b"2", 4)
    again = await store.create("/a", b"3")
    assert (again.mod_revision, again.create_revision, again.version) == (5, 5, 1)


async def test_create_refuses_a_live_key(store: Datastore) -> None:
    first = await store.create("/a", b"1")
    with pytest.raises(KeyExists) as refused:
        await store.create("/a", b"2")
    assert refused.value.current == first
    assert store.current_revision == 2


@pytest.mark.parametrize("expected", [1, 3, 99], ids=["too old", "not the key's", "in the future"])
async def test_guards_name_the_newest_record(store: Datastore, expected: int) -> None:
    record = await store.create("/a", b"1")
    await store.create("/b", b"1")
    with pytest.raises(RevisionMismatch) as refused:
        await store.update("/a", b"2", expected_revision=expected)
    assert refused.value.current == record
    with pytest.raises(RevisionMismatch):
        await store.delete("/a", expected_revision=expected)


async def test_update_and_guarded_delete_need_the_key(store: Datastore) -> None:
    with pytest.raises(RevisionMismatch) as refused:
        await store.update("/a", b"2", expected_revision=1)
    assert refused.value.current is None
    with pytest.raises(RevisionMismatch):
        await store.delete("/a", expected_revision=1)
    assert await store.delete("/a") is None
    assert store.current_revision == 1


async def test_one_of_many_concurrent_updates_wins(store: Datastore) -> None:
    base = await store.create("/a", b"0")
    outcomes = await asyncio.gather(
        *(store.update("/a", b"%d" % n, expected_revision=base.mod_revision) for n in range(20)),
        return_exceptions=True,
    )
    winners = [o for o in outcomes if not isinstance(o, BaseException)]
    losers = [o for o in outcomes if isinstance(o, RevisionMismatch)]
    assert len(winners) == 1 and len(losers) == 19
    assert all(loser.current == winners[0] for loser in losers)
    assert await store.get("/a") == winners[0]


@pytest.mark.in_process
async def test_concurrent_writers_get_consecutive_revisions(store: Datastore) -> None:
    records = await asyncio.gather(*(store.create(f"/k/{n:04}", b"v") for n in range(500)))
    assert [r.mod_revision for r in records] == list(range(2, 502))
    assert [r.key for r in (await store.range("/k/")).records] == [f"/k/{n:04}" for n in range(500)]


@pytest.mark.in_process
async def test_a_cancelled_writer_leaves_a_consistent_store(store: Datastore) -> None:
    task = asyncio.create_task(store.create("/a", b"1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.create("/b", b"1")
    assert [r.mod_revision for r in (await store.range("/")).records] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "keys", "more"),
    [
        ({}, ["/p/a", "/p/b", "/p/c"], False),
        ({"limit": 2}, ["/p/a", "/p/b"], True),
        ({"start": "/p/b\0"}, ["/p/c"], False),
        ({"start": "/p/b", "limit": 1}, ["/p/b"], True),
        ({"start": "/p/z"}, [], False),
        ({"limit": 3}, ["/p/a", "/p/b", "/p/c"], False),
    ],
    ids=["all", "first page", "last page", "page in the middle", "beyond the end", "limit equals count"],
)
@pytest.mark.parametrize("past", [False, True], ids=["now", "at an older revision"])
async def test_ranges(store: Datastore, arguments: dict[str, object], keys: list[str], more: bool, past: bool) -> None:
    for key in ("/p/c", "/o", "/p/a", "/q", "/p/b"):
        await store.create(key, key.encode())
    revision = store.current_revision
    if past:
        await store.delete("/p/a")
        await store.create("/p/aa", b"later")
    found = await store.range("/p/", revision=revision if past else 0, **arguments)  # type: ignore[arg-type]
    assert [r.key for r in found.records] == keys
    assert (found.count, found.more) == (3, more)
    assert all(r.value == r.key.encode() for r in found.records)


async def test_keys_only_and_count(store: Datastore) -> None:
    await store.create("/p/a", b"value")
    assert [r.value for r in (await store.range("/p/", keys_only=True)).records] == [b""]
    assert (await store.count("/p/"), await store.count("/p/", revision=1), await store.count("")) == (1, 0, 1)


async def test_key_order_is_that_of_utf8(store: Datastore) -> None:
    keys = ["/k/\ue000", "/k/\U0001f600", "/k/z", "/k/é"]
    for key in keys:
        await store.create(key, b"")
    ordered = sorted(keys, key=lambda key: key.encode())
    assert [r.key for r in (await store.range("/k/")).records] == ordered
    revision = store.current_revision
    await store.create("/x", b"")
    await store.delete("/k/z")
    assert [r.key for r in (await store.range("/k/", revision=revision)).records] == ordered


async def test_history_of_a_key(store: Datastore) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", expected_revision=2)
    await store.delete("/a")
    await store.create("/a", b"4")
    values = [await store.get("/a", revision=revision) for revision in range(1, 6)]
    assert [v.value if v else None for v in values] == [None, b"1", b"2", None, b"4"]
    with pytest.raises(FutureRevision):
        await store.get("/a", revision=6)


async def test_compaction_keeps_what_is_newest_at_its_revision(store: Datastore) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", expected_revision=2)
    await store.create("/b", b"1")
    await store.delete("/b")
    await store.update("/a", b"3", expected_revision=3)
    await store.compact(4)
    assert store.compacted_revision == 4
    for read in (store.get("/a", revision=3), store.range("/", revision=3), store.count("/", revision=2)):
        with pytest.raises(Compacted):
            await read
    at_four = await store.range("/", revision=4)
    assert [(r.key, r.value) for r in at_four.records] == [("/a", b"2"), ("/b", b"1")]
    with pytest.raises(Compacted):
        await store.compact(4)
    with pytest.raises(FutureRevision):
        await store.compact(7)
    with pytest.raises(Compacted):
        await store.watch("/", start_revision=3).__anext__()
    assert seen(await take(store.watch("/", start_revision=4), 3)) == [("+", "/b", 4), ("-", "/b", 5), ("+", "/a", 6)]


async def test_a_watch_of_the_future_sees_only_its_prefix(store: Datastore) -> None:
    watch = store.watch("/p/", start_revision=2)
    await store.create("/p/a", b"1")
    await store.create("/q/a", b"1")
    await store.update("/p/a", b"2", expected_revision=2)
    await store.delete("/p/a")
    changes = await take(watch, 3)
    assert seen(changes) == [("+", "/p/a", 2), ("+", "/p/a", 4), ("-", "/p/a", 5)]
    assert [c.previous.value if c.previous else None for c in changes] == [None, b"1", b"2"]
    assert changes[2].record.value == b""
    assert watch.progress_revision == 5


async def test_a_watch_from_the_past_joins_the_present_without_gap(store: Datastore) -> None:
    for n in range(1200):
        if n % 100 == 0:
            await store.create(f"/k/{n:05}", b"x")
        else:
            asyncio.get_running_loop().create_task(_ignore(store, f"/k/{n:05}"))
    await store.create("/marker", b"")
    newest = store.current_revision
    watch = store.watch("/", start_revision=2)

    async def write_on() -> None:
        for n in range(300):
            await store.create(f"/later/{n}", b"x")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_on())
        changes = await take(watch, newest - 1 + 300)
    assert [c.revision for c in changes] == list(range(2, newest + 301))


async def _ignore(store: Datastore, key: str) -> None:
    await store.create(key, b"x")


async def test_a_replayed_change_has_its_previous_record(store: Datastore) -> None:
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", expected_revision=2)
    await store.delete("/a")
    changes = await take(store.watch("/", start_revision=2), 3)
    assert [c.previous for c in changes] == [None, first, second]
    assert [c.deleted for c in changes] == [False, False, True]


@pytest.mark.in_process
async def test_a_slow_watcher_is_told_after_what_it_has(store: Datastore) -> None:
    watch = store.watch("/", start_revision=2, buffer=2)
    for n in range(4):
        await store.create(f"/{n}", b"")
    assert len(await take(watch, 2)) == 2
    with pytest.raises(WatcherTooSlow):
        await watch.__anext__()


@pytest.mark.in_process
async def test_closing_a_watch_ends_its_iteration(store: Datastore) -> None:
    watch = store.watch("/", start_revision=2)
    waiting = asyncio.create_task(watch.__anext__())
    await asyncio.sleep(0)
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


@pytest.mark.in_process
async def test_closing_the_store_ends_watches_and_writes(store: Datastore) -> None:
    watch = store.watch("/", start_revision=2)
    write = asyncio.create_task(store.create("/a", b"1"))
    await asyncio.sleep(0)
    await store.close()
    assert (await write).mod_revision == 2
    assert seen(await take(watch, 1)) == [("+", "/a", 2)]
    with pytest.raises(StoreUnavailable):
        await watch.__anext__()
    with pytest.raises(StoreUnavailable):
        await store.create("/b", b"1")


async def test_a_revoked_lease_takes_its_keys_along(store: Datastore) -> None:
    lease = await store.grant_lease(10)
    await store.create("/a", b"1", lease=lease)
    await store.create("/b", b"1", lease=lease)
    await store.create("/c", b"1")
    await store.update("/b", b"2", expected_revision=3)  # without the lease: it hangs on it no more
    await store.revoke_lease(lease)
    assert [r.key for r in (await store.range("/")).records] == ["/b", "/c"]
    with pytest.raises(LeaseNotFound):
        await store.keep_alive(lease)
    with pytest.raises(LeaseNotFound):
        await store.create("/d", b"", lease=lease)
    with pytest.raises(LeaseNotFound):
        await store.revoke_lease(lease)


@pytest.mark.in_process
async def test_a_key_deleted_and_made_again_at_once_begins_anew(store: Datastore) -> None:
    await store.create("/a", b"1")
    await asyncio.gather(store.delete("/a"), store.create("/a", b"2"))  # one batch of the writer
    assert [r.value for r in (await store.range("/", revision=2)).records] == [b"1"]
    assert (await store.range("/", revision=3)).records == []
    assert await store.get("/a", revision=3) is None
    changes = await take(store.watch("/", start_revision=3), 2)
    assert [(c.revision, c.previous and c.previous.value) for c in changes] == [(3, b"1"), (4, None)]


async def test_the_history_of_a_key_that_comes_and_goes(store: Datastore) -> None:
    was: dict[int, bytes | None] = {1: None}
    for n in range(12):
        record = await store.get("/a")
        if n % 4 == 3:
            gone = await store.delete("/a")
            assert gone is not None
            was[gone.mod_revision] = None
        elif record is None:
            was[(await store.create("/a", b"%d" % n)).mod_revision] = b"%d" % n
        else:
            written = await store.update("/a", b"%d" % n, expected_revision=record.mod_revision)
            was[written.mod_revision] = b"%d" % n
        other = await store.create(f"/b/{n}", b"")
        was[other.mod_revision] = was[other.mod_revision - 1]
        for revision, value in was.items():
            found = await store.get("/a", revision=revision)
            assert (found.value if found else None) == value, (revision, n)
            count = await store.count("/a", revision=revision)
            assert count == (value is not None)
    compacted = store.current_revision - 3
    await store.compact(compacted)
    for revision, value in was.items():
        if revision < compacted:
            with pytest.raises(Compacted):
                await store.get("/a", revision=revision)
        else:
            found = await store.get("/a", revision=revision)
            assert (found.value if found else None) == value
