"""Watches: from a writer that publishes batches of changes to any number of subscribers.

A ``WatchHub`` gets each published batch once, in revision order, on the event loop. A subscription
that starts in the past first replays the log (through the ``Replay`` function that the engine
gives) and joins the live stream in the moment it has caught up; there is no await between the
check and the joining, so no change is missed or doubled. While it replays it holds no buffer.

A live subscription buffers at most ``buffer`` changes; beyond that it is closed with
``WatcherTooSlow`` after what it has buffered was handed out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from minikube_py.datastore.index import first_revision_at_least
from minikube_py.datastore.types import Change, StoreUnavailable, WatcherTooSlow

Tap = Callable[[Sequence[Change]], None]


class Replay(Protocol):
    """Reads changes of the past: those under ``prefix`` with revision in [start, upto], the oldest first.

    Returns the changes and the revision up to which they are complete (a step may read fewer than
    asked). Raises ``Compacted`` when ``start`` is not readable any more.
    """

    def __call__(self, prefix: str, start: int, upto: int) -> Awaitable[tuple[list[Change], int]]: ...


class WatchHub:
    """The subscribers of one store, grouped by prefix so that a batch is filtered once for each prefix."""

    def __init__(self, *, published: int, replay: Replay, check_start: Callable[[int], None]) -> None:
        """``check_start`` raises ``Compacted`` when a watch may not start at a revision."""
        self.published = published
        self.replay = replay
        self.check_start = check_start
        self._live: dict[str, list[Subscription]] = {}
        self._all: set[Subscription] = set()
        self._taps: list[Tap] = []
        self._closed = False

    def subscribe(self, prefix: str, start_revision: int, buffer: int) -> Subscription:
        """A watch from ``start_revision`` on; 0 and less mean: only what comes after now."""
        if self._closed:
            raise StoreUnavailable("the datastore is closed")
        watch = Subscription(self, prefix, start_revision if start_revision > 0 else self.published + 1, buffer)
        self._all.add(watch)
        if watch.position > self.published:
            self.join(watch)
        return watch

    def tap(self, callback: Tap) -> Callable[[], None]:
        """Call ``callback`` with every batch, before its writers are answered; returns how to stop that."""
        self._taps.append(callback)
        return lambda: self._taps.remove(callback)

    def join(self, watch: Subscription) -> None:
        watch.live = True
        self._live.setdefault(watch.prefix, []).append(watch)

    def leave(self, watch: Subscription) -> None:
        self._all.discard(watch)
        peers = self._live.get(watch.prefix)
        if peers is not None and watch in peers:
            peers.remove(watch)
            if not peers:
                del self._live[watch.prefix]

    def publish(self, changes: Sequence[Change], revision: int) -> None:
        """Hand a batch to everyone; ``revision`` is that of its last change."""
        self.published = revision
        for tap in tuple(self._taps):
            tap(changes)
        for prefix, watches in tuple(self._live.items()):
            matching = tuple(c for c in changes if c.record.key.startswith(prefix)) if prefix else tuple(changes)
            if matching:
                for watch in tuple(watches):
                    watch.offer(matching)

    def fail_watches(self, failure: Exception) -> None:
        """End every watch with ``failure``, after what it has buffered; new ones may come."""
        for watch in tuple(self._all):
            watch.fail(failure)

    def close(self) -> None:
        """End every watch with ``StoreUnavailable``."""
        self._closed = True
        for watch in tuple(self._all):
            watch.fail(StoreUnavailable("the datastore is closed"))


class Subscription:
    """One watch (see ``types.Watch``). ``position`` is the next revision that it has not handed out."""

    __slots__ = (
        "_batches",
        "_buffered",
        "_closed",
        "_failure",
        "_hub",
        "_limit",
        "_waiter",
        "live",
        "position",
        "prefix",
    )

    def __init__(self, hub: WatchHub, prefix: str, start_revision: int, buffer: int) -> None:
        self.prefix = prefix
        self.position = start_revision
        self.live = False
        self._hub = hub
        self._limit = buffer
        self._batches: deque[tuple[Change, ...]] = deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        while True:
            if self._closed:
                raise StopAsyncIteration
            if self._batches:
                return self._take()
            if self._failure is not None:
                raise self._failure
            if not self.live:
                changes = await self._replay_step()
                if changes and not self._closed:
                    return changes
                continue
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    @property
    def progress_revision(self) -> int:
        if self._batches:
            return self._batches[0][0].revision - 1
        if self.live and self._failure is None:
            return max(self._hub.published, self.position - 1)
        return self.position - 1

    def ready(self) -> list[Sequence[Change]]:
        """Take all that is buffered."""
        return [] if self._closed else [self._take() for _ in range(len(self._batches))]

    def close(self) -> None:
        self._closed = True
        self._batches.clear()
        self._hub.leave(self)
        self._wake()

    def fail(self, failure: Exception) -> None:
        """End the watch with ``failure`` once what is buffered has been handed out."""
        self._failure = failure
        self._hub.leave(self)
        self._wake()

    def offer(self, changes: tuple[Change, ...]) -> None:
        """Buffer a live batch of matching changes."""
        if changes[0].record.mod_revision < self.position:
            changes = changes[first_revision_at_least(changes, self.position) :]
            if not changes:
                return
        if self._buffered + len(changes) > self._limit and self._batches:
            self.fail(WatcherTooSlow(f"watch of {self.prefix or 'all keys'} lags by more than {self._limit} changes"))
            return
        self._batches.append(changes)
        self._buffered += len(changes)
        self._wake()

    def _take(self) -> Sequence[Change]:
        changes = self._batches.popleft()
        self._buffered -= len(changes)
        self.position = changes[-1].record.mod_revision + 1
        return changes

    async def _replay_step(self) -> Sequence[Change]:
        hub = self._hub
        if self.position > hub.published:
            hub.join(self)
            return ()
        try:
            hub.check_start(self.position)
            changes, upto = await hub.replay(self.prefix, self.position, hub.published)
        except Exception as failure:
            self.fail(failure)
            raise
        self.position = upto + 1
        return changes

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
