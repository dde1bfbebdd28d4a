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


@dataclass(frozen=True, slots=True)
class ChurnRow:
    """``revisions`` changes with ``bytes`` of keys and values, of ``client`` under ``folder``."""

    folder: str
    client: str
    revisions: int
    bytes: int


class Churn:
    """Totals by (folder, client). Only the event loop touches it."""

    __slots__ = ("_limit", "_since", "_totals")

    def __init__(self, stored: Iterable[ChurnRow] = (), *, limit: int = _MAX_PAIRS) -> None:
        self._limit = limit
        self._totals = {(row.folder, row.client): [row.revisions, row.bytes] for row in stored}
        self._since: dict[tuple[str, str], list[int]] = {}

    def add(self, change: Change, client: str) -> None:
        key = change.record.key
        pair = (key[: key.rfind("/") + 1] or "/", client)
        if pair not in self._totals and len(self._totals) >= self._limit:
            pair = (OTHER, OTHER)
        size = len(key) + len(change.record.value)
        for table in (self._totals, self._since):
            entry = table.get(pair)
            if entry is None:
                table[pair] = [1, size]
            else:
                entry[0] += 1
                entry[1] += size

    def rows(self) -> list[ChurnRow]:
        """All totals, the most bytes first."""
        return sorted(_rows(self._totals), key=lambda row: (-row.bytes, row.folder, row.client))

    def take(self) -> list[ChurnRow]:
        """What was added since the last call."""
        since, self._since = self._since, {}
        return _rows(since)

    def put_back(self, rows: Sequence[ChurnRow]) -> None:
        """``rows`` of ``take`` could not be stored: they come with the next ones."""
        for row in rows:
            entry = self._since.setdefault((row.folder, row.client), [0, 0])
            entry[0] += row.revisions
            entry[1] += row.bytes


def _rows(table: dict[tuple[str, str], list[int]]) -> list[ChurnRow]:
    return [ChurnRow(folder, client, revisions, size) for (folder, client), (revisions, size) in table.items()]
