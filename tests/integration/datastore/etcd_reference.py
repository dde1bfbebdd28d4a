"""Debian's etcd as the reference: what the shared suites say of the store must be true of etcd itself."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from datastore_etcd_client import method, record_of

from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.types import Record


class ReferenceEtcd:
    """What ``EtcdStore`` asks of the served store without awaiting, asked of an etcd in another process."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._range = method(self._channel, "KV", "Range", "RangeRequest", "RangeResponse")
        self._leases = method(self._channel, "Lease", "LeaseLeases", "LeaseLeasesRequest", "LeaseLeasesResponse")
        self.compacted_revision = 0
        self.churn = self.rows = None

    def close(self) -> None:
        self._channel.close()

    def _all(self) -> Any:
        return self._range(message("RangeRequest")(key=b"\0", range_end=b"\0"))

    @property
    def current_revision(self) -> int:
        return int(self._all().header.revision)

    def current(self, prefix: str) -> list[Record]:
        return [record for kv in self._all().kvs if (record := record_of(kv)).key.startswith(prefix)]

    async def leases(self) -> list[int]:
        return [lease.ID for lease in self._leases(message("LeaseLeasesRequest")()).leases]


@contextlib.contextmanager
def running_etcd(folder: Path) -> Iterator[str]:
    """The address of a fresh etcd."""
    client, peer = (f"127.0.0.1:{free_port()}" for _ in range(2))
    options = {
        "data-dir": folder / "etcd",
        "listen-client-urls": f"http://{client}",
        "advertise-client-urls": f"http://{client}",
        "listen-peer-urls": f"http://{peer}",
        "initial-advertise-peer-urls": f"http://{peer}",
        "initial-cluster": f"default=http://{peer}",
        "heartbeat-interval": 10,
        "election-timeout": 100,
    }
    command = ["etcd", *(f"--{name}={value}" for name, value in options.items())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(client.split(":")[1])), 1):
                break
            time.sleep(0.02)
        yield client
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
