"""A client's watch in a version that a webhook makes: events are converted first and selected then.

The same interface as ``WatchStream``. A batch is kept until all of it is converted, so a wait that is
cancelled and begun again loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from minikube_py.components.apiserver.storage.cache import CacheEvent, WatchCache
from minikube_py.components.apiserver.storage.caches import Caches
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.components.apiserver.storage.watches import Seen, WatchStream
from minikube_py.machinery.selectors import EVERYTHING

Convert = Callable[[Sequence[Entry]], Awaitable[Sequence[Entry]]]


class ConvertedWatch:
    """See the module. ``revision``: all up to it was handed out."""

    def __init__(self, caches: Caches, cache: WatchCache, selection: Selection, start: int, convert: Convert) -> None:
        """Begin after ``start``. Raises Expired as ``WatchStream`` does."""
        scope = replace(selection, labels=EVERYTHING, fields=())
        self._stream = WatchStream(caches, cache, scope, start)
        self._selection = selection
        self._convert = convert
        self._taken: Sequence[Seen] = ()
        self.revision = start

    async def next_batch(self) -> list[Seen]:
        """Wait for events; an empty list means that the watch has ended. Raises Expired and conversion's errors."""
        while True:
            if not self._taken:
                self._taken = await self._stream.next_batch()
            if not self._taken:
                return []
            seen = await self._seen([event for _, _, event in self._taken])
            self.revision = self._taken[-1][2].revision
            self._taken = ()
            if seen:
                return seen

    def progress(self) -> int:
        """A revision that a bookmark may name: everything up to it was handed out."""
        return self.revision if self._taken else self._stream.progress()

    def close(self) -> None:
        self._stream.close()

    async def _seen(self, events: Sequence[CacheEvent]) -> list[Seen]:
        wanted = [entry for event in events for entry in self._needed(event)]
        made = dict(zip(wanted, await self._convert(wanted), strict=True))
        found: list[Seen] = []
        for event in events:
            current, previous = event.current, event.previous
            shown = CacheEvent(
                made.get(current, current) if current else None,
                made.get(previous, previous) if previous else None,
                event.revision,
            )
            transition = self._selection.transition(shown)
            if transition is not None:
                found.append((*transition, shown))
        return found

    def _needed(self, event: CacheEvent) -> list[Entry]:
        """The states that must be converted: the former one only when something of it is looked at."""
        former = event.current is None or not self._selection.everything
        return [entry for entry in (event.current, event.previous if former else None) if entry is not None]
