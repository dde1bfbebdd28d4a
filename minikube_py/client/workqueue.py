"""The queue between a component's event handlers and its workers (client-go's workqueue).

Promises:

- Fair: keys come out in the order in which they were added.
- Stingy: a key that is added several times before it is taken comes out once.
- One worker per key: a key that is being processed is not given to a second worker; added again
  meanwhile, it comes out once more after ``done``.
- Any number of producers and workers on one event loop; no locks, nothing polls.
- Delays: of several ``add_after`` for one key the earliest wins; one timer sleeps until the next
  deadline, and none exists while nothing is delayed.
- Rate limits: ``add_rate_limited`` doubles the delay of a key with every failure until ``forget``.
- ``shut_down`` ends everything: waiting and later ``get`` raise ``QueueShutDown``, adds are ignored.

Three layers, each usable alone: ``PlainQueue``, ``DelayingQueue``, ``WorkQueue``.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from bisect import bisect_left
from collections import deque
from collections.abc import Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from minikube_py.machinery.clock import Clock

K = TypeVar("K", bound=Hashable)

first_retry_seconds = 0.005
longest_retry_seconds = 1000.0
timer_slack_seconds = 0.001
"""Deadlines this close together share a wake-up; clocks are not exact either."""


QUEUE_SECONDS = tuple(1e-6 * 10**power for power in range(10))
"""The upper bounds under which waiting and working times are counted."""
queues_of_context: ContextVar[WeakSet[WorkQueue[Any]] | None] = ContextVar("queues_of_context", default=None)
"""Where the queues that are made in this context (a server's components) are noted, for its metrics."""


class QueueShutDown(Exception):
    """The queue gives out nothing any more."""


@dataclass(slots=True)
class QueueCounts:
    """What happened since the queue was made; read by metrics (``workqueue_adds_total`` and so on)."""

    adds: int = 0
    retries: int = 0
    done: int = 0
    failed: int = 0
    busy_seconds: float = 0.0


class PlainQueue(Generic[K]):
    """Three sets make the promises: ``order`` (to come), ``dirty`` (must be processed), ``processing``."""

    def __init__(self) -> None:
        self.counts = QueueCounts()
        self._order: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._down = False

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._order)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being processed (delayed keys do not count)."""
        return not self._order and not self._processing

    def add(self, key: K) -> None:
        """Ask for the key to be processed."""
        if self._down or key in self._dirty:
            return
        self.counts.adds += 1
        self._dirty.add(key)
        if key not in self._processing:
            self._give(key)

    async def get(self) -> K:
        """The next key; the caller must call ``done`` with it. Raises QueueShutDown."""
        while not self._order:
            if self._down:
                raise QueueShutDown
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._pass_on(turn)
                raise
        key = self._order.popleft()
        self._processing.add(key)
        self._dirty.discard(key)
        return key

    def done(self, key: K) -> None:
        """The key is processed; it comes again if it was added meanwhile."""
        self._processing.discard(key)
        self.counts.done += 1
        if key in self._dirty and not self._down:
            self._give(key)

    def shut_down(self) -> None:
        self._down = True
        self._order.clear()
        self._dirty.clear()
        while self._waiting:
            self._wake_one()

    def _give(self, key: K) -> None:
        self._order.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _pass_on(self, turn: asyncio.Future[None]) -> None:
        """A cancelled worker must not swallow a wake-up that was meant for it."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled() and self._order:
            self._wake_one()


class DelayingQueue(PlainQueue[K]):
    """Adds keys later. Needs a running event loop once something is delayed."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._ticket = itertools.count()
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = float("inf")

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key in so many seconds (now, for zero or less)."""
        if self._down:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._ticket), key))
        self._set_timer()

    def shut_down(self) -> None:
        super().shut_down()
        self._heap.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        """Let one timer sleep until the earliest deadline."""
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().create_task(self._sleep_until(due), name="workqueue-timer")

    async def _sleep_until(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._timer = None
        near = self._clock.monotonic() + timer_slack_seconds
        while self._heap and self._heap[0][0] <= near:
            moment, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == moment:
                del self._due[key]
                self.add(key)
        if self._heap:
            self._set_timer()


class WorkQueue(DelayingQueue[K]):
    """Remembers how often a key failed (``ItemExponentialFailureRateLimiter``)."""

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "",
        first_retry: float = first_retry_seconds,
        longest_retry: float = longest_retry_seconds,
    ) -> None:
        super().__init__(clock)
        self.name = name
        self._first = first_retry
        self._longest = longest_retry
        self._failures: dict[K, int] = {}
        self._added: dict[K, float] = {}
        self._taken: dict[K, float] = {}
        self._waits = [0] * (len(QUEUE_SECONDS) + 1)
        self._waited_seconds = 0.0
        self._works = [0] * (len(QUEUE_SECONDS) + 1)
        self._worked_seconds = 0.0
        noted = queues_of_context.get()
        if noted is not None:
            noted.add(self)

    @property
    def waited(self) -> tuple[list[int], float]:
        """How many keys waited how long (by ``QUEUE_SECONDS``), and the seconds of all."""
        return self._waits, self._waited_seconds

    @property
    def worked(self) -> tuple[list[int], float]:
        """The same of the time from ``get`` to ``done``."""
        return self._works, self._worked_seconds

    def running_seconds(self) -> list[float]:
        """How long the keys that are being processed have been so."""
        now = self._clock.monotonic()
        return [now - since for since in self._taken.values()]

    def add(self, key: K) -> None:
        before = self.counts.adds
        super().add(key)
        if self.counts.adds != before:
            self._added[key] = self._clock.monotonic()

    async def get(self) -> K:
        key = await super().get()
        now = self._clock.monotonic()
        self._taken[key] = now
        waited = now - self._added.pop(key, now)
        self._waits[bisect_left(QUEUE_SECONDS, waited)] += 1
        self._waited_seconds += waited
        return key

    def done(self, key: K) -> None:
        since = self._taken.pop(key, None)
        if since is not None:
            worked = self._clock.monotonic() - since
            self._works[bisect_left(QUEUE_SECONDS, worked)] += 1
            self._worked_seconds += worked
        super().done(key)

    def add_rate_limited(self, key: K) -> None:
        """Add the key after its back-off, which doubles with each call."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.counts.retries += 1
        self.add_after(key, min(self._first * 2 ** min(failures, 60), self._longest))

    def forget(self, key: K) -> None:
        """The key went well: its next failure starts at the shortest delay again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often ``add_rate_limited`` was called since ``forget``."""
        return self._failures.get(key, 0)

    def shut_down(self) -> None:
        super().shut_down()
        self._failures.clear()
        self._added.clear()
