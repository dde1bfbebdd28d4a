"""Doing many alike things at once, without flooding the API with failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

first_batch = 1


async def slow_start(
    items: Sequence[T], act: Callable[[T], Awaitable[object]], *, initial: int = first_batch
) -> tuple[int, Exception | None]:
    """Act on items in batches of 1, 2, 4, ... and stop after the batch in which one fails.

    Returns how many succeeded and the first failure. When creation is bound to fail (quota, a bad
    template), one request finds out instead of all of them (``slowStartBatch``).
    """
    succeeded, position, size = 0, 0, initial
    while position < len(items):
        batch = items[position : position + size]
        outcomes = await asyncio.gather(*(_outcome(act, item) for item in batch))
        failures = [outcome for outcome in outcomes if outcome is not None]
        succeeded += len(batch) - len(failures)
        if failures:
            return succeeded, failures[0]
        position += len(batch)
        size *= 2
    return succeeded, None


async def all_at_once(items: Iterable[T], act: Callable[[T], Awaitable[object]]) -> Exception | None:
    """Act on all items concurrently, whatever happens to some; returns the first failure."""
    outcomes = await asyncio.gather(*(_outcome(act, item) for item in items))
    return next((outcome for outcome in outcomes if outcome is not None), None)


async def _outcome(act: Callable[[T], Awaitable[object]], item: T) -> Exception | None:
    try:
        await act(item)  # made in here: a task that is cancelled before its first step must leave nothing unawaited
    except Exception as error:
        return error
    return None
