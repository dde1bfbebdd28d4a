"""What only the PostgreSQL engine promises: several servers, no gaps, connections and databases that go away."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from minikube_py.datastore import tools
from minikube_py.datastore.intents import ABSENT, KeyIntent
from minikube_py.datastore.postgres import PostgresDatastore, PostgresSettings, log, open_postgres
from minikube_py.datastore.postgres.schema import migrations
from minikube_py.datastore.transactions import Put, Scan, Transaction
from minikube_py.datastore.types import (
    Change,
    Compacted,
    KeyExists,
    LeaseNotFound,
    RevisionMismatch,
    StoreCorrupt,
    StoreUnavailable,
    Watch,
)

Opener = Callable[..., Awaitable[PostgresDatastore]]


async def take_until(watch: Watch, revision: int) -> list[Change]:
    found: list[Change] = []
    async with asyncio.timeout(20):
        while not found or found[-1].revision < revision:
            found += await watch.__anext__()
    return found


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("condition never became true")


async def test_a_write_on_one_server_is_read_on_another_at_once(servers: Opener) -> None:
    one, two = await servers(), await servers()
    for n in range(20):
        written = await one.create(f"/{n}", b"1")
        assert await two.get(f"/{n}") == written
        assert (await two.range("/")).count == n + 1
    with pytest.raises(KeyExists):
        await two.create("/0", b"2")
    second = await two.update("/0", b"2", expected_revision=2)
    with pytest.raises(RevisionMismatch) as refused:
        await one.update("/0", b"3", expected_revision=2)
    assert refused.value.current == second


async def test_an_idle_server_hears_what_others_write(servers: Opener) -> None:
    one, two = await servers(), await servers()
    seen: list[int] = []
    two.tap(lambda changes: seen.extend(change.revision for change in changes))
    watch = two.watch("/", start_revision=2)
    await one.create("/a", b"1")
    assert [c.record.key for c in await take_until(watch, 2)] == ["/a"]
    assert seen == [2] and two.current_revision == 2


async def write(store: PostgresDatastore, name: str, count: int) -> dict[str, int]:
    """Creates and updates, some of them refused, some in transactions; returns what was acknowledged."""
    acknowledged: dict[str, int] = {}
    for n in range(count):
        key = f"/{name}/{n}"
        record = await store.create(key, b"1")
        if n % 3 == 0:
            record = await store.update(key, b"2", expected_revision=record.mod_revision)
        if n % 5 == 0:
            with pytest.raises(RevisionMismatch):
                await store.update(key, b"3", expected_revision=1)
        if n % 7 == 0:
            done = await store.transact(Transaction(success=[Put(key, b"4"), Put(f"{key}/more", b"4")]))
            acknowledged[f"{key}/more"] = acknowledged[key] = done.revision
        else:
            acknowledged[key] = record.mod_revision
    return acknowledged


async def test_revisions_have_no_gaps_with_writers_on_three_servers_and_transactions_that_roll_back(
    servers: Opener, postgres: Any
) -> None:
    stores = [await servers() for _ in range(3)]
    watches = [store.watch("/", start_revision=2) for store in stores]
    stop = asyncio.Event()

    async def roll_back() -> int:
        """Take the lock as a server does, write the next revisions, and roll back."""
        connection, count = await asyncpg.connect(postgres.url), 0
        while not stop.is_set():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT pg_advisory_xact_lock(483073405811)")
            await connection.execute(
                "INSERT INTO pyk3s_log SELECT coalesce(max(id), 1 << 20) + (1 << 20), 'rolled back', "
                "'', 1, 1, 0, 0, 0, 0 FROM pyk3s_log"
            )
            await transaction.rollback()
            count += 1
            await asyncio.sleep(0.005)
        await connection.close()
        return count

    rolling = asyncio.create_task(roll_back())
    written = await asyncio.gather(*(write(s, f"{at}-{n}", 40) for at, s in enumerate(stores) for n in range(4)))
    stop.set()
    assert await rolling > 5
    newest = max(max(part.values()) for part in written)
    histories = [await take_until(watch, newest) for watch in watches]
    assert histories[0] == histories[1] == histories[2]
    assert sorted({change.revision for change in histories[0]}) == list(range(2, newest + 1))
    final = {record.key: record.mod_revision for record in (await stores[0].range("/")).records}
    acknowledged = {key: revision for part in written for key, revision in part.items()}
    assert final == acknowledged


@pytest.mark.parametrize("crash", [False, True], ids=["fast shutdown", "kill -9"])
async def test_a_restart_of_the_database_loses_and_doubles_nothing(servers: Opener, postgres: Any, crash: bool) -> None:
    one, two = await servers(), await servers()
    watches = [one.watch("/", start_revision=2), two.watch("/", start_revision=2)]
    acknowledged: dict[str, int] = {}

    async def write_on(store: PostgresDatastore, name: str) -> None:
        for n in range(60):
            try:
                acknowledged[f"/{name}/{n}"] = (await store.create(f"/{name}/{n}", b"1")).mod_revision
            except StoreUnavailable as failure:
                raise AssertionError(f"gave up: {failure}") from failure
            await asyncio.sleep(random.random() * 0.02)

    async def restart() -> None:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres.crash if crash else postgres.stop)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres.start)

    async with asyncio.TaskGroup() as tasks:
        for at, store in enumerate((one, two)):
            for n in range(3):
                tasks.create_task(write_on(store, f"{at}-{n}"))
        tasks.create_task(restart())
    newest = max(acknowledged.values())
    for watch in watches:
        changes = await take_until(watch, newest)
        assert [change.revision for change in changes] == list(range(2, newest + 1))
        assert {c.record.key: c.revision for c in changes} == acknowledged


async def test_closed_connections_are_opened_again(servers: Opener, postgres: Any) -> None:
    one, two = await servers(), await servers()
    watch = two.watch("/", start_revision=2)
    connection = await asyncpg.connect(postgres.url)
    for n in range(5):
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await one.create(f"/{n}", b"1")
    await connection.close()
    assert [change.revision for change in await take_until(watch, 6)] == [2, 3, 4, 5, 6]


async def test_a_commit_whose_answer_was_lost_is_not_made_twice(servers: Opener) -> None:
    """The connection breaks after COMMIT took place and before its answer: the write is acknowledged once."""
    store = await servers()
    await store.create("/first", b"")
    real = store._writer._attempt
    lost = 0

    async def lose_the_answer(*arguments: Any) -> Any:
        nonlocal lost
        done = await real(*arguments)
        if done.rows and not lost:
            lost += 1
            raise asyncpg.ConnectionDoesNotExistError("the answer was lost")
        return done

    store._writer._attempt = lose_the_answer  # type: ignore[method-assign]
    record = await store.create("/a", b"1")
    assert (lost, record.mod_revision, store.current_revision) == (1, 3, 3)
    assert (await store.create("/b", b"1")).mod_revision == 4
    changes = await take_until(store.watch("/", start_revision=2), 4)
    assert [(c.record.key, c.revision) for c in changes] == [("/first", 2), ("/a", 3), ("/b", 4)]


async def test_without_a_database_writes_fail_in_time_and_memory_serves(servers: Opener, postgres: Any) -> None:
    store = await servers(stall_seconds=0.5, read_seconds=0.3)
    told: list[str] = []
    store.on_stall(told.append)
    record = await store.create("/a", b"1")
    watch = store.watch("/", start_revision=2)
    await asyncio.to_thread(postgres.stop)
    with pytest.raises(StoreUnavailable, match="is it up"):
        await store.create("/b", b"1")
    with pytest.raises(StoreUnavailable):
        await store.get("/a")
    assert store.current("/") == [record]
    assert store.stall == told[-1] and "is it up and reachable" in store.stall
    await asyncio.to_thread(postgres.start)
    assert await store.get("/b") is None
    assert (await store.create("/b", b"1")).mod_revision == 3
    assert [change.revision for change in await take_until(watch, 3)] == [2, 3]
    await until(lambda: not store.stall)
    assert told[-1] == ""


async def test_a_database_that_hangs_holds_nobody_for_longer_than_agreed(servers: Opener, postgres: Any) -> None:
    store = await servers(stall_seconds=0.6, read_seconds=0.3, connect_seconds=0.3)
    record = await store.create("/a", b"1")
    watch = store.watch("/", start_revision=2)
    with postgres.hanging():
        async with asyncio.timeout(30):
            with pytest.raises(StoreUnavailable):
                await store.update("/a", b"2", expected_revision=record.mod_revision)
            with pytest.raises(StoreUnavailable):
                await store.get("/a")
        assert store.current("/a") == [record] and store.stall
    async with asyncio.timeout(20):
        while True:
            try:
                last = await store.create("/b", b"1")
                break
            except StoreUnavailable:
                continue
    await until(lambda: not store.stall)
    changes = await take_until(watch, last.mod_revision)
    assert [change.revision for change in changes] == list(range(2, last.mod_revision + 1))


@pytest.mark.timeout(300)
async def test_a_failover_loses_and_doubles_nothing(postgres: Any, clock: Any) -> None:
    """The primary is killed under load and its synchronous standby promoted; both servers find it by themselves."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="pyk3s-pg-"))
    standby = type(postgres)(folder)
    hosts = f"host={postgres.folder},{folder}&port=5432,5432&target_session_attrs=read-write"
    settings = PostgresSettings(connect_seconds=1.0)
    stores: list[PostgresDatastore] = []
    acknowledged: dict[str, int] = {}
    unknown: set[str] = set()

    async def write_on(store: PostgresDatastore, name: str) -> None:
        for n in range(80):
            key = f"/{name}/{n}"
            try:
                acknowledged[key] = (await store.create(key, b"1")).mod_revision
            except (StoreUnavailable, KeyExists):
                unknown.add(key)
            await asyncio.sleep(random.random() * 0.02)

    async def fail_over() -> None:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(postgres.crash)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(standby.psql, "SELECT pg_promote()")

    try:
        await asyncio.to_thread(standby.become_standby_of, postgres)
        url = f"postgresql://postgres@/postgres?{hosts}"
        stores += [await open_postgres(url, clock=clock, settings=settings) for _ in range(2)]
        watches = [store.watch("/", start_revision=2) for store in stores]
        async with asyncio.TaskGroup() as tasks:
            for at, store in enumerate(stores):
                for n in range(3):
                    tasks.create_task(write_on(store, f"{at}-{n}"))
            tasks.create_task(fail_over())
        last = await stores[0].create("/last", b"1")
        for watch in watches:
            changes = await take_until(watch, last.mod_revision)
            assert [change.revision for change in changes] == list(range(2, last.mod_revision + 1))
            seen = {change.record.key: change.revision for change in changes}
            assert acknowledged.items() <= seen.items()
            assert set(seen) - set(acknowledged) - {"/last"} <= unknown
        assert len(acknowledged) > 50
    finally:
        for store in stores:
            await store.close()
        if standby.process is not None:
            await asyncio.to_thread(standby.stop)
        await asyncio.to_thread(shutil.rmtree, folder)
        await asyncio.to_thread(_back_to_normal, postgres)


def _back_to_normal(postgres: Any) -> None:
    if postgres.process is None:
        (postgres.folder / "data" / "postgresql.auto.conf").write_text("")
        postgres.start()
    else:
        postgres.psql("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.psql("SELECT pg_reload_conf()")


async def test_a_server_that_was_away_too_long_takes_the_state_over(servers: Opener) -> None:
    one, two = await servers(), await servers()
    await one.create("/a", b"1")
    await one.create("/gone", b"1")
    await until(lambda: two.current_revision == 3)
    tapped: list[tuple[str, bool]] = []
    two.tap(lambda changes: tapped.extend((c.record.key, c.deleted) for c in changes))
    live = two.watch("/", start_revision=4)
    follow, two._follower.catch_up = two._follower.catch_up, _deaf  # type: ignore[method-assign]
    await one.update("/a", b"2", expected_revision=2)
    await one.delete("/gone")
    await one.update("/a", b"3", expected_revision=4)
    await one.create("/new", b"1")
    await one.compact(7)
    two._follower.catch_up = follow  # type: ignore[method-assign]
    assert [(r.key, r.value) for r in (await two.range("/")).records] == [("/a", b"3"), ("/new", b"1")]
    assert sorted(tapped) == [("/a", False), ("/gone", True), ("/new", False)]
    with pytest.raises(Compacted):
        await live.__anext__()
    assert two.compacted_revision == 7


async def _deaf(connection: Any) -> None:
    """Hears nothing."""


async def test_a_database_that_went_back_is_refused(servers: Opener, postgres: Any) -> None:
    store = await servers()
    for n in range(3):
        await store.create(f"/{n}", b"")
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("DELETE FROM pyk3s_log WHERE id > $1", 3 << 20)
    await connection.close()
    with pytest.raises(StoreCorrupt, match="went back from revision 4 to 3"):
        await store.get("/0")
    with pytest.raises(StoreCorrupt):
        await store.create("/x", b"")


async def test_leases_are_shared_and_run_out_once(servers: Opener) -> None:
    one, two = await servers(), await servers()
    housekeeping = [asyncio.create_task(store.run()) for store in (one, two)]
    try:
        lease = await one.grant_lease(1)
        kept = await one.grant_lease(60)
        await two.create("/a", b"1", lease=lease)
        await one.create("/b", b"1", lease=kept)
        assert await two.keep_alive(kept) == 60
        status = await two.lease_status(kept)
        assert status.keys == ["/b"]
        await until(lambda: two.current("/a") == [] and one.current("/a") == [])
        assert one.current_revision == 4
        with pytest.raises(LeaseNotFound):
            await one.keep_alive(lease)
        assert await two.leases() == [kept]
    finally:
        for task in housekeeping:
            task.cancel()
        await asyncio.gather(*housekeeping, return_exceptions=True)


async def test_the_state_is_there_after_all_servers_restarted(servers: Opener, postgres: Any, clock: Any) -> None:
    store = await servers()
    await store.transact(Transaction(success=[Put("/a", b"1"), Put("/b", b"2")]), client="me")
    await store.update("/b", b"3", expected_revision=2, client="me")
    await store.close()
    again = await open_postgres(postgres.url, clock=clock)
    try:
        assert (again.current_revision, [r.value for r in again.current("")]) == (3, [b"1", b"3"])
        assert [(row.client, row.revisions) for row in again.churn()] == [("me", 3)]
        changes = await take_until(again.watch("", start_revision=3), 3)
        assert [c.previous.value if c.previous else None for c in changes] == [b"2"]
    finally:
        await again.close()


async def test_a_newer_schema_is_refused(servers: Opener, postgres: Any, clock: Any) -> None:
    await servers()
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("INSERT INTO pyk3s_migration VALUES (99)")
    await connection.close()
    with pytest.raises(StoreCorrupt, match="newer release"):
        await open_postgres(postgres.url, clock=clock)


async def test_an_intent_that_cannot_be_done_does_not_stop_its_batch(servers: Opener) -> None:
    store = await servers()
    intents = [KeyIntent("/a", b"1", ABSENT), KeyIntent("/a", b"2", ABSENT), KeyIntent("/b", b"1", ABSENT)]
    outcomes = await asyncio.gather(*map(store._writer.submit, intents), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), KeyExists, type(None)]
    assert store.current_revision == 3


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each batch that was sent in one round trip was taken."""
    taken, real = [], log.append_after

    async def append_after(*arguments: Any) -> bool:
        taken.append(await real(*arguments))
        return taken[-1]

    monkeypatch.setattr(log, "append_after", append_after)
    return taken


async def test_a_server_that_knows_everything_writes_in_one_round_trip(servers: Opener, direct: list[bool]) -> None:
    store = await servers()
    await asyncio.gather(*(store.create(f"/{n}", b"1") for n in range(10)))
    await store.update("/0", b"2", expected_revision=2)
    await store.transact(Transaction(success=[Put("/a", b"1"), Put("/b", b"2")]))
    await store.delete("/0")
    assert direct and all(direct)
    assert store.current_revision == 14
    assert [row[0] >> 20 for row in await all_rows(store)] == [*range(2, 13), 13, 13, 14]


async def test_a_server_that_has_missed_something_goes_the_long_way(servers: Opener, direct: list[bool]) -> None:
    one, two = await servers(), await servers()
    await one.create("/mine", b"1")
    await two.create("/a", b"1")
    await until(lambda: one.current_revision == 3)
    one._follower.writer_process = two._follower.writer_process  # it hears no more of the other
    await two.update("/a", b"2", expected_revision=3)
    direct.clear()
    with pytest.raises(RevisionMismatch) as refused:
        await one.update("/a", b"3", expected_revision=3)
    assert refused.value.current is not None and refused.value.current.value == b"2"
    await two.create("/b", b"1")
    with pytest.raises(KeyExists):
        await one.create("/b", b"2")
    await two.delete("/b")
    written = await one.create("/b", b"3")  # which what it knows refuses: so it does not even try
    assert (written.mod_revision, direct) == (7, [False, True, False, True])
    changes = await take_until(one.watch("/", start_revision=4), 7)
    assert [(c.revision, c.record.value) for c in changes] == [(4, b"2"), (5, b"1"), (6, b""), (7, b"3")]


async def test_who_is_alone_notifies_nobody(servers: Opener, postgres: Any) -> None:
    one, heard = await servers(), []
    await until(lambda: bool(one._follower.listening_process))
    listener = await asyncpg.connect(postgres.url)
    try:
        await listener.add_listener(log.CHANNEL, lambda *_: heard.append(one.current_revision))
        for n in range(5):
            await one.create(f"/alone/{n}", b"1")
        await listener.fetchval("SELECT 1")  # what was notified comes before the answer
        assert heard == []
        two = await servers()
        await until(lambda: bool(two._follower.listening_process))
        seen = two.watch("/", start_revision=7)
        await one.create("/together", b"1")
        assert [change.record.key for change in await take_until(seen, 7)] == ["/together"]
        await until(lambda: bool(heard))
    finally:
        await listener.close()


async def test_notes_of_listeners_that_are_gone_go(servers: Opener, postgres: Any) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        store = await servers()
        await until(lambda: bool(store._follower.listening_process))
        await connection.execute("INSERT INTO pyk3s_listener VALUES (-1)")
        await connection.execute("SELECT pg_terminate_backend($1)", store._follower.listening_process)
        before = store._follower.listening_process
        await until(lambda: store._follower.listening_process not in (0, before))
        noted = await connection.fetch("SELECT process FROM pyk3s_listener")
        assert [row[0] for row in noted] == [store._follower.listening_process]
    finally:
        await connection.close()


async def test_what_rests_on_leases_or_on_the_past_goes_the_long_way(servers: Opener, direct: list[bool]) -> None:
    store = await servers()
    lease = await store.grant_lease(60)
    await store.create("/a", b"1", lease=lease)
    plan = await store.transact(Transaction(success=[Put("/b", b"1"), Scan("/a", revision=2)]))
    assert plan.steps[1].found.records[0].value == b"1"  # type: ignore[union-attr]
    with pytest.raises(KeyExists):
        await store.create("/a", b"2")
    await store.revoke_lease(lease)
    assert direct == []
    await store.create("/a", b"3")
    assert direct == [True]


async def test_a_connection_that_is_given_up_while_it_is_set_up_is_closed(
    postgres: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    taken: list[Any] = []

    async def hanging(connection: Any) -> None:
        taken.append(connection)
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(log, "tune", hanging)
    opening = asyncio.create_task(open_postgres(postgres.url, clock=clock))
    await begun.wait()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert taken[0].is_closed()


async def test_another_isolation_by_default_does_no_harm(
    servers: Opener, postgres: Any, clock: Any, direct: list[bool]
) -> None:
    url = f"{postgres.url}&default_transaction_isolation=serializable"
    one, two = await open_postgres(url, clock=clock), await servers()
    try:
        await asyncio.gather(*(s.create(f"/{n}/{i}", b"1") for i, s in enumerate((one, two)) for n in range(20)))
        assert (await one.range("/")).count == (await two.range("/")).count == 40
        assert one.current_revision == 41
        assert False in direct
    finally:
        await one.close()


async def test_a_database_of_the_first_schema_is_migrated(postgres: Any, clock: Any) -> None:
    rows = [
        (2, b"/a", b"1", 2, 1, 0, 0),
        (3, b"/a", b"", 0, 0, 2, 1),
        (4, b"/a", b"2", 4, 1, 3, 0),  # names the deletion
        (5, b"/b", b"1", 5, 1, 0, 0),
    ]
    connection = await asyncpg.connect(postgres.url)
    for statement in migrations()[0]:
        await connection.execute(statement)
    await connection.execute("CREATE TABLE pyk3s_migration (version BIGINT PRIMARY KEY)")
    await connection.execute("INSERT INTO pyk3s_migration VALUES (1)")
    await connection.executemany(
        "INSERT INTO pyk3s_log VALUES ($1::bigint << 20, $2, $3, $4, $5, $6::bigint << 20, 0, $7, 0)", rows
    )
    await connection.close()
    store = await open_postgres(postgres.url, clock=clock)
    try:
        assert [(r.key, r.value) for r in store.current("")] == [("/a", b"2"), ("/b", b"1")]
        assert (await store.range("/", revision=3)).records == []
        assert [r.value for r in (await store.range("/", revision=2)).records] == [b"1"]
        changes = await take_until(store.watch("/", start_revision=4), 5)
        assert [c.previous for c in changes] == [None, None]
        await store.create("/c", b"1")
    finally:
        await store.close()
    assert (await tools.check(postgres.url)).findings == []


async def all_rows(store: Any) -> list[Any]:
    return [row async for rows in store.rows() for row in rows]


async def test_migration_there_and_back_keeps_everything(
    servers: Opener, postgres: Any, sqlite_store: Any, tmp_path: Path, clock: Any
) -> None:
    store = sqlite_store
    record = await store.create("/a\0b", b"1", client="me")
    await store.update(record.key, b"2", expected_revision=2)
    await store.transact(Transaction(success=[Put("/é", b"1"), Put("/b", b"2")]))
    await store.delete("/b")
    await store.create("/c", b"", lease=await store.grant_lease(60, lease=9))
    rows, revision = await all_rows(store), store.current_revision
    await store.close()
    file, back = f"sqlite:///{store.path}", tmp_path / "back.db"
    report = await tools.migrate(file, postgres.url, clock=clock)
    assert (report.rows, report.revision) == (len(rows), revision)
    server = await servers()
    assert await all_rows(server) == rows
    assert (server.current_revision, await server.leases()) == (revision, [9])
    assert (await server.lease_status(9)).keys == ["/c"]
    assert (await tools.check(postgres.url)).findings == []
    stats = await tools.stats(postgres.url)
    assert (stats.revision, stats.keys, stats.rows, stats.leases) == (revision, 3, len(rows), 1)
    with pytest.raises(StoreUnavailable, match="already holds a datastore"):
        await tools.migrate(file, postgres.url, clock=clock)
    await tools.migrate(postgres.url, f"sqlite:///{back}", clock=clock)
    assert (await tools.check(f"sqlite:///{back}")).findings == []
    assert (await tools.compact(postgres.url, clock=clock)).revision == revision
    assert (await tools.stats(postgres.url)).rows == 3
