"""Housekeeping that both engines share: when to compact, when leases run out, how large a step may be.

Everything waits for events: a store without writes does not wake up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from minikube_py.datastore.types import Compacted, LeaseNotFound, StoreCorrupt, StoreUnavailable
from minikube_py.machinery.clock import Clock

_logger = logging.getLogger(__name__)
_STEP_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Garbage:
    """How much of the log is history."""

    rows: int
    live: int

    @property
    def superseded(self) -> int:
        return self.rows - self.live

    @property
    def heavy(self) -> bool:
        """History outweighs the live data: keep less of it."""
        return self.superseded > self.live // 2 + 200

    @property
    def flooded(self) -> bool:
        """History grows so fast that what is kept of it must be counted in revisions rather than in seconds."""
        return self.superseded > 2 * self.affordable

    @property
    def affordable(self) -> int:
        """How many revisions of history are kept in a flood."""
        return 2 * self.live + 10_000


class Compactable(Protocol):
    """What automatic compaction needs of a store."""

    @property
    def current_revision(self) -> int: ...
    @property
    def compacted_revision(self) -> int: ...
    def garbage(self) -> Garbage: ...
    async def compact(self, revision: int) -> None: ...


class Pace:
    """The size of the next step: as much as the disk does in some milliseconds."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._least, self._most = size // 8, size * 32

    def adjust(self, seconds: float) -> None:
        """``seconds`` is what the last step took."""
        if seconds > _STEP_SECONDS:
            self.size = max(self._least, self.size // 2)
        elif seconds < _STEP_SECONDS / 3:
            self.size = min(self._most, self.size * 2)


async def compact_forever(
    store: Compactable,
    clock: Clock,
    written: asyncio.Event,
    heavy: asyncio.Event,
    *,
    retention: float,
    heavy_retention: float,
) -> None:
    """Compact to the revision of ``retention`` seconds ago, or of ``heavy_retention`` when there is much garbage.

    In a flood the newest revisions alone are kept, as many as can be afforded, however young the others are.
    ``written`` is set by each durable publish, ``heavy`` when the garbage becomes heavy or a flood.
    """
    marks: deque[tuple[float, int]] = deque()
    newest_mark = 0
    while True:
        await written.wait()
        written.clear()
        now = clock.monotonic()
        if newest_mark != store.current_revision:
            newest_mark = store.current_revision
            marks.append((now, newest_mark))
        garbage = store.garbage()
        keep = heavy_retention if garbage.heavy else retention
        oldest_kept = store.current_revision - garbage.affordable if garbage.flooded else 0
        reached: tuple[float, int] | None = None
        while marks and (marks[0][0] <= now - keep or marks[0][1] <= oldest_kept):
            reached = marks.popleft()
        target = max(oldest_kept, reached[1] if reached is not None else 0)
        if target > store.compacted_revision:
            done = await attempt("compaction", partial(store.compact, target))
            if done and garbage.flooded:
                written.set()  # it may be one again already
                continue
            if not done and reached is not None:
                marks.appendleft(reached)
        if marks:
            await sleep_unless(clock, keep / 4, heavy)
            heavy.clear()
            written.set()


async def expire_forever(
    expired: Callable[[float], list[int]],
    next_deadline: Callable[[], float | None],
    revoke: Callable[[int], Awaitable[None]],
    clock: Clock,
    granted: asyncio.Event,
) -> None:
    """Revoke leases when they run out; ``granted`` is set when a new lease may be the next to do so."""
    while True:
        granted.clear()
        for lease in expired(clock.monotonic()):
            await attempt("expiry of a lease", partial(revoke, lease))
        deadline = next_deadline()
        if deadline is None:
            await granted.wait()
            continue
        # At least a second, so that a lease whose revocation fails (full disk) does not spin.
        wait = max(1.0, deadline - clock.monotonic())
        await sleep_unless(clock, wait, granted)


async def sleep_unless(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Sleep until the time is over or ``event`` is set."""
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        waiting.cancel()
        await asyncio.gather(sleeping, waiting, return_exceptions=True)


async def attempt(what: str, act: Callable[[], Awaitable[None]]) -> bool:
    """Whether it was done. A disk that does not take writes now must not end housekeeping, which comes again.

    Nor must a file or database that is damaged: what is in memory is served on, until someone mends it.
    """
    try:
        await act()
    except StoreUnavailable as failure:
        _logger.warning("datastore: %s failed, will be tried again: %s", what, failure)
        return False
    except StoreCorrupt as failure:
        _logger.error("datastore: %s failed: %s", what, failure)
        return False
    except (Compacted, LeaseNotFound):
        return True  # someone else did it meanwhile
    return True
