"""Random histories against a model: a dictionary, a list of everything that happened, and etcd's rules.

After each step the store and the model agree on the outcome; now and then on a range at some past
revision, and at the end on the whole history that a watch replays.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from minikube_py.datastore.transactions import (
    Compare,
    Delete,
    Operation,
    Put,
    Relation,
    Target,
    Transaction,
    TransactionalStore,
)
from minikube_py.datastore.types import (
    Change,
    Compacted,
    FutureRevision,
    KeyExists,
    Record,
    RevisionMismatch,
    Watch,
)

_KEYS = [f"/{folder}/{name}" for folder in "ab" for name in "xyz"]
_STEPS = 150


@dataclass
class Model:
    """``history`` has (revision, key, record or None), in order."""

    revision: int = 1
    compacted: int = 0
    live: dict[str, Record] = field(default_factory=dict)
    history: list[tuple[int, str, Record | None]] = field(default_factory=list)

    def write(self, changes: dict[str, bytes | None]) -> None:
        """Carry out changes under one revision; deletions of what is not there are none."""
        real = {key: value for key, value in changes.items() if value is not None or key in self.live}
        if not real:
            return
        self.revision += 1
        for key, value in real.items():
            before = self.live.get(key)
            if value is None:
                del self.live[key]
            elif before is None:
                self.live[key] = Record(key, value, self.revision, self.revision, 1)
            else:
                self.live[key] = Record(key, value, self.revision, before.create_revision, before.version + 1)
            self.history.append((self.revision, key, self.live.get(key)))

    def at(self, revision: int) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for when, key, record in self.history:
            if when > revision:
                break
            if record is None:
                found.pop(key, None)
            else:
                found[key] = record
        return found


Told = tuple[int, str, Record | None]


@pytest.mark.parametrize("seed", range(5))
async def test_random_histories(store: TransactionalStore, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    live: list[Told] = []
    following = asyncio.create_task(follow(store.watch("/", start_revision=2), live))
    await create(store, model, chance, b"first")
    await until(lambda: len(live) == 1)
    for step in range(_STEPS):
        await chance.choice(_ACTIONS)(store, model, chance, b"%d" % step)
        assert store.current_revision == model.revision
    assert (await store.range("/")).records == sorted(model.live.values(), key=lambda record: record.key)
    await replays(store, model, model.compacted + 1)
    await until(lambda: len(live) == len(model.history))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert live == model.history


async def follow(watch: Watch, told: list[Told]) -> None:
    async for changes in watch:
        told += map(told_by, changes)


def told_by(change: Change) -> Told:
    return change.revision, change.record.key, None if change.deleted else change.record


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.0005)


async def create(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    key = chance.choice(_KEYS)
    if key in model.live:
        with pytest.raises(KeyExists) as refused:
            await store.create(key, value)
        assert refused.value.current == model.live[key]
        return
    model.write({key: value})
    assert await store.create(key, value) == model.live[key]


async def update(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    key = chance.choice(_KEYS)
    current = model.live.get(key)
    expected = current.mod_revision if current and chance.random() < 0.8 else chance.randint(1, model.revision)
    if current is None or current.mod_revision != expected:
        with pytest.raises(RevisionMismatch) as refused:
            await store.update(key, value, expected_revision=expected)
        assert refused.value.current == current
        return
    model.write({key: value})
    assert await store.update(key, value, expected_revision=expected) == model.live[key]


async def delete(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    key = chance.choice(_KEYS)
    before = model.live.get(key)
    model.write({key: None})
    gone = await store.delete(key)
    assert (gone and gone.value) == (before and before.value)
    assert gone is None or gone.mod_revision == model.revision


async def transact(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    compares = [
        Compare(chance.choice(_KEYS), chance.choice([Target.MOD, Target.VERSION]), relation, chance.randint(0, 4))
        for relation in chance.sample(list(Relation), chance.randint(0, 2))
    ]
    holds = all(_holds(compare, model) for compare in compares)
    branches: list[list[Operation]] = []
    for _ in range(2):
        puts = chance.sample(_KEYS[:3], chance.randint(0, 3))
        branch: list[Operation] = [Put(key, value) for key in puts]
        branches.append([*branch, Delete("/b/", "/b0")] if chance.random() < 0.3 else branch)
    done = await store.transact(Transaction(compares, *branches))
    assert done.succeeded == holds
    changes: dict[str, bytes | None] = {}
    for operation in branches[0 if holds else 1]:
        if isinstance(operation, Put):
            changes[operation.key] = value
        else:
            changes |= dict.fromkeys(key for key in sorted(model.live) if key.startswith("/b/"))
    model.write(changes)
    assert done.revision == model.revision


def _holds(compare: Compare, model: Model) -> bool:
    record = model.live.get(compare.start)
    found = getattr(record, compare.target.value) if record else 0
    operand = compare.operand
    assert isinstance(operand, int)
    outcomes = {
        Relation.EQUAL: found == operand,
        Relation.NOT_EQUAL: found != operand,
        Relation.LESS: found < operand,
        Relation.GREATER: found > operand,
    }
    return outcomes[compare.relation]


async def read_the_past(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    revision = chance.randint(1, model.revision + 1)
    if revision > model.revision:
        with pytest.raises(FutureRevision):
            await store.range("/", revision=revision)
    elif revision < model.compacted:
        with pytest.raises(Compacted):
            await store.range("/", revision=revision)
    else:
        expected = model.at(revision)
        found = await store.range("/", revision=revision)
        assert found.records == [expected[key] for key in sorted(expected)]
        key = chance.choice(_KEYS)
        assert await store.get(key, revision=revision) == expected.get(key)


async def compact(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    if chance.random() < 0.7 or model.revision == model.compacted:
        return
    model.compacted = chance.randint(model.compacted + 1, model.revision)
    await store.compact(model.compacted)


async def replay(store: TransactionalStore, model: Model, chance: random.Random, value: bytes) -> None:
    await replays(store, model, chance.randint(model.compacted + 1, model.revision + 1))


async def replays(store: TransactionalStore, model: Model, start: int) -> None:
    """A watch from ``start`` tells what happened since, and what it replaced, as far as that is not compacted.

    ``start`` is above the compaction: etcd forgets deletions at the very revision, this store does not yet.
    """
    expected = [entry for entry in model.history if entry[0] >= start]
    watch = store.watch("/", start_revision=start)
    seen: list[Change] = []
    async with asyncio.timeout(30):
        while len(seen) < len(expected):
            seen += await watch.__anext__()
    watch.close()
    assert list(map(told_by, seen)) == expected
    for change in seen:
        before = model.at(change.revision - 1).get(change.record.key)
        if change.previous is not None or change.revision > model.compacted:
            assert change.previous == before


_ACTIONS = (create, create, update, update, delete, transact, transact, read_the_past, compact, replay)
