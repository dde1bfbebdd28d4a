"""Fixtures of the shared behaviour suite: every engine opens an empty store and reopens it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore.sqlite import SqliteDatastore, SqliteSettings, open_sqlite


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "in_process: what an engine promises to callers in its own process only")


class ManualClock:
    """Time that moves only by ``advance``, which lets everyone run whose sleep is over."""

    def __init__(self) -> None:
        self._time = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return 1_790_000_000.0 + self._time

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._time + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        self._time += seconds
        while self._sleepers and self._sleepers[0][0] <= self._time:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    @property
    def sleepers(self) -> int:
        return sum(not future.done() for _, _, future in self._sleepers)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


Reopen = Callable[[], Awaitable[SqliteDatastore]]


@pytest.fixture
async def stores(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Reopen]:
    """A function that opens the store of this test, closing it first if it is open."""
    current: list[SqliteDatastore] = []

    async def reopen() -> SqliteDatastore:
        if current:
            await current.pop().close()
        store = await open_sqlite(tmp_path / "state.db", clock=clock, settings=SqliteSettings())
        current.append(store)
        return store

    yield reopen
    for store in current:
        await store.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of ``store`` on every engine and face, or inside the process only."""
    if "store" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("in_process") is not None
        metafunc.parametrize("store", ["sqlite"] if alone else ["sqlite", "etcd"], indirect=True)


@pytest.fixture
async def store(request: pytest.FixtureRequest, stores: Reopen) -> AsyncIterator[Any]:
    opened = await stores()
    if request.param == "sqlite":
        yield opened
        return
    import grpc
    from datastore_etcd_client import EtcdStore, served_by_etcd

    async with served_by_etcd(opened) as address, grpc.aio.insecure_channel(address) as channel:
        yield EtcdStore(channel, opened)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop and the disk threads run until ``condition`` holds; raises TimeoutError when it never does."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.0005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return until
