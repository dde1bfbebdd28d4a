"""The real clock: the operating system's time and asyncio's sleep."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements ``machinery.clock.Clock``."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; returns at once for zero or less."""
        if seconds > 0:
            await asyncio.sleep(seconds)
