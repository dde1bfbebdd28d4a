"""Starts components in dependency order and keeps them running.

A component is a name, the names it depends on, and ``run``, a coroutine function that calls
``ready`` once it serves and goes on until cancelled. The supervisor starts a component as soon as
all it needs are ready, times each start, restarts what ends or fails with back-off (1 s doubling
to 30 s, reset after 60 s of life), and cancels everything in reverse order of start.

Invariants: no component runs before its needs were ready once; a crash never ends the process,
except that of a *vital* component during its first start, which is raised to the caller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

first_backoff_seconds = 1.0
longest_backoff_seconds = 30.0
healthy_after_seconds = 60.0
stop_timeout_seconds = 15.0

Ready = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a server or agent process."""

    name: str
    run: Callable[[Ready], Awaitable[None]]
    needs: tuple[str, ...] = ()
    vital: bool = False
    """Whether failing to start ends the process (with the cause) instead of being retried."""


@dataclass(slots=True)
class Statistics:
    """What the supervisor knows of a component; written by its one keeper task."""

    started_after_seconds: float | None = None
    ready_after_seconds: float | None = None
    restarts: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Supervisor:
    """Runs a fixed set of components; see the module text for its promises."""

    components: Sequence[Component]
    clock: Clock
    statistics: dict[str, Statistics] = field(default_factory=dict)
    _ready: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for component in self.components:
            missing = [need for need in component.needs if need not in seen]
            if missing:
                raise ValueError(f"component {component.name} needs {missing}, which do not come before it")
            seen.add(component.name)
            self.statistics[component.name] = Statistics()
            self._ready[component.name] = asyncio.Event()

    async def wait_ready(self, name: str) -> None:
        """Return when the component has been ready once."""
        await self._ready[name].wait()

    def is_ready(self, name: str) -> bool:
        return self._ready[name].is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run everything until ``stop`` is set; raises what a vital component failed with at its start.

        Components are stopped one by one in reverse order, so that each can still use what it needs.
        """
        begin = self.clock.monotonic()
        tasks: dict[str, asyncio.Task[None]] = {}
        stopping = asyncio.create_task(stop.wait(), name="supervisor-stop")
        try:
            for component in self.components:
                keeper = self._keep(component, begin)
                tasks[component.name] = asyncio.create_task(keeper, name=f"component-{component.name}")
            waiting: set[asyncio.Task[object]] = {stopping, *tasks.values()}
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
        finally:
            stopping.cancel()
            for component in reversed(self.components):
                task_to_end = tasks.get(component.name)
                if task_to_end is not None:
                    await _end(component.name, task_to_end)

    async def _keep(self, component: Component, begin: float) -> None:
        stats, ready = self.statistics[component.name], self._ready[component.name]
        for need in component.needs:
            await self._ready[need].wait()
        stats.started_after_seconds = self.clock.monotonic() - begin

        def on_ready() -> None:
            if not ready.is_set():
                stats.ready_after_seconds = self.clock.monotonic() - begin
                log.info(
                    "component ready",
                    extra={"component": component.name, "after_seconds": round(stats.ready_after_seconds, 3)},
                )
                ready.set()

        backoff = first_backoff_seconds
        while True:
            started = self.clock.monotonic()
            try:
                await component.run(on_ready)
                stats.last_error = "ended by itself"
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if (component.vital and not ready.is_set()) or _is_told_to_end():
                    raise
                stats.last_error = f"{type(error).__name__}: {error}"
                log.exception("component failed", extra={"component": component.name})
            if self.clock.monotonic() - started > healthy_after_seconds:
                backoff = first_backoff_seconds
            stats.restarts += 1
            await self.clock.sleep(backoff)
            backoff = min(backoff * 2, longest_backoff_seconds)


def _is_told_to_end() -> bool:
    """Whether this task was cancelled: what failed then is a component's clean-up, and nobody wants it back."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _end(name: str, task: asyncio.Task[None]) -> None:
    """Cancel one component and wait for it; say so when it does not end in time."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=stop_timeout_seconds)
    if not done:
        log.error("component does not stop", extra={"component": name, "waited_seconds": stop_timeout_seconds})
    elif not task.cancelled() and task.exception() is not None:
        log.warning("component ended with an error", extra={"component": name, "error": str(task.exception())})
