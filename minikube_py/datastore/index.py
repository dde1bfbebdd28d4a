"""The in-memory index of a store's current records: key -> newest record, in key order.

It answers every read of the current state without SQL. In: published changes, in revision order.
Out: records by key, by prefix, counts. It holds each key and value once (the very objects that
watchers and the API server's cache hold). Single-threaded: only the event loop touches it.

Text compares by code point in Python, by UTF-8 bytes in SQLite; both are the same order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

from minikube_py.datastore.types import Change, Record

_CHUNK_KEYS = 1024


def prefix_end(prefix: str) -> str:
    """The smallest text above every key that begins with ``prefix``; empty: there is no such text.

    >>> prefix_end("/registry/pods/")
    '/registry/pods0'
    """
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return ""
    following = ord(stem[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:  # surrogates have no UTF-8 form
        following = 0xE000
    return stem[:-1] + chr(following)


class SortedKeys:
    """A set of texts in order: a list of sorted chunks, so that an insertion moves at most 2,048 pointers."""

    __slots__ = ("_chunks", "_lasts")

    def __init__(self, keys: Iterable[str] = ()) -> None:
        ordered = sorted(keys)
        self._chunks = [ordered[at : at + _CHUNK_KEYS] for at in range(0, len(ordered), _CHUNK_KEYS)]
        self._lasts = [chunk[-1] for chunk in self._chunks]

    def add(self, key: str) -> None:
        """Insert a key that is not in the set."""
        if not self._chunks:
            self._chunks.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, key)
        if len(chunk) > 2 * _CHUNK_KEYS:
            self._chunks[at : at + 1] = [chunk[:_CHUNK_KEYS], chunk[_CHUNK_KEYS:]]
            self._lasts[at : at + 1] = [chunk[_CHUNK_KEYS - 1], chunk[-1]]
        else:
            self._lasts[at] = chunk[-1]

    def remove(self, key: str) -> None:
        """Take out a key that is in the set."""
        at = bisect_left(self._lasts, key)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, key)]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at], self._lasts[at]

    def between(self, start: str, end: str) -> Iterator[str]:
        """Keys with start <= key < end, in order; an empty ``end`` means no upper bound."""
        at = bisect_left(self._lasts, start)
        for position in range(at, len(self._chunks)):
            chunk = self._chunks[position]
            low = bisect_left(chunk, start) if position == at else 0
            if end and chunk[-1] >= end:
                yield from chunk[low : bisect_left(chunk, end)]
                return
            yield from chunk[low:] if low else chunk

    def count_between(self, start: str, end: str) -> int:
        """How many keys ``between`` would give."""
        upper = self._rank(end) if end else sum(map(len, self._chunks))
        return max(0, upper - self._rank(start))

    def _rank(self, key: str) -> int:
        at = bisect_left(self._lasts, key)
        below = sum(map(len, self._chunks[:at]))
        return below + (bisect_left(self._chunks[at], key) if at < len(self._chunks) else 0)


class KeyIndex:
    """Current records. Invariant: ``_order`` holds exactly the keys of ``records``."""

    __slots__ = ("_order", "live_bytes", "records")

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: dict[str, Record] = {record.key: record for record in records}
        self._order = SortedKeys(self.records)
        self.live_bytes = sum(len(record.key) + len(record.value) for record in self.records.values())

    def get(self, key: str) -> Record | None:
        return self.records.get(key)

    def apply(self, change: Change) -> None:
        """Take over a published change."""
        record, before = change.record, change.previous
        if change.deleted:
            if self.records.pop(record.key, None) is not None:
                self._order.remove(record.key)
        else:
            if record.key not in self.records:
                self._order.add(record.key)
            self.records[record.key] = record
            self.live_bytes += len(record.key) + len(record.value)
        if before is not None:
            self.live_bytes -= len(before.key) + len(before.value)

    def range(self, prefix: str, start: str = "", limit: int = 0) -> tuple[list[Record], int, bool]:
        """Records under ``prefix`` from ``start`` on, the count of the whole prefix, whether some are left out."""
        end = prefix_end(prefix)
        count = self._order.count_between(prefix, end)
        records = self.records
        found: list[Record] = []
        for key in self._order.between(max(prefix, start), end):
            if limit and len(found) == limit:
                return found, count, True
            found.append(records[key])
        return found, count, False

    def between(self, start: str, end: str) -> Iterator[Record]:
        """Records with start <= key < end in key order; an empty ``end`` means no upper bound."""
        records = self.records
        for key in self._order.between(start, end):
            yield records[key]

    def keys_between(self, start: str, end: str) -> Iterator[str]:
        """The keys of ``between``."""
        return self._order.between(start, end)

    def count_between(self, start: str, end: str) -> int:
        return self._order.count_between(start, end)

    def count(self, prefix: str) -> int:
        return self._order.count_between(prefix, prefix_end(prefix))


def first_revision_at_least(changes: list[Change] | tuple[Change, ...], revision: int) -> int:
    """The position of the first change with ``revision`` or a later one, in a batch in revision order."""
    return bisect_right(changes, revision - 1, key=lambda change: change.record.mod_revision)
