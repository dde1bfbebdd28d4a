"""The real clock: the operating system's time and asyncio's sleep."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements ``machinery.clock.Clock``."""

    __slots__ = ()

    # The functions themselves: a request asks for the time some twenty times.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait; returns at once for zero or less."""
        if seconds > 0:
            await asyncio.sleep(seconds)
