"""Recorded histories of concurrent clients, and the check that they are linearizable.

A history is what each client asked (``began``) and learned (``ended``), with times of one monotonic
clock. ``violations`` says what of it no store that carries out one operation at a time, at a moment
between the two, could have answered. Three checks, each of which finds what the others may miss:

* For each key, the search of Wing and Gong with Lowe's memory of states: every value that is written is
  unlike all others, so a key is a register with reads and compare-and-swap. An operation without an
  answer (a timeout, a killed server) may have taken place at any later moment, or never.
* Revisions: a value has one, and what begins after an answer was given is not older than that answer.
* Against the log of all changes, read at the end: acknowledged writes are in it, and what a range saw at
  a revision is what the log says of that revision.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.datastore.transactions import Compare, Delete, Put, Relation, Scan, Target, Transaction
from minikube_py.datastore.types import Change, DatastoreError, Record

Seen = tuple[str, int]  # a value and its mod revision


@dataclass(slots=True)
class Operation:
    """One request. ``kind`` is "read", "swap" (a guarded put, or deletion when ``value`` is None) or "range".

    ``expected`` is the value that a swap replaces, None for a key that must not be there. ``done`` None:
    there was no answer. ``found`` is what was read, by whoever was answered with a record. ``revision`` is that
    of the answer's header, or of the write; ``at`` the revision that a range asked for.
    """

    client: str
    key: str
    kind: str
    began: float
    expected: str | None = None
    value: str | None = None
    at: int = 0
    ended: float = math.inf
    done: bool | None = None
    found: Seen | None = None
    revision: int = 0
    records: Mapping[str, Seen] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """``note`` gets each event as a line of JSON as well, for a process that will be killed."""

    now: Callable[[], float]
    note: Callable[[str], None] = lambda line: None
    operations: list[Operation] = field(default_factory=list)

    def begin(self, client: str, key: str, kind: str, **asked: Any) -> Operation:
        operation = Operation(client, key, kind, self.now(), **asked)
        self.operations.append(operation)
        event = {"client": client, "key": key, "kind": kind, "began": operation.began, **asked}
        self.note(json.dumps({"begin": len(self.operations) - 1, "operation": event}))
        return operation

    def end(self, operation: Operation, **learned: Any) -> None:
        learned["ended"] = self.now()
        for name, value in learned.items():
            setattr(operation, name, value)
        number = next(n for n in range(len(self.operations) - 1, -1, -1) if self.operations[n] is operation)
        self.note(json.dumps({"end": number, "learned": learned}))


def parsed(lines: Iterable[str]) -> list[Operation]:
    """The operations that a killed process noted."""
    found: dict[int, Operation] = {}
    for line in lines:
        event = json.loads(line)
        if "begin" in event:
            found[event["begin"]] = Operation(**event["operation"])
            continue
        operation = found[event["end"]]
        for name, value in event["learned"].items():
            setattr(operation, name, value)
        operation.found = tuple(operation.found) if operation.found else None  # type: ignore[assignment]
        operation.records = {key: (seen[0], seen[1]) for key, seen in operation.records.items()}
    return list(found.values())


def _seen(record: Record | None) -> Seen | None:
    return None if record is None else (record.value.decode(), record.mod_revision)


class Client:
    """Does random things to a few keys, with what it has seen of them, and notes it all."""

    def __init__(self, store: Any, name: str, keys: Sequence[str], history: History, *, seed: int) -> None:
        self._store = store
        self._name = name
        self._keys = keys
        self._history = history
        self._chance = random.Random(f"{name} {seed}")
        self._numbers = itertools.count()
        self._seed = seed
        self._known: dict[str, Seen | None] = {}
        self._newest = 0

    async def act(self) -> bool:
        """One operation; False when there was no answer."""
        key, dice = self._chance.choice(self._keys), self._chance.random()
        if dice < 0.35 or key not in self._known:
            return await self._read(key)
        if dice < 0.45:
            return await self._range()
        return await self._swap(key, delete=dice > 0.93 and self._known[key] is not None)

    async def _read(self, key: str) -> bool:
        operation = self._history.begin(self._name, key, "read")
        try:
            found = await self._store.scan(key)
        except DatastoreError:
            return False
        self._known[key] = _seen(found.records[0] if found.records else None)
        self._history.end(operation, done=True, found=self._known[key], revision=found.revision)
        self._newest = max(self._newest, found.revision)
        return True

    async def _range(self) -> bool:
        at = self._chance.choice((0, max(0, self._newest - self._chance.randrange(30))))
        operation = self._history.begin(self._name, "", "range", at=at)
        try:
            found = await self._store.range("/", revision=at)
        except DatastoreError:
            return False
        records = {record.key: (record.value.decode(), record.mod_revision) for record in found.records}
        self._history.end(operation, done=True, records=records, revision=found.revision)
        return True

    async def _swap(self, key: str, *, delete: bool) -> bool:
        before = self._known[key]
        value = None if delete else f"{self._name}.{self._seed}.{next(self._numbers)}"
        operation = self._history.begin(self._name, key, "swap", expected=before[0] if before else None, value=value)
        change = Delete(key) if value is None else Put(key, value.encode())
        guard = Compare(key, Target.MOD, Relation.EQUAL, before[1] if before else 0)
        try:
            plan = await self._store.transact(Transaction([guard], [change], [Scan(key)]), client=self._name)
        except DatastoreError:
            self._known.pop(key, None)
            return False
        if plan.succeeded:
            self._known[key] = None if value is None else (value, plan.revision)
            self._history.end(operation, done=True, revision=plan.revision)
        else:
            step = plan.steps[0]
            self._known[key] = _seen(step.found.records[0] if step.found.records else None)
            self._history.end(operation, done=False, found=self._known[key], revision=plan.revision)
        self._newest = max(self._newest, plan.revision)
        return True


def violations(operations: Sequence[Operation], log: Sequence[Change]) -> list[str]:
    """What cannot be; empty: the history is linearizable. ``log``: all changes in order, from the first revision on."""
    found = [*_against_revisions(operations), *_against_log(operations, log)]
    for key in sorted({operation.key for operation in operations if operation.kind != "range"}):
        found += not_linearizable([operation for operation in operations if operation.key == key], key)
    return found


def not_linearizable(operations: Sequence[Operation], key: str) -> list[str]:
    """The search for an order of one key's operations; empty when there is one."""
    observed = {seen for o in operations for seen in (o.expected, o.found[0] if o.found else None)}
    ops = sorted(
        (
            o
            for o in operations
            if o.done is not None or (o.kind == "swap" and (o.value is None or o.value in observed))
        ),
        key=lambda o: o.began,
    )
    complete = sum(1 << n for n, o in enumerate(ops) if o.done is not None)
    stack: list[tuple[int, str | None]] = [(0, None)]
    known, best = set(stack), 0
    while stack:
        mask, state = stack.pop()
        if mask & complete == complete:
            return []
        if (mask & complete).bit_count() > (best & complete).bit_count():
            best = mask
        for number in _next(ops, mask):
            for after in _step(ops[number], state):
                node = (mask | 1 << number, after)
                if node not in known:
                    known.add(node)
                    stack.append(node)
    stuck = [ops[number] for number in _next(ops, best)]
    return [
        f"{key}: no order of its operations is possible; after {best.bit_count()} of {len(ops)} none of {stuck} fits"
    ]


def _next(ops: Sequence[Operation], mask: int) -> list[int]:
    """The operations that may come next: begun before any of the others ended."""
    found: list[int] = []
    earliest_end = math.inf
    first = (~mask & (mask + 1)).bit_length() - 1  # of the lowest bit that is not set
    for number in range(first, len(ops)):
        if mask >> number & 1:
            continue
        if ops[number].began > earliest_end:
            break
        found.append(number)
        earliest_end = min(earliest_end, ops[number].ended)
    return found


def _step(operation: Operation, state: str | None) -> list[str | None]:
    """The states that an operation may lead to; none: it cannot take place in ``state``."""
    seen = operation.found[0] if operation.found else None
    if operation.kind == "read":
        return [state] if seen == state else []
    if operation.done:
        return [operation.value] if state == operation.expected else []
    if operation.done is False:
        return [state] if seen == state and state != operation.expected else []
    return [operation.value, state] if state == operation.expected else [state]


def _against_revisions(operations: Sequence[Operation]) -> list[str]:
    found: list[str] = []
    revision_of: dict[str, int] = {}
    for operation in operations:
        pairs = [operation.found, *operation.records.values()]
        if operation.done and operation.kind == "swap" and operation.value is not None:
            pairs.append((operation.value, operation.revision))
        for value, revision in filter(None, pairs):
            if revision_of.setdefault(value, revision) != revision:
                found.append(f"value {value} has revisions {revision_of[value]} and {revision}")
    answered = sorted((o for o in operations if o.done is not None), key=lambda o: o.ended)
    newest, at = 0, 0
    for operation in sorted((o for o in operations if o.done is not None), key=lambda o: o.began):
        while at < len(answered) and answered[at].ended < operation.began:
            newest, at = max(newest, answered[at].revision), at + 1
        if operation.revision < newest:
            found.append(f"{operation} is of revision {operation.revision}, but {newest} was known before it began")
    return found


def _against_log(operations: Sequence[Operation], log: Sequence[Change]) -> list[str]:
    in_log = {(c.record.key, c.revision): None if c.deleted else c.record.value.decode() for c in log}
    found = [
        f"acknowledged write {o} is not in the log"
        for o in operations
        if o.kind == "swap" and o.done and in_log.get((o.key, o.revision), "") != o.value
    ]
    state: dict[str, Seen] = {}
    position = 0
    for o in sorted((o for o in operations if o.kind == "range" and o.done), key=lambda o: o.at or o.revision):
        revision = o.at or o.revision
        while position < len(log) and log[position].revision <= revision:
            change = log[position]
            position += 1
            if change.deleted:
                state.pop(change.record.key, None)
            else:
                state[change.record.key] = (change.record.value.decode(), change.revision)
        if dict(o.records) != state:
            found.append(f"range at revision {revision} saw {dict(o.records)}, the log says {state}")
    return found
