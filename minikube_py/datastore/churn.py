"""Accounting of churn: who (client) writes how often and how much under which folder of keys.

In: every published change. Out: ``ChurnRow``s, and what was added since the last ``take``, which the
engine writes along with its housekeeping so that the numbers outlive the process. A folder is the
key up to its last slash. Memory is bounded: when the table is full, new pairs count as ``OTHER``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minikube_py.datastore.types import Change

OTHER = "(other)"
_MAX_PAIRS = 4096
_NOTHING = (0, 0)


@dataclass(frozen=True, slots=True)
class ChurnRow:
    """``revisions`` changes with ``bytes`` of keys and values, of ``client`` under ``folder``."""

    folder: str
    client: str
    revisions: int
    bytes: int


class Churn:
    """Totals by (folder, client): ``_totals`` up to the last ``take``, ``_since`` what came after it.

    Invariant: every pair of ``_since`` is in ``_totals``. Only the event loop touches it.
    """

    __slots__ = ("_limit", "_since", "_totals")

    def __init__(self, stored: Iterable[ChurnRow] = (), *, limit: int = _MAX_PAIRS) -> None:
        self._limit = limit
        self._totals = {(row.folder, row.client): [row.revisions, row.bytes] for row in stored}
        self._since: dict[tuple[str, str], list[int]] = {}

    def add(self, change: Change, client: str) -> None:
        key = change.record.key
        pair = (key[: key.rfind("/") + 1] or "/", client)
        entry = self._since.get(pair)
        if entry is None:
            entry = self._new(pair)
        entry[0] += 1
        entry[1] += len(key) + len(change.record.value)

    def rows(self) -> list[ChurnRow]:
        """All totals, the most bytes first."""
        sums = {pair: _sum(total, self._since.get(pair, _NOTHING)) for pair, total in self._totals.items()}
        return sorted(_rows(sums), key=lambda row: (-row.bytes, row.folder, row.client))

    def take(self) -> list[ChurnRow]:
        """What was added since the last call."""
        since, self._since = self._since, {}
        for pair, added in since.items():
            self._totals[pair] = _sum(self._totals[pair], added)
        return _rows(since)

    def put_back(self, rows: Sequence[ChurnRow]) -> None:
        """``rows`` of ``take`` could not be stored: they come with the next ones."""
        for row in rows:
            pair = (row.folder, row.client)
            self._totals[pair] = _sum(self._totals[pair], [-row.revisions, -row.bytes])
            self._since[pair] = _sum(self._since.get(pair, _NOTHING), [row.revisions, row.bytes])

    def _new(self, pair: tuple[str, str]) -> list[int]:
        """The entry of a pair that has none since the last ``take``; that of OTHER when the table is full."""
        if pair not in self._totals:
            if len(self._totals) >= self._limit:
                pair = (OTHER, OTHER)
            self._totals.setdefault(pair, [0, 0])
        return self._since.setdefault(pair, [0, 0])


def _sum(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [one[0] + other[0], one[1] + other[1]]


def _rows(table: dict[tuple[str, str], list[int]]) -> list[ChurnRow]:
    return [ChurnRow(folder, client, revisions, size) for (folder, client), (revisions, size) in table.items()]
