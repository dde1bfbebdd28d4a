"""The etcd face under etcd's own Go client, used as kube-apiserver's storage layer uses it (``kube_storage``).

A kube-apiserver to run is not to be had from this project's registries; the library that it talks with is, as Debian's
source package. Every check runs on Debian's etcd as well, so that the program itself is held to the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Postgres
from etcd_reference import free_port, running_etcd

from minikube_py.certificates import ServerCredentials
from minikube_py.client.clock import SystemClock
from minikube_py.config import ServerSettings

_GO_PATH = Path("/usr/share/gocode")
pytestmark = [
    pytest.mark.skipif(
        shutil.which("go") is None or not (_GO_PATH / "src/go.etcd.io/etcd/clientv3").exists(),
        reason="needs Debian's golang-go and golang-etcd-server-dev",
    ),
    pytest.mark.timeout(1200),  # building the Go client takes minutes on a slow machine
]
_CHECKS = ["features", "guards", "contention", "lists", "compaction", "progress", "fragments", "leases"]
_ROUNDS, _WRITERS, _STEPS = 5, 8, 150


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(_GO_PATH), "GOCACHE": str(folder / "cache")}
    source = Path(__file__).with_name("kube_storage")
    subprocess.run(["go", "build", "-o", folder / "kube_storage", "."], cwd=source, env=environment, check=True)
    return folder / "kube_storage"


@dataclass(frozen=True)
class Certificates:
    ca: Path
    serving: tuple[Path, Path]
    client: tuple[Path, Path]
    client_ca: Path

    @property
    def of_server(self) -> tuple[str, ...]:
        certificate, key = self.serving
        return (f"--cert-file={certificate}", f"--key-file={key}", f"--trusted-ca-file={self.client_ca}")

    @property
    def of_client(self) -> tuple[str, ...]:
        certificate, key = self.client
        return ("-ca", str(self.ca), "-cert", str(certificate), "-key", str(key))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    settings = ServerSettings(data_dir=str(tmp_path_factory.mktemp("pki")), node_ip="127.0.0.1", node_name="n")
    pki = ServerCredentials(settings, SystemClock()).pki
    serving, client = pki.serving_kube_apiserver, pki.client_kube_apiserver
    return Certificates(
        pki.server_ca.certificate,
        (serving.certificate, serving.key),
        (client.certificate, client.key),
        pki.client_ca.certificate,
    )


@dataclass
class Store:
    """A process that serves a datastore as etcd does. It always ends by signal 9."""

    endpoint: str
    address: str
    log: Path
    tls: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "minikube_py.cli", "datastore", "serve", "--datastore-endpoint", self.endpoint,
                "--etcd-listen", self.address, *self.tls, stdout=asyncio.subprocess.PIPE, stderr=output,
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(120):
            assert (await self.process.stdout.readline()).startswith(b"serving"), self.log.read_text()

    async def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    async def __aenter__(self) -> Store:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


@asynccontextmanager
async def running(program: Path, address: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, "-limit", "10m", "-endpoint", address, *arguments, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def assert_checks_hold(program: Path, address: str, *tls: str) -> None:
    async with running(program, address, *tls, "checks") as process:
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert output.decode().splitlines() == [f"ok {name}" for name in _CHECKS]


async def test_etcd_itself(program: Path, tmp_path: Path) -> None:
    with running_etcd(tmp_path) as address:
        await assert_checks_hold(program, address)


async def test_sqlite(program: Path, tmp_path: Path) -> None:
    async with Store(f"sqlite:///{tmp_path}/s.db", f"127.0.0.1:{free_port()}", tmp_path / "log") as store:
        await assert_checks_hold(program, store.address)


async def test_postgresql_with_tls(
    program: Path, tmp_path: Path, postgres: Postgres, certificates: Certificates
) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with Store(postgres.url, address, tmp_path / "log", certificates.of_server):
        await assert_checks_hold(program, address, *certificates.of_client)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/s.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url


async def test_it_keeps_running_while_the_store_is_killed(
    program: Path, tmp_path: Path, certificates: Certificates, database: str
) -> None:
    """Nothing acknowledged is missing, and its watch sees every change once, across the restarts."""
    address = f"127.0.0.1:{free_port()}"
    load = (*certificates.of_client, "load", str(_WRITERS), str(_STEPS))
    async with (
        Store(database, address, tmp_path / "log", certificates.of_server) as store,
        running(program, address, *load) as process,
    ):
        assert process.stdout is not None
        for _ in range(_ROUNDS):
            assert (await process.stdout.readline()).startswith(b"progress")
            await store.kill()
            await store.start()
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
