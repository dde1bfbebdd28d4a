"""The engine's connections for reads and small writes: what breaks in passing is done again on a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from minikube_py.datastore.postgres.errors import CONNECTION_ERRORS, is_passing, translated
from minikube_py.machinery.clock import Clock

T = TypeVar("T")
_FIRST_WAIT_SECONDS = 0.05


class Connections:
    """A pool, and how long a use of it may take with all its tries."""

    def __init__(self, pool: Any, clock: Clock, longest_seconds: float) -> None:
        self._pool = pool
        self._clock = clock
        self._longest_seconds = longest_seconds

    async def use(self, act: Callable[[Any], Awaitable[T]]) -> T:
        """Do something with a connection; again on a new one when it breaks. ``act`` may so be done twice.

        Raises the datastore's errors (``errors.translated``).
        """
        deadline = self._clock.monotonic() + self._longest_seconds
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                async with self._pool.acquire(timeout=self._longest_seconds) as connection:
                    return await act(connection)
            except CONNECTION_ERRORS as error:
                if not is_passing(error) or self._clock.monotonic() + wait > deadline:
                    raise translated(error) from error
            await self._clock.sleep(wait)
            wait *= 2

    def terminate(self) -> None:
        """Cut all connections."""
        self._pool.terminate()
