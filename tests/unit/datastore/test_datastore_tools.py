"""``pyk3s datastore``'s functions on SQLite, and the endpoints they take."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore import tools
from minikube_py.datastore.endpoints import open_endpoint, sqlite_path, without_password
from minikube_py.datastore.sqlite import SqliteDatastore, open_sqlite
from minikube_py.datastore.transactions import Put, Transaction
from minikube_py.datastore.types import Compacted, StoreLocked, StoreUnavailable

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Reopen = Callable[[], Awaitable[SqliteDatastore]]


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("sqlite:///state.db", Path("state.db")),
        ("sqlite:////var/lib/x%20y.db", Path("/var/lib/x y.db")),
        ("postgresql://me:secret@db/kube?sslmode=require", None),
        ("postgres:///kube", None),
    ],
)
def test_endpoints(endpoint: str, path: Path | None) -> None:
    assert sqlite_path(endpoint) == path


@pytest.mark.parametrize("endpoint", ["", "sqlite://", "sqlite://host/x", "mysql://me:secret@db/kube", "/state.db"])
def test_other_endpoints_are_refused_without_their_passwords(endpoint: str) -> None:
    with pytest.raises(ValueError, match="use sqlite:///PATH") as refused:
        sqlite_path(endpoint)
    assert "secret" not in str(refused.value)
    assert without_password("postgresql://me:secret@db/kube?password=x") == "postgresql://me@db/kube"


async def fill(store: SqliteDatastore) -> None:
    record = await store.create("/registry/pods/default/busy", b"x" * 100, client="kubelet")
    for _ in range(9):
        record = await store.update(
            "/registry/pods/default/busy", b"x" * 100, expected_revision=record.mod_revision, client="kubelet"
        )
    await store.transact(Transaction(success=[Put(f"/registry/nodes/{n}", b"y") for n in range(3)]), client="admin")
    await store.delete("/registry/nodes/0", client="admin")
    await store.grant_lease(60, lease=7)


@pytest.fixture
async def endpoint(stores: Reopen, tmp_path: Path) -> str:
    """A store that a server has open."""
    await fill(await stores())
    return f"sqlite:///{tmp_path}/state.db"


async def test_stats_and_top_of_a_store_in_use(endpoint: str) -> None:
    stats = await tools.stats(endpoint)
    assert (stats.revision, stats.keys, stats.rows, stats.superseded_rows, stats.leases) == (13, 3, 14, 11, 1)
    assert stats.size_bytes > stats.live_bytes + stats.superseded_bytes > 1000
    top = await tools.top(endpoint, limit=2)
    assert (top.keys[0].name, top.keys[0].revisions) == ("/registry/pods/default/busy", 10)
    assert [(folder.name, folder.revisions) for folder in top.folders] == [
        ("/registry/pods/default/", 10),
        ("/registry/nodes/", 4),
    ]
    assert (await tools.check(endpoint)).findings == []


async def test_churn_of_a_store_that_was_closed(stores: Reopen, endpoint: str) -> None:
    await stores()
    top = await tools.top(endpoint)
    assert [(row.client, row.revisions) for row in top.churn] == [("kubelet", 10), ("admin", 4)]


async def test_compaction_needs_the_store_for_itself(stores: Reopen, endpoint: str, clock: Any) -> None:
    with pytest.raises(StoreLocked, match="in use by process"):
        await tools.compact(endpoint, clock=clock)
    await (await stores()).close()
    report = await tools.compact(endpoint, clock=clock)
    stats = await tools.stats(endpoint)
    assert (report.revision, stats.compacted, stats.rows) == (13, 13, 4)
    assert (await tools.compact(endpoint, clock=clock)).revision == 13
    with pytest.raises(Compacted):
        await tools.compact(endpoint, clock=clock, revision=5)


async def test_migration_to_another_file_keeps_everything(
    stores: Reopen, endpoint: str, tmp_path: Path, clock: Any
) -> None:
    store = await stores()
    before = [row async for rows in store.rows() for row in rows]
    await store.compact(5)
    await store.close()
    target = f"sqlite:///{tmp_path}/copy.db"
    report = await tools.migrate(endpoint, target, clock=clock)
    assert (report.rows, report.revision) == (len(before) - 3, 13)
    copy = await open_sqlite(tmp_path / "copy.db", clock=clock)
    assert [row async for rows in copy.rows() for row in rows] == before[3:]
    assert (copy.current_revision, copy.compacted_revision, await copy.leases()) == (13, 5, [7])
    assert (await copy.create("/next", b"")).mod_revision == 14
    await copy.close()
    with pytest.raises(StoreUnavailable, match="exists"):
        await tools.migrate(endpoint, target, clock=clock)
    with pytest.raises(StoreUnavailable, match="no such file"):
        await tools.migrate(f"sqlite:///{tmp_path}/none.db", target, clock=clock)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE log SET version = 1 WHERE id = 5 << 20", "has version 1 and create revision 2"),
        ("UPDATE log SET previous = 0 WHERE id = 5 << 20", "follows row 0"),
        ("UPDATE log SET lease = 99 WHERE id = 11 << 20", "hangs on lease 63"),
        ("UPDATE log SET value = 'x' WHERE deleted", None),
        ("UPDATE meta SET value = 99 WHERE name = 'compacted'", None),
        ("DELETE FROM log WHERE id = 6 << 20", "but the key's row before it is"),
    ],
    ids=["version", "previous", "lease", "strict types", "no note", "a missing row"],
)
async def test_damage_in_the_log_is_named(
    stores: Reopen, endpoint: str, tmp_path: Path, damage: str, finding: str | None
) -> None:
    await (await stores()).close()
    raw = sqlite3.connect(tmp_path / "state.db")
    try:
        with raw:
            raw.execute(damage)
    except sqlite3.IntegrityError:
        assert finding is None
    raw.close()
    findings = (await tools.check(endpoint)).findings
    assert [finding in text for text in findings][:1] == [True] if finding else findings == []


async def test_what_does_not_exist_is_not_made(tmp_path: Path, clock: Any) -> None:
    folder = tmp_path / "folder"
    await asyncio.to_thread(folder.mkdir)
    for name, text in (("none.db", "no such file"), ("folder", "is a folder")):
        missing, target = f"sqlite:///{tmp_path / name}", f"sqlite:///{tmp_path}/target.db"
        for work in (
            tools.check(missing),
            tools.stats(missing),
            tools.top(missing),
            tools.compact(missing, clock=clock),
            tools.migrate(missing, target, clock=clock),
        ):
            with pytest.raises(StoreUnavailable, match=text):
                await work
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["folder"]


async def test_a_key_that_came_back_is_no_damage(stores: Reopen, tmp_path: Path) -> None:
    store = await stores()
    for value in (b"1", b"2"):
        await store.create("/a", value)
        await store.delete("/a")
    assert (await tools.check(f"sqlite:///{tmp_path}/state.db")).findings == []


async def test_a_flooding_client_is_named_while_the_store_is_open(stores: Reopen, tmp_path: Path, clock: Any) -> None:
    store, endpoint = await stores(), f"sqlite:///{tmp_path}/state.db"
    record = await store.create("/registry/configmaps/default/busy", b"x" * 500, client="operator/v1")
    for _ in range(50):
        record = await store.update(record.key, b"x" * 500, expected_revision=record.mod_revision, client="operator/v1")
    await store.create("/registry/pods/default/p", b"y", client="kubelet")
    clock.advance(31)
    await store.create("/registry/pods/default/q", b"y", client="kubelet")
    top = await tools.top(endpoint, limit=1)
    assert (top.keys[0].name, top.keys[0].revisions) == ("/registry/configmaps/default/busy", 51)
    assert top.folders[0].name == "/registry/configmaps/default/"
    assert [(row.client, row.folder, row.revisions) for row in top.churn] == [
        ("operator/v1", "/registry/configmaps/default/", 51)
    ]
    assert top.churn[0].bytes == 51 * (500 + len(record.key))


async def test_the_rate_of_clients_is_that_of_the_endpoint(tmp_path: Path, clock: Any, until: Until) -> None:
    store = await open_endpoint(f"sqlite:///{tmp_path}/s.db", clock=clock, client_rate=8)
    flood = [asyncio.create_task(store.create(f"/{n}", b"", client="flood")) for n in range(100)]
    await until(lambda: sum(task.done() for task in flood) == 80)
    clock.advance(60)
    await asyncio.gather(*flood)
    await store.close()
