"""Times by which something should be over, watched with one timer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from minikube_py.components.apiserver.http.deadlines import Deadlines

HOUR = 3600.0


@pytest.fixture
async def tasks() -> AsyncIterator[list[asyncio.Task[bool]]]:
    made = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    yield made
    for task in made:
        task.cancel()


@pytest.mark.parametrize("seconds", [(0.0, 0.02, 0.05), (0.05, 0.02, 0.0), (0.05, 0.0, 0.02)], ids=str)
async def test_all_are_called_once(tasks: list[asyncio.Task[bool]], seconds: tuple[float, ...]) -> None:
    deadlines, called, last = Deadlines(), [], asyncio.Event()

    def over(length: float) -> None:
        called.append(length)
        if len(called) == len(seconds):
            last.set()

    for task, length in zip(tasks, seconds, strict=True):
        deadlines.add(task, length, lambda length=length: over(length))
    await asyncio.wait_for(last.wait(), 30)
    await asyncio.sleep(0)
    assert sorted(called) == sorted(seconds)
    assert deadlines.tasks == tasks, "they are still waited for"


async def test_who_is_over_in_time_is_not_called(tasks: list[asyncio.Task[bool]]) -> None:
    deadlines, called = Deadlines(), asyncio.Event()
    deadlines.add(tasks[0], 0.0, lambda: pytest.fail("it was discarded"))
    deadlines.add(tasks[1], HOUR, lambda: pytest.fail("its time has not come"))
    deadlines.discard(tasks[0])
    deadlines.add(tasks[2], 0.01, called.set)
    await asyncio.wait_for(called.wait(), 30)
    assert deadlines.tasks == [tasks[1], tasks[2]]


async def test_a_later_one_is_called_when_an_earlier_one_was_over_in_time(tasks: list[asyncio.Task[bool]]) -> None:
    deadlines, called = Deadlines(), asyncio.Event()
    deadlines.add(tasks[0], 0.0, lambda: pytest.fail("it was discarded"))
    deadlines.add(tasks[1], 0.01, called.set)
    deadlines.discard(tasks[0])
    await asyncio.wait_for(called.wait(), 30)
