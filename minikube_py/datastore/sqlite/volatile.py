"""The volatile class: keys whose newest records are in memory and reach the disk only now and then.

Heartbeats must not wear flash. A volatile write gets its revision in order with all others and is
published like them, but is not written until the next flush (every ten minutes, before a
compaction that passes it, at close, or when a durable change of the same key follows). What that
means:

* A power cut or kill -9 may lose the volatile changes since the last flush: such a key goes back
  to its last written record, or away if it never was written. Everything else is unaffected.
* Revisions never go back: a *floor* ahead of all volatile revisions is on the disk before they are
  given out, and after a crash the store goes on above it.
* A watcher that saw something that was then lost is told so: watches that resume inside the *lost
  window* fail with ``Compacted`` and the client lists anew.
* History keeps only the flushed records: a watch from the past sees the newest volatile record of
  a key, not those that it replaced in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from minikube_py.datastore.rows import Row, row_id
from minikube_py.datastore.types import Change, Compacted, Record


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A volatile record that is newer than the disk. ``on_disk`` is the id of the key's newest row, or 0."""

    record: Record
    on_disk: int

    def row(self) -> Row:
        r = self.record
        return (row_id(r.mod_revision), r.key, r.value, r.create_revision, r.version, self.on_disk, r.lease, 0)


@dataclass(frozen=True, slots=True)
class LostWindow:
    """Revisions in (low, high] may have been seen by a watcher and then lost in a crash."""

    low: int = 0
    high: int = 0

    def check_resume(self, start: int, compacted: int) -> None:
        """Raise ``Compacted`` if a watcher that resumes at ``start`` may have seen what is lost."""
        if self.low + 1 < start <= self.high:
            raise Compacted(start, max(compacted, self.high + 1))


class VolatileKeys:
    """Unwritten records and the floor. Only the event loop touches it.

    ``positions`` has the keys whose newest row shares its revision with rows before it.
    """

    def __init__(self, *, reserve: int, floor: int, lost: LostWindow, positions: dict[str, int]) -> None:
        self.unwritten: dict[str, Unwritten] = {}
        self.positions = positions
        self.lost = lost
        self.floor = floor
        self.open = False
        self._reserve = reserve

    def allows(self, revision: int) -> bool:
        """Whether volatile ``revision`` may be published without the disk."""
        return self.open and revision <= self.floor

    def raised_floor(self, revision: int) -> int:
        """The floor to write along with volatile ``revision``; 0: it is high enough.

        It is raised when half of the reserve is used up, so that some is left when the disk stalls.
        """
        return 0 if self.allows(revision + self._reserve // 2) else revision + self._reserve

    def floor_meta(self, floor: int, first: int) -> list[tuple[str, int]]:
        """What to write for a new floor; ``first`` is the first volatile revision that needs it."""
        meta = [("floor", floor), ("volatile_open", 1)]
        return meta if self.open else [*meta, ("flushed", first - 1)]

    def newest_row(self, record: Record | None) -> int:
        """The id of the row of a current record that is on the disk; 0 for None."""
        return row_id(record.mod_revision, self.positions.get(record.key, 0)) if record is not None else 0

    def apply(self, change: Change, *, volatile: bool, position: int) -> None:
        """Follow a published change, which is at ``position`` of its revision."""
        key = change.record.key
        before = self.unwritten.get(key)
        if not volatile:
            if before is not None:
                del self.unwritten[key]
            if position and not change.deleted:
                self.positions[key] = position
            elif self.positions:
                self.positions.pop(key, None)
            return
        if before is not None:
            on_disk = before.on_disk
        else:
            on_disk = self.newest_row(change.previous)
        self.unwritten[key] = Unwritten(change.record, on_disk)

    def newest_on_disk(self, record: Record) -> int:
        """The id of the row of a current record, or of what it supersedes when it is not written yet; 0: nothing."""
        entry = self.unwritten.get(record.key)
        return self.newest_row(record) if entry is None else entry.on_disk

    def due(self, upto: int) -> list[Unwritten]:
        """Unwritten records with revision <= ``upto``, in revision order."""
        found = [entry for entry in self.unwritten.values() if entry.record.mod_revision <= upto]
        return sorted(found, key=lambda entry: entry.record.mod_revision)

    def superseded_since(self, revision: int) -> dict[str, int]:
        """Keys whose unwritten record is above ``revision``, with what it supersedes: the id of a row, or 0."""
        return {key: entry.on_disk for key, entry in self.unwritten.items() if entry.record.mod_revision > revision}

    def written(self, entries: list[Unwritten]) -> None:
        """The entries are on the disk now."""
        for entry in entries:
            key = entry.record.key
            newest = self.unwritten.get(key)
            if newest is None:
                continue
            if newest is entry:
                del self.unwritten[key]
                self.positions.pop(key, None)
            else:  # it overtook this flush
                self.unwritten[key] = Unwritten(newest.record, row_id(entry.record.mod_revision))


class AcceptedWrite(Protocol):
    """What this module needs of a key intent."""

    key: str
    volatile: bool
    change: Change | None

    def row(self, previous: int) -> Row: ...


class FlushRequest(Protocol):
    """What this module needs of a flush intent; ``entries`` is filled in."""

    upto: int
    closing: bool
    entries: list[Unwritten]


_NOTHING_BEFORE = (0, None)


class BatchRows:
    """Gathers the rows of one batch; knows for each key of it the newest row and an unwritten one before it."""

    def __init__(self, volatile: VolatileKeys) -> None:
        self.rows: list[Row] = []
        self._volatile = volatile
        self._keys: dict[str, tuple[int, Row | None]] = {}
        self._first_volatile = 0
        self._last_volatile = 0

    def flush(self, request: FlushRequest, published: int) -> list[tuple[str, int]]:
        """Add the records that a flush is to write; returns what to note with them. Comes before ``add``."""
        request.entries = self._volatile.due(request.upto)
        for entry in request.entries:
            if entry.record.key not in self._keys:
                self.rows.append(entry.row())
                self._keys[entry.record.key] = (row_id(entry.record.mod_revision), None)
        if request.closing:
            return [("floor", published), ("volatile_open", 0)] if self._volatile.open else []
        return [("flushed", published)] if request.upto >= published and request.entries else []

    def add(self, write: AcceptedWrite) -> None:
        """Add what a write needs on the disk: nothing for a volatile one, else its row after an unwritten one."""
        change, key = write.change, write.key
        assert change is not None  # it was accepted
        before = change.previous  # None also after a deletion in this batch, which is not superseded
        on_disk, unwritten = (self._keys.get(key) or self._before(key, before)) if before else _NOTHING_BEFORE
        if write.volatile:
            self._first_volatile = self._first_volatile or change.revision
            self._last_volatile = change.revision
            self._keys[key] = (on_disk, write.row(on_disk))
            return
        if unwritten is not None:
            self.rows.append(unwritten)
            on_disk = unwritten[0]
        row = write.row(on_disk)
        self.rows.append(row)
        self._keys[key] = (row[0], None)

    def floor_meta(self) -> list[tuple[str, int]]:
        """What to note so that revisions stay above the volatile ones of this batch."""
        if not self._last_volatile:
            return []
        floor = self._volatile.raised_floor(self._last_volatile)
        return self._volatile.floor_meta(floor, self._first_volatile) if floor else []

    def _before(self, key: str, previous: Record) -> tuple[int, Row | None]:
        entry = self._volatile.unwritten.get(key)
        if entry is not None:
            return entry.on_disk, entry.row()
        return self._volatile.newest_row(previous), None


def opening_state(meta: dict[str, int], newest: int) -> tuple[int, LostWindow, list[tuple[str, int]]]:
    """From what is on the disk: the revision to go on from, the lost window, and what to write at once.

    >>> opening_state({}, 0)
    (1, LostWindow(low=0, high=0), [])
    >>> opening_state({"floor": 900, "flushed": 10, "volatile_open": 1}, 40)[:2]
    (901, LostWindow(low=10, high=901))
    """
    compacted = meta.get("compacted", 0)
    revision = max(1, newest, compacted, meta.get("floor", 0))
    lost = LostWindow(meta.get("lost_low", 0), meta.get("lost_high", 0))
    if not meta.get("volatile_open", 0):
        return revision, lost, []
    revision += 1
    low = meta.get("flushed", 0)
    if lost.high > compacted:  # watchers from before the last crash may still come back
        low = min(low, lost.low)
    lost = LostWindow(low, revision)
    state = [("floor", revision), ("volatile_open", 0), ("lost_low", lost.low), ("lost_high", lost.high)]
    return revision, lost, state
