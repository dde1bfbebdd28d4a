"""The times by which writes should be over, watched with one timer for all of them.

Nearly no write takes that long, so what a write costs here is an entry in a dictionary. The timer is set to the
earliest time that was asked for since it last rang; when it rings for nobody it is set anew, or rests when nobody is
waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any


class Deadlines:
    """See the module. Belongs to the event loop of its first ``add``."""

    __slots__ = ("_pending", "_rings", "_timer")

    def __init__(self) -> None:
        self._pending: dict[asyncio.Task[Any], tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings = inf

    def add(self, task: asyncio.Task[Any], seconds: float, over: Callable[[], None]) -> None:
        """Call ``over`` when ``task`` is not discarded within so many seconds. A task has one deadline."""
        loop = task.get_loop()
        ends = loop.time() + seconds
        self._pending[task] = (ends, over)
        if ends < self._rings:
            self._set(loop, ends)

    def discard(self, task: asyncio.Task[Any]) -> None:
        """What the task is watched for is over."""
        self._pending.pop(task, None)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """Those that are watched, also when their time is over."""
        return list(self._pending)

    def _set(self, loop: asyncio.AbstractEventLoop, ends: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings, self._timer = ends, loop.call_at(ends, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._rings, self._timer = inf, None
        now = loop.time()
        late = [(task, over) for task, (ends, over) in self._pending.items() if ends <= now]
        for task, over in late:
            self._pending[task] = (inf, over)
            over()
        first = min((ends for ends, _ in self._pending.values()), default=inf)
        if first < inf:
            self._set(loop, first)
