"""Writes that wait for their batch: what is wanted, what came of it, and who is to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minikube_py.datastore.rows import POSITION_BITS, Row
from minikube_py.datastore.transactions import Plan, Reply, Transaction
from minikube_py.datastore.types import Change, DatastoreError, KeyExists, Record, RevisionMismatch

ANY = 0
ABSENT = -1


class Intent:
    """``future`` is the caller's; ``followers`` wait for the outcome without owning the write; ``size`` is in bytes."""

    __slots__ = ("failure", "followers", "future", "is_settled", "size")

    def __init__(self) -> None:
        self.future: Reply | None = None
        self.followers: Sequence[asyncio.Future[bool]] = ()
        self.failure: Exception | None = None
        self.is_settled = False
        self.size = 0

    def outcome_value(self) -> Any:
        """What the future gives when it was carried out."""
        return None

    def settle(self, failure: Exception | None) -> None:
        """The outcome is known."""
        self.is_settled = True
        self.failure = failure
        self.answer(failure)
        if self.followers:
            self._tell_followers(failure is None)

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
        self._tell_followers(False)

    async def outcome(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait until it is settled; whether it was carried out."""
        if self.is_settled:
            return self.failure is None
        follower: asyncio.Future[bool] = loop.create_future()
        self.followers = (*self.followers, follower)
        return await follower

    def _tell_followers(self, carried_out: bool) -> None:
        followers, self.followers = self.followers, ()
        for follower in followers:
            if not follower.done():
                follower.set_result(carried_out)


class KeyIntent(Intent):
    """A write of one key. ``value`` None: delete it. ``guard``: ABSENT, ANY, or the expected mod revision.

    ``position`` is its place among the changes of one revision; 0 unless it is part of a transaction.
    """

    __slots__ = ("change", "client", "guard", "key", "lease", "position", "value", "volatile")

    def __init__(
        self, key: str, value: bytes | None, guard: int, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> None:
        # As in `Intent`, without the call: there is one for each put.
        self.future = None
        self.followers = ()
        self.failure = None
        self.is_settled = False
        self.size = len(value) if value is not None else 0
        self.key = key
        self.value = value
        self.guard = guard
        self.lease = lease
        self.volatile = volatile
        self.client = client
        self.position = 0
        self.change: Change | None = None

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
        change = self.change
        assert change is not None  # it was accepted
        r = change.record
        row = r.mod_revision << POSITION_BITS | self.position
        return (row, r.key, r.value, r.create_revision, r.version, previous, r.lease, 1 if change.deleted else 0)


class TransactionIntent(Intent):
    """A transaction. Once accepted, ``parts`` are the writes of its ``plan``, all of one revision."""

    __slots__ = ("client", "parts", "plan", "transaction")

    def __init__(self, transaction: Transaction, client: str) -> None:
        super().__init__()
        self.transaction = transaction
        self.client = client
        self.plan = Plan(succeeded=False)
        self.parts: list[KeyIntent] = []

    def accept(self, plan: Plan, revision: int) -> None:
        """Give the writes of ``plan`` their common revision."""
        self.plan = plan
        self.parts = []
        for position, write in enumerate(plan.writes()):
            part = KeyIntent(write.key, write.value, ANY, lease=write.lease, client=self.client)
            part.position = position
            part.accept(write.current, revision)
            self.parts.append(part)
            self.size += part.size

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
