"""Leases: keys that vanish together unless someone keeps them alive.

etcd's rules: a lease has a TTL in seconds, ``keep_alive`` starts it anew, and when it runs out or is
revoked its keys are deleted. Deadlines are monotonic time, so clock jumps don't matter; they are
not stored: after a restart every lease has its full TTL again, as after etcd's change of leader.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from minikube_py.datastore.transactions import Compare, Delete, LeaseStatus, Relation, Target, Transaction
from minikube_py.datastore.types import Change, LeaseNotFound


@dataclass(slots=True)
class Lease:
    id: int
    ttl_seconds: int
    deadline: float
    keys: set[str] = field(default_factory=set)
    revoking: bool = False


class LeaseTable:
    """All leases of a store and which current keys hang on them. Only the event loop touches it."""

    def __init__(self) -> None:
        self.leases: dict[int, Lease] = {}

    def add(self, lease: int, ttl_seconds: int, now: float) -> None:
        self.leases[lease] = Lease(lease, ttl_seconds, now + ttl_seconds)

    def usable(self, lease: int) -> Lease:
        """A lease that keys may be attached to. Raises LeaseNotFound."""
        found = self.leases.get(lease)
        if found is None or found.revoking:
            raise LeaseNotFound(f"lease {lease} not found")
        return found

    def keep_alive(self, lease: int, now: float) -> int:
        """Start the lease's TTL anew and return it. Raises LeaseNotFound."""
        found = self.usable(lease)
        found.deadline = now + found.ttl_seconds
        return found.ttl_seconds

    def terms(self) -> list[tuple[int, int]]:
        """(id, TTL in seconds) of all leases."""
        return [(lease.id, lease.ttl_seconds) for lease in self.leases.values()]

    def status(self, lease: int, now: float) -> LeaseStatus:
        """Raises LeaseNotFound."""
        found = self.usable(lease)
        return LeaseStatus(lease, found.ttl_seconds, max(0.0, found.deadline - now), sorted(found.keys))

    def attach(self, keys: Iterable[tuple[str, int]]) -> None:
        """Note (key, lease) pairs read from disk."""
        for key, lease in keys:
            if lease in self.leases:
                self.leases[lease].keys.add(key)

    def apply(self, change: Change) -> None:
        """Follow a published change: a key hangs on the lease of its newest record only."""
        before = change.previous.lease if change.previous else 0
        after = change.record.lease
        if before == after:
            return
        if before in self.leases:
            self.leases[before].keys.discard(change.record.key)
        if after in self.leases:
            self.leases[after].keys.add(change.record.key)

    def next_deadline(self) -> float | None:
        return min((lease.deadline for lease in self.leases.values() if not lease.revoking), default=None)

    def expired(self, now: float) -> list[int]:
        return [lease.id for lease in self.leases.values() if lease.deadline <= now and not lease.revoking]


def deletion(lease: int, keys: Iterable[str]) -> Transaction:
    """Deletes, under one revision, those of ``keys`` that hang on ``lease`` when it takes place."""
    return Transaction(
        success=[
            Transaction(compares=[Compare(key, Target.LEASE, Relation.EQUAL, lease)], success=[Delete(key)])
            for key in keys
        ]
    )
