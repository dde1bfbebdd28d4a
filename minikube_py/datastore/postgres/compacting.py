"""Compaction of the log in PostgreSQL: noted under the lock, then swept in small steps.

Any server may do it. One that stops in the middle leaves rows that nobody needs, which the next sweep takes along.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from minikube_py.datastore.postgres import log
from minikube_py.datastore.postgres.connections import Connections
from minikube_py.datastore.rows import last_row_id
from minikube_py.datastore.types import Compacted, FutureRevision
from minikube_py.datastore.upkeep import Pace

_SWEEP_ROWS = 1000


async def note(connection: Any, revision: int) -> log.State:
    """Write down that history before ``revision`` is forgotten; the state then. Raises Compacted, FutureRevision."""
    async with connection.transaction(isolation="read_committed"):
        await log.lock(connection)
        state = await log.state(connection)
        if revision <= state.compacted:
            raise Compacted(revision, state.compacted)
        if revision > state.revision:
            raise FutureRevision(revision, state.revision)
        await log.set_meta(connection, "compacted", revision)
    return log.State(revision, state.revision)


async def sweep(connections: Connections, revision: int) -> None:
    """Remove the rows that compaction to ``revision`` makes superfluous."""
    loop, pace = asyncio.get_running_loop(), Pace(_SWEEP_ROWS)
    reached = last_row_id(await connections.use(partial(log.meta, name="swept")))
    while reached < last_row_id(revision):
        began = loop.time()
        step = partial(log.sweep, swept=reached, target=revision, limit=pace.size)
        reached, _ = await connections.use(step)
        pace.adjust(loop.time() - began)
    await connections.use(partial(log.set_meta, name="swept", value=revision - 1))
