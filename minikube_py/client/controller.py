"""The worker loop of every controller: take a key, reconcile it, back off when it fails.

``reconcile(key)`` is level-triggered: it looks at the present state and may be called at any time
and any number of times. It returns None when nothing is left to do, or the number of seconds after
which the key must be looked at again (a real deadline, never a poll). An exception is a failure:
the key comes again with growing delays. The loop itself ends only by cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from minikube_py.client.workqueue import WorkQueue
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_conflict

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

default_workers = 5


async def run_controller(
    queue: WorkQueue[K],
    reconcile: Callable[[K], Awaitable[float | None]],
    *,
    name: str,
    clock: Clock,
    workers: int = default_workers,
) -> None:
    """Reconcile keys of ``queue`` with so many workers until cancelled; shuts the queue down at the end."""
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(_work(queue, reconcile, name, clock), name=f"{name}-{number}")
    finally:
        queue.shut_down()


async def _work(
    queue: WorkQueue[K], reconcile: Callable[[K], Awaitable[float | None]], name: str, clock: Clock
) -> None:
    while True:
        key = await queue.get()
        started = clock.monotonic()
        try:
            again = await reconcile(key)
        except Exception as error:
            _failed(queue, key, name, error)
        else:
            queue.forget(key)
            if again is not None:
                queue.add_after(key, again)
        finally:
            queue.counts.busy_seconds += clock.monotonic() - started
            queue.done(key)


def _failed(queue: WorkQueue[K], key: K, name: str, error: Exception) -> None:
    """Count, say and retry; a conflict only means that a newer state is already on its way."""
    queue.counts.failed += 1
    fields = {"controller": name, "key": str(key), "failures": queue.failures(key) + 1}
    if is_conflict(error):
        log.debug("conflict, trying again", extra={**fields, "error": str(error)})
    elif isinstance(error, ApiError):
        log.warning("reconciling failed", extra={**fields, "error": str(error)})
    else:
        log.error("reconciling failed", extra=fields, exc_info=error)
    queue.add_rate_limited(key)
