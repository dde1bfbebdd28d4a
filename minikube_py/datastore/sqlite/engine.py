"""The SQLite engine: ``Datastore`` on one file, for one process.

Reads of current state come from memory and never wait; writes go through ``writer.GroupCommit`` and
are on the disk (fsync) when they return; reads of the past and the start of old watches read the
log in a thread of their own. Two more things than the interface asks for, for the API server in the
same process: ``current`` reads without awaiting, ``tap`` follows every change before its writer is
answered.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minikube_py.datastore.churn import Churn, ChurnRow
from minikube_py.datastore.contents import Contents
from minikube_py.datastore.index import KeyIndex, prefix_end
from minikube_py.datastore.intents import ABSENT, ANY, KeyIntent, TransactionIntent, deleted_record
from minikube_py.datastore.leases import LeaseTable, deletion
from minikube_py.datastore.past import Found, Request, read_past
from minikube_py.datastore.quota import ClientQuota
from minikube_py.datastore.rows import Row, last_row_id
from minikube_py.datastore.sqlite import file, housekeeping, log, reading
from minikube_py.datastore.sqlite.checkpoints import Checkpoints
from minikube_py.datastore.sqlite.disk import DiskThread
from minikube_py.datastore.sqlite.intents import FlushIntent, LeaseIntent
from minikube_py.datastore.sqlite.settings import SqliteSettings
from minikube_py.datastore.sqlite.volatile import VolatileKeys, opening_state
from minikube_py.datastore.sqlite.writer import GroupCommit
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
    RangeResult,
    Record,
    RevisionMismatch,
    StoreUnavailable,
    Watch,
)
from minikube_py.datastore.upkeep import Garbage, compact_forever, expire_forever
from minikube_py.datastore.watching import Tap, WatchHub
from minikube_py.machinery.clock import Clock

_DEFAULTS = SqliteSettings()
_ROWS_AT_ONCE = 1000


async def open_sqlite(path: Path, *, clock: Clock, settings: SqliteSettings = _DEFAULTS) -> SqliteDatastore:
    """Open or create the datastore at ``path`` and take it into memory.

    Raises StoreLocked (another process has it), StoreCorrupt (damaged, foreign, newer schema),
    StoreUnavailable (cannot be read or written); the file is left as it was.
    """
    try:
        lock = await asyncio.to_thread(_own, path)
    except OSError as failure:
        raise file.translated(failure, path) from failure
    disk = DiskThread(path, file.open_writer, name="datastore-writer")
    try:
        loaded = await disk.call(log.load)
        revision, lost, state = opening_state(loaded.meta, loaded.newest)
        if state:
            await disk.call(lambda connection: log.append(connection, log.Batch(meta=state)))
        index = await asyncio.to_thread(KeyIndex, loaded.records)
    except BaseException:
        await disk.close()
        os.close(lock)
        raise
    volatile = VolatileKeys(reserve=settings.volatile_reserve, floor=revision, lost=lost, positions=loaded.positions)
    return SqliteDatastore(path, clock, settings, Opened(lock, disk, loaded, index, volatile, revision))


def _own(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return file.acquire_lock(path)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that this process owns, the thread that writes it, and what was found in it."""

    lock: int
    disk: DiskThread
    loaded: log.Loaded
    index: KeyIndex
    volatile: VolatileKeys
    revision: int

    def leases(self, now: float) -> LeaseTable:
        """Its leases, each with its full TTL from ``now`` on."""
        table = LeaseTable()
        for lease, ttl in self.loaded.leases:
            table.add(lease, ttl, now)
        table.attach((record.key, record.lease) for record in self.loaded.records if record.lease)
        return table


class SqliteDatastore:
    """See ``types.Datastore``; made by ``open_sqlite``. Belongs to the event loop that opened it."""

    def __init__(self, path: Path, clock: Clock, settings: SqliteSettings, opened: Opened) -> None:
        self.path = path
        self._clock = clock
        self._settings = settings
        self._lock = opened.lock
        self._disk = opened.disk
        self._reader = DiskThread(path, file.open_reader, name="datastore-reader", within=settings.stall_seconds)
        self._checkpoints = Checkpoints(path, opened.disk)
        self._index = opened.index
        self._volatile = opened.volatile
        self._rows = opened.loaded.rows
        self._compacted = opened.loaded.meta.get("compacted", 0)
        self._swept = opened.loaded.meta.get("swept", 0)
        self._compacting = asyncio.Lock()
        self._leases = opened.leases(clock.monotonic())
        self._written, self._unflushed, self._granted = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._heavy = asyncio.Event()
        if self._rows > len(opened.index.records):
            self._written.set()
        self._hub = WatchHub(published=opened.revision, replay=self._replay, check_start=self._check_watch)
        self._past = reading.past_of(self._history, opened.index, self._hub.tap, self._check_readable)
        self._churn = Churn(opened.loaded.churn)
        self._quota = ClientQuota(settings.client_rate, clock) if settings.client_rate else None
        self._stall = Stall()
        self._writer = GroupCommit(
            opened.disk,
            opened.index,
            self._leases,
            opened.volatile,
            self._churn,
            revision=opened.revision,
            publish=self._publish,
            wrote=self._checkpoints.wrote,
            stall=self._stall,
            stall_seconds=settings.stall_seconds,
            now=clock.monotonic,
        )
        self._closed = False

    @property
    def current_revision(self) -> int:
        return self._writer.published

    @property
    def compacted_revision(self) -> int:
        return self._compacted

    @property
    def stall(self) -> str:
        return self._stall.why

    def on_stall(self, callback: Callable[[str], None]) -> Callable[[], None]:
        return self._stall.follow(callback)

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        self._check_readable(revision)
        current = self._index.records.get(key)
        if revision <= 0 or revision == self.current_revision:
            return current
        if current is not None and current.mod_revision <= revision:
            return current
        if current is None or current.create_revision > revision:  # its rows do not lead to those before a deletion
            gone = await self._read_past(Request(key, span_end(key, None), revision))
            return gone.records[0] if gone.records else None
        row = self._volatile.newest_on_disk(current)
        found = await self._history().call(partial(log.ancestor, row=row, revision=revision))
        self._check_readable(revision)
        return found

    async def range(
        self, prefix: str, *, start: str = "", revision: int = 0, limit: int = 0, keys_only: bool = False
    ) -> RangeResult:
        self._check_readable(revision)
        if revision <= 0 or revision == self.current_revision:
            records, count, more = self._index.range(prefix, start, limit)
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
        """See ``transactions.TransactionalStore.scan``."""
        self._check_readable(revision)
        now = self.current_revision
        if revision <= 0 or revision == now:
            return read(Scan(start, end, 0, limit, keys_only, count_only), self._index, now)
        if end is None:
            return one_record(await self.get(start, revision=revision), now, keys_only, count_only)
        request = Request(start, end, revision, limit=limit, count_only=count_only)
        return (await self._read_past(request)).result(self.current_revision, keys_only=keys_only)

    async def count(self, prefix: str, *, revision: int = 0) -> int:
        self._check_readable(revision)
        if revision <= 0 or revision == self.current_revision:
            return self._index.count(prefix)
        return (await self.range(prefix, revision=revision, limit=1)).count

    def current(self, prefix: str) -> list[Record]:
        """The newest records under ``prefix``, in key order, at ``current_revision``; never waits."""
        return self._index.range(prefix)[0]

    async def create(
        self, key: str, value: bytes, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> Record:
        if self._quota is not None:
            await self._quota.admit(client)
        intent = KeyIntent(key, value, ABSENT, lease=lease, volatile=volatile, client=client)
        change = await self._writer.write(intent)
        return _written_record(change)

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
            raise RevisionMismatch(key, expected_revision, self._index.records.get(key))
        if self._quota is not None:
            await self._quota.admit(client)
        intent = KeyIntent(key, value, expected_revision, lease=lease, volatile=volatile, client=client)
        change = await self._writer.write(intent)
        return _written_record(change)

    async def delete(self, key: str, *, expected_revision: int = 0, client: str = "") -> Record | None:
        if self._quota is not None:
            await self._quota.admit(client)
        change = await self._writer.write(KeyIntent(key, None, max(0, expected_revision), client=client))
        return deleted_record(change) if change is not None else None

    async def put(self, key: str, value: bytes, *, lease: int = 0, client: str = "") -> Change:
        if self._quota is not None:
            await self._quota.admit(client)
        outcome: asyncio.Future[Change] = asyncio.get_running_loop().create_future()
        self._writer.begin(KeyIntent(key, value, ANY, lease=lease, client=client), outcome)
        return await outcome

    def begin_put(self, key: str, value: bytes, reply: Reply, *, lease: int = 0, client: str = "") -> bool:
        if self._quota is not None:
            return False
        self._writer.begin(KeyIntent(key, value, ANY, lease=lease, client=client), reply)
        return True

    async def transact(self, transaction: Transaction, *, client: str = "") -> Plan:
        """See ``transactions.TransactionalStore.transact``."""
        if self._quota is not None:
            await self._quota.admit(client)
        intent = TransactionIntent(transaction, client)
        await self._writer.transact(intent, self._check_readable)
        await read_the_past(intent.plan, self)
        return intent.plan

    def watch(self, prefix: str, *, start_revision: int, buffer: int = 10_000) -> Watch:
        return self._hub.subscribe(prefix, start_revision, buffer)

    def tap(self, callback: Tap) -> Callable[[], None]:
        """Call ``callback`` on the loop with each published batch, before its writers are answered.

        Returns the function that ends it. ``callback`` must be quick and must not raise.
        """
        return self._hub.tap(callback)

    async def grant_lease(self, ttl_seconds: int, *, lease: int = 0) -> int:
        """Make a lease and return its id. Raises ValueError (TTL below 1, id in use), StoreUnavailable."""
        if ttl_seconds < 1:
            raise ValueError(f"lease TTL must be at least 1 second, not {ttl_seconds}")
        chosen = lease or random.getrandbits(62) | 1
        if chosen in self._leases.leases:
            raise ValueError(f"lease {chosen} already exists")
        await self._writer.write_other(LeaseIntent(chosen, ttl_seconds))
        self._granted.set()
        return chosen

    async def keep_alive(self, lease: int) -> int:
        return self._leases.keep_alive(lease, self._clock.monotonic())

    async def leases(self) -> list[int]:
        return sorted(self._leases.leases)

    async def lease_status(self, lease: int) -> LeaseStatus:
        return self._leases.status(lease, self._clock.monotonic())

    def churn(self) -> list[ChurnRow]:
        return self._churn.rows()

    async def give_back_space(self) -> None:
        async with self._compacting:
            await housekeeping.give_back_space(self._disk, self._checkpoints)

    async def snapshot(self, path: Path) -> None:
        """See ``transactions.TransactionalStore.snapshot``. Raises StoreUnavailable."""
        if await asyncio.to_thread(path.exists):
            raise StoreUnavailable(f"{path}: exists; name a new file")
        await self._writer.write_other(FlushIntent(self.current_revision))
        copier = DiskThread(self.path, file.open_copier, name="datastore-snapshot")
        try:
            await copier.call(lambda connection: log.copy_to(connection, str(path)))
        finally:
            await copier.close()
        await asyncio.to_thread(path.chmod, 0o600)

    async def contents(self) -> Contents:
        return Contents(self.current_revision, self._compacted, self._leases.terms(), self.rows())

    async def rows(self) -> AsyncIterator[list[Row]]:
        """See ``transactions.TransactionalStore.rows``; what is compacted meanwhile may be missing."""
        upto = self.current_revision
        await self._writer.write_other(FlushIntent(upto))
        after, last = 0, last_row_id(upto)
        while batch := await self._reader.call(partial(log.rows_after, after=after, upto=last, limit=_ROWS_AT_ONCE)):
            yield batch
            after = batch[-1][0]

    async def revoke_lease(self, lease: int) -> None:
        found = self._leases.usable(lease)
        found.revoking = True
        try:
            while True:  # the first round also waits for writes that are attaching a key now
                await self.transact(deletion(lease, sorted(found.keys)))
                if not found.keys:
                    break
            await self._writer.write_other(LeaseIntent(lease, 0, drop=True))
        finally:
            found.revoking = False

    async def compact(self, revision: int) -> None:
        async with self._compacting:
            if self._writer.stalled:  # a batch that is overtaken must not be swept before it is moved
                raise StoreUnavailable(self.stall)
            if revision <= self._compacted:
                raise Compacted(revision, self._compacted)
            if revision > self.current_revision:
                raise FutureRevision(revision, self.current_revision)
            # Volatile records up to here must be rows before the sweep passes, or it would miss what they supersede.
            if self._volatile.due(revision):
                await self._writer.write_other(FlushIntent(revision))
            note = log.Batch(meta=[("compacted", revision)], churn=self._churn.take())
            try:
                await self._disk.call(lambda connection: log.append(connection, note))
            except BaseException:
                self._churn.put_back(note.churn)
                raise
            self._compacted = revision
            removed = await housekeeping.sweep(self._disk, self._checkpoints, self._swept, revision)
            self._rows -= removed  # not in one statement: writes add to it during the await
            self._swept = revision - 1
            if not self.garbage().heavy:  # else the next writes and sweeps take the pages at once
                await housekeeping.give_back_space(self._disk, self._checkpoints)

    def garbage(self) -> Garbage:
        """How many rows the log has, and how many of them are current."""
        return Garbage(self._rows, len(self._index.records) - len(self._volatile.unwritten))

    async def flush_volatile(self) -> None:
        """Write the newest records of volatile keys now."""
        await self._writer.write_other(FlushIntent(self.current_revision))
        self._rows += self._writer.take_rows_written()
        self._written.set()

    async def size_bytes(self) -> int:
        return await asyncio.to_thread(_size_on_disk, self.path)

    async def run(self) -> None:
        settings = self._settings
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                expire_forever(
                    self._leases.expired, self._leases.next_deadline, self.revoke_lease, self._clock, self._granted
                )
            )
            tasks.create_task(
                housekeeping.flush_forever(self.flush_volatile, self._clock, self._unflushed, settings.flush_seconds)
            )
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
        """Finish accepted writes, write volatile keys, release the file; raises what kept them from the disk.

        When the disk hangs it ends all the same, and the file stays locked until
        the disk has given the last write back or the process ends.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self._writer.close()
            await self._writer.write_other(FlushIntent(self.current_revision, closing=True))
            last = log.Batch(churn=self._churn.take())
            if last.churn:
                await self._disk.call(lambda connection: log.append(connection, last))
        finally:
            self._hub.close()
            within = self._settings.close_seconds
            parts = (self._reader, self._checkpoints, self._disk)
            ended = await asyncio.gather(*(part.close(within=within) for part in parts))
            if all(ended):
                os.close(self._lock)

    def _publish(self, changes: Sequence[Change], revision: int) -> None:
        rows = self._writer.take_rows_written()
        if rows:  # heartbeats alone leave nothing to compact, and wake nobody
            before = self.garbage()
            self._rows += rows
            self._written.set()
            after = self.garbage()
            if (after.heavy and not before.heavy) or (after.flooded and not before.flooded):
                self._heavy.set()
        if self._volatile.unwritten:
            self._unflushed.set()
        self._hub.publish(changes, revision)

    async def _replay(self, prefix: str, start: int, upto: int) -> tuple[list[Change], int]:
        found = await reading.replay(self._history(), self._volatile, prefix, start, upto)
        self._check_watch(start)  # a compaction may have passed while the log was read
        return found

    async def _read_past(self, request: Request) -> Found:
        unwritten = self._volatile.superseded_since(request.revision)
        of_range = {key: row for key, row in unwritten.items() if request.holds(key)}
        return await read_past(self._past, request, self.current_revision, of_range)

    def _history(self) -> DiskThread:
        """Where the log is read. Raises StoreUnavailable while it holds what is not published yet."""
        if self._writer.overtaken:
            raise StoreUnavailable(f"{self.stall}, but only of the newest state")
        return self._reader

    def _check_readable(self, revision: int) -> None:
        if revision <= 0:
            return
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)
        if revision > self.current_revision:
            raise FutureRevision(revision, self.current_revision)

    def _check_watch(self, start: int) -> None:
        if start < self._compacted:
            raise Compacted(start, self._compacted)
        self._volatile.lost.check_resume(start, self._compacted)


def _written_record(change: Change | None) -> Record:
    if change is None:
        raise AssertionError("only a deletion can find nothing to do")
    return change.record


def _size_on_disk(path: Path) -> int:
    total = 0
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            total += part.stat().st_size
    return total
