"""Writes that wait for their batch: what is wanted, what came of it, and who is to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minikube_py.datastore.rows import Row, row_id
from minikube_py.datastore.transactions import Plan, Reply, Transaction
from minikube_py.datastore.types import Change, DatastoreError, KeyExists, Record, RevisionMismatch

ANY = 0
ABSENT = -1


class Intent:
    """``future`` is the caller's; ``followers`` wait for the outcome without owning the write."""

    __slots__ = ("failure", "followers", "future", "is_settled")

    def __init__(self) -> None:
        self.future: Reply | None = None
        self.followers: list[asyncio.Future[bool]] = []
        self.failure: Exception | None = None
        self.is_settled = False

    def size(self) -> int:
        return 0

    def outcome_value(self) -> Any:
        """What the future gives when it was carried out."""
        return None

    def settle(self, failure: Exception | None) -> None:
        """The outcome is known."""
        self.is_settled = True
        self.failure = failure
        self.answer(failure)
        for follower in self.followers:
            if not follower.done():
                follower.set_result(failure is None)

    def answer(self, failure: Exception | None) -> None:
        """Tell the caller, who may have been cancelled or told before."""
        future = self.future
        if future is None or future.done():
            return
        if failure is None:
            future.set_result(self.outcome_value())
        else:
            future.set_exception(failure)

    def give_up(self, failure: Exception) -> None:
        """Tell everyone who waits that the outcome is unknown; it is settled later all the same."""
        self.answer(failure)
        for follower in self.followers:
            if not follower.done():
                follower.set_result(False)
        self.followers.clear()

    async def outcome(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait until it is settled; whether it was carried out."""
        if self.is_settled:
            return self.failure is None
        follower: asyncio.Future[bool] = loop.create_future()
        self.followers.append(follower)
        return await follower


class KeyIntent(Intent):
    """A write of one key. ``value`` None: delete it. ``guard``: ABSENT, ANY, or the expected mod revision.

    ``position`` is its place among the changes of one revision; 0 unless it is part of a transaction.
    """

    __slots__ = ("change", "client", "guard", "key", "lease", "position", "value", "volatile")

    def __init__(
        self, key: str, value: bytes | None, guard: int, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> None:
        super().__init__()
        self.key = key
        self.value = value
        self.guard = guard
        self.lease = lease
        self.volatile = volatile
        self.client = client
        self.position = 0
        self.change: Change | None = None

    def size(self) -> int:
        return len(self.value) if self.value is not None else 0

    def outcome_value(self) -> Change | None:
        return self.change

    def refusal(self, current: Record | None) -> DatastoreError | None:
        """Why the guard does not let this write through, given the key's newest record; None: it does."""
        if self.guard == ANY:
            return None
        if self.guard == ABSENT:
            return None if current is None else KeyExists(self.key, current)
        if current is None or current.mod_revision != self.guard:
            return RevisionMismatch(self.key, self.guard, current)
        return None

    def accept(self, current: Record | None, revision: int) -> None:
        """Give the write its revision; ``current`` is what it replaces."""
        if self.value is None:
            self.change = Change(Record(self.key, b"", revision, 0, 0), current, deleted=True)
        elif current is None:
            self.change = Change(Record(self.key, self.value, revision, revision, 1, self.lease), None, deleted=False)
        else:
            record = Record(self.key, self.value, revision, current.create_revision, current.version + 1, self.lease)
            self.change = Change(record, current, deleted=False)

    def settled_change(self) -> Change:
        """The change of an accepted intent."""
        if self.change is None:
            raise AssertionError(f"write of {self.key} was not accepted")
        return self.change

    def head(self) -> Record | None:
        """The key's record once this intent is carried out."""
        change = self.settled_change()
        return None if change.deleted else change.record

    def row(self, previous: int) -> Row:
        change = self.settled_change()
        r = change.record
        row = row_id(r.mod_revision, self.position)
        return (row, r.key, r.value, r.create_revision, r.version, previous, r.lease, int(change.deleted))


class TransactionIntent(Intent):
    """A transaction. Once accepted, ``parts`` are the writes of its ``plan``, all of one revision."""

    __slots__ = ("client", "parts", "plan", "transaction")

    def __init__(self, transaction: Transaction, client: str) -> None:
        super().__init__()
        self.transaction = transaction
        self.client = client
        self.plan = Plan(succeeded=False)
        self.parts: list[KeyIntent] = []

    def size(self) -> int:
        return sum(part.size() for part in self.parts)

    def accept(self, plan: Plan, revision: int) -> None:
        """Give the writes of ``plan`` their common revision."""
        self.plan = plan
        self.parts = []
        for position, write in enumerate(plan.writes()):
            part = KeyIntent(write.key, write.value, ANY, lease=write.lease, client=self.client)
            part.position = position
            part.accept(write.current, revision)
            self.parts.append(part)

    def settle(self, failure: Exception | None) -> None:
        super().settle(failure)
        for part in self.parts:
            part.settle(failure)

    def give_up(self, failure: Exception) -> None:
        super().give_up(failure)
        for part in self.parts:
            part.give_up(failure)


def writes_of(intent: Intent) -> Sequence[KeyIntent]:
    """The writes of keys that an accepted intent consists of."""
    if isinstance(intent, KeyIntent):
        return (intent,)
    return intent.parts if isinstance(intent, TransactionIntent) else ()


def deleted_record(change: Change) -> Record | None:
    """What ``Datastore.delete`` returns: the last record, with the revision of the deletion."""
    if change.previous is None:
        return None
    return replace(change.previous, mod_revision=change.revision)
