"""Group commit on PostgreSQL, for several servers on one database.

Why revisions have no gaps and no two servers give out the same one: a batch is one transaction that
first takes an advisory lock, which PostgreSQL lets go of only when the transaction has ended. Under
the lock the server reads what was committed since its last look, so its memory is the truth, and
evaluates guards against it; the batch's revisions follow the newest committed one. If the
transaction rolls back, nothing of it was ever visible, and whoever has the lock next gives out the
same numbers. Hence commits take place in the order of revisions, and what a reader sees is always a
run without gaps: a gap need not be waited for or filled, it cannot come to be.

A server whose memory is current already, as it is when it is the only one that writes, needs none of these questions:
it evaluates a batch first, and then lets the database add it *if* nothing else was committed, in one round trip
(``log.append_after``). If something was, or if the batch asks what memory does not hold, it goes the long way.

A connection that breaks during COMMIT leaves open whether it took place. The next attempt takes the
lock (so the old transaction has ended, either way), catches up, and looks for the batch's own mark on
its last row.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from minikube_py.datastore.intents import Intent, KeyIntent, TransactionIntent
from minikube_py.datastore.leases import deletion
from minikube_py.datastore.postgres import log
from minikube_py.datastore.postgres.errors import is_passing, translated
from minikube_py.datastore.postgres.mirror import Mirror, Overlay
from minikube_py.datastore.rows import Row
from minikube_py.datastore.stall import Stall
from minikube_py.datastore.transactions import Put, Reply, Scan, Transaction, plan
from minikube_py.datastore.types import DatastoreError, LeaseNotFound, StoreTimeout, StoreUnavailable
from minikube_py.machinery.clock import Clock

_logger = logging.getLogger(__name__)
_BATCH_INTENTS = 1024
_BATCH_BYTES = 8 << 20
_PENDING_LIMIT = 65_536
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0
_SLOW_SECONDS = 7.0  # as the SQLite engine's stall_seconds; writes wait on, since a database may fail over


class Following(Protocol):
    """What the writer needs of the follower."""

    writer_process: int
    listening_process: int

    async def catch_up(self, connection: Any) -> None: ...
    def look(self) -> None: ...


class RevokeIntent(TransactionIntent):
    """Deletes a lease and, under one revision, its keys; ``expired_only``: unless it was kept alive meanwhile."""

    __slots__ = ("expired_only", "lease")

    def __init__(self, lease: int, *, expired_only: bool) -> None:
        super().__init__(Transaction(), "")
        self.lease = lease
        self.expired_only = expired_only


@dataclass(slots=True)
class Staged:
    """A batch that was evaluated: its rows, who wrote them, and what each caller will be told."""

    rows: list[Row] = field(default_factory=list)
    clients: dict[int, str] = field(default_factory=dict)
    outcomes: list[tuple[Intent, Exception | None]] = field(default_factory=list)


class GroupWriter:
    """The one writer of a server. ``run`` is its task; ``submit`` waits for a write to be committed."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        mirror: Mirror,
        follower: Following,
        readable: Callable[[int], None],
        *,
        clock: Clock,
        stall: Stall,
        stall_seconds: float,
    ) -> None:
        self._connect = connect
        self._mirror = mirror
        self._follower = follower
        self._readable = readable
        self._clock = clock
        self._stall = stall
        self._stall_seconds = stall_seconds
        self._queue: deque[Intent] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._connection: Any = None
        self.closed = False

    async def submit(self, intent: Intent) -> None:
        """Carry out an intent. Raises what refuses it, StoreUnavailable and StoreTimeout."""
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.begin(intent, outcome)
        await outcome

    def begin(self, intent: Intent, reply: Reply) -> None:
        """``submit`` without waiting: ``reply`` gets the outcome. Raises StoreUnavailable."""
        if self.closed:
            raise StoreUnavailable("the datastore is closed")
        if len(self._queue) >= _PENDING_LIMIT:
            raise StoreUnavailable(f"{_PENDING_LIMIT} writes are waiting for the database")
        intent.future = reply
        self._queue.append(intent)
        self._idle.clear()
        self._wake.set()

    async def close(self) -> None:
        """Accept nothing more; wait for what was accepted."""
        self.closed = True
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._commit(self._next_batch())
                self._idle.set()
        finally:
            await self._disconnect()

    def _next_batch(self) -> list[Intent]:
        batch: list[Intent] = []
        size = 0
        while self._queue and len(batch) < _BATCH_INTENTS and size < _BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    async def _commit(self, intents: list[Intent]) -> None:
        """Carry out a batch, on a new connection when one breaks, for ``stall_seconds`` at most."""
        batch, open_staged = random.getrandbits(62) | 1, Staged()
        deadline = self._clock.monotonic() + self._stall_seconds
        wait = _FIRST_WAIT_SECONDS
        while True:
            staged = Staged()
            try:
                settled = await self._within_time(self._attempt(intents, batch, open_staged, staged))
                break
            except Exception as error:
                if is_passing(error):
                    self._stall.set(str(translated(error)))
                await self._disconnect()
                if staged.rows:
                    open_staged = staged  # COMMIT may have come through
                self._mirror.clients = open_staged.clients
                if not is_passing(error) or self._clock.monotonic() + wait > deadline:
                    self._fail(intents, error, unknown=bool(open_staged.rows))
                    return
            await self._clock.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
        self._stall.clear()
        self._mirror.advance(settled.rows)
        self._mirror.clients = {}
        for intent, failure in settled.outcomes:
            intent.settle(failure)

    async def _within_time(self, attempt: Awaitable[Staged]) -> Staged:
        """Wait for an attempt, and say so when it is slow. Raises what it does, and TimeoutError."""
        text = f"the database has not finished a write for {_SLOW_SECONDS:g} s"
        slow = asyncio.get_running_loop().call_later(_SLOW_SECONDS, self._stall.set, text)
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await attempt
        finally:
            slow.cancel()

    async def _attempt(self, intents: list[Intent], batch: int, before: Staged, staged: Staged) -> Staged:
        """One transaction; fills ``staged`` and returns it, or ``before`` when that turns out to be committed."""
        if self._connection is None:
            self._connection = await self._connect()
            self._follower.writer_process = self._connection.get_server_pid()
        connection = self._connection
        if not before.rows and not any(map(_asks_the_database, intents)):
            if await self._append_directly(connection, intents, batch, staged):
                return staged
            staged.rows = []  # nothing of it was written
        async with connection.transaction(isolation="read_committed"):
            await log.lock(connection)
            await self._follower.catch_up(connection)
            if before.rows and await log.is_written(connection, before.rows[-1][0], batch):
                return before
            outcome = await self._stage(connection, intents)
            if outcome.rows:
                await log.append(connection, outcome.rows, batch)
                self._mirror.clients = outcome.clients
            staged.rows, staged.clients, staged.outcomes = outcome.rows, outcome.clients, outcome.outcomes
        return staged

    async def _append_directly(self, connection: Any, intents: list[Intent], batch: int, staged: Staged) -> bool:
        """Commit a batch on top of what is known; False: nothing is written, the long way must be taken."""
        known = self._mirror.revision
        outcome = await self._stage(connection, intents)  # asks nothing: the mirror stays at `known` meanwhile
        if not outcome.rows:
            return False  # refusals must rest on what is true now
        self._mirror.clients = outcome.clients
        # Before it is sent: when the connection breaks it may have been committed.
        staged.rows, staged.clients, staged.outcomes = outcome.rows, outcome.clients, outcome.outcomes
        return await log.append_after(connection, known, outcome.rows, batch, self._follower.listening_process)

    async def _stage(self, connection: Any, intents: list[Intent]) -> Staged:
        """Evaluate a batch in order against the newest state, each intent on top of those before it."""
        staged, overlay = Staged(), Overlay(self._mirror.index)
        needed = {lease for intent in intents for lease in _leases_of(intent)}
        leases = await log.existing_leases(connection, list(needed)) if needed else set()
        rows_of: dict[str, int] = {}
        revision = self._mirror.revision
        for intent in intents:
            try:
                if isinstance(intent, RevokeIntent):
                    await self._prepare(connection, intent, overlay)
                    leases.discard(intent.lease)
                parts = self._evaluate(intent, overlay, leases, revision + 1)
            except DatastoreError as refusal:
                staged.outcomes.append((intent, refusal))
                continue
            staged.outcomes.append((intent, None))
            for part in parts:
                previous = part.settled_change().previous
                before = rows_of.get(part.key) or self._mirror.newest_row(previous)
                row = part.row(before if previous is not None else 0)  # not a deletion in this batch
                rows_of[part.key] = row[0]
                staged.rows.append(row)
                staged.clients[row[0]] = part.client
            revision += bool(parts)
        return staged

    async def _prepare(self, connection: Any, intent: RevokeIntent, overlay: Overlay) -> None:
        if not await log.drop_lease(connection, intent.lease, expired_only=intent.expired_only):
            raise LeaseNotFound(f"lease {intent.lease} not found")
        attached = self._mirror.by_lease.get(intent.lease, set())
        intent.transaction = deletion(intent.lease, overlay.keys_of_lease(intent.lease, attached))

    def _evaluate(self, intent: Intent, overlay: Overlay, leases: set[int], revision: int) -> list[KeyIntent]:
        """The writes that an intent comes to, at ``revision``; raises what refuses it."""

        def check(lease: int) -> None:
            if lease not in leases:
                raise LeaseNotFound(f"lease {lease} not found")

        if isinstance(intent, TransactionIntent):
            chosen = plan(intent.transaction, overlay, check=check, revision=self._readable)
            intent.accept(chosen, revision)
            chosen.revision = revision if intent.parts else revision - 1
            parts = iter(intent.parts)
            for step in chosen.walk():
                for _ in step.writes:
                    part = next(parts)
                    overlay.put(part.key, part.head())
                if isinstance(step.operation, Scan) and step.operation.revision <= 0:
                    step.found = overlay.read(step.operation, chosen.revision)
            return intent.parts
        if not isinstance(intent, KeyIntent):
            raise AssertionError(f"unknown intent {type(intent).__name__}")
        current = overlay.get(intent.key)
        refusal = intent.refusal(current)
        if refusal is not None:
            raise refusal
        intent.change = None
        if intent.value is None and current is None:
            return []
        if intent.lease:
            check(intent.lease)
        intent.accept(current, revision)
        overlay.put(intent.key, intent.head())
        return [intent]

    def _fail(self, intents: list[Intent], error: Exception, *, unknown: bool) -> None:
        failure = translated(error)
        if isinstance(failure, StoreUnavailable):
            self._stall.set(str(failure))
        if unknown:
            self._follower.look()  # what was committed all the same, nobody else tells
            failure = StoreTimeout(f"{failure}; the outcome of this write is unknown")
        _logger.warning("datastore: a batch of %d writes failed: %s", len(intents), failure)
        for intent in intents:
            intent.settle(failure)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()


def _asks_the_database(intent: Intent) -> bool:
    """Whether an intent rests on more than the newest records: on leases, or on which revisions are compacted."""
    if isinstance(intent, RevokeIntent) or _leases_of(intent):
        return True
    return isinstance(intent, TransactionIntent) and _reads_the_past(intent.transaction)


def _reads_the_past(transaction: Transaction) -> bool:
    return any(
        _reads_the_past(operation) if isinstance(operation, Transaction) else getattr(operation, "revision", 0) > 0
        for operation in (*transaction.success, *transaction.failure)
    )


def _leases_of(intent: Intent) -> set[int]:
    """The leases that an intent may attach keys to."""
    if isinstance(intent, KeyIntent):
        return {intent.lease} - {0}
    return _leases_in(intent.transaction) if isinstance(intent, TransactionIntent) else set()


def _leases_in(transaction: Transaction) -> set[int]:
    found: set[int] = set()
    for operation in (*transaction.success, *transaction.failure):
        if isinstance(operation, Put) and operation.lease:
            found.add(operation.lease)
        elif isinstance(operation, Transaction):
            found |= _leases_in(operation)
    return found
