"""The watchdog names what blocks the loop and interrupts what does not end; nothing else is touched.

These tests block the loop on purpose, for as short as the limits allow.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from minikube_py.plugins.watchdog import PluginStuck, Watchdog

offences: list[str] = []


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    offences.clear()
    made = Watchdog(offences.append, slow=0.02, stuck=0.1)
    yield made
    made.close()


def spin() -> None:
    while True:
        pass


def spin_stubbornly() -> None:
    while True:
        try:
            while True:
                pass
        except Exception:
            continue


@pytest.mark.parametrize("function", [spin, spin_stubbornly])
def test_an_endless_loop_is_named_and_interrupted(
    watchdog: Watchdog, caplog: pytest.LogCaptureFixture, function: object
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(PluginStuck, match="held the event loop"):
        watchdog.step("p.f", function)  # type: ignore[arg-type]
    assert offences == ["p.f"]
    assert watchdog.slow_steps == {"p.f": 1}
    assert any(__file__ in str(getattr(record, "at", "")) for record in caplog.records)
    assert watchdog.step("p.g", lambda: 7) == 7


async def test_an_endless_loop_inside_a_coroutine(watchdog: Watchdog) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        spin()

    with pytest.raises(PluginStuck):
        await watchdog.watched("p.work", work())
    assert offences == ["p.work"]


async def test_waiting_is_not_blocking(watchdog: Watchdog) -> None:
    async def work() -> str:
        await asyncio.sleep(0.25)
        return "done"

    assert await watchdog.watched("p.work", work()) == "done"
    assert await asyncio.create_task(watchdog.watched("p.work", work())) == "done"
    assert offences == []
    assert watchdog.slow_steps == {}


async def test_cancellation_and_errors_reach_the_coroutine(watchdog: Watchdog) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(watchdog.watched("p.work", work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]

    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await watchdog.watched("p.fail", fail())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await watchdog.watched("p.work", work())


def test_many_steps_at_the_limit_never_leak_an_interrupt(watchdog: Watchdog) -> None:
    """Steps that end just when they would be interrupted: the exception stays inside the step."""
    hard = Watchdog(lambda part: None, slow=0.001, stuck=0.004)
    clock = threading.Event()
    ended = interrupted = 0
    for number in range(120):
        wait = 0.002 + (number % 12) * 0.0005
        try:
            hard.step("p.f", clock.wait, wait)
            ended += 1
        except PluginStuck:
            interrupted += 1
        sum(range(200))
    hard.close()
    assert ended + interrupted == 120
    assert interrupted


def test_without_steps_there_is_no_thread() -> None:
    before = threading.active_count()
    Watchdog(lambda part: None).close()
    assert threading.active_count() == before
