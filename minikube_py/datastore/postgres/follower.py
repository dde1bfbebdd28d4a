"""Keeps a server's memory current with what other servers write: LISTEN, and catching up.

A notification only says that there is something; what it is comes from the log, from the last row
known on. So a lost notification, a broken connection or a restart of the database costs time, never
an event, and no event comes twice. A connection that is silent for long is tried now and then,
because a database that vanished without a word sends no error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from minikube_py.datastore.postgres import log
from minikube_py.datastore.postgres.errors import is_passing, translated
from minikube_py.datastore.postgres.mirror import Mirror, went_back
from minikube_py.datastore.stall import Stall
from minikube_py.machinery.clock import Clock

_logger = logging.getLogger(__name__)
_ROWS_AT_ONCE = 1000
_SILENCE_SECONDS = 30.0
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0


class Follower:
    """``compacted`` is the newest that is known of; ``stall`` is set while there is no connection."""

    def __init__(
        self, mirror: Mirror, compacted: int, connect: Callable[[], Awaitable[Any]], clock: Clock, stall: Stall
    ) -> None:
        self.compacted = compacted
        self.failure: Exception | None = None
        self.heard = asyncio.Event()
        # The database's processes of this server's writer, who tells the mirror himself what he has written, and of
        # the connection that listens; 0: none.
        self.writer_process = 0
        self.listening_process = 0
        self._mirror = mirror
        self._connect = connect
        self._clock = clock
        self._stall = stall
        self._news = asyncio.Event()

    async def catch_up(self, connection: Any) -> None:
        """Take over all that is committed when this is called. Raises StoreCorrupt when the database went back."""
        if self.failure is not None:
            raise self.failure
        mirror = self._mirror
        while True:
            known = mirror.revision
            # Of one moment: a sweep takes rows away only when its compaction is noted.
            state, rows = await log.news(connection, mirror.last_row, _ROWS_AT_ONCE)
            if state.revision < known:
                self.failure = went_back(known, state.revision)
                raise self.failure
            if state.compacted > known:
                await self._reload(connection)
                return
            self.compacted = max(self.compacted, state.compacted)
            mirror.advance(rows)
            if len(rows) < _ROWS_AT_ONCE:
                return

    async def _reload(self, connection: Any) -> None:
        if connection.is_in_transaction():  # the writer's: what it sees cannot change, it holds the lock
            connection = await self._connect()
            try:
                await self._replace(connection)
            finally:
                await connection.close()
        else:
            await self._replace(connection)

    async def _replace(self, connection: Any) -> None:
        state, records, positions, _, _ = await log.load(connection)
        _logger.warning(
            "datastore: was away for longer than history is kept; state taken over at revision %d", state.revision
        )
        self.compacted = state.compacted
        self._mirror.replace(records, positions, state.revision, state.compacted)

    async def run(self) -> None:
        """Listen until cancelled."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            connection: Any = None
            try:
                connection = await self._connect()
                await connection.add_listener(log.CHANNEL, self._notified)
                connection.add_termination_listener(lambda _: self.look())
                self.listening_process = await log.register(connection)
                self._news.set()
                await self._listen(connection)
            except Exception as error:
                self._stall.set(str(translated(error)), "follower")
                if not is_passing(error):
                    _logger.error("datastore: following the database failed: %s", translated(error))
                else:
                    _logger.warning("datastore: connection to the database lost: %s", error or type(error).__name__)
            finally:
                self.listening_process = 0
                if connection is not None and not connection.is_closed():
                    connection.terminate()
            await self._clock.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _listen(self, connection: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                pass  # silent for long: see whether it is still there
            self._news.clear()
            await self.catch_up(connection)
            self._stall.clear("follower")
            self.heard.set()

    def look(self) -> None:
        """There may be something new."""
        self._news.set()

    def _notified(self, connection: Any, process: int, channel: str, payload: str) -> None:
        if process != self.writer_process:
            self.look()
