"""port-forward: from the client to ports of a pod, through the runtime.

SPDY clients are relayed byte by byte; so are WebSocket tunnels (``SPDY/3.1+portforward.k8s.io``,
kubectl's default), whose binary messages are a SPDY connection. The older WebSocket form
(``v4.channel.k8s.io``: two channels for each port given in the query) is translated.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from aiohttp import web

from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeFailure
from minikube_py.components.kubelet.streaming.channels import PORT_FORWARD_PROTOCOLS, ChannelSocket, dialect_of
from minikube_py.components.kubelet.streaming.duplex import (
    TunnelDuplex,
    UpgradeRefused,
    connect_upgraded,
    relay,
)
from minikube_py.components.kubelet.streaming.execute import (
    largest_message_bytes,
    relay_spdy,
    runtime_error,
    wants_websocket,
)
from minikube_py.components.kubelet.streaming.spdy import SpdyError
from minikube_py.components.kubelet.streaming.spdy_client import SpdyConnection, SpdyStream

_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_VERSION_HEADER = "X-Stream-Protocol-Version"
_VERSION = "portforward.k8s.io"


async def serve_port_forward(request: web.Request, runtime: Runtime, sandbox_id: str) -> web.StreamResponse:
    """Carry connections to the pod until the client goes."""
    ports = ports_of(request)
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade not in ("websocket", "spdy/3.1"):
        raise web.HTTPBadRequest(text="unable to upgrade: missing upgrade headers in request")
    try:
        url = await runtime.port_forward_url(sandbox_id, ports)
    except RuntimeFailure as failure:
        raise runtime_error(failure) from failure
    if not wants_websocket(request):
        return await relay_spdy(request, url)
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    tunnelled = _TUNNEL in (item.strip() for item in offered.split(","))
    if not tunnelled and not ports:
        raise web.HTTPBadRequest(text='query parameter "port" is required')
    try:
        upstream, _ = await connect_upgraded(url, {_VERSION_HEADER: _VERSION})
    except UpgradeRefused as error:
        raise web.HTTPInternalServerError(text=str(error)) from error
    protocols = (_TUNNEL,) if tunnelled else PORT_FORWARD_PROTOCOLS
    try:
        socket = web.WebSocketResponse(protocols=protocols, max_msg_size=largest_message_bytes, compress=False)
        await socket.prepare(request)
    except BaseException:
        await upstream.close()
        raise
    if tunnelled:
        await relay(TunnelDuplex(socket), upstream)
    else:
        async with SpdyConnection(upstream) as connection:
            await _carry(ChannelSocket(socket, dialect_of(socket.ws_protocol)), connection, ports)
        await socket.close()
    return socket


def ports_of(request: web.Request) -> list[int]:
    """The ``port`` (or ``ports``) parameters, each one or several separated by commas. Raises HTTPBadRequest."""
    texts = [text for name in ("port", "ports") for item in request.query.getall(name, []) for text in item.split(",")]
    ports = []
    for text in texts:
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise web.HTTPBadRequest(text=f'unable to parse "{text}" as a port')
        ports.append(int(text))
    return ports


async def _carry(socket: ChannelSocket, connection: SpdyConnection, ports: list[int]) -> None:
    """Channel 2i carries the data of the i-th port, channel 2i+1 its errors; each begins with the port."""
    streams: list[SpdyStream] = []
    for number, port in enumerate(ports):
        common = {"port": str(port), "requestID": str(number)}
        try:
            error = await connection.open({"streamType": "error", **common})
            await error.close()
            data = await connection.open({"streamType": "data", **common})
        except SpdyError as refused:
            await socket.send(2 * number + 1, str(refused).encode())
            return
        streams += [data, error]
        for channel in (2 * number, 2 * number + 1):
            await socket.send(channel, struct.pack("<H", port))
    tasks = [asyncio.create_task(_output(socket, channel, stream)) for channel, stream in enumerate(streams)]
    inputs = asyncio.create_task(_inputs(socket, streams))
    done = asyncio.gather(*tasks, return_exceptions=True)
    waiting: set[asyncio.Future[Any]] = {done, inputs}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        done.cancel()
        inputs.cancel()
        await asyncio.gather(done, inputs, return_exceptions=True)


async def _output(socket: ChannelSocket, channel: int, stream: SpdyStream) -> None:
    while chunk := await stream.read():
        await socket.send(channel, chunk)


async def _inputs(socket: ChannelSocket, streams: list[SpdyStream]) -> None:
    while (message := await socket.receive()) is not None:
        channel, data = message
        if channel < len(streams) and channel % 2 == 0:
            await streams[channel].write(data)
