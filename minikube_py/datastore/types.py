"""What a datastore promises: records, errors and the interface that every engine implements.

The store is a log: every change of a key has a revision of its own, larger than all before it.
Keys are text, values are bytes; a key's newest record is its value. etcd's words are used for
etcd's things (revision, mod revision, create revision, version, lease, compaction).

Errors::

    DatastoreError
      KeyExists          create-if-absent found a live key
      RevisionMismatch   a guard named a mod revision that is not the key's newest
      Compacted          the asked revision is older than the compaction
      FutureRevision     the asked revision has not been given out yet
      LeaseNotFound      the lease does not exist (any more)
      StoreUnavailable   the disk or database cannot take writes now; reads may still work
        StoreTimeout     it did not finish a write in time: whether the write takes place is unknown
      StoreCorrupt       the file is damaged or is not a datastore; the text says how to mend it
      StoreLocked        another process owns the file
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dataclasses import dataclass as sealed
else:

    def sealed(**_: bool) -> Callable[[type], type]:
        """``dataclass`` that the type checker alone freezes: at run time it takes 0.5 us, and twice for a write."""
        return dataclass(slots=True, unsafe_hash=True)


class DatastoreError(Exception):
    """Root of the tree above."""


class KeyExists(DatastoreError):
    def __init__(self, key: str, current: Record) -> None:
        super().__init__(f"key {key} exists at revision {current.mod_revision}")
        self.key = key
        self.current = current


class RevisionMismatch(DatastoreError):
    """``current`` is the newest record, or None when the key does not exist."""

    def __init__(self, key: str, expected: int, current: Record | None) -> None:
        found = current.mod_revision if current else "none"
        super().__init__(f"key {key}: expected revision {expected}, found {found}")
        self.key = key
        self.expected = expected
        self.current = current


class Compacted(DatastoreError):
    def __init__(self, asked: int, compacted: int) -> None:
        super().__init__(f"revision {asked} is compacted (oldest is {compacted})")
        self.asked = asked
        self.compacted = compacted


class FutureRevision(DatastoreError):
    def __init__(self, asked: int, newest: int) -> None:
        super().__init__(f"revision {asked} is in the future (newest is {newest})")
        self.asked = asked
        self.newest = newest


class LeaseNotFound(DatastoreError):
    pass


class StoreUnavailable(DatastoreError):
    pass


class StoreTimeout(StoreUnavailable):
    pass


class StoreCorrupt(DatastoreError):
    pass


class StoreLocked(DatastoreError):
    pass


class WatcherTooSlow(DatastoreError):
    """The watcher's bounded buffer overflowed; resume from the last revision seen."""


@sealed(frozen=True, slots=True)
class Record:
    """One revision of one key. ``version`` counts changes since the key's creation, from 1."""

    key: str
    value: bytes
    mod_revision: int
    create_revision: int
    version: int
    lease: int = 0


@sealed(frozen=True, slots=True)
class Change:
    """A published change. ``record.value`` is empty for a deletion; ``previous`` is the record before it."""

    record: Record
    previous: Record | None
    deleted: bool

    @property
    def revision(self) -> int:
        return self.record.mod_revision


@dataclass(frozen=True, slots=True)
class RangeResult:
    """A consistent read. ``count`` is the number of keys in the whole range, ``more`` whether some are left out."""

    records: Sequence[Record]
    revision: int
    count: int
    more: bool = False


class Watch(Protocol):
    """A subscription: iterate batches of changes in revision order, each change once, without gaps.

    Raises ``Compacted`` (start revision gone), ``WatcherTooSlow``, ``StoreUnavailable`` (closed).
    """

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]: ...

    async def __anext__(self) -> Sequence[Change]:
        """Wait for the next non-empty batch."""

    def ready(self) -> Sequence[Sequence[Change]]:
        """Take the batches that can be had without waiting, perhaps none."""

    @property
    def progress_revision(self) -> int:
        """Every change up to and including this revision has been handed out (or did not match)."""

    def close(self) -> None:
        """End the subscription; a waiting ``__anext__`` raises ``StopAsyncIteration``."""


class Datastore(Protocol):
    """A revisioned key-value store. Every operation is linearizable; writes are durable when they return.

    Keys are compared by their UTF-8 bytes. ``prefix`` ranges are all keys that begin with it.
    """

    @property
    def current_revision(self) -> int:
        """The newest revision that is published to watches and readers."""

    @property
    def compacted_revision(self) -> int:
        """Reads and watches below this revision fail with ``Compacted``."""

    @property
    def stall(self) -> str:
        """Why writes do not get through now, in one line (a disk that hangs, a database that is away); empty: they do.

        Meanwhile reads of the newest state and watches go on, and volatile writes where the engine has them.
        """

    def on_stall(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback`` on the event loop with each new ``stall``; returns the function that ends it."""

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        """The record of a key, at a revision (0: newest). Raises Compacted, FutureRevision."""

    async def range(
        self,
        prefix: str,
        *,
        start: str = "",
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        """Records under ``prefix`` with key >= ``start``, in key order. Raises Compacted, FutureRevision."""

    async def count(self, prefix: str, *, revision: int = 0) -> int:
        """The number of live keys under ``prefix``."""

    def current(self, prefix: str) -> Sequence[Record]:
        """The newest records under ``prefix``, in key order, at ``current_revision``; never waits."""

    async def create(
        self, key: str, value: bytes, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> Record:
        """Write a key that must not exist. Raises KeyExists, StoreUnavailable, LeaseNotFound.

        ``volatile`` keys (heartbeats) keep revision order and watch semantics but may lose their newest
        values in a power cut. ``client`` names who writes, for the accounting of churn.
        """

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
        """Replace a key whose mod revision is ``expected_revision``. Raises RevisionMismatch."""

    async def delete(self, key: str, *, expected_revision: int = 0, client: str = "") -> Record | None:
        """Delete a key and return its last record (None: it did not exist).

        With ``expected_revision`` raises RevisionMismatch when the newest is another. The deletion has
        a revision of its own: the ``mod_revision`` of the change that watchers see, and of the returned
        record (whose ``value`` is the last value).
        """

    def watch(self, prefix: str, *, start_revision: int, buffer: int = 10_000) -> Watch:
        """Changes under ``prefix`` with revision >= ``start_revision`` (which may be in the past)."""

    def tap(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        """Call ``callback`` on the event loop with every published batch, before its writers are answered.

        Returns the function that ends it. ``callback`` must be quick and must not raise.
        """

    async def grant_lease(self, ttl_seconds: int, *, lease: int = 0) -> int:
        """Make a lease; its keys are deleted when it is not kept alive for ``ttl_seconds``."""

    async def keep_alive(self, lease: int) -> int:
        """Renew a lease; returns its TTL. Raises LeaseNotFound."""

    async def revoke_lease(self, lease: int) -> None:
        """Delete a lease and its keys. Raises LeaseNotFound."""

    async def compact(self, revision: int) -> None:
        """Forget superseded records below ``revision``; raises Compacted, FutureRevision."""

    async def size_bytes(self) -> int:
        """Size on disk, WAL included."""

    async def run(self) -> None:
        """Housekeeping (lease expiry, compaction, vacuum) until cancelled; owned by the supervisor."""

    async def close(self) -> None:
        """Finish accepted writes and release the file or connections."""
