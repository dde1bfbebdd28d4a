"""Reads of the past: the present, less what has changed since.

A row of the log names the row that it supersedes. So the first row of a key above a revision tells what the key was
at that revision, and a key that has no such row is what it is now. No index of the log by keys is needed, which
every write would have to keep up (half of what a put wrote to the disk), and a read costs what has changed
since, not what the log holds. A single key that was there all the time is found quicker, along its own rows
(``ancestor`` in the engines' ``log``).

Invariant: what is published while the log is read is taken from memory, and from then on nothing is awaited until
everything that is to be told has been picked: all of it is of one moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

from minikube_py.datastore.index import KeyIndex
from minikube_py.datastore.transactions import without_values
from minikube_py.datastore.types import Change, RangeResult, Record, StoreCorrupt
from minikube_py.datastore.watching import Tap

Before = Record | int
"""What a key was: a record, or the id of its row; 0: it was not there."""


@dataclass(frozen=True, slots=True)
class Source:
    """What an engine gives.

    ``index`` and ``tap``: the present and what follows it. ``superseded``: of the keys in [start, end) with a change
    in the revisions (after, upto], the row that the first of these superseded, or 0. ``records``: the records of
    rows that are still there. ``check`` raises Compacted when a revision is not readable any more.
    """

    index: KeyIndex
    tap: Callable[[Tap], Callable[[], None]]
    superseded: Callable[[str, str, int, int], Awaitable[Sequence[tuple[str, int]]]]
    records: Callable[[Sequence[int]], Awaitable[Mapping[int, Record]]]
    check: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Request:
    """The keys in [start, end) ("": no upper bound) at ``revision``: at most ``limit`` (0: all) from ``first`` on."""

    start: str
    end: str
    revision: int
    first: str = ""
    limit: int = 0
    count_only: bool = False

    def holds(self, key: str) -> bool:
        return key >= self.start and (not self.end or key < self.end)


@dataclass(frozen=True, slots=True)
class Found:
    """``count`` is that of the whole range, ``more`` whether records behind the last one are left out."""

    records: list[Record]
    count: int
    more: bool

    def result(self, now: int, *, keys_only: bool) -> RangeResult:
        """As the answer of a store that is at revision ``now``."""
        return RangeResult(without_values(self.records, keys_only), now, self.count, self.more)


async def read_past(source: Source, request: Request, now: int, unwritten: Mapping[str, int]) -> Found:
    """Read at a revision below ``now``, which is the newest that is published.

    ``unwritten``: keys of the range whose newest record is above the revision but not in the log, with the id of
    their newest row there, or 0. Raises Compacted, StoreCorrupt, and what the source does.
    """
    since: list[Change] = []
    end_tap = source.tap(since.extend)
    try:
        superseded = await source.superseded(request.start, request.end, request.revision, now)
    finally:
        end_tap()
    source.check(request.revision)
    before: dict[str, Before] = dict(superseded)
    for key, row in unwritten.items():
        before.setdefault(key, row)
    for change in since:
        if request.holds(change.record.key):
            before.setdefault(change.record.key, change.previous or 0)
    count = source.index.count_between(request.start, request.end) + _difference(before, source.index)
    if request.count_only:
        return Found([], count, more=False)
    picked, more = _pick(source.index, request, before)
    rows = [entry for entry in picked if isinstance(entry, int)]
    records = await source.records(rows) if rows else {}
    source.check(request.revision)  # a compaction that passed meanwhile may have taken rows away
    return Found([_record(entry, records) for entry in picked], count, more)


def _difference(before: Mapping[str, Before], index: KeyIndex) -> int:
    """How many more keys there were than there are now."""
    return sum(bool(entry) - (key in index.records) for key, entry in before.items())


def _pick(index: KeyIndex, request: Request, before: Mapping[str, Before]) -> tuple[list[Before], bool]:
    """What to tell, in key order, and whether something is left out behind it."""
    picked: list[Before] = []
    for key in _keys(index, max(request.start, request.first), request.end, before):
        entry = before[key] if key in before else index.records[key]
        if not entry:
            continue
        if request.limit and len(picked) == request.limit:
            return picked, True
        picked.append(entry)
    return picked, False


def _keys(index: KeyIndex, start: str, end: str, before: Mapping[str, Before]) -> Iterator[str]:
    """The keys from ``start`` on that are there now or were before, in order."""
    present = index.keys_between(start, end)
    gone = sorted(key for key in before if key >= start and key not in index.records)
    return merge(present, gone) if gone else present


def _record(entry: Before, records: Mapping[int, Record]) -> Record:
    if isinstance(entry, Record):
        return entry
    found = records.get(entry)
    if found is None:
        raise StoreCorrupt(f"row {entry}, which a later one supersedes, is missing: look with 'pyk3s datastore check'")
    return found
