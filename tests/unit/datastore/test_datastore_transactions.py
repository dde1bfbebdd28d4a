"""What every engine promises about transactions, scans, leases' statuses, churn and snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.datastore.transactions import (
    Compare,
    Delete,
    KeyNotFound,
    Put,
    Relation,
    Scan,
    Step,
    Target,
    Transaction,
    TransactionalStore,
)
from minikube_py.datastore.types import Change, Compacted, FutureRevision, LeaseNotFound


def keys_of(step: object) -> list[str]:
    assert isinstance(step, Step) and step.found is not None
    return [record.key for record in step.found.records]


async def changes_from(store: TransactionalStore, start: int, count: int) -> list[Change]:
    watch = store.watch("", start_revision=start)
    found: list[Change] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += await watch.__anext__()
    watch.close()
    return found


async def test_all_writes_of_a_transaction_share_one_revision(store: TransactionalStore) -> None:
    live = store.watch("/", start_revision=2)
    await store.create("/x/1", b"1")
    await store.create("/x/2", b"2")
    done = await store.transact(Transaction(success=[Put("/a", b"a"), Put("/b", b"b"), Delete("/x/", "/x0")]))
    assert (done.succeeded, done.revision, store.current_revision) == (True, 4, 4)
    assert [(r.key, r.mod_revision, r.version) for r in store.current("")] == [("/a", 4, 1), ("/b", 4, 1)]
    after = await store.create("/c", b"c")
    assert after.mod_revision == 5
    expected = [("/x/1", 2), ("/x/2", 3), ("/a", 4), ("/b", 4), ("/x/1", 4), ("/x/2", 4), ("/c", 5)]
    replayed = await changes_from(store, 2, 7)
    assert [(c.record.key, c.revision) for c in replayed] == expected
    assert [c.previous.value if c.previous else None for c in replayed[4:6]] == [b"1", b"2"]
    seen: list[Change] = []
    while len(seen) < 7:
        seen += await live.__anext__()
    assert seen == replayed


async def test_keys_of_one_transaction_have_each_their_own_history(store: TransactionalStore) -> None:
    for value in (b"1", b"2", b"3"):
        await store.transact(Transaction(success=[Put(f"/{n}", value) for n in range(3)]))
    record = await store.update("/2", b"4", expected_revision=4)
    assert (record.mod_revision, record.version) == (5, 4)
    for revision, value in ((2, b"1"), (3, b"2"), (4, b"3")):
        assert [r.value for r in (await store.range("/", revision=revision)).records] == [value] * 3
    changes = await changes_from(store, 3, 7)
    assert [c.previous.value if c.previous else None for c in changes] == [b"1"] * 3 + [b"2"] * 3 + [b"3"]
    await store.compact(4)
    assert [r.value for r in (await store.range("/", revision=4)).records] == [b"3"] * 3
    await store.delete("/0")
    await store.delete("/2")
    await store.compact(7)
    assert [r.key for r in (await store.range("/", revision=7)).records] == ["/1"]
    rows = [row async for batch in store.rows() for row in batch]
    assert [row[1] for row in rows] == ["/1", "/2"]  # the tombstone of the compaction's own revision stays


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare("/a", Target.MOD, Relation.EQUAL, 3), True),
        (Compare("/a", Target.MOD, Relation.NOT_EQUAL, 3), False),
        (Compare("/a", Target.CREATE, Relation.LESS, 3), True),
        (Compare("/a", Target.VERSION, Relation.GREATER, 1), True),
        (Compare("/a", Target.VALUE, Relation.EQUAL, b"2"), True),
        (Compare("/a", Target.VALUE, Relation.LESS, b"1"), False),
        (Compare("/a", Target.LEASE, Relation.EQUAL, 0), True),
        (Compare("/none", Target.CREATE, Relation.EQUAL, 0), True),
        (Compare("/none", Target.VALUE, Relation.EQUAL, b""), False),
        (Compare("/", Target.VERSION, Relation.GREATER, 0, end="0"), True),
        (Compare("/", Target.VERSION, Relation.EQUAL, 2, end="0"), False),
        (Compare("/z", Target.VERSION, Relation.EQUAL, 0, end=""), True),
    ],
    ids=lambda value: f"{value.target.name} {value.relation.value}" if isinstance(value, Compare) else None,
)
async def test_compares(store: TransactionalStore, compare: Compare, holds: bool) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", expected_revision=2)
    await store.create("/b", b"1")
    done = await store.transact(Transaction(compares=[compare], success=[Scan("/a")], failure=[Scan("/b")]))
    assert (done.succeeded, keys_of(done.steps[0])) == (holds, ["/a"] if holds else ["/b"])
    assert done.revision == store.current_revision == 4


async def test_operations_see_those_before_them_and_compares_the_state_before(store: TransactionalStore) -> None:
    await store.create("/a", b"1")
    inner = Transaction(
        compares=[Compare("/b", Target.VERSION, Relation.EQUAL, 0)], success=[Scan("/", "0")], failure=[Delete("/a")]
    )
    done = await store.transact(Transaction(success=[Scan("/", "0"), Put("/b", b""), inner, Scan("/", "", revision=2)]))
    nested = done.steps[2]
    assert keys_of(done.steps[0]) == ["/a"]
    assert not isinstance(nested, Step) and nested.succeeded
    assert keys_of(nested.steps[0]) == ["/a", "/b"]
    assert keys_of(done.steps[3]) == ["/a"]


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (Put("/none", None), KeyNotFound),
        (Put("/none", b"", lease=None), KeyNotFound),
        (Put("/a", b"", lease=77), LeaseNotFound),
        (Scan("/a", revision=99), FutureRevision),
        (Scan("/a", revision=2), Compacted),
    ],
    ids=["keeps no value", "keeps no lease", "no such lease", "future", "compacted"],
)
async def test_a_transaction_that_cannot_be_done_changes_nothing(
    store: TransactionalStore, operation: Any, error: type[Exception]
) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", expected_revision=2)
    await store.compact(3)
    with pytest.raises(error):
        await store.transact(Transaction(success=[Put("/b", b"1"), operation]))
    assert store.current_revision == 3
    assert (await store.create("/b", b"")).mod_revision == 4


async def test_a_put_may_keep_value_or_lease(store: TransactionalStore) -> None:
    lease = await store.grant_lease(60)
    await store.create("/a", b"1", lease=lease)
    await store.transact(Transaction(success=[Put("/a", b"2", lease=None)]))
    record = await store.get("/a")
    assert record is not None and (record.value, record.lease) == (b"2", lease)
    await store.transact(Transaction(success=[Put("/a", None, lease=0)]))
    record = await store.get("/a")
    assert record is not None and (record.value, record.lease, record.version) == (b"2", 0, 3)


async def test_concurrent_transactions_are_serial(store: TransactionalStore) -> None:
    """Each moves one unit between two keys, guarded by what it read: none is lost, none doubled."""
    await store.transact(Transaction(success=[Put("/a", b"100"), Put("/b", b"0")]))

    async def move() -> int:
        for attempt in range(200):
            a, b = await store.get("/a"), await store.get("/b")
            assert a is not None and b is not None
            done = await store.transact(
                Transaction(
                    compares=[Compare(r.key, Target.MOD, Relation.EQUAL, r.mod_revision) for r in (a, b)],
                    success=[Put("/a", b"%d" % (int(a.value) - 1)), Put("/b", b"%d" % (int(b.value) + 1))],
                )
            )
            if done.succeeded:
                return attempt
        raise AssertionError("never won")

    await asyncio.gather(*(move() for _ in range(15)))
    assert [r.value for r in store.current("")] == [b"85", b"15"]
    assert store.current_revision == 17


@pytest.mark.in_process
async def test_a_transaction_sees_writes_that_are_on_their_way(store: TransactionalStore) -> None:
    create = asyncio.create_task(store.create("/p/b", b"1"))
    await asyncio.sleep(0)
    compare = Compare("/p/", Target.VERSION, Relation.GREATER, 0, end="/p0")
    done, removed = await asyncio.gather(
        store.transact(Transaction(compares=[compare], success=[Put("/p/a", b"")])),
        store.transact(Transaction(success=[Delete("/p/", "/p0")])),
    )
    await create
    assert done.succeeded and [w.key for w in removed.writes()] == ["/p/a", "/p/b"]
    assert store.current("") == []


@pytest.mark.parametrize(
    ("arguments", "keys", "count", "more"),
    [
        (("/b",), ["/b"], 1, False),
        (("/b", ""), ["/b", "/c"], 2, False),
        (("/a", "/c"), ["/a", "/b"], 2, False),
        (("/x",), [], 0, False),
    ],
    ids=["one key", "from a key", "between", "nothing"],
)
@pytest.mark.parametrize("past", [False, True], ids=["now", "at an older revision"])
async def test_scans(
    store: TransactionalStore, arguments: Sequence[str], keys: list[str], count: int, more: bool, past: bool
) -> None:
    for key in ("/a", "/b", "/c"):
        await store.create(key, b"value")
    revision = store.current_revision if past else 0
    if past:
        await store.delete("/b")
    found = await store.scan(*arguments, revision=revision)
    assert ([r.key for r in found.records], found.count, found.more) == (keys, count, more)
    assert (await store.scan(*arguments, revision=revision, count_only=True)).count == count
    page = await store.scan("/a", "", revision=revision, limit=2, keys_only=True)
    assert ([(r.key, r.value) for r in page.records], page.count, page.more) == ([("/a", b""), ("/b", b"")], 3, True)


async def test_a_revoked_lease_takes_its_keys_in_one_revision(store: TransactionalStore) -> None:
    lease = await store.grant_lease(60)
    await asyncio.gather(*(store.create(f"/{n}", b"", lease=lease) for n in range(3)))
    status = await store.lease_status(lease)
    assert (status.ttl_seconds, sorted(status.keys), await store.leases()) == (60, ["/0", "/1", "/2"], [lease])
    assert 55 < status.remaining_seconds <= 60
    before = store.current_revision
    await store.revoke_lease(lease)
    assert store.current_revision == before + 1
    assert store.current("") == [] and await store.leases() == []


@pytest.mark.in_process
async def test_churn_names_the_client(store: TransactionalStore) -> None:
    record = await store.create("/registry/pods/default/a", b"x" * 100, client="kubelet")
    await store.update("/registry/pods/default/a", b"x" * 50, expected_revision=record.mod_revision, client="kubelet")
    await store.transact(Transaction(success=[Delete("/", "0")]), client="admin")
    rows = [(row.folder, row.client, row.revisions, row.bytes) for row in store.churn()]
    folder, size = "/registry/pods/default/", len("/registry/pods/default/a")
    assert rows == [(folder, "kubelet", 2, 150 + 2 * size), (folder, "admin", 1, size)]


async def test_a_snapshot_is_a_datastore(store: TransactionalStore, tmp_path: Path, clock: Any) -> None:
    await store.transact(Transaction(success=[Put("/a", b"1"), Put("/b", b"2")]))
    await store.delete("/a")
    await store.snapshot(tmp_path / "snapshot.db")
    copy = await open_sqlite(tmp_path / "snapshot.db", clock=clock)
    try:
        assert (copy.current_revision, copy.current("")) == (store.current_revision, store.current(""))
        assert [r.value for r in (await copy.range("/", revision=2)).records] == [b"1", b"2"]
    finally:
        await copy.close()
