"""The servers of ``bench/datastore``, each on a port of its own and with its data under one folder.

All write their log with an fsync before they acknowledge. ``pyk3s datastore serve`` runs as users run it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_POSTGRES = Path("/usr/lib/postgresql/15/bin")
_START_SECONDS = 30.0


@contextlib.contextmanager
def on_sqlite(folder: Path) -> Iterator[str]:
    with _pyk3s(f"sqlite:///{folder / 'pyk3s.db'}") as address:
        yield address


@contextlib.contextmanager
def on_postgres(folder: Path) -> Iterator[str]:
    """An address, or nothing when Debian's PostgreSQL 15 is not installed."""
    if not (_POSTGRES / "initdb").exists():
        yield ""
        return
    home = folder / "postgres"
    home.mkdir()
    folder.chmod(0o755)
    shutil.chown(home, "postgres", "postgres")
    initialise = [_POSTGRES / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust"]
    subprocess.run(initialise, check=True, user="postgres", cwd="/", stdout=subprocess.DEVNULL)
    options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={home}")
    with _running(_POSTGRES / "postgres", "-D", home / "data", *options, user="postgres"):
        ready = [_POSTGRES / "pg_isready", "-q", "-h", home]
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(ready, check=False).returncode and time.monotonic() < deadline:
            time.sleep(0.05)
        with _pyk3s(f"postgresql://postgres@/postgres?host={home}") as address:
            yield address


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[str]:
    """An address, or nothing when etcd-server is not installed."""
    if shutil.which("etcd") is None:
        yield ""
        return
    address, peer = _free_address(), f"http://{_free_address()}"
    options = {
        "data-dir": folder / "etcd",
        "listen-client-urls": f"http://{address}",
        "advertise-client-urls": f"http://{address}",
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "error",
    }
    with _running("etcd", *(f"--{name}={value}" for name, value in options.items())):
        yield _answering(address)


@contextlib.contextmanager
def _pyk3s(endpoint: str) -> Iterator[str]:
    address = _free_address()
    command = ("datastore", "serve", "--datastore-endpoint", endpoint, "--etcd-listen", address)
    with _running(Path(sys.executable).with_name("pyk3s"), *command):
        yield _answering(address)


@contextlib.contextmanager
def _running(*command: str | Path, user: str | None = None) -> Iterator[None]:
    process = subprocess.Popen(command, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _answering(address: str) -> str:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return address
        time.sleep(0.05)
    raise SystemExit(f"no server at {address}")
