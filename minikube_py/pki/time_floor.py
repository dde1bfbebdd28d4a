"""A lower bound of the present time that survives reboots, for boards without a battery clock.

Such a board boots in 1970: certificates of the cluster would be "not yet valid" and new ones would
begin before their CA. The floor is the latest time this installation has ever seen, kept in
``<data-dir>/server/clock-floor``; decisions about validity use ``max(clock, floor)``. Before there is
one, the floor is this software's own age, so that even a first start in 1970 makes a CA for the future.

A clock that was once far ahead leaves a floor in the future. So that this harms nobody else, what is
issued begins when the clock says (``begin``), and errors that stem from it name the file.

Writes: at start, and then at most once in ``record_interval_seconds`` when someone asks to record.
"""

from __future__ import annotations

import logging
from pathlib import Path

from minikube_py.machinery.clock import Clock
from minikube_py.machinery.times import rfc3339
from minikube_py.pki.files import read_file, write_file

log = logging.getLogger(__name__)

record_interval_seconds = 24 * 3600.0
# A clock may be set back a little by time synchronisation; that is no reason for alarm.
tolerated_lag_seconds = 300.0
software_seconds = 1_793_491_200.0
"""2026-11-01: nobody has run this software before."""


class TimeFloor:
    """The latest time ever seen, in Unix seconds. Not shared between processes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._floor = max(_read(path), software_seconds)

    @property
    def lag_seconds(self) -> float:
        """How far the clock is behind the floor; 0 when it is not."""
        return max(0.0, self._floor - self._clock.now())

    @property
    def clock_is_behind(self) -> bool:
        return self.lag_seconds > tolerated_lag_seconds

    def now(self) -> float:
        """The best estimate of the present: never earlier than what was recorded before."""
        return max(self._clock.now(), self._floor)

    def begin(self) -> float:
        """When what is issued now begins for others: the clock's time if it can be true, else ``now()``."""
        clock = self._clock.now()
        return clock if clock >= software_seconds else self.now()

    def raise_to(self, seconds: float) -> None:
        """Learn of a time that has certainly passed (a certificate's issue, another server's clock)."""
        self._floor = max(self._floor, seconds)

    def record(self, *, force: bool = False) -> bool:
        """Persist the present when it is worth a write; returns whether it was written. Raises OSError."""
        now = self.now()
        recorded = _read(self._path)
        if not force and now - recorded < record_interval_seconds:
            return False
        write_file(self._path, f"{now:.0f}\n".encode())
        self._floor = max(self._floor, float(f"{now:.0f}"))
        return True

    def report(self) -> str:
        """One sentence for the log and for ``pyk3s certificate check``; empty when all is well."""
        if not self.clock_is_behind:
            return ""
        return (
            f"the clock says {rfc3339(self._clock.now())}, but this installation has already seen "
            f"{rfc3339(self._floor)}; certificates are judged by the later time until the clock is set "
            f"(if it is right, remove {self._path})"
        )


def _read(path: Path) -> float:
    content = read_file(path)
    if content is None:
        return 0.0
    try:
        return float(content.decode("ascii", "replace").strip())
    except ValueError:
        # Losing the floor is harmless on a host with a clock, and it is written anew at once.
        log.warning("%s does not hold a time and is replaced", path)
        return 0.0
