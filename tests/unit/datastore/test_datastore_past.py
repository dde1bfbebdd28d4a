"""Reads of the past: what they say is what was, also while more is written and compacted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from minikube_py.datastore.index import KeyIndex
from minikube_py.datastore.past import Found, Request, Source, read_past
from minikube_py.datastore.types import Change, Compacted, Record, StoreCorrupt
from minikube_py.datastore.watching import Tap


class Log:
    """A log in memory as a source; ``meanwhile`` is what happens while it is read."""

    def __init__(self) -> None:
        self.index = KeyIndex()
        self.revision = 1
        self.compacted = 0
        self.meanwhile: list[Callable[[], None]] = []
        self._rows: dict[int, tuple[Record | None, int]] = {}
        self._taps: list[Tap] = []
        self.source = Source(self.index, self._tap, self._superseded, self._records, self._check)

    def write(self, key: str, value: bytes | None) -> None:
        self.revision += 1
        previous = self.index.get(key)
        record = Record(key, value or b"", self.revision, self.revision, 1)
        before = previous.mod_revision if previous else 0
        self._rows[self.revision] = (None if value is None else record, before)
        change = Change(record, previous, value is None)
        self.index.apply(change)
        for tap in self._taps:
            tap([change])

    def forget(self, row: int) -> None:
        del self._rows[row]

    async def read(self, request: Request, unwritten: Mapping[str, int] | None = None) -> Found:
        found = await read_past(self.source, request, self.revision, unwritten or {})
        assert self._taps == []
        return found

    def _tap(self, callback: Tap) -> Callable[[], None]:
        self._taps.append(callback)
        return lambda: self._taps.remove(callback)

    async def _superseded(self, start: str, end: str, after: int, upto: int) -> list[tuple[str, int]]:
        found: dict[str, int] = {}
        for revision in range(after + 1, upto + 1):
            record, before = self._rows[revision]
            key = record.key if record else self._rows[before][0].key  # type: ignore[union-attr]
            if key >= start and (not end or key < end):
                found.setdefault(key, before)
        self._happen()
        return list(found.items())

    async def _records(self, rows: Sequence[int]) -> dict[int, Record]:
        self._happen()
        return {row: record for row in rows if row in self._rows and (record := self._rows[row][0])}

    def _happen(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def _check(self, revision: int) -> None:
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)


def filled() -> Log:
    log = Log()
    for key in ("/a", "/b", "/d"):
        log.write(key, b"1")  # revisions 2, 3, 4
    log.write("/b", b"2")  # 5
    log.write("/a", None)  # 6
    log.write("/c", b"1")  # 7
    return log


WHOLE = ("/", "0")


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        (2, {"/a": 2}),
        (4, {"/a": 2, "/b": 3, "/d": 4}),
        (5, {"/a": 2, "/b": 5, "/d": 4}),
        (6, {"/b": 5, "/d": 4}),
    ],
)
async def test_each_revision_is_what_it_was(revision: int, expected: dict[str, int]) -> None:
    found = await filled().read(Request(*WHOLE, revision))
    assert {record.key: record.mod_revision for record in found.records} == expected
    assert (found.count, found.more) == (len(expected), False)


@pytest.mark.parametrize(
    ("first", "limit", "keys", "more"),
    [
        ("", 2, ["/a", "/b"], True),
        ("/b", 0, ["/b", "/d"], False),
        ("/b", 1, ["/b"], True),
        ("/aa", 2, ["/b", "/d"], False),
        ("/e", 5, [], False),
    ],
)
async def test_pages(first: str, limit: int, keys: list[str], more: bool) -> None:
    found = await filled().read(Request(*WHOLE, 4, first=first, limit=limit))
    assert ([record.key for record in found.records], found.count, found.more) == (keys, 3, more)


async def test_counts() -> None:
    found = await filled().read(Request(*WHOLE, 5, count_only=True))
    assert (found.records, found.count) == ([], 3)


async def test_what_is_written_meanwhile_is_not_seen() -> None:
    log = filled()

    def change_everything() -> None:
        for key in ("/b", "/c", "/d"):
            log.write(key, b"new")
        log.write("/d", None)
        log.write("/e", b"new")
        log.write("/other", b"new")
        log.write("0", b"not in the range")

    log.meanwhile = [change_everything, lambda: log.write("/b", None)]
    found = await log.read(Request(*WHOLE, 6))
    assert [(record.key, record.value) for record in found.records] == [("/b", b"2"), ("/d", b"1")]
    assert found.count == 2


async def test_records_that_are_not_in_the_log_yet() -> None:
    log = filled()
    log.index.apply(Change(Record("/d", b"heartbeat", 8, 4, 2), log.index.get("/d"), deleted=False))
    found = await log.read(Request(*WHOLE, 7), unwritten={"/d": 4})
    assert [(record.key, record.value) for record in found.records] == [("/b", b"2"), ("/c", b"1"), ("/d", b"1")]


@pytest.mark.parametrize("when", [0, 1], ids=["during the first read", "during the second"])
async def test_a_compaction_meanwhile_is_told(when: int) -> None:
    log = filled()

    def compact() -> None:
        log.compacted = 6
        log.forget(3)

    log.meanwhile = [lambda: None] * when + [compact]
    with pytest.raises(Compacted):
        await log.read(Request(*WHOLE, 4))


async def test_a_row_that_is_missing_is_damage() -> None:
    log = filled()
    log.forget(3)
    with pytest.raises(StoreCorrupt, match="row 3"):
        await log.read(Request(*WHOLE, 4))


async def test_random_histories() -> None:
    chance = random.Random(7)
    keys = [f"/{n}" for n in range(12)]
    log, states = Log(), {1: {}}

    def act() -> None:
        key = chance.choice(keys)
        log.write(key, None if log.index.get(key) and chance.random() < 0.3 else b"%d" % log.revision)
        states[log.revision] = {k: r.value for k, r in log.index.records.items()}

    for _ in range(300):
        act()
        log.meanwhile = [act] * chance.randrange(3)
        revision = chance.randrange(1, log.revision + 1)
        first, limit = chance.choice(["", *keys]), chance.randrange(5)
        found = await log.read(Request(*WHOLE, revision, first=first, limit=limit))
        rest = [(k, v) for k, v in sorted(states[revision].items()) if k >= first]
        page = rest[: limit or None]
        assert [(r.key, r.value) for r in found.records] == page
        assert (found.count, found.more) == (len(states[revision]), len(page) < len(rest))
        await asyncio.sleep(0)
