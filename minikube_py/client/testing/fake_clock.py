"""Virtual time: nothing passes until a test says so.

``advance`` moves time forward from deadline to deadline, lets the event loop settle after each
(everything that can run does run), and so makes hours of control loops pass in milliseconds, in
the order in which they would really happen.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

settle_rounds = 60
"""Turns of the loop after which tasks that only talk to in-memory things have come to rest."""


class FakeClock:
    """Implements ``machinery.clock.Clock``."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._elapsed = 0.0
        self._start = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._ticket = itertools.count()

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._ticket), wake))
        await wake

    @property
    def sleepers(self) -> int:
        """How many tasks sleep now."""
        return sum(1 for _, _, wake in self._sleepers if not wake.done())

    def jump(self, seconds: float) -> None:
        """Change the time without waking anybody (use ``advance`` in tests with running loops)."""
        self._elapsed += seconds

    async def settle(self) -> None:
        """Let everything run that does not wait for time."""
        for _ in range(settle_rounds):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, waking sleepers in the order of their deadlines."""
        await self.settle()
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, wake = heapq.heappop(self._sleepers)
            if wake.done():
                continue
            self._elapsed = max(self._elapsed, due)
            wake.set_result(None)
            await self.settle()
        self._elapsed = end
        await self.settle()

    async def until(self, condition: Callable[[], bool], *, at_most_seconds: float = 3600.0) -> None:
        """Let time pass until the condition holds; AssertionError when it does not within the limit."""
        end = self._elapsed + at_most_seconds
        await self.settle()
        while not condition():
            pending = [due for due, _, wake in self._sleepers if not wake.done()]
            if not pending or min(pending) > end:
                raise AssertionError(f"condition does not hold after {at_most_seconds} virtual seconds")
            await self.advance(max(0.0, min(pending) - self._elapsed))
