"""The work queue's promises, one by one, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from minikube_py.client.controller import run_controller
from minikube_py.client.testing import FakeClock
from minikube_py.client.workqueue import QueueShutDown, WorkQueue
from minikube_py.machinery.errors import conflict


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_keys_come_out_once_and_in_order(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock)
    for key in ("a", "b", "a", "c"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert len(queue) == 0


async def test_a_key_added_while_processed_comes_again_after_done(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"


async def test_the_earliest_delay_wins_and_the_key_comes_once(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 60)
    queue.add_after("a", 10)
    queue.add_after("a", 30)
    await clock.advance(9.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert await queue.get() == "a"
    queue.done("a")
    await clock.advance(100)
    assert len(queue) == 0
    assert clock.sleepers == 0


async def test_failures_double_the_delay_until_forgotten(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, first_retry=1, longest_retry=5)
    for delay in (1, 2, 4, 5):
        queue.add_rate_limited("a")
        await clock.advance(delay - 0.01)
        assert len(queue) == 0
        await clock.advance(0.02)
        queue.done(await queue.get())
    queue.forget("a")
    assert queue.failures("a") == 0


async def test_shut_down_ends_waiting_workers(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock)
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    with pytest.raises(QueueShutDown):
        await waiting
    queue.add("a")
    assert len(queue) == 0


async def test_a_cancelled_worker_passes_its_turn_on(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock)
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_controller_retries_failures_and_keeps_deadlines(clock: FakeClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, first_retry=1)
    seen: list[tuple[str, float]] = []

    async def reconcile(key: str) -> float | None:
        seen.append((key, clock.monotonic()))
        if len(seen) == 1:
            raise conflict("", "pods", key)
        return 30 if len(seen) == 2 else None

    running = asyncio.ensure_future(run_controller(queue, reconcile, name="test", clock=clock))
    queue.add("a")
    await clock.advance(100)
    assert seen == [("a", 0.0), ("a", 1.0), ("a", 31.0)]
    assert queue.idle
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
