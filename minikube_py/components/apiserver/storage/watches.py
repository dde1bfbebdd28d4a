"""A client's watch: events after a revision that a selection sees, in order, each once.

The source is the cache's recent events and then its live ones; a start that lies further back is read
from the datastore's own watch for as long as the watch lives. A watcher that does not keep up with
``buffer`` undelivered events is closed, never silently skipped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from minikube_py.components.apiserver.storage.cache import CacheEvent, WatchCache
from minikube_py.components.apiserver.storage.caches import Caches
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.datastore.types import Compacted, DatastoreError
from minikube_py.machinery.errors import expired

Seen = tuple[str, Entry, CacheEvent]
"""Type of the event, the state it carries, and the change (which keeps encoded forms)."""

BUFFER = 4096


class WatchStream:
    """Iterate with ``next_batch``; ``close`` ends it at once. ``revision``: all up to it was handed out."""

    def __init__(self, caches: Caches, cache: WatchCache, selection: Selection, start: int) -> None:
        """Begin after ``start``, which may lie in the future. Raises Expired when it is compacted."""
        self._caches = caches
        self._cache = cache
        self._selection = selection
        self._ready: deque[Seen] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._end: Callable[[], None] | None = None
        self._past: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._start = start
        self.revision = min(start, caches.revision)
        recent = cache.since(start)
        if recent is None:
            if start < caches.store.compacted_revision:
                raise too_old(start, caches.store.compacted_revision)
            self._past = asyncio.create_task(self._follow_store(start), name="watch-from-history")
            return
        for event in recent:
            self._offer(event)
        self._end = cache.subscribe(self._offer)

    async def next_batch(self) -> list[Seen]:
        """Wait for events; an empty list means that the watch has ended. Raises Expired."""
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                return []
            self._wake.clear()
            await self._wake.wait()
        batch = list(self._ready)
        self._ready.clear()
        self.revision = batch[-1][2].revision
        return batch

    def progress(self) -> int:
        """A revision that a bookmark may name: everything up to it was handed out."""
        if self._past is None and not self._ready:
            return max(self.revision, self._caches.revision)
        return self.revision

    def close(self) -> None:
        self._closed = True
        if self._end is not None:
            self._end()
            self._end = None
        if self._past is not None:
            self._past.cancel()
        self._wake.set()

    def _offer(self, event: CacheEvent) -> None:
        seen = self._selection.transition(event) if event.revision > self._start else None
        if seen is None or self._closed:
            return
        if len(self._ready) >= BUFFER:
            self._cache.counts.terminated += 1
            self.close()
            return
        self._ready.append((seen[0], seen[1], event))
        self._wake.set()

    async def _follow_store(self, start: int) -> None:
        watch = self._caches.store.watch(self._cache.shape.prefix, start_revision=start + 1)
        try:
            async for changes in watch:
                for change in changes:
                    event = self._cache.event_of(change)
                    if event is not None:
                        self._offer(event)
        except Compacted as error:
            self._failure = too_old(start, error.compacted)
        except DatastoreError:
            self._closed = True
        finally:
            watch.close()
            self._wake.set()


def too_old(start: int, oldest: int) -> Exception:
    """410: the watch's start is compacted."""
    return expired(f"too old resource version: {start} ({oldest})")
