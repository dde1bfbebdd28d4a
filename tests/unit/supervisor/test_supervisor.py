"""The supervisor: order of start and stop, restarts, vital components."""

from __future__ import annotations

import asyncio

import pytest

from minikube_py.supervisor import Component, Ready, Supervisor


class InstantClock:
    """Sleeping takes no time but lets others run."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += seconds
        await asyncio.sleep(0)


def recording(name: str, log: list[str], needs: tuple[str, ...] = ()) -> Component:
    async def run(ready: Ready) -> None:
        log.append(f"start {name}")
        ready()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append(f"stop {name}")

    return Component(name, run, needs)


async def test_starts_in_order_and_stops_in_reverse() -> None:
    log: list[str] = []
    supervisor = Supervisor([recording("a", log), recording("b", log, ("a",))], InstantClock())
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    await supervisor.wait_ready("b")
    stop.set()
    await running
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_restarts_with_growing_backoff() -> None:
    clock, attempts = InstantClock(), 0
    steady = asyncio.Event()

    async def run(ready: Ready) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise RuntimeError("boom")
        ready()
        steady.set()
        await asyncio.get_running_loop().create_future()

    supervisor = Supervisor([Component("x", run)], clock)
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    await steady.wait()
    stop.set()
    await running
    assert clock.slept == [1.0, 2.0, 4.0]
    assert supervisor.statistics["x"].restarts == 3
    assert supervisor.statistics["x"].last_error == "RuntimeError: boom"


async def test_a_vital_component_that_cannot_start_ends_everything() -> None:
    log: list[str] = []

    async def fail(ready: Ready) -> None:
        raise OSError("port is busy")

    supervisor = Supervisor([recording("a", log), Component("b", fail, ("a",), vital=True)], InstantClock())
    with pytest.raises(OSError, match="port is busy"):
        await supervisor.run(asyncio.Event())
    assert log[-1] == "stop a"


async def test_a_component_whose_clean_up_fails_is_not_started_again(caplog: pytest.LogCaptureFixture) -> None:
    starts = 0

    async def run(ready: Ready) -> None:
        nonlocal starts
        starts += 1
        ready()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise OSError("the disk hangs")

    log: list[str] = []
    supervisor = Supervisor([recording("first", log), Component("store", run)], InstantClock())
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    await supervisor.wait_ready("store")
    stop.set()
    await running
    assert (starts, log) == (1, ["start first", "stop first"])
    assert [record.error for record in caplog.records if hasattr(record, "error")] == ["the disk hangs"]


def test_needs_must_come_first() -> None:
    with pytest.raises(ValueError, match="needs"):
        Supervisor([recording("b", [], ("a",)), recording("a", [])], InstantClock())
