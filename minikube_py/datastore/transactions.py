"""Transactions: compares that choose a branch, and the operations of that branch under one revision.

In: a ``Transaction``. ``plan`` evaluates it against a state without changing anything: all compares
(nested ones too) see the state from before, as etcd's ``compareToPath`` does; the operations of the
chosen path become ``Step``s. An engine then gives all changes of a plan one revision, and
``Step.result`` is filled in while they are applied in order, so that a scan sees the writes before
it. A plan that cannot be carried out as a whole raises and changes nothing.

Ranges are [start, end) in key order: ``end`` None means the key ``start`` alone, "" no upper bound.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from minikube_py.datastore.churn import ChurnRow
from minikube_py.datastore.contents import Contents
from minikube_py.datastore.index import KeyIndex
from minikube_py.datastore.rows import MAX_CHANGES, Row
from minikube_py.datastore.types import Change, Datastore, DatastoreError, RangeResult, Record


class KeyNotFound(DatastoreError):
    """A put that keeps the value or the lease named a key that does not exist."""


class TransactionTooLarge(DatastoreError):
    """More changes than one revision can hold."""


class Target(Enum):
    """What of a record a compare looks at. A key that does not exist counts as zeros."""

    VERSION = "version"
    CREATE = "create_revision"
    MOD = "mod_revision"
    VALUE = "value"
    LEASE = "lease"


class Relation(Enum):
    EQUAL = "="
    GREATER = ">"
    LESS = "<"
    NOT_EQUAL = "!="


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds when every key of the range does; without keys, when zeros do (a value compare never)."""

    start: str
    target: Target
    relation: Relation
    operand: int | bytes
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """``value`` None keeps the value, ``lease`` None the lease; the key must exist then."""

    key: str
    value: bytes | None
    lease: int | None = 0


@dataclass(frozen=True, slots=True)
class Delete:
    start: str
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """``revision`` 0: the state inside the transaction."""

    start: str
    end: str | None = None
    revision: int = 0
    limit: int = 0
    keys_only: bool = False
    count_only: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """No key may be changed twice on one path (callers check it as etcd does, before they ask)."""

    compares: Sequence[Compare] = ()
    success: Sequence[Operation] = ()
    failure: Sequence[Operation] = ()


Operation = Put | Delete | Scan | Transaction


@dataclass(frozen=True, slots=True)
class Write:
    """One change that a plan makes; ``value`` None deletes. ``current`` is what it replaces."""

    key: str
    value: bytes | None
    lease: int
    current: Record | None


@dataclass(slots=True)
class Step:
    """An operation of the chosen path. ``found`` is what a scan saw, when its turn came."""

    operation: Put | Delete | Scan
    writes: Sequence[Write] = ()
    found: RangeResult | None = None


@dataclass(slots=True)
class Plan:
    """A chosen branch; ``revision`` is that of its changes, or of the state that it read."""

    succeeded: bool
    steps: list[Step | Plan] = field(default_factory=list)
    revision: int = 0

    def walk(self) -> Iterator[Step]:
        """All steps, nested ones too, in the order in which they take place."""
        for step in self.steps:
            if isinstance(step, Plan):
                yield from step.walk()
            else:
                yield step

    def writes(self) -> list[Write]:
        return [write for step in self.walk() for write in step.writes]


class State(Protocol):
    """Current records, for the evaluation of a transaction."""

    def get(self, key: str) -> Record | None: ...
    def between(self, start: str, end: str) -> Iterable[Record]:
        """Records with start <= key < end ("": no upper bound), in key order."""


class Reply(Protocol):
    """Who waits for the outcome of a write, told once, on the event loop: an ``asyncio.Future``, or what is as good.

    What it does when it is told must be quick and must not raise.
    """

    def done(self) -> bool:
        """Nobody waits any more, or it was told already."""

    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class TransactionalStore(Datastore, Protocol):
    """What an engine offers beyond ``Datastore``: etcd's whole data model, and its own upkeep."""

    async def transact(self, transaction: Transaction, *, client: str = "") -> Plan:
        """Carry out a transaction under one revision.

        Raises KeyNotFound, LeaseNotFound, Compacted, FutureRevision, TransactionTooLarge,
        StoreUnavailable; nothing is changed then (StoreUnavailable: unless it says "unknown").
        """

    async def put(self, key: str, value: bytes, *, lease: int = 0, client: str = "") -> Change:
        """Write a key, whatever is there: ``transact`` with this one operation, only quicker.

        Raises LeaseNotFound, StoreUnavailable.
        """

    def begin_put(self, key: str, value: bytes, reply: Reply, *, lease: int = 0, client: str = "") -> bool:
        """``put`` for whoever needs neither task nor future: ``reply`` gets the change, or what ``put`` raises.

        False: it cannot be done so, ``put`` is to be called. Raises LeaseNotFound, StoreUnavailable at once.
        """

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
        """Records of [start, end) in key order; ``count`` counts them all. Raises Compacted, FutureRevision."""

    async def leases(self) -> Sequence[int]:
        """The leases that there are."""

    async def lease_status(self, lease: int) -> LeaseStatus:
        """Raises LeaseNotFound."""

    def churn(self) -> Sequence[ChurnRow]:
        """Who wrote how much where, the most bytes first."""

    async def give_back_space(self) -> None:
        """Return free space to the file system or database now, rather than at the next compaction."""

    async def snapshot(self, path: Path) -> None:
        """Write everything, as it is now, to a SQLite datastore at ``path``, which must not exist."""

    async def contents(self) -> Contents:
        """What it takes to make another store of this one."""

    def rows(self) -> AsyncIterator[Sequence[Row]]:
        """The whole log in the order of ids, in batches."""


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """``remaining_seconds`` may be fractions; ``keys`` in key order."""

    lease: int
    ttl_seconds: int
    remaining_seconds: float
    keys: Sequence[str]


def span_end(start: str, end: str | None) -> str:
    """The exclusive upper bound of a range: of one key when ``end`` is None."""
    return start + "\0" if end is None else end


def plan(
    transaction: Transaction, state: State, *, check: Callable[[int], None], revision: Callable[[int], None]
) -> Plan:
    """Choose the path of ``transaction`` and what it writes.

    ``check`` raises LeaseNotFound for a lease that keys may not be attached to, ``revision`` raises
    Compacted or FutureRevision for one that cannot be read.
    """
    chosen = _choose(transaction, state)
    written: set[str] = set()
    for step in chosen.walk():
        match step.operation:
            case Put() as put:
                if put.key in written:
                    raise ValueError(f"a transaction may change key {put.key} only once")
                step.writes = (_put(put, state.get(put.key)),)
                if put.lease:
                    check(put.lease)
            case Delete(start=start, end=end):
                step.writes = [Write(r.key, None, 0, r) for r in _records(state, start, end) if r.key not in written]
            case Scan() as scan:
                revision(scan.revision)
        written.update(write.key for write in step.writes)
    if len(written) > MAX_CHANGES:
        raise TransactionTooLarge(f"{len(written)} changes in one transaction; at most {MAX_CHANGES} fit")
    return chosen


def read(scan: Scan, index: KeyIndex, revision: int) -> RangeResult:
    """Carry out a scan of the current state, which is that of ``revision``."""
    end = span_end(scan.start, scan.end)
    if scan.count_only:
        return RangeResult((), revision, index.count_between(scan.start, end))
    records = list(islice(index.between(scan.start, end), scan.limit or None))
    count = len(records) if len(records) != scan.limit else index.count_between(scan.start, end)
    return RangeResult(without_values(records, scan.keys_only), revision, count, len(records) < count)


def one_record(record: Record | None, revision: int, keys_only: bool, count_only: bool) -> RangeResult:
    """The answer to a scan of one key."""
    records = [record] if record is not None else []
    return RangeResult(() if count_only else without_values(records, keys_only), revision, len(records))


async def read_the_past(plan: Plan, store: TransactionalStore) -> None:
    """Carry out the scans of older revisions in a plan that took place."""
    for step in plan.walk():
        scan = step.operation
        if isinstance(scan, Scan) and step.found is None:
            step.found = await store.scan(
                scan.start,
                scan.end,
                revision=scan.revision,
                limit=scan.limit,
                keys_only=scan.keys_only,
                count_only=scan.count_only,
            )


def without_values(records: list[Record], keys_only: bool) -> list[Record]:
    """The records themselves, or copies that have no value."""
    if not keys_only:
        return records
    return [Record(r.key, b"", r.mod_revision, r.create_revision, r.version, r.lease) for r in records]


def _choose(transaction: Transaction, state: State) -> Plan:
    succeeded = all(_holds(compare, state) for compare in transaction.compares)
    steps = [
        _choose(operation, state) if isinstance(operation, Transaction) else Step(operation)
        for operation in (transaction.success if succeeded else transaction.failure)
    ]
    return Plan(succeeded, steps)


def _holds(compare: Compare, state: State) -> bool:
    records = list(_records(state, compare.start, compare.end))
    if not records:
        return compare.target is not Target.VALUE and _related(0, compare)
    return all(_related(getattr(record, compare.target.value), compare) for record in records)


def _related(found: int | bytes, compare: Compare) -> bool:
    operand = compare.operand
    if compare.relation is Relation.EQUAL:
        return found == operand
    if compare.relation is Relation.NOT_EQUAL:
        return found != operand
    if isinstance(found, bytes) and isinstance(operand, bytes):
        return found > operand if compare.relation is Relation.GREATER else found < operand
    if isinstance(found, int) and isinstance(operand, int):
        return found > operand if compare.relation is Relation.GREATER else found < operand
    raise AssertionError(f"compare of {type(found).__name__} with {type(operand).__name__}")


def _put(put: Put, current: Record | None) -> Write:
    if put.value is not None and put.lease is not None:
        return Write(put.key, put.value, put.lease, current)
    if current is None:
        raise KeyNotFound(f"key {put.key} does not exist: there is no value or lease to keep")
    value = current.value if put.value is None else put.value
    return Write(put.key, value, current.lease if put.lease is None else put.lease, current)


def _records(state: State, start: str, end: str | None) -> Iterable[Record]:
    if end is None:
        record = state.get(start)
        return () if record is None else (record,)
    return state.between(start, end)
