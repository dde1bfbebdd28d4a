"""Whether writes get through: one line that says why not, and who wants to know when that changes.

An engine sets it, the API server shows it (``/readyz``, a metric, a condition of the node). Only the
event loop touches it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Stall:
    """``why`` is empty while writes get through. Each ``source`` (writer, follower, disk) has a reason of its own."""

    __slots__ = ("_followers", "_reasons", "why")

    def __init__(self) -> None:
        self.why = ""
        self._reasons: dict[str, str] = {}
        self._followers: list[Callable[[str], None]] = []

    def set(self, why: str, source: str = "writer") -> None:
        """Writes do not get through, because of ``why``; the first reason is shown until it is cleared."""
        self._reasons.setdefault(source, why)
        self._tell()

    def clear(self, source: str = "writer") -> None:
        """As far as ``source`` can tell writes get through again."""
        if self._reasons.pop(source, None) is not None:
            self._tell()

    def reason(self, source: str = "writer") -> str:
        """What ``source`` has set, or nothing."""
        return self._reasons.get(source, "")

    def follow(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback`` with each new ``why``; returns the function that ends it."""
        self._followers.append(callback)
        return lambda: self._followers.remove(callback)

    def _tell(self) -> None:
        why = next(iter(self._reasons.values()), "")
        if why == self.why:
            return
        self.why = why
        _logger.warning("datastore: %s", why or "takes writes again")
        for callback in tuple(self._followers):
            callback(why)
