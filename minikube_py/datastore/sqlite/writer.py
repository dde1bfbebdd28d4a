"""Group commit: from any number of concurrent writers to one transaction and one fsync at a time.

Invariants:

* Guards are evaluated on the loop, in the order in which writes come, against the newest accepted
  state: published records plus *pending* intents. An accepted intent has the next revision at once.
* One batch is on its way to the disk at a time. When it is there its changes are published in
  revision order (index, taps, watches) and only then the callers are answered: whoever got an
  answer reads it back, and no reader sees what may still be lost.
* A guard that fails because of a pending intent is not answered before that intent is settled: a
  caller never learns of a record that did not come to be.
* When a batch fails, everything accepted after it fails with it (its guards may rest on it), and
  the next write gets the revisions anew. Volatile intents are evaluated again instead, so that
  heartbeats go on when the disk is full.
* A batch that takes longer than ``stall_seconds`` is a *stall*: whoever waits is told that the outcome
  is unknown (StoreTimeout), durable writes are refused at once, volatile ones go on and overtake the
  batch (see ``overtaking``). The batch is settled when the disk gives it back, whenever that is.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from minikube_py.datastore.churn import Churn
from minikube_py.datastore.index import KeyIndex
from minikube_py.datastore.intents import Intent, KeyIntent, TransactionIntent, writes_of
from minikube_py.datastore.leases import LeaseTable
from minikube_py.datastore.sqlite import log
from minikube_py.datastore.sqlite.checkpoints import pages_of
from minikube_py.datastore.sqlite.disk import DiskThread
from minikube_py.datastore.sqlite.intents import FlushIntent, LeaseIntent
from minikube_py.datastore.sqlite.overtaking import Move
from minikube_py.datastore.sqlite.volatile import BatchRows, VolatileKeys
from minikube_py.datastore.stall import Stall
from minikube_py.datastore.transactions import Reply, Scan, plan, read
from minikube_py.datastore.types import Change, DatastoreError, LeaseNotFound, Record, StoreTimeout, StoreUnavailable

_logger = logging.getLogger(__name__)
_BATCH_INTENTS = 1024
_BATCH_BYTES = 8 << 20
_PENDING_LIMIT = 65_536
_MOVE_AGAIN_SECONDS = 1.0
_PROBE_SECONDS = 5.0
_CHURN_SECONDS = 30.0

Publish = Callable[[Sequence[Change], int], None]


class GroupCommit:
    """The one writer of a store. All methods run on the event loop."""

    def __init__(
        self,
        disk: DiskThread,
        index: KeyIndex,
        leases: LeaseTable,
        volatile: VolatileKeys,
        churn: Churn,
        *,
        revision: int,
        publish: Publish,
        wrote: Callable[[int], None],
        stall: Stall,
        stall_seconds: float,
        now: Callable[[], float],
    ) -> None:
        """``publish`` gets each settled batch; ``wrote`` about how many pages it takes; ``now`` is monotonic time.

        ``stall`` is set while a batch has been with the disk for longer than ``stall_seconds``, and from a batch
        that failed (a full disk) to the next that did not.
        """
        self.published = revision
        self._rows_written = 0
        self._disk = disk
        self._index = index
        self._leases = leases
        self._volatile = volatile
        self._churn = churn
        self._publish = publish
        self._wrote = wrote
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._accepted = revision
        self._queue: deque[Intent] = deque()
        self._pending: dict[str, KeyIntent] = {}
        self._in_flight: list[Intent] = []
        self._busy = False
        self._kicked = False
        self._stall = stall
        self._stall_seconds = stall_seconds
        self._stall_timer: asyncio.TimerHandle | None = None
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._churn_noted = now()
        self._closed = False

    async def write(self, intent: KeyIntent) -> Change | None:
        """Carry out a write; None: it was a deletion of a key that does not exist.

        Raises KeyExists, RevisionMismatch, LeaseNotFound, StoreUnavailable, StoreTimeout. A cancelled
        caller does not take its write back.
        """
        intent.future = future = self._loop.create_future()
        while True:
            if intent.volatile and self.stalled and not self._closed:
                return self._overtake(intent)
            self._check_open()
            pending, current = self._pending.get(intent.key), self.get(intent.key)
            refusal = intent.refusal(current)
            nothing_to_do = intent.value is None and current is None
            if refusal is None and not nothing_to_do:
                break
            if pending is None or await pending.outcome(self._loop):
                if refusal is not None:
                    raise refusal
                return None
        self._accept(intent, current)
        await future
        return intent.change

    def begin(self, intent: KeyIntent, reply: Reply) -> None:
        """``write`` for what has no guard, without waiting.

        ``reply`` gets the change, StoreUnavailable or StoreTimeout. Raises LeaseNotFound, StoreUnavailable.
        """
        self._check_open()
        intent.future = reply
        self._accept(intent, self.get(intent.key))

    async def transact(self, intent: TransactionIntent, readable: Callable[[int], None]) -> None:
        """Carry out a transaction; its plan has the outcome. ``readable`` raises for a revision that is not.

        Raises what ``transactions.plan`` does, StoreUnavailable and StoreTimeout. Unlike ``write`` it is answered with
        the writes before it, whatever it came to: what its compares saw is true by then.
        """
        self._check_open()
        intent.future = future = self._loop.create_future()
        chosen = plan(intent.transaction, self, check=self._check_lease, revision=readable)
        self._accepted += 1
        intent.accept(chosen, self._accepted)
        if intent.parts:
            for part in intent.parts:
                self._pending[part.key] = part
        else:
            self._accepted -= 1
        self._enqueue(intent)
        await future

    def get(self, key: str) -> Record | None:
        """The newest accepted record (see ``transactions.State``)."""
        pending = self._pending.get(key)
        return pending.head() if pending is not None else self._index.records.get(key)

    def between(self, start: str, end: str) -> Iterable[Record]:
        """The newest accepted records of a range, in key order."""
        pending = {key: part for key, part in self._pending.items() if key >= start and (not end or key < end)}
        if not pending:
            return self._index.between(start, end)
        records = {record.key: record for record in self._index.between(start, end)}
        for key, part in pending.items():
            head = part.head()
            if head is None:
                records.pop(key, None)
            else:
                records[key] = head
        return [records[key] for key in sorted(records)]

    async def write_other(self, intent: LeaseIntent | FlushIntent) -> None:
        """Write or drop a lease, or flush volatile keys. Raises StoreUnavailable, StoreTimeout."""
        if self.stalled or (self._closed and isinstance(intent, LeaseIntent)):
            raise StoreUnavailable(self._refusal())
        intent.future = future = self._loop.create_future()
        self._enqueue(intent)
        await future

    def take_rows_written(self) -> int:
        """How many rows were written since the last call."""
        rows, self._rows_written = self._rows_written, 0
        return rows

    @property
    def stalled(self) -> bool:
        """Whether a batch hangs."""
        return bool(self._stall.reason())

    @property
    def overtaken(self) -> bool:
        """The log may hold rows of a batch that was overtaken: it must not be read, nor compacted."""
        return self.stalled and any(part.settled_change().revision < self.published for part in self._parts())

    async def settled(self) -> None:
        """Wait until every accepted write is settled. Raises StoreUnavailable when the disk stalls meanwhile."""
        while self._busy or self._queue:
            if self.stalled:
                raise StoreUnavailable(self._stall.reason())
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    async def close(self) -> None:
        """Accept nothing more; wait for what was accepted. Raises StoreUnavailable when the disk stalls."""
        self._closed = True
        await self.settled()

    def _accept(self, intent: KeyIntent, current: Record | None) -> None:
        if intent.lease:
            self._leases.usable(intent.lease)
        self._accepted += 1
        intent.accept(current, self._accepted)
        self._pending[intent.key] = intent
        self._enqueue(intent)

    def _enqueue(self, intent: Intent) -> None:
        self._queue.append(intent)
        if not self._kicked and not self._busy:
            # Not at once: whoever else writes in this turn of the loop shares the fsync.
            self._kicked = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._kicked = False
        if self._busy or not self._queue:
            return
        self._busy = True
        size = 0
        while self._queue and len(self._in_flight) < _BATCH_INTENTS and size < _BATCH_BYTES:
            intent = self._queue.popleft()
            size += intent.size
            self._in_flight.append(intent)
        batch = self._batch(self._in_flight)
        if batch.is_empty():
            self._settle(batch, None)
            return
        if self._now() - self._churn_noted >= _CHURN_SECONDS:  # along with what is written anyway
            self._churn_noted = self._now()
            batch = replace(batch, churn=self._churn.take())
        self._stall_timer = self._loop.call_later(self._stall_seconds, self._declare_stall)

        def job(connection: sqlite3.Connection) -> log.Batch:
            log.append(connection, batch)
            return batch

        def done(written: log.Batch | None, error: Exception | None) -> None:
            if error is not None:
                self._churn.put_back(batch.churn)
            self._settle(written, error)

        self._disk.submit(job, done)

    def _batch(self, intents: list[Intent]) -> log.Batch:
        """What the disk must hold before ``intents`` may be published."""
        written = BatchRows(self._volatile)
        new_leases: list[tuple[int, int]] = []
        dropped: list[tuple[int]] = []
        meta: list[tuple[str, int]] = []
        for intent in intents:
            if isinstance(intent, FlushIntent):
                meta += written.flush(intent, self.published)
        for intent in intents:
            if isinstance(intent, KeyIntent):
                written.add(intent)
                continue
            for part in writes_of(intent):
                written.add(part)
            if isinstance(intent, LeaseIntent) and intent.drop:
                dropped.append((intent.lease,))
            elif isinstance(intent, LeaseIntent):
                new_leases.append((intent.lease, intent.ttl_seconds))
        return log.Batch(written.rows, [*meta, *written.floor_meta()], new_leases, dropped)

    def _settle(self, batch: log.Batch | None, error: Exception | None) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if error is None and batch is not None and self.overtaken:
            self._move(batch)
            return
        intents, self._in_flight, self._busy = self._in_flight, [], False
        if error is not None or batch is None:
            self._fail(intents, error or StoreUnavailable("the batch was not written"))
        else:
            self._apply(intents, batch)
            if not batch.is_empty():
                self._stall.clear("disk")
        self._stall.clear()
        if self._queue:
            self._send()
        else:
            self._wake_idle()

    def _wake_idle(self) -> None:
        for waiter in self._idle_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._idle_waiters.clear()

    def _apply(self, intents: list[Intent], batch: log.Batch) -> None:
        for name, value in batch.meta:
            if name == "floor":
                self._volatile.floor, self._volatile.open = value, True
        for intent in intents:
            if type(intent) is KeyIntent:
                continue
            if isinstance(intent, FlushIntent):
                self._volatile.written(intent.entries)
                self._volatile.open = self._volatile.open and not intent.closing
            elif isinstance(intent, LeaseIntent):
                self._apply_lease(intent)
        changes: list[Change] = []
        for intent in intents:
            if isinstance(intent, KeyIntent):
                changes.append(self._apply_write(intent))
            elif isinstance(intent, TransactionIntent):
                self._apply_transaction(intent, changes)
        self._rows_written += len(batch.rows)
        self._wrote(pages_of(len(batch.rows), sum([len(row[2]) for row in batch.rows])))
        if changes:
            self.published = changes[-1].revision
            self._publish(changes, self.published)
        for intent in intents:
            intent.settle(None)

    def _apply_write(self, intent: KeyIntent) -> Change:
        change = intent.change
        assert change is not None  # it was accepted
        self._index.apply(change)
        volatile = self._volatile
        if intent.volatile or intent.position or volatile.unwritten or volatile.positions:
            volatile.apply(change, volatile=intent.volatile, position=intent.position)
        self._churn.add(change, intent.client)
        if change.record.lease or (change.previous is not None and change.previous.lease):
            self._leases.apply(change)
        if self._pending.get(intent.key) is intent:
            del self._pending[intent.key]
        return change

    def _apply_transaction(self, intent: TransactionIntent, changes: list[Change]) -> None:
        """Carry out the steps in order; scans see the index as it is in between."""
        parts = iter(intent.parts)
        before = changes[-1].revision if changes else self.published
        revision = intent.parts[0].settled_change().revision if intent.parts else before
        for step in intent.plan.walk():
            changes.extend(self._apply_write(next(parts)) for _ in step.writes)
            if isinstance(step.operation, Scan) and step.operation.revision <= 0:
                step.found = read(step.operation, self._index, revision)
        intent.plan.revision = revision

    def _check_lease(self, lease: int) -> None:
        self._leases.usable(lease)

    def _apply_lease(self, intent: LeaseIntent) -> None:
        if intent.drop:
            self._leases.leases.pop(intent.lease, None)
        else:
            self._leases.add(intent.lease, intent.ttl_seconds, self._now())

    def _fail(self, intents: list[Intent], error: Exception) -> None:
        _logger.warning("datastore: a batch of %d writes failed: %s", len(intents), error)
        if not self._stall.reason("disk"):
            self._loop.call_later(_PROBE_SECONDS, self._probe)
        self._stall.set(str(error), "disk")
        doomed = [*intents, *self._queue]
        self._queue.clear()
        self._pending.clear()
        self._accepted = self.published
        for intent in doomed:
            if isinstance(intent, KeyIntent) and intent.volatile:
                self._again(intent)
            else:
                intent.settle(error)

    def _probe(self) -> None:
        """See now and then whether the disk takes writes again, with what is to be flushed some time anyway."""
        if self._closed or not self._stall.reason("disk"):
            return
        self._loop.call_later(_PROBE_SECONDS, self._probe)
        if not self.stalled:
            self._enqueue(FlushIntent(self.published))

    def _again(self, intent: KeyIntent) -> None:
        """Evaluate a volatile intent of a failed batch anew; it fails if it would need the disk again."""
        current = self.get(intent.key)
        refusal: Exception | None = intent.refusal(current)
        if refusal is None and not self._volatile.allows(self._accepted + 1):
            refusal = StoreUnavailable("no revisions left for volatile keys until the disk takes writes")
        if refusal is not None:
            intent.settle(refusal)
            return
        try:
            self._accept(intent, current)
        except LeaseNotFound as gone:
            intent.settle(gone)

    def _declare_stall(self) -> None:
        """The disk takes too long: answer everyone who waits."""
        self._stall_timer = None
        self._stall.set(f"the disk has not finished a write for {self._stall_seconds:g} s; reads go on")
        error = StoreTimeout(
            f"the disk has not finished a write for {self._stall_seconds:g} s; the outcome of this one is unknown"
        )
        last = self._accepted if not self._queue else self._last_in_flight()
        queued, heartbeats = list(self._queue), self._take_heartbeats_out()
        self._queue.clear()
        self._pending = {part.key: part for part in self._parts()}
        self._accepted = max(self.published, last)
        for intent in self._in_flight:
            intent.give_up(error)
        for intent in queued:
            if isinstance(intent, KeyIntent) and intent.volatile:
                heartbeats.append(intent)
            else:
                intent.settle(StoreUnavailable(self._refusal()))
        for heartbeat in heartbeats:
            self._overtake_later(heartbeat)
        self._wake_idle()

    def _last_in_flight(self) -> int:
        return max((part.settled_change().revision for part in self._parts()), default=self.published)

    def _take_heartbeats_out(self) -> list[KeyIntent]:
        """Take out of the batch the volatile writes that nothing else in it follows: they need no disk."""
        writes: dict[str, int] = {}
        for part in self._parts():
            writes[part.key] = writes.get(part.key, 0) + 1
        alone = [i for i in self._in_flight if isinstance(i, KeyIntent) and i.volatile and writes[i.key] == 1]
        if self._closed:
            return []
        self._in_flight = [intent for intent in self._in_flight if intent not in alone]
        return alone

    def _overtake(self, intent: KeyIntent) -> Change:
        """Carry out a volatile write from memory, while a batch hangs. Raises what refuses it."""
        if intent.key in self._pending:
            raise StoreUnavailable(self._refusal())
        current = self._index.records.get(intent.key)
        refusal = intent.refusal(current)
        if refusal is not None:
            raise refusal
        if not self._volatile.allows(self._accepted + 1):
            raise StoreUnavailable("no revisions left for volatile keys until the disk takes writes")
        if intent.lease:
            self._leases.usable(intent.lease)
        self._accepted += 1
        intent.accept(current, self._accepted)
        change = self._apply_write(intent)
        self.published = change.revision
        self._publish([change], self.published)
        return change

    def _overtake_later(self, intent: KeyIntent) -> None:
        """``_overtake`` for a write whose caller waits already."""
        intent.change = None
        try:
            self._overtake(intent)
        except DatastoreError as refusal:
            intent.settle(refusal)
        else:
            intent.settle(None)

    def _move(self, batch: log.Batch) -> None:
        """The disk has given back a batch that was overtaken: give it new revisions, then settle it."""
        revisions = [part.settled_change().revision for part in self._parts()]
        first, last = min(revisions), max(revisions)
        move = Move(first, last, self._accepted + 1 - first)
        self._accepted = last + move.by  # who overtakes the move as well comes after it
        floor = self._volatile.raised_floor(self._accepted) if self._volatile.open else 0
        meta = [("floor", floor)] if floor else []

        def done(_: None, error: Exception | None) -> None:
            if error is not None:
                # The rows are on the disk under revisions that are past: nothing else may be written before.
                _logger.warning("datastore: a delayed batch could not be moved, will be tried again: %s", error)
                self._loop.call_later(_MOVE_AGAIN_SECONDS, self._settle, batch, None)
                return
            move.apply(self._parts())
            self._settle(replace(batch, meta=[*batch.meta, *meta]), None)

        self._disk.submit(lambda connection: move.carry_out(connection, meta), done)

    def _parts(self) -> list[KeyIntent]:
        """The writes of keys that are with the disk."""
        return [part for intent in self._in_flight for part in writes_of(intent)]

    def _check_open(self) -> None:
        if self._closed or (self._stall.why and self.stalled) or len(self._queue) >= _PENDING_LIMIT:
            raise StoreUnavailable(self._refusal())

    def _refusal(self) -> str:
        if self._closed:
            return "the datastore is closed"
        return self._stall.reason() or f"{_PENDING_LIMIT} writes are waiting for the disk"
