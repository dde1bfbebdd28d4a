"""Keeps the certificates of a running server good: renews what comes near its end, without a restart.

In: a blocking function that creates or completes the PKI (``ensure_pki`` with the server's names), the
time floor and a clock. Out: files that change; who serves them watches them (``host.file_changes``).
It sleeps until something is due, but looks at the clock every ten minutes, because a wall clock can
jump: a board that booted in 1970 gets the time from the network later. A failed renewal is logged and
tried again with growing delays; meanwhile the old certificates serve.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from minikube_py.machinery.clock import Clock
from minikube_py.machinery.times import rfc3339
from minikube_py.pki.errors import PkiError
from minikube_py.pki.inspection import next_renewal
from minikube_py.pki.time_floor import TimeFloor, record_interval_seconds

log = logging.getLogger(__name__)

wake_seconds = 600.0
impatient_wake_seconds = 30.0
"""While the clock is known to be behind."""
first_retry_seconds = 60.0
longest_retry_seconds = 6 * 3600.0


class Renewal:
    """One server's renewal loop; ``renewals`` and ``failures`` count for the metrics."""

    def __init__(
        self,
        data_dir: Path,
        ensure: Callable[[], object],
        floor: TimeFloor,
        clock: Clock,
        clock_set: Callable[[], None],
    ) -> None:
        self._data_dir = data_dir
        self._ensure = ensure
        self._floor = floor
        self._clock = clock
        self._clock_set = clock_set
        self.renewals = 0
        self.failures = 0

    async def run(self) -> None:
        """Run until cancelled."""
        retry = first_retry_seconds
        while True:
            try:
                due = await asyncio.to_thread(next_renewal, self._data_dir)
                await self._until(due)
                await asyncio.to_thread(self._ensure)
            except (PkiError, OSError) as error:
                self.failures += 1
                log.error("cannot renew certificates", extra={"error": str(error), "again_seconds": retry})
                await self._clock.sleep(retry)
                retry = min(retry * 2, longest_retry_seconds)
                continue
            self.renewals += 1
            retry = first_retry_seconds
            again = await asyncio.to_thread(next_renewal, self._data_dir)
            if again <= self._floor.now():  # something that only its owner can renew: say so daily, don't spin
                log.warning("a certificate is past its renewal time", extra={"due": rfc3339(again)})
                await self._clock.sleep(record_interval_seconds)

    async def _until(self, due: float) -> None:
        """Wait for a wall-clock time, which may come by a jump, or for the clock to go back behind the floor.

        The floor is kept up to date meanwhile.
        """
        behind = self._floor.clock_is_behind
        recorded = self._clock.monotonic()
        while (now := self._floor.now()) < due:
            await self._clock.sleep(min(due - now, impatient_wake_seconds if behind else wake_seconds))
            if behind and not self._floor.clock_is_behind:
                behind = False
                log.info("the clock is set", extra={"now": rfc3339(self._clock.now())})
                self._clock_set()
            elif not behind and self._floor.clock_is_behind:
                log.warning("%s", self._floor.report())
                return  # what was issued under a clock that was ahead must begin earlier
            if self._clock.monotonic() - recorded >= record_interval_seconds:
                recorded = self._clock.monotonic()
                await asyncio.to_thread(self._floor.record)
