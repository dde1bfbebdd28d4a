"""``--etcd-listen`` of a server process: whose certificates it takes, and that renewed ones hold without a restart."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minikube_py.certificates import ServerCredentials
from minikube_py.client.clock import SystemClock
from minikube_py.config import ServerSettings
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.pki.layout import KeyPair
from minikube_py.serving.etcd import run_etcd


def handshake(port: int, authority: Path, client: KeyPair) -> str:
    """The serial number of the certificate that the server shows. Raises OSError when it refuses the client's."""
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, context.wrap_socket(plain) as secured:
        if not secured.recv(1):  # its SETTINGS; with TLS 1.3 a refusal comes after the handshake
            raise ConnectionResetError("refused")
        found = secured.getpeercert()
        assert found is not None
        return str(found["serialNumber"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def credentials_in(folder: Path, **settings: Any) -> tuple[ServerSettings, ServerCredentials]:
    found = ServerSettings(data_dir=str(folder), node_ip="127.0.0.1", node_name="n", **settings)
    return found, ServerCredentials(found, SystemClock())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("own_ca", [False, True], ids=["the cluster's client CA", "a CA of its own"])
async def test_who_may_connect(tmp_path: Path, own_ca: bool) -> None:
    port, trusted = free_port(), tmp_path / "trusted.crt"
    _, stranger = await asyncio.to_thread(credentials_in, tmp_path / "stranger")
    option = {"etcd_trusted_ca_file": str(trusted)} if own_ca else {}
    trusted.write_bytes(stranger.pki.client_ca.certificate.read_bytes())
    settings, own = await asyncio.to_thread(credentials_in, tmp_path / "own", etcd_listen=f"127.0.0.1:{port}", **option)
    store = await open_sqlite(tmp_path / "state.db", clock=SystemClock())
    server: Any = SimpleNamespace(
        settings=settings, clock=SystemClock(), foundation=SimpleNamespace(credentials=own, pki=own.pki, store=store)
    )
    ready = asyncio.Event()
    serving = asyncio.create_task(run_etcd(server, ready.set))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        clients = [own.pki.client_kube_apiserver, stranger.pki.client_kube_apiserver]
        good, bad = reversed(clients) if own_ca else clients
        authority = own.pki.server_ca.certificate
        before = await asyncio.to_thread(handshake, port, authority, good)
        with pytest.raises(OSError):
            await asyncio.to_thread(handshake, port, authority, bad)
        own.pki.serving_kube_apiserver.certificate.unlink()
        await asyncio.to_thread(credentials_in, tmp_path / "own")  # issues it anew
        await own._listeners["etcd"]()
        assert await asyncio.to_thread(handshake, port, authority, good) != before
        if own_ca:
            trusted.write_bytes(own.pki.client_ca.certificate.read_bytes())
            await until(lambda: accepted(port, authority, bad))
            with pytest.raises(OSError):
                await asyncio.to_thread(handshake, port, authority, good)
    finally:
        serving.cancel()
        waiting.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)
        await store.close()


def accepted(port: int, authority: Path, client: KeyPair) -> bool:
    try:
        handshake(port, authority, client)
    except OSError:
        return False
    return True
