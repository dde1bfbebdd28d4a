"""Upgraded connections (WebSocket, SPDY/3.1), passed through byte for byte.

The client's request is repeated to the backend with its upgrade headers. When the backend answers
101, the client's transport is taken over from the HTTP server and bytes go both ways until one side
ends; any other answer is given to the client as an ordinary response.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence

from aiohttp import web

from minikube_py.components.apiserver.http.call import Response
from minikube_py.machinery.errors import ApiError

_HEAD_LIMIT = 64 * 1024
_BODY_LIMIT = 1024 * 1024
_CHUNK = 64 * 1024
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_PASSED = ("upgrade", "connection", "x-stream-protocol-version", "content-type", "origin", "user-agent", "cookie")


def wants_upgrade(request: web.BaseRequest) -> bool:
    return "upgrade" in request.headers.get("Connection", "").lower() and "Upgrade" in request.headers


class _Client(asyncio.Protocol):
    """The client's side after the take-over; feeds a reader and knows when to stop writing."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.lost = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self._stays_open = True

    def attach(self, transport: asyncio.Transport) -> None:
        self.reader.set_transport(transport)
        self._stays_open = transport.get_extra_info("ssl_object") is None

    def data_received(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def eof_received(self) -> bool:
        self.reader.feed_eof()
        return self._stays_open  # TLS cannot be closed by halves

    def connection_lost(self, error: Exception | None) -> None:
        self.reader.feed_eof()
        self.lost.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class _Taken(web.StreamResponse):
    """Stands for an answer that has gone out by itself; tells the HTTP server to close the connection."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def relay_upgrade(
    request: web.BaseRequest,
    host: str,
    port: int,
    target: str,
    tls: ssl.SSLContext | None,
    *,
    headers: Sequence[tuple[str, str]] = (),
    server_hostname: str | None = None,
) -> Response:
    """Carry an upgrade request to ``host:port`` and relay what follows. ApiError 502/503 when it cannot be reached.

    ``headers`` are sent besides; ``server_hostname`` is the name that a TLS certificate must have, if not ``host``.
    """
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=server_hostname if tls else None, limit=_HEAD_LIMIT
            )
    except (OSError, TimeoutError) as error:
        raise unreachable(host, port, error) from error
    try:
        writer.write(_request_head(request, server_hostname or host, port, target, headers))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise unreachable(host, port, error) from error
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            return await _refused(reader, head, status)
        return await _take_over(request, head, reader, writer)
    finally:
        writer.close()


def unreachable(host: str, port: int, error: BaseException) -> ApiError:
    """What a client sees when a backend does not answer."""
    why = str(error) or type(error).__name__
    return ApiError(
        500, "InternalError", f"Internal error occurred: error dialing backend: dial tcp {host}:{port}: {why}"
    )


def _request_head(
    request: web.BaseRequest, host: str, port: int, target: str, headers: Sequence[tuple[str, str]]
) -> bytes:
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {host}:{port}"]
    for name, value in (*_passed_headers(request), *headers):
        lines.append(f"{name}: {value}")
    if request.method not in ("GET", "HEAD"):
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _passed_headers(request: web.BaseRequest) -> Iterable[tuple[str, str]]:
    """Upgrade headers; never the client's credentials."""
    for name, value in request.headers.items():
        lower = name.lower()
        if lower == "sec-websocket-protocol":
            kept = [part for part in (p.strip() for p in value.split(",")) if not part.startswith("base64url.bearer.")]
            if kept:
                yield name, ", ".join(kept)
        elif lower in _PASSED or lower.startswith("sec-websocket-"):
            yield name, value


async def _refused(reader: asyncio.StreamReader, head: bytes, status: int) -> Response:
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(min(int(headers["content-length"]), _BODY_LIMIT))
    response = web.Response(body=body, status=status)
    response.headers["Content-Type"] = headers.get("content-type", "text/plain; charset=utf-8")
    response.force_close()
    return response


async def _take_over(
    request: web.BaseRequest, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Response:
    transport, server_side = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the client is gone")
    client = _Client()
    transport.set_protocol(client)
    client.attach(transport)
    try:
        transport.write(head)
        async with asyncio.TaskGroup() as both:
            up = both.create_task(_upwards(client, writer))
            down = both.create_task(_downwards(reader, transport, client))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            if not down.done() and not client.lost.is_set():
                await asyncio.wait({down}, timeout=_ANSWER_SECONDS)  # what the backend still has to say
            down.cancel()
    finally:
        transport.set_protocol(server_side)
        if client.lost.is_set():
            asyncio.get_running_loop().call_soon(server_side.connection_lost, None)
    return _Taken(101)


async def _upwards(client: _Client, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await client.reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return
    if writer.can_write_eof():
        writer.write_eof()


async def _downwards(reader: asyncio.StreamReader, transport: asyncio.Transport, client: _Client) -> None:
    try:
        while data := await reader.read(_CHUNK):
            transport.write(data)
            await client.writable.wait()
            if client.lost.is_set():
                return
    except ConnectionError:
        return
