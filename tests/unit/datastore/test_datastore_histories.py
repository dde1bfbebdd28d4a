"""The checker of histories finds planted violations, and lets correct histories through."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from datastore_histories import Client, History, Operation, not_linearizable, parsed, violations

from minikube_py.datastore.sqlite import SqliteDatastore
from minikube_py.datastore.types import Change

Reopen = Callable[[], Awaitable[SqliteDatastore]]


def read(began: float, ended: float, value: str | None) -> Operation:
    found = (value, 1) if value else None
    return Operation("r", "/k", "read", began, ended=ended, done=True, found=found)


def swap(
    began: float, ended: float, expected: str | None, value: str | None, *, done: bool | None = True, saw: str = ""
) -> Operation:
    found = (saw, 1) if saw else None
    return Operation("w", "/k", "swap", began, expected, value, ended=ended, done=done, found=found)


def lost(began: float, expected: str | None, value: str | None) -> Operation:
    return swap(began, math.inf, expected, value, done=None)


GOOD = {
    "one after the other": [swap(0, 1, None, "a"), read(2, 3, "a"), swap(4, 5, "a", "b"), read(6, 7, "b")],
    "a read beside a write sees either": [
        swap(0, 1, None, "a"),
        swap(2, 9, "a", "b"),
        read(3, 4, "a"),
        read(5, 6, "b"),
    ],
    "the loser of a race sees the winner": [
        swap(0, 1, None, "a"),
        swap(2, 9, "a", "b"),
        swap(2, 9, "a", "c", done=False, saw="b"),
    ],
    "no answer, and it took place": [swap(0, 1, None, "a"), lost(2, "a", "b"), read(3, 4, "a"), read(5, 6, "b")],
    "no answer, and it did not": [swap(0, 1, None, "a"), lost(2, "a", "b"), swap(3, 4, "a", "c"), read(5, 6, "c")],
    "no answer to a deletion": [swap(0, 1, None, "a"), lost(2, "a", None), read(3, 4, "a"), read(5, 6, None)],
    "a key that comes back": [swap(0, 1, None, "a"), swap(2, 3, "a", None), swap(4, 5, None, "b"), read(6, 7, "b")],
}
BAD = {
    "a stale read": [swap(0, 1, None, "a"), swap(2, 3, "a", "b"), read(4, 5, "a")],
    "a lost write": [swap(0, 1, None, "a"), read(2, 3, None)],
    "two winners": [swap(0, 1, None, "a"), swap(2, 9, "a", "b"), swap(2, 9, "a", "c")],
    "reads that go back": [swap(0, 1, None, "a"), swap(2, 9, "a", "b"), read(3, 4, "b"), read(5, 6, "a")],
    "a value out of nowhere": [read(0, 1, "a")],
    "refused although it fitted": [swap(0, 1, None, "a"), swap(2, 3, "a", "b", done=False, saw="a")],
    "a write without an answer that goes and comes": [
        swap(0, 1, None, "a"),
        lost(2, "a", "b"),
        read(3, 4, "b"),
        read(5, 6, "a"),
    ],
    "read before it was written": [read(0, 1, "a"), lost(2, None, "a")],
    "a deleted key that is still there": [swap(0, 1, None, "a"), swap(2, 3, "a", None), read(4, 5, "a")],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories(name: str) -> None:
    assert not_linearizable(GOOD[name], "/k") == []


@pytest.mark.parametrize("name", BAD)
def test_bad_histories(name: str) -> None:
    assert len(not_linearizable(BAD[name], "/k")) == 1


async def recorded(store: Any, *, clients: int = 6, rounds: int = 40) -> tuple[History, list[Change]]:
    history = History(time.monotonic)
    actors = [Client(store, f"c{n}", [f"/{k}" for k in range(3)], history, seed=1) for n in range(clients)]

    async def act(client: Client) -> None:
        for _ in range(rounds):
            assert await client.act()

    await asyncio.gather(*map(act, actors))
    log: list[Change] = []
    watch = store.watch("/", start_revision=2)
    while not log or log[-1].revision < store.current_revision:
        log += await watch.__anext__()
    return history, log


class Faulty:
    """A store with a planted fault."""

    def __init__(self, store: SqliteDatastore, fault: str) -> None:
        self._store = store
        self._fault = fault
        self._old: dict[str, Any] = {}
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def scan(self, key: str) -> Any:
        found = await self._store.scan(key)
        self._calls += 1
        if self._fault == "stale reads" and self._calls % 10 == 0:
            return self._old.get(key, found)
        self._old[key] = found
        return found

    async def range(self, prefix: str, *, revision: int = 0) -> Any:
        if self._fault == "ranges of another revision" and revision > 3:
            return await self._store.range(prefix, revision=revision - 2)
        return await self._store.range(prefix, revision=revision)

    async def transact(self, transaction: Any, *, client: str = "") -> Any:
        self._calls += 1
        if self._fault == "writes that are lost" and self._calls % 20 == 0:
            plan = await self._store.transact(type(transaction)(transaction.compares, (), transaction.failure))
            plan.revision += int(plan.succeeded)
            return plan
        if self._fault == "guards that are ignored" and self._calls % 20 == 0:
            return await self._store.transact(type(transaction)((), transaction.success, ()))
        return await self._store.transact(transaction, client=client)


async def test_a_recorded_history_is_linearizable(stores: Reopen) -> None:
    history, log = await recorded(await stores())
    assert violations(history.operations, log) == []
    kinds = {(operation.kind, operation.done) for operation in history.operations}
    assert kinds == {("read", True), ("range", True), ("swap", True), ("swap", False)}


@pytest.mark.parametrize(
    "fault", ["stale reads", "ranges of another revision", "writes that are lost", "guards that are ignored"]
)
async def test_planted_faults_are_found(stores: Reopen, fault: str) -> None:
    history, log = await recorded(Faulty(await stores(), fault))
    assert violations(history.operations, log)


async def test_notes_of_a_process_are_the_history(stores: Reopen) -> None:
    lines: list[str] = []
    store = await stores()
    history = History(time.monotonic, lines.append)
    client = Client(store, "c", ["/a", "/b"], history, seed=1)
    for _ in range(60):
        await client.act()
    assert parsed(lines) == history.operations
    ends = [n for n, line in enumerate(lines) if line.startswith('{"end')]
    cut = parsed(lines[: ends[-1]])
    assert cut[-1].done is None and cut[-1].ended == math.inf
