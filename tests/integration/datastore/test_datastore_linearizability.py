"""Recorded histories of concurrent clients are linearizable: both engines and the gRPC face, through kills.

What the checks are, and that they find planted faults: ``tests/unit/datastore/datastore_histories.py``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from datastore_etcd_client import EtcdStore
from datastore_histories import Client, History, Operation, parsed, violations

from minikube_py.datastore.postgres import PostgresDatastore
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.datastore.types import Change, StoreUnavailable

pytestmark = pytest.mark.timeout(300)

_ROOT = Path(__file__).resolve().parents[3]
_KEYS = [f"/k/{n}" for n in range(4)]
_FACE = "127.0.0.1:22101"

_CHILD = """
import asyncio, os, sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from datastore_histories import Client, History
from minikube_py.client.clock import SystemClock
from minikube_py.datastore.sqlite import open_sqlite

async def main():
    store = await open_sqlite(Path(sys.argv[3]), clock=SystemClock())
    history = History(time.monotonic, lambda line: os.write(1, line.encode() + b"\\n"))
    clients = [
        Client(store, f"{sys.argv[4]}c{n}", sys.argv[5].split(), history, seed=int(sys.argv[6])) for n in range(6)
    ]

    async def act(client):
        while True:
            await client.act()

    await asyncio.gather(*map(act, clients))

asyncio.run(main())
"""


def live_until_killed(path: Path, name: str, seed: int, lines: int) -> list[Operation]:
    """Six clients in a process of its own that is killed after so many lines of its notes."""
    arguments = [str(_ROOT), str(_ROOT / "tests/unit/datastore"), str(path), name, " ".join(_KEYS), str(seed)]
    process = subprocess.Popen([sys.executable, "-c", _CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    noted: list[str] = []
    with process.stdout as output:
        for line in output:
            if not line.endswith("\n"):
                break
            noted.append(line)
            if len(noted) == lines:
                process.kill()
    process.wait()
    return parsed(noted)


async def log_of(store: Any) -> list[Change]:
    log: list[Change] = []
    watch = store.watch("/", start_revision=2)
    async with asyncio.timeout(30):
        while not log or log[-1].revision < store.current_revision:
            log += await watch.__anext__()
    watch.close()
    return log


def assert_linearizable(operations: list[Operation], log: list[Change], *, unanswered: bool = True) -> None:
    assert violations(operations, log) == []
    assert not unanswered or any(operation.done is None for operation in operations)
    assert writes_of(operations) > 100


def writes_of(operations: list[Operation]) -> int:
    return sum(operation.kind == "swap" and bool(operation.done) for operation in operations)


async def more_writes(history: History, count: int) -> None:
    """Wait until the clients were told of so many further writes."""
    enough = writes_of(history.operations) + count
    async with asyncio.timeout(60):
        while writes_of(history.operations) < enough:  # noqa: ASYNC110 - the clients know no events
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_sqlite_engine_through_kills(tmp_path: Path, clock: Any, seed: int) -> None:
    path, operations = tmp_path / "s.db", []
    for phase in range(4):
        operations += await asyncio.to_thread(live_until_killed, path, f"p{phase}", seed, 400 + 170 * phase)
    store = await open_sqlite(path, clock=clock)
    assert_linearizable(operations, await log_of(store))
    await store.close()


async def act_until(client: Client, stop: asyncio.Event) -> None:
    """Random operations, with a pause where there was no answer."""
    while not stop.is_set():
        if not await client.act():
            await asyncio.sleep(0.02)


async def test_the_sqlite_engine_through_reopenings(tmp_path: Path, clock: Any) -> None:
    history, log = History(time.monotonic), []
    for phase in range(3):
        store = await open_sqlite(tmp_path / "s.db", clock=clock)
        clients = [Client(store, f"p{phase}c{n}", _KEYS, history, seed=3) for n in range(6)]
        stop = asyncio.Event()
        acting = [asyncio.create_task(act_until(client, stop)) for client in clients]
        await more_writes(history, 60)
        log = await log_of(store)
        closing = asyncio.create_task(store.close())  # clients are at work when it closes
        await closing
        stop.set()
        await asyncio.gather(*acting)
    store = await open_sqlite(tmp_path / "s.db", clock=clock)
    log = await log_of(store)
    await store.close()
    assert_linearizable(history.operations, log)


async def test_the_postgres_engine_on_two_servers_through_crashes(
    servers: Callable[..., Awaitable[PostgresDatastore]], postgres: Any
) -> None:
    stores = [await servers(stall_seconds=1.0, read_seconds=1.0) for _ in range(2)]
    history, stop = History(time.monotonic), asyncio.Event()
    clients = [Client(stores[n % 2], f"c{n}", _KEYS, history, seed=4) for n in range(6)]
    acting = [asyncio.create_task(act_until(client, stop)) for client in clients]
    for _ in range(2):
        await more_writes(history, 40)
        connection = await asyncpg.connect(postgres.url)
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await connection.close()
        await more_writes(history, 20)
        await asyncio.to_thread(postgres.crash)
        await asyncio.sleep(1.3)  # longer than a write waits: some get no answer
        await asyncio.to_thread(postgres.start)
    await more_writes(history, 20)
    stop.set()
    await asyncio.gather(*acting)
    await current(stores[0])
    assert_linearizable(history.operations, await log_of(stores[0]))


async def current(store: PostgresDatastore) -> None:
    """Wait until it has read what is newest in the database, which was started a moment ago."""
    async with asyncio.timeout(60):
        while True:
            try:
                await store.get("/")
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def face(path: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that serves the file as etcd does."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "minikube_py.cli", "datastore", "serve", "--datastore-endpoint", f"sqlite:///{path}",
            "--etcd-listen", _FACE, cwd=_ROOT, stdout=asyncio.subprocess.PIPE, stderr=output,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).startswith(b"serving"), f"see {log}"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_etcd_face_through_kills(tmp_path: Path, clock: Any) -> None:
    import grpc

    path, history, stop = tmp_path / "s.db", History(time.monotonic), asyncio.Event()
    options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]

    class Served:
        """What the client of the tests wants to know of a store in its own process."""

        def __getattr__(self, name: str) -> Any:
            return None

    async with grpc.aio.insecure_channel(_FACE, options=options) as channel:
        store = EtcdStore(channel, Served())
        clients = [Client(_GivingUp(store), f"c{n}", _KEYS, history, seed=5) for n in range(6)]
        acting: list[asyncio.Task[None]] = []
        for _ in range(4):
            async with face(path, tmp_path / "log") as process:
                acting = acting or [asyncio.create_task(act_until(client, stop)) for client in clients]
                await more_writes(history, 40)
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()
        stop.set()
        await asyncio.gather(*acting)
    reopened = await open_sqlite(path, clock=clock)
    assert_linearizable(history.operations, await log_of(reopened))
    await reopened.close()


class _GivingUp:
    """An ``EtcdStore`` whose every failure to answer is the store's."""

    def __init__(self, store: EtcdStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        import grpc

        from minikube_py.datastore.types import StoreUnavailable

        async def call(*arguments: Any, **named: Any) -> Any:
            try:
                async with asyncio.timeout(2):
                    return await getattr(self._store, name)(*arguments, **named)
            except (TimeoutError, grpc.aio.AioRpcError) as failure:
                raise StoreUnavailable(str(failure)) from failure

        return call
