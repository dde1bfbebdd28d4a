"""Shared values (cluster IPs, node ports) between their reservation and the write that makes them an object's.

A reservation is given back on every way out except one: the write succeeded. A write that is under way
when its caller is cancelled runs to its end, since only its end tells which of the two it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from minikube_py.components.apiserver.registry.outcome import Outcome


class Reservation:
    """A context that gives back what is not spent when it ends."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._give_back is not None:
            self._give_back()

    async def spent_by(
        self, write: Coroutine[Any, Any, Outcome], succeeded: Callable[[], None] | None = None
    ) -> Outcome:
        """Await the write that uses the reservation; ``succeeded`` is called when it has, also after a cancellation."""
        give_back, self._give_back = self._give_back, None
        task = asyncio.create_task(write)

        def settle(done: asyncio.Task[Outcome]) -> None:
            if done.cancelled() or done.exception() is not None:
                if give_back is not None:
                    give_back()
            elif succeeded is not None:
                succeeded()

        task.add_done_callback(settle)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise
