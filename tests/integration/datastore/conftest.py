"""Fixtures: stores on a real clock, and a PostgreSQL of the test session's own on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from minikube_py.datastore.postgres import PostgresDatastore, PostgresSettings, open_postgres
from minikube_py.datastore.sqlite import open_sqlite

# The shared suites and their client are those of the unit tests.
sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "datastore"))

_BINARIES = Path("/usr/lib/postgresql/15/bin")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "in_process: what an engine promises to callers in its own process only")


class RealClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)


@pytest.fixture
def clock() -> RealClock:
    return RealClock()


@contextlib.asynccontextmanager
async def background(coroutine: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine meanwhile."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def sqlite_store(tmp_path: Path, clock: RealClock) -> AsyncIterator[Any]:
    store = await open_sqlite(tmp_path / "state.db", clock=clock)
    async with background(store.run()):
        yield store
    await store.close()


@dataclass
class Postgres:
    """A database server of our own. ``stop`` is a fast shutdown, ``crash`` a kill -9 of it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def initialise(self) -> None:
        shutil.chown(self.folder, "postgres", "postgres")
        subprocess.run(
            [_BINARIES / "initdb", "-D", self.folder / "data", "-U", "postgres", "--no-sync", "-A", "trust"],
            check=True,
            user="postgres",
            cwd="/",
            stdout=subprocess.DEVNULL,
        )

    def start(self, *, listen: str = "", port: int = 5432) -> None:
        options = (
            f"listen_addresses={listen}",
            f"unix_socket_directories={self.folder}",
            "fsync=off",
            "max_connections=60",
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [_BINARIES / "postgres", "-D", self.folder / "data", *(p for o in options for p in ("-c", o))],
                user="postgres",
                cwd="/",
                stderr=log,
                stdout=log,
            )
        deadline = time.monotonic() + 30
        while subprocess.run(
            [_BINARIES / "pg_isready", "-q", "-h", self.folder, "-p", str(port)], check=False
        ).returncode:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        assert self.process is not None
        if how is signal.SIGKILL:
            # Its children (one for each connection) end by themselves when the postmaster is gone.
            children = _children(self.process.pid)
            self.process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGQUIT)
        else:
            self.process.send_signal(how)
        self.process.wait(30)
        self.process = None

    def crash(self) -> None:
        self.stop(signal.SIGKILL)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """All its processes stand still meanwhile: connections stay open, and nobody answers."""
        assert self.process is not None
        stopped = [self.process.pid, *_children(self.process.pid)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def become_standby_of(self, primary: Postgres) -> None:
        """Instead of ``initialise``: a copy of a running server, which commits nothing without it from now on."""
        shutil.chown(self.folder, "postgres", "postgres")
        source = f"host={primary.folder} user=postgres application_name=standby"
        subprocess.run(
            [_BINARIES / "pg_basebackup", "-D", self.folder / "data", "-d", source, "-R", "-X", "stream", "-c", "fast"],
            check=True,
            user="postgres",
            cwd="/",
        )
        self.start()
        for command in ("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()"):
            primary.psql(command)

    def psql(self, command: str) -> None:
        subprocess.run(
            ["psql", "-q", "-h", self.folder, "-U", "postgres", "-c", command], check=True, stdout=subprocess.DEVNULL
        )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    if not (_BINARIES / "initdb").exists() or os.geteuid() != 0:
        pytest.skip("needs Debian's PostgreSQL 15 and root")
    folder = Path(tempfile.mkdtemp(prefix="pyk3s-pg-"))
    server = Postgres(folder)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.stop()
        shutil.rmtree(folder)


@pytest.fixture
async def postgres(postgres_server: Postgres) -> Postgres:
    """The running server with an empty database."""
    if postgres_server.process is None:
        postgres_server.start()
    connection = await asyncpg.connect(postgres_server.url)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
    return postgres_server


Opener = Callable[[], Awaitable[PostgresDatastore]]


@pytest.fixture
async def servers(postgres: Postgres, clock: RealClock) -> AsyncIterator[Opener]:
    """Opens one more server on the database."""
    opened: list[PostgresDatastore] = []

    async def one_more(**settings: Any) -> PostgresDatastore:
        store = await open_postgres(postgres.url, clock=clock, settings=PostgresSettings(**settings))
        opened.append(store)
        return store

    yield one_more
    for store in opened:
        await store.close()


@pytest.fixture
async def store(servers: Opener) -> PostgresDatastore:
    return await servers()
