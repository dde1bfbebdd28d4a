"""How much a peer may ask of a connection that brings it nowhere (CVE-2019-9512 and its family, CVE-2023-44487).

Frames that cost the server work without carrying a call on (PING, SETTINGS, PRIORITY, RST_STREAM,
WINDOW_UPDATE, empty DATA, unknown types) are paid out of a budget. Calls that end and data that is sent
earn it back without a limit, since a client may answer many megabytes with many small window updates long
after; time does up to the full budget. A peer that overdraws it is flooding.
"""

from __future__ import annotations

from collections.abc import Callable

_FULL = 1000.0
_PER_SECOND = 100.0
# What one step forward may be accompanied by: window updates for the data, a ping to measure the way.
_PER_STEP = 4.0


class Budget:
    __slots__ = ("_at", "_left", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        """``now``: monotonic seconds."""
        self._now = now
        self._left = _FULL
        self._at = now()

    def earn(self) -> None:
        """The connection got on: a call ended, or a frame of data was sent."""
        self._left += _PER_STEP

    def spend(self) -> bool:
        """Pay for one frame; False when there is nothing left to pay with."""
        self._left -= 1.0
        if self._left >= 0:
            return True
        now = self._now()
        self._left += (now - self._at) * _PER_SECOND
        self._at = now
        self._left = min(self._left, _FULL)
        return self._left >= 0
