"""Two-way byte streams and how to get them: a socket to the runtime, an upgraded HTTP request, a
WebSocket tunnel. ``relay`` joins two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast
from urllib.parse import urlsplit

from aiohttp import StreamReader, WSMsgType, web

connect_timeout_seconds = 10.0
_chunk_bytes = 1 << 16
_largest_head_bytes = 1 << 16


class UpgradeRefused(Exception):
    """The other side did not switch protocols; the text says what it answered."""


class Duplex(Protocol):
    """A byte stream in both directions. Errors of the connection read as its end."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer does not read."""

    async def close(self) -> None: ...


class SocketDuplex:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_chunk_bytes)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return  # closed is closed


async def connect_upgraded(url: str, headers: Mapping[str, str]) -> tuple[SocketDuplex, dict[str, str]]:
    """Upgrade a connection to the runtime's streaming server to SPDY/3.1.

    Returns the stream and the response's headers, names in lower case. Raises UpgradeRefused.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}:{port}", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer = None
    try:
        async with asyncio.timeout(connect_timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=_largest_head_bytes)
            writer.write(("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *fields = head.split("\r\n")
            if status.split(" ", 2)[1] != "101":
                raise UpgradeRefused(f"the runtime's streaming server answers {status!r}")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, UpgradeRefused) as error:
        if writer is not None:
            writer.close()
        if isinstance(error, UpgradeRefused):
            raise
        raise UpgradeRefused(f"the runtime's streaming server at {host}:{port} is not reached: {error}") from error
    pairs = (field.partition(":") for field in fields if field)
    return SocketDuplex(reader, writer), {name.lower(): value.strip() for name, _, value in pairs}


class UpgradedDuplex:
    """A request of aiohttp's server whose connection was switched to raw bytes."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._reader = StreamReader(request.protocol, _chunk_bytes, loop=asyncio.get_running_loop())

    @classmethod
    async def accept(cls, request: web.Request, headers: Mapping[str, str]) -> UpgradedDuplex:
        """Answer 101 and take the connection over."""
        response = web.StreamResponse(
            status=101, headers={"Connection": "Upgrade", "Upgrade": request.headers.get("Upgrade", ""), **headers}
        )
        response.force_close()
        duplex = cls(request, response)
        await response.prepare(request)
        # aiohttp hands the bytes after an upgrade to a parser, as its own WebSocket code does.
        request.protocol.set_parser(cast("object", duplex))  # type: ignore[arg-type]
        request.protocol.keep_alive(False)
        return duplex

    @property
    def response(self) -> web.StreamResponse:
        """What the handler returns at its end."""
        return self._response

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp: bytes from the client."""
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        """Called by aiohttp: the client is gone."""
        self._reader.feed_eof()

    async def read(self) -> bytes:
        return await self._reader.readany()

    async def write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(data)
        await self._request.writer.drain()

    async def close(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()


class TunnelDuplex:
    """Bytes in the binary messages of a WebSocket (``SPDY/3.1+portforward.k8s.io``)."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                if message.data:
                    return cast(bytes, message.data)
            elif message.type is not WSMsgType.TEXT:
                return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()


async def relay(left: Duplex, right: Duplex) -> None:
    """Copy both ways until either side ends; then close both."""
    copies = [asyncio.create_task(_copy(left, right)), asyncio.create_task(_copy(right, left))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in copies:
            task.cancel()
        results = await asyncio.gather(*copies, return_exceptions=True)
        await left.close()
        await right.close()
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result


async def _copy(source: Duplex, target: Duplex) -> None:
    while data := await source.read():
        await target.write(data)
