"""Runs all loops side by side so that none can take another down.

Each loop has a keeper that starts it anew when it ends or fails, with back-off (1 s doubling to
60 s, from the start again after a minute of life). All of it ends by cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

first_backoff_seconds = 1.0
longest_backoff_seconds = 60.0
healthy_after_seconds = 60.0


class Loop(Protocol):
    """One control loop; made anew for every start."""

    def run(self) -> Awaitable[None]:
        """Run until cancelled."""


async def keep(name: str, make: Callable[[], Loop], clock: Clock) -> None:
    """Keep one loop running until cancelled."""
    backoff = first_backoff_seconds
    while True:
        started = clock.monotonic()
        try:
            await make().run()
            log.error("controller ended by itself", extra={"controller": name})
        except Exception:
            log.exception("controller failed", extra={"controller": name})
        if clock.monotonic() - started > healthy_after_seconds:
            backoff = first_backoff_seconds
        await clock.sleep(backoff)
        backoff = min(backoff * 2, longest_backoff_seconds)


async def keep_all(loops: Mapping[str, Callable[[], Loop]], clock: Clock) -> None:
    """Keep all loops running until cancelled."""
    async with asyncio.TaskGroup() as group:
        for name, make in loops.items():
            group.create_task(keep(name, make, clock), name=f"controller-{name}")
