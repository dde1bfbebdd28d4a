"""exec and attach: from the client's WebSocket or SPDY connection to the runtime's streaming server.

Attach is exec without a command: the same streams to the container's own process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web
from multidict import MultiMapping

from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeFailure
from minikube_py.components.kubelet.streaming.channels import (
    CLOSE,
    ERROR,
    EXEC_PROTOCOLS,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    ChannelSocket,
    dialect_of,
    status_text,
)
from minikube_py.components.kubelet.streaming.duplex import (
    Duplex,
    UpgradedDuplex,
    UpgradeRefused,
    connect_upgraded,
    relay,
)
from minikube_py.components.kubelet.streaming.spdy import SpdyError
from minikube_py.components.kubelet.streaming.spdy_client import SpdyConnection, SpdyStream

_VERSION_HEADER = "X-Stream-Protocol-Version"
_runtime_protocol = "v4.channel.k8s.io"
largest_message_bytes = 32 << 20


@dataclass(frozen=True, slots=True)
class Streams:
    """Which streams a session has; a terminal joins stderr into stdout."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


def streams_of(query: Mapping[str, str]) -> Streams:
    """From the kubelet's (``input``) or the API server's (``stdin``) parameters. Raises HTTPBadRequest."""

    def given(*names: str) -> bool:
        return any(query.get(name, "") in ("1", "true") for name in names)

    tty = given("tty")
    streams = Streams(given("input", "stdin"), given("output", "stdout"), given("error", "stderr") and not tty, tty)
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise web.HTTPBadRequest(text="you must specify at least 1 of stdin, stdout, stderr")
    return streams


async def serve_exec(request: web.Request, runtime: Runtime, container_id: str) -> web.StreamResponse:
    """Run the ``command`` parameters in a container and carry its streams until it ends."""
    streams = streams_of(request.query)
    command = _all(request.query, "command")
    if not command:
        raise web.HTTPBadRequest(text="you must specify a command")
    _require_upgrade(request)
    try:
        url = await runtime.exec_url(
            container_id, command, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, tty=streams.tty
        )
    except RuntimeFailure as failure:
        raise runtime_error(failure) from failure
    return await _serve(request, url, streams)


async def serve_attach(request: web.Request, runtime: Runtime, container_id: str) -> web.StreamResponse:
    """Carry the streams of a container's own process until it ends or the client goes."""
    streams = streams_of(request.query)
    _require_upgrade(request)
    try:
        url = await runtime.attach_url(
            container_id, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, tty=streams.tty
        )
    except RuntimeFailure as failure:
        raise runtime_error(failure) from failure
    return await _serve(request, url, streams)


def runtime_error(failure: RuntimeFailure) -> web.HTTPException:
    """The answer for what the runtime refused: 404 for what is gone, else 500."""
    return web.HTTPNotFound(text=str(failure)) if failure.not_found else web.HTTPInternalServerError(text=str(failure))


def wants_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _require_upgrade(request: web.Request) -> None:
    if request.headers.get("Upgrade", "").lower() not in ("websocket", "spdy/3.1"):
        raise web.HTTPBadRequest(text="unable to upgrade: missing upgrade headers in request")


def _all(query: MultiMapping[str], name: str) -> list[str]:
    return list(query.getall(name, []))


async def _serve(request: web.Request, url: str, streams: Streams) -> web.StreamResponse:
    if not wants_websocket(request):
        return await relay_spdy(request, url)
    try:
        upstream, _ = await connect_upgraded(url, {_VERSION_HEADER: _runtime_protocol})
    except UpgradeRefused as error:
        raise web.HTTPInternalServerError(text=str(error)) from error
    try:
        socket = web.WebSocketResponse(protocols=EXEC_PROTOCOLS, max_msg_size=largest_message_bytes, compress=False)
        await socket.prepare(request)
    except BaseException:
        await upstream.close()
        raise
    await _carry(ChannelSocket(socket, dialect_of(socket.ws_protocol)), upstream, streams)
    await socket.close()
    return socket


async def relay_spdy(request: web.Request, url: str) -> web.StreamResponse:
    """Join a SPDY client with the runtime byte by byte; they agree on the version between themselves."""
    offered = ", ".join(request.headers.getall(_VERSION_HEADER, []))
    try:
        upstream, answer = await connect_upgraded(url, {_VERSION_HEADER: offered} if offered else {})
    except UpgradeRefused as error:
        raise web.HTTPInternalServerError(text=str(error)) from error
    agreed = answer.get(_VERSION_HEADER.lower(), "")
    try:
        client = await UpgradedDuplex.accept(request, {_VERSION_HEADER: agreed} if agreed else {})
    except BaseException:
        await upstream.close()
        raise
    await relay(client, upstream)
    return client.response


async def _carry(socket: ChannelSocket, upstream: Duplex, streams: Streams) -> None:
    """Carry one session until the process has ended, or the client has gone (which ends the session)."""
    async with SpdyConnection(upstream) as connection:
        try:
            opened = await _open_streams(connection, streams)
        except SpdyError as error:
            await socket.send(ERROR, str(error).encode())
            return
        if streams.stdout or streams.stderr:
            # Tells the client that the session stands (kubectl waits for it), as the kubelet does.
            await socket.send(STDOUT if streams.stdout else STDERR, b"")
        outputs = asyncio.create_task(_outputs(socket, opened))
        inputs = asyncio.create_task(_inputs(socket, opened))
        try:
            await asyncio.wait({outputs, inputs}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (outputs, inputs):
                task.cancel()
            results = await asyncio.gather(outputs, inputs, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                raise result


async def _open_streams(connection: SpdyConnection, streams: Streams) -> dict[int, SpdyStream]:
    wanted = [(ERROR, "error", True), (STDIN, "stdin", streams.stdin), (STDOUT, "stdout", streams.stdout)]
    wanted += [(STDERR, "stderr", streams.stderr), (RESIZE, "resize", streams.tty)]
    return {channel: await connection.open({"streamType": name}) for channel, name, given in wanted if given}


async def _outputs(socket: ChannelSocket, opened: Mapping[int, SpdyStream]) -> None:
    """Everything the process writes, then how it ended."""
    status = bytearray()
    try:
        async with asyncio.TaskGroup() as group:
            for channel in (STDOUT, STDERR):
                if channel in opened:
                    group.create_task(_output(socket, channel, opened[channel]))
            while chunk := await opened[ERROR].read():
                status += chunk
    except* ConnectionError as errors:
        raise ConnectionResetError("the client is gone") from errors
    if socket.dialect.status_objects:
        await socket.send(ERROR, bytes(status))
    elif text := status_text(bytes(status)):
        await socket.send(ERROR, text)


async def _output(socket: ChannelSocket, channel: int, stream: SpdyStream) -> None:
    while chunk := await stream.read():
        await socket.send(channel, chunk)


async def _inputs(socket: ChannelSocket, opened: Mapping[int, SpdyStream]) -> None:
    """What the client writes, until it goes."""
    while (message := await socket.receive()) is not None:
        channel, data = message
        if channel == CLOSE and socket.dialect.close_signal:
            closed = opened.get(data[0]) if data else None
            if closed is not None:
                await closed.close()
        elif channel in (STDIN, RESIZE) and channel in opened:
            await opened[channel].write(data)
