"""The PostgreSQL engine: ``TransactionalStore`` on one database that several servers share.

Current state is in every server's memory (see ``mirror``). A read first asks the database whether
there is something newer, which makes it linearizable across servers; concurrent reads share the
question. ``current`` and ``tap`` do not ask: they show what has arrived. Writes: see ``writer``.

Keys written as ``volatile`` are as durable as all others here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from minikube_py.datastore.churn import Churn, ChurnRow
from minikube_py.datastore.contents import Contents
from minikube_py.datastore.index import prefix_end
from minikube_py.datastore.intents import ABSENT, ANY, Intent, KeyIntent, TransactionIntent, deleted_record
from minikube_py.datastore.past import Found, Request, Source, read_past
from minikube_py.datastore.postgres import compacting, log
from minikube_py.datastore.postgres.connections import Connections
from minikube_py.datastore.postgres.errors import CONNECTION_ERRORS, translated
from minikube_py.datastore.postgres.follower import Follower
from minikube_py.datastore.postgres.mirror import Mirror
from minikube_py.datastore.postgres.settings import PostgresSettings
from minikube_py.datastore.postgres.url import check_files
from minikube_py.datastore.postgres.writer import GroupWriter, RevokeIntent
from minikube_py.datastore.quota import ClientQuota
from minikube_py.datastore.rows import Row
from minikube_py.datastore.stall import Stall
from minikube_py.datastore.transactions import (
    LeaseStatus,
    Plan,
    Reply,
    Scan,
    Transaction,
    one_record,
    read,
    read_the_past,
    span_end,
    without_values,
)
from minikube_py.datastore.types import (
    Change,
    Compacted,
    FutureRevision,
    LeaseNotFound,
    RangeResult,
    Record,
    RevisionMismatch,
    StoreUnavailable,
    Watch,
)
from minikube_py.datastore.upkeep import Garbage, attempt, compact_forever, sleep_unless
from minikube_py.datastore.watching import Tap, WatchHub
from minikube_py.machinery.clock import Clock

_REPLAY_STEP_CHANGES = 500
_ROWS_AT_ONCE = 1000
_CHURN_SECONDS = 30.0


_DEFAULTS = PostgresSettings()


async def open_postgres(url: str, *, clock: Clock, settings: PostgresSettings = _DEFAULTS) -> PostgresDatastore:
    """Open, or set up, the datastore in the database at ``url`` (libpq's form, ``sslmode`` and so on included).

    Raises StoreUnavailable (not reachable, refused), StoreCorrupt (newer schema).
    """

    await check_files(url)

    async def connect() -> Any:
        connection = await asyncpg.connect(
            url, timeout=settings.connect_seconds, command_timeout=settings.stall_seconds
        )
        try:
            await log.tune(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    try:
        connection = await connect()
        try:
            await log.migrate(connection)
            state, records, positions, rows, churn = await log.load(connection)
        finally:
            await connection.close()
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=4,
            timeout=settings.connect_seconds,
            command_timeout=settings.read_seconds,
            init=log.tune,
            reset=_keep,
        )
    except (*CONNECTION_ERRORS, ValueError) as failure:
        raise translated(failure) from failure
    mirror = await asyncio.to_thread(Mirror, records, positions, state.revision, Churn(churn))
    return PostgresDatastore(clock, settings, connect, pool, mirror, state.compacted, rows)


class PostgresDatastore:
    """See ``types.Datastore`` and ``transactions.TransactionalStore``; made by ``open_postgres``."""

    def __init__(
        self,
        clock: Clock,
        settings: PostgresSettings,
        connect: Callable[[], Awaitable[Any]],
        pool: Any,
        mirror: Mirror,
        compacted: int,
        rows: int,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._connections = Connections(pool, clock, settings.read_seconds)
        self._mirror = mirror
        self._rows_at_start = rows
        self._stall = Stall()
        self._follower = Follower(mirror, compacted, connect, clock, self._stall)
        self._hub = WatchHub(published=mirror.revision, replay=self._replay, check_start=self._check_watch)
        mirror.hub = self._hub
        self._past = Source(mirror.index, self._hub.tap, self._superseded, self._records, self._check_readable)
        self._writer = GroupWriter(
            connect,
            mirror,
            self._follower,
            self._check_readable,
            clock=clock,
            stall=self._stall,
            stall_seconds=settings.stall_seconds,
        )
        self._written, self._heavy = asyncio.Event(), asyncio.Event()
        if self.garbage().superseded:
            self._written.set()
        self._churned = asyncio.Event()
        self._hub.tap(self._note_garbage)
        self._quota = ClientQuota(settings.client_rate, clock) if settings.client_rate else None
        self._compacting = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._next_refresh: asyncio.Task[None] | None = None
        self._tasks = [asyncio.create_task(self._writer.run()), asyncio.create_task(self._follower.run())]

    @property
    def current_revision(self) -> int:
        return self._mirror.revision

    @property
    def compacted_revision(self) -> int:
        return self._follower.compacted

    @property
    def stall(self) -> str:
        return self._stall.why

    def on_stall(self, callback: Callable[[str], None]) -> Callable[[], None]:
        return self._stall.follow(callback)

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        await self._refresh()
        self._check_readable(revision)
        current = self._mirror.index.get(key)
        if revision <= 0 or revision == self.current_revision:
            return current
        if current is not None and current.mod_revision <= revision:
            return current
        if current is None or current.create_revision > revision:  # its rows do not lead to those before a deletion
            gone = await self._read_past(Request(key, span_end(key, None), revision))
            return gone.records[0] if gone.records else None
        row = self._mirror.newest_row(current)
        found = await self._connections.use(partial(log.ancestor, row=row, revision=revision))
        await self._refresh()  # learn of a compaction, of any server, that may have taken some of it away
        self._check_readable(revision)
        return found

    async def range(
        self, prefix: str, *, start: str = "", revision: int = 0, limit: int = 0, keys_only: bool = False
    ) -> RangeResult:
        await self._refresh()
        self._check_readable(revision)
        if revision <= 0 or revision == self.current_revision:
            records, count, more = self._mirror.index.range(prefix, start, limit)
            return RangeResult(without_values(records, keys_only), self.current_revision, count, more)
        found = await self._read_past(Request(prefix, prefix_end(prefix), revision, first=start, limit=limit))
        return found.result(self.current_revision, keys_only=keys_only)

    async def scan(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> RangeResult:
        await self._refresh()
        self._check_readable(revision)
        now = self.current_revision
        if revision <= 0 or revision == now:
            return read(Scan(start, end, 0, limit, keys_only, count_only), self._mirror.index, now)
        if end is None:
            return one_record(await self.get(start, revision=revision), now, keys_only, count_only)
        request = Request(start, end, revision, limit=limit, count_only=count_only)
        return (await self._read_past(request)).result(self.current_revision, keys_only=keys_only)

    async def count(self, prefix: str, *, revision: int = 0) -> int:
        return (await self.scan(prefix, prefix_end(prefix), revision=revision, count_only=True)).count

    def current(self, prefix: str) -> list[Record]:
        return self._mirror.index.range(prefix)[0]

    async def create(
        self, key: str, value: bytes, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> Record:
        intent = KeyIntent(key, value, ABSENT, lease=lease, client=client)
        await self._submit(intent, client)
        return intent.settled_change().record

    async def update(
        self,
        key: str,
        value: bytes,
        *,
        expected_revision: int,
        lease: int = 0,
        volatile: bool = False,
        client: str = "",
    ) -> Record:
        if expected_revision <= 0:
            raise RevisionMismatch(key, expected_revision, await self.get(key))
        intent = KeyIntent(key, value, expected_revision, lease=lease, client=client)
        await self._submit(intent, client)
        return intent.settled_change().record

    async def delete(self, key: str, *, expected_revision: int = 0, client: str = "") -> Record | None:
        intent = KeyIntent(key, None, max(0, expected_revision), client=client)
        await self._submit(intent, client)
        return deleted_record(intent.change) if intent.change is not None else None

    async def put(self, key: str, value: bytes, *, lease: int = 0, client: str = "") -> Change:
        intent = KeyIntent(key, value, ANY, lease=lease, client=client)
        await self._submit(intent, client)
        return intent.settled_change()

    def begin_put(self, key: str, value: bytes, reply: Reply, *, lease: int = 0, client: str = "") -> bool:
        if self._quota is not None:
            return False
        self._writer.begin(KeyIntent(key, value, ANY, lease=lease, client=client), reply)
        return True

    async def transact(self, transaction: Transaction, *, client: str = "") -> Plan:
        intent = TransactionIntent(transaction, client)
        await self._submit(intent, client)
        await read_the_past(intent.plan, self)
        return intent.plan

    async def _submit(self, intent: Intent, client: str) -> None:
        if self._quota is not None:
            await self._quota.admit(client)
        await self._writer.submit(intent)

    def watch(self, prefix: str, *, start_revision: int, buffer: int = 10_000) -> Watch:
        return self._hub.subscribe(prefix, start_revision, buffer)

    def tap(self, callback: Tap) -> Callable[[], None]:
        return self._hub.tap(callback)

    async def grant_lease(self, ttl_seconds: int, *, lease: int = 0) -> int:
        """Make a lease and return its id. Raises ValueError (TTL below 1, id in use), StoreUnavailable."""
        if ttl_seconds < 1:
            raise ValueError(f"lease TTL must be at least 1 second, not {ttl_seconds}")
        chosen = lease or random.getrandbits(62) | 1
        if not await self._connections.use(partial(log.grant, lease=chosen, ttl_seconds=ttl_seconds)):
            raise ValueError(f"lease {chosen} already exists")
        self._follower.heard.set()
        return chosen

    async def keep_alive(self, lease: int) -> int:
        ttl = await self._connections.use(partial(log.keep_alive, lease=lease))
        if ttl is None:
            raise LeaseNotFound(f"lease {lease} not found")
        return ttl

    async def revoke_lease(self, lease: int) -> None:
        await self._writer.submit(RevokeIntent(lease, expired_only=False))

    async def leases(self) -> list[int]:
        return [lease for lease, _, _ in await self._connections.use(log.live_leases)]

    async def lease_status(self, lease: int) -> LeaseStatus:
        await self._refresh()
        for found, ttl, left in await self._connections.use(log.live_leases):
            if found == lease:
                keys = sorted(self._mirror.by_lease.get(lease, ()))
                return LeaseStatus(lease, ttl, max(0.0, left), keys)
        raise LeaseNotFound(f"lease {lease} not found")

    def churn(self) -> list[ChurnRow]:
        """What this server wrote, and what was stored when it started."""
        return self._mirror.churn.rows()

    async def compact(self, revision: int) -> None:
        await self._refresh()
        async with self._compacting:
            state = await self._connections.use(partial(compacting.note, revision=revision))
            self._follower.compacted = max(self._follower.compacted, state.compacted)
            await self._connections.use(self._store_churn)
            await compacting.sweep(self._connections, state.compacted)
            self._rows_at_start = await self._connections.use(log.count_rows)
            self._mirror.rows_seen = 0

    def garbage(self) -> Garbage:
        """How many rows the log has, as far as this server knows, and how many of them are current."""
        return Garbage(self._rows_at_start + self._mirror.rows_seen, len(self._mirror.index.records))

    async def give_back_space(self) -> None:
        """Let the database take its dead rows back (VACUUM); files shrink where PostgreSQL can cut them."""
        await self._connections.use(lambda c: c.execute("VACUUM (ANALYZE) pyk3s_log"))

    async def size_bytes(self) -> int:
        return await self._connections.use(log.size_bytes)

    async def snapshot(self, path: Path) -> None:
        from minikube_py.datastore.sqlite.importing import write_store

        await write_store(path, await self.contents())

    async def contents(self) -> Contents:
        await self._refresh()
        leases = [(lease, ttl) for lease, ttl, _ in await self._connections.use(log.live_leases)]
        return Contents(self.current_revision, self.compacted_revision, leases, self.rows())

    async def rows(self) -> AsyncIterator[list[Row]]:
        await self._refresh()
        after, last = 0, self._mirror.last_row
        while batch := await self._connections.use(
            partial(log.rows_after, after=after, upto=last, limit=_ROWS_AT_ONCE)
        ):
            yield batch
            after = batch[-1][0]

    async def run(self) -> None:
        """Housekeeping until cancelled; with several servers each does it, and what one did the others skip."""
        settings = self._settings
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._expire_forever())
            tasks.create_task(self._note_churn_forever())
            tasks.create_task(
                compact_forever(
                    self,
                    self._clock,
                    self._written,
                    self._heavy,
                    retention=settings.retention_seconds,
                    heavy_retention=settings.heavy_retention_seconds,
                )
            )

    async def close(self) -> None:
        """Finish accepted writes and let the connections go."""
        if self._writer.closed:
            return
        try:
            await self._writer.close()
            if self._follower.failure is None:
                await self._connections.use(self._store_churn)
        finally:
            self._hub.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._connections.terminate()

    async def _expire_forever(self) -> None:
        while True:
            self._follower.heard.clear()
            leases: list[tuple[int, int, float]] = []

            async def look(found: list[tuple[int, int, float]] = leases) -> None:
                found += await self._connections.use(log.live_leases)

            done = await attempt("look at leases", look)
            for lease, _, left in leases:
                if left <= 0:
                    revoke = RevokeIntent(lease, expired_only=True)
                    await attempt("expiry of a lease", partial(self._writer.submit, revoke))
            pending = [left for _, _, left in leases if left > 0]
            if done and not pending:
                await self._follower.heard.wait()
            else:
                await sleep_unless(self._clock, max(1.0, min(pending, default=1.0)), self._follower.heard)

    async def _note_churn_forever(self) -> None:
        """Write down who wrote how much, some time after they did."""
        while True:
            await self._churned.wait()
            await self._clock.sleep(_CHURN_SECONDS)
            self._churned.clear()
            await attempt("noting of churn", partial(self._connections.use, self._store_churn))

    async def _store_churn(self, connection: Any) -> None:
        rows = self._mirror.churn.take()
        try:
            if rows:
                await log.add_churn(connection, rows)
        except BaseException:
            self._mirror.churn.put_back(rows)
            raise

    def _note_garbage(self, changes: Sequence[Change]) -> None:
        self._written.set()
        self._churned.set()
        if self.garbage().heavy:
            self._heavy.set()

    async def _refresh(self) -> None:
        """Be as new as the database is now; callers that come before the question is asked share it."""
        if self._follower.failure is not None:
            raise self._follower.failure
        if self._writer.closed:
            raise StoreUnavailable("the datastore is closed")
        if self._next_refresh is None:
            self._next_refresh = asyncio.create_task(self._ask())
            self._next_refresh.add_done_callback(_look_at_outcome)
        await asyncio.shield(self._next_refresh)

    async def _ask(self) -> None:
        async with self._refreshing:
            self._next_refresh = None
            await self._connections.use(self._follower.catch_up)

    async def _read_past(self, request: Request) -> Found:
        return await read_past(self._past, request, self.current_revision, {})

    async def _superseded(self, start: str, end: str, after: int, upto: int) -> list[tuple[str, int]]:
        reading = partial(log.superseded, start=start, end=end, after=after, upto=upto)
        found = await self._connections.use(reading)
        await self._refresh()  # as in `get`
        return found

    async def _records(self, rows: Sequence[int]) -> dict[int, Record]:
        found = await self._connections.use(partial(log.records_of, rows=rows))
        if len(found) < len(rows):
            await self._refresh()  # as in `get`
        return found

    async def _replay(self, prefix: str, start: int, upto: int) -> tuple[list[Change], int]:
        reading = partial(
            log.replay, prefix=prefix, end=prefix_end(prefix), start=start, upto=upto, limit=_REPLAY_STEP_CHANGES
        )
        found = await self._connections.use(reading)
        await self._refresh()
        self._check_watch(start)
        return found

    def _check_readable(self, revision: int) -> None:
        if revision <= 0:
            return
        if revision < self.compacted_revision:
            raise Compacted(revision, self.compacted_revision)
        if revision > self.current_revision:
            raise FutureRevision(revision, self.current_revision)

    def _check_watch(self, start: int) -> None:
        if start < self.compacted_revision:
            raise Compacted(start, self.compacted_revision)


def _look_at_outcome(refresh: asyncio.Task[None]) -> None:
    """Its failure is for those who wait; when all of them were cancelled, it is nobody's."""
    if not refresh.cancelled():
        refresh.exception()


async def _keep(connection: Any) -> None:
    """A connection that is given back needs no cleaning: nothing is set in its session but by ``log.tune``."""
