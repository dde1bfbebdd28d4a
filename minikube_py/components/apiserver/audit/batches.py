"""A backend's queue: events go in without waiting, and leave in batches.

Two modes (``plugin/buffered`` and the blocking modes of kube-apiserver): in ``batch`` an event that finds the
queue full is dropped and counted; in ``blocking`` the request waits until its event is written. The writer takes
what has gathered, so a busy server writes many events at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object

log = logging.getLogger(__name__)

Write = Callable[[Sequence[Object]], Awaitable[None]]


class WriteFailed(Exception):
    """A batch could not be written; the text says why."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """``wait_seconds`` is how long an event may wait for others to share its batch with (batch mode)."""

    blocking: bool
    strict: bool = False
    """Blocking mode: a request whose first event cannot be written is refused."""
    buffer_size: int = 10_000
    most: int = 400
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: Object
    written: asyncio.Future[None] | None


class Batches:
    """See the module. ``name`` labels the metrics: log or webhook."""

    def __init__(self, name: str, write: Write, settings: BatchSettings, clock: Clock, errors: Counter) -> None:
        self.settings = settings
        self._name = name
        self._write = write
        self._clock = clock
        self._errors = errors.labels(name)
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._ended = False

    def put(self, event: Object) -> asyncio.Future[None] | None:
        """Take an event. In blocking mode the future ends when it is written, with WriteFailed when that failed.

        After ``run`` has ended events are dropped and counted: nobody would write them.
        """
        if self._ended:
            self._errors.inc()
            log.error("audit has ended; event dropped", extra={"backend": self._name})
            return None
        if len(self._waiting) >= self.settings.buffer_size and not self.settings.blocking:
            self._errors.inc()
            log.error("audit queue is full; event dropped", extra={"backend": self._name})
            return None
        written: asyncio.Future[None] | None = None
        if self.settings.blocking:
            written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(event, written))
        self._wake.set()
        return written

    async def run(self) -> None:
        """Write until cancelled; what is queued then is still written."""
        try:
            while True:
                await self._wake.wait()
                if self.settings.wait_seconds and len(self._waiting) < self.settings.most:
                    await self._clock.sleep(self.settings.wait_seconds)
                self._wake.clear()
                await self._write_waiting()
        finally:
            self._ended = True
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self.settings.most)
            batch = [self._waiting.popleft() for _ in range(count)]
            writing = asyncio.create_task(self._write_batch(batch))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait({writing})  # what has begun is written before others are told that this has ended
                raise

    async def _write_batch(self, batch: Sequence[_Waiting]) -> None:
        failure: WriteFailed | None = None
        try:
            await self._write([item.event for item in batch])
        except WriteFailed as error:
            failure = error
            self._errors.inc(len(batch))
            log.error("audit events lost", extra={"backend": self._name, "events": len(batch), "error": str(error)})
        for item in batch:
            if item.written is not None and not item.written.done():
                if failure is None:
                    item.written.set_result(None)
                else:
                    item.written.set_exception(failure)
