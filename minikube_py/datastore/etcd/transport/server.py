"""The listening side: a TCP or unix socket, with or without TLS, and the orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minikube_py.datastore.etcd.transport.call import Method
from minikube_py.datastore.etcd.transport.connection import Connection

_HANDSHAKE_SECONDS = 10.0
_BACKLOG = 1024
# A client that is gone without a word is noticed after about a minute, by the kernel.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)


async def serve(
    methods: Mapping[str, Method],
    *,
    listen: str,
    tls: ssl.SSLContext | None,
    bound: Callable[[str], None],
    grace_seconds: float = 1.0,
) -> None:
    """Serve ``methods`` (by path) at ``listen`` (HOST:PORT, or unix:PATH) until cancelled.

    ``bound`` learns the address when it serves. Cancelled, it ends streams at once, waits ``grace_seconds`` for other
    calls at work and ends the rest with UNAVAILABLE. Raises OSError.
    """
    connections: set[Connection] = set()
    tasks: set[asyncio.Future[Any]] = set()
    loop = asyncio.get_running_loop()

    def accept() -> Connection:
        return Connection(methods, connections, tasks)

    handshake = _HANDSHAKE_SECONDS if tls else None
    if listen.startswith("unix:"):
        path = listen.removeprefix("unix:").removeprefix("//")
        server: asyncio.Server = await loop.create_unix_server(
            accept, path, ssl=tls, ssl_handshake_timeout=handshake, backlog=_BACKLOG
        )
        address = listen
    else:
        host, port = _host_and_port(listen)
        server = await loop.create_server(
            accept, host.strip("[]") or None, port, ssl=tls, ssl_handshake_timeout=handshake, backlog=_BACKLOG
        )
        for listening in server.sockets:
            for option in _KEEPALIVE:
                listening.setsockopt(*option)  # accepted sockets inherit them
        address = f"{host}:{server.sockets[0].getsockname()[1]}"
    try:
        bound(address)
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        await _end(connections, tasks, grace_seconds)
        if listen.startswith("unix:"):
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(Path(path).unlink)


def _host_and_port(listen: str) -> tuple[str, int]:
    """Raises OSError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise OSError("it is not HOST:PORT with a port up to 65535")
    return host, int(port)


async def _end(connections: set[Connection], tasks: set[asyncio.Future[Any]], grace_seconds: float) -> None:
    for connection in list(connections):
        connection.leave()
    if connections:
        await asyncio.wait([connection.finished for connection in connections], timeout=grace_seconds)
    for connection in list(connections):
        connection.close()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
