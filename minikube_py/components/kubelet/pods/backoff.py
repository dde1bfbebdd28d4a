"""Exponential back-off by key, as client-go's ``flowcontrol.Backoff``."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from minikube_py.machinery.clock import Clock


@dataclass(slots=True)
class _Entry:
    seconds: float
    updated: float


class Backoff:
    """Delays that double from ``first`` to ``longest`` seconds, forgotten after twice the longest.

    Event times are wall-clock seconds (a container's end); written only by its owner's task.
    """

    __slots__ = ("_clock", "_entries", "_first", "_longest")

    def __init__(self, clock: Clock, *, first: float = 10.0, longest: float = 300.0) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._entries: dict[Hashable, _Entry] = {}

    def current(self, key: Hashable) -> float:
        """The delay that applies now; zero for an unknown key."""
        entry = self._entries.get(key)
        return entry.seconds if entry else 0.0

    def remaining(self, key: Hashable, event_time: float) -> float:
        """Seconds to wait since ``event_time`` before the next try; zero or less when it may go ahead."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, event_time):
            return 0.0
        return entry.seconds - (self._clock.now() - event_time)

    def advance(self, key: Hashable, event_time: float) -> None:
        """Count one more failure: the first makes the delay ``first``, each later one doubles it."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, event_time):
            self._entries[key] = _Entry(self._first, self._clock.now())
            return
        entry.seconds = min(entry.seconds * 2, self._longest)
        entry.updated = self._clock.now()

    def reset(self, key: Hashable) -> None:
        self._entries.pop(key, None)

    def drop(self, doomed: Callable[[Hashable], bool]) -> None:
        """Forget every key for which ``doomed`` is true."""
        for key in [key for key in self._entries if doomed(key)]:
            del self._entries[key]

    def _expired(self, entry: _Entry, event_time: float) -> bool:
        return event_time - entry.updated > 2 * self._longest
