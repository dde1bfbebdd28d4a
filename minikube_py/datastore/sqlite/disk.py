"""A thread that owns one SQLite connection and works off jobs in the order they come.

The event loop never touches a connection: it hands over functions of the connection and gets the
outcome back by one ``call_soon_threadsafe`` each. The thread sleeps when there is nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from minikube_py.datastore.sqlite.file import translated
from minikube_py.datastore.types import StoreTimeout, StoreUnavailable

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]
Outcome = Callable[[Any, Exception | None], None]
_log = logging.getLogger(__name__)
_CALLS_LIMIT = 4096


class DiskThread:
    """``opener`` runs in the thread, with its first job; when it fails that job fails, and the next tries anew.

    ``within``: after how many seconds ``call`` gives up waiting with StoreTimeout; None: never.
    """

    def __init__(
        self, path: Path, opener: Callable[[Path], sqlite3.Connection], *, name: str, within: float | None = None
    ) -> None:
        self._path = path
        self._opener = opener
        self._within = within
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Job, Outcome] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._started = False
        self._closed = False

    def submit(self, job: Job, outcome: Outcome) -> None:
        """Run ``job`` in the thread, then ``outcome(result, error)`` on the loop. Jobs are never dropped."""
        if self._closed:
            raise StoreUnavailable("the datastore is closed")
        if not self._started:
            self._started = True
            self._thread.start()
        self._jobs.put((job, outcome))

    async def call(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``job`` in the thread and wait for it. Cancelling the wait does not stop the job.

        Raises what the job does, StoreTimeout, and StoreUnavailable (too many calls wait for the disk).
        """
        if self._within is not None and self._jobs.qsize() >= _CALLS_LIMIT:
            raise StoreUnavailable(f"{self._path}: {_CALLS_LIMIT} reads are waiting for the disk")
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(job, settle)
        try:
            async with asyncio.timeout(self._within):
                return await future
        except TimeoutError:
            raise StoreTimeout(f"{self._path}: the disk has not finished a read for {self._within:g} s") from None

    async def close(self, *, within: float | None = None) -> bool:
        """Work off what is queued, close the connection, end the thread.

        False: the thread still hangs in the disk after ``within`` seconds; it ends by itself when that returns.
        """
        if not self._closed:
            self._closed = True
            if self._started:
                self._jobs.put(None)
        if self._started:
            await asyncio.to_thread(self._thread.join, within)
        return not self._thread.is_alive()

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while (entry := self._jobs.get()) is not None:
                job, outcome = entry
                result, error, opening = None, None, connection is None
                try:
                    if connection is None:
                        connection = self._opener(self._path)
                    result = job(connection)
                except Exception as failure:
                    error = translated(failure, self._path, opening=opening)
                    if error is not failure:
                        error.__cause__ = failure
                self._report(outcome, result, error)
        finally:
            if connection is not None:
                connection.close()

    def _report(self, outcome: Outcome, result: Any, error: Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(outcome, result, error)
        except RuntimeError:  # the loop is gone (the process is being torn down): nobody is left to answer
            _log.warning("datastore %s: event loop closed before a job was answered", self._path)
