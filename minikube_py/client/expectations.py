"""Expectations: creations and deletions a controller asked for and has not seen yet (client-go's
ControllerExpectations, UIDTrackingControllerExpectations).

A controller that acts on a view which may lag must not act again before the view shows what it
did. ``satisfied`` says so: nothing outstanding, or nothing known, or the expectation is so old
that an event must have been lost. With a client whose view never lags all of this is instant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minikube_py.machinery.clock import Clock

expectation_timeout_seconds = 300.0


@dataclass(slots=True)
class _Outstanding:
    creations: int = 0
    deletions: set[str] = field(default_factory=set)
    since: float = 0.0


class Expectations:
    """What is outstanding, by the controller's key; deletions are told apart by what names the object."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, _Outstanding] = {}

    def expect_creations(self, key: str, count: int) -> None:
        self._entry(key).creations += count

    def expect_deletion(self, key: str, uid: str) -> None:
        self._entry(key).deletions.add(uid)

    def creation_seen(self, key: str, count: int = 1) -> None:
        """A creation was seen, or will never be (the request failed)."""
        found = self._known.get(key)
        if found is not None and found.creations > 0:
            found.creations = max(0, found.creations - count)

    def deletion_seen(self, key: str, uid: str) -> None:
        """A deletion was seen, or will never be (the request failed)."""
        found = self._known.get(key)
        if found is not None:
            found.deletions.discard(uid)

    def satisfied(self, key: str) -> bool:
        found = self._known.get(key)
        if found is None or (found.creations == 0 and not found.deletions):
            return True
        return self._clock.monotonic() - found.since > expectation_timeout_seconds

    def forget(self, key: str) -> None:
        """The controller's object is gone."""
        self._known.pop(key, None)

    def _entry(self, key: str) -> _Outstanding:
        found = self._known.get(key)
        if found is None or (found.creations == 0 and not found.deletions):
            found = self._known[key] = _Outstanding(since=self._clock.monotonic())
        return found
