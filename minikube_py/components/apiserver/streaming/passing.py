"""Ordinary HTTP requests carried to a backend: logs, and the proxy subresources."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from minikube_py.components.apiserver.http.call import Response, invite_body
from minikube_py.components.apiserver.streaming.relay import unreachable

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers",
    "transfer-encoding", "upgrade", "host", "authorization", "content-length",
))  # fmt: skip
# They say who asks the API server; a backend that believed them would believe anybody.
_IDENTITY = ("x-remote-user", "x-remote-uid", "x-remote-group", "x-remote-extra-", "impersonate-")
_CONNECT_SECONDS = 10.0
_BINARY, _BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
_HANDSHAKE = "sec-websocket-"


def _passes(name: str) -> bool:
    return name not in _HOP and not name.startswith(_IDENTITY)


async def carry(
    session: ClientSession,
    request: web.BaseRequest,
    url: str,
    identity: Sequence[tuple[str, str]] = (),
    *,
    with_body: bool = True,
    prefix: str = "",
    as_messages: bool = False,
) -> Response:
    """Send the request to ``url`` and stream the answer back, with ``as_messages`` over a WebSocket if it succeeds.

    ``identity`` are headers of our own; ``prefix`` is the path under which the client sees the backend, to which
    redirects are rewritten. Raises OSError, also for what aiohttp's client raises, while nothing has been answered;
    ConnectionResetError when the backend ends early.
    """
    from aiohttp import ClientError
    from yarl import URL

    headers = [(name, value) for name, value in request.headers.items() if _passes(name.lower())]
    if as_messages:
        headers = [(name, value) for name, value in headers if not name.lower().startswith(_HANDSHAKE)]
    with_body = with_body and request.body_exists
    if with_body:
        await invite_body(request)
    if with_body and request.content_length is not None:  # else it goes in chunks, which not every backend reads
        headers.append(("Content-Length", str(request.content_length)))
    started = False
    try:
        async with session.request(
            request.method,
            URL(url, encoded=True),
            headers=[*headers, *identity],
            data=request.content if with_body else None,
            allow_redirects=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent"),
        ) as answer:
            if as_messages and answer.status == 200:
                started = True
                return await _send_messages(request, answer)
            response = _begin(answer, prefix)
            await response.prepare(request)
            started = True
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except (TimeoutError, ClientError, OSError) as error:
        if started:
            raise ConnectionResetError("the backend ended early") from error
        raise OSError(str(error) or type(error).__name__) from error


async def pass_on(
    request: web.BaseRequest,
    host: str,
    port: int,
    target: str,
    tls: ssl.SSLContext | None,
    *,
    with_body: bool = True,
    prefix: str = "",
    as_messages: bool = False,
) -> Response:
    """``carry`` to ``host:port`` on a connection of its own. ApiError 500 when it cannot be reached."""
    from aiohttp import ClientSession, ClientTimeout, TCPConnector  # only servers with nodes need the client side

    scheme = "https" if tls is not None else "http"
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{port}{target}"
    connector = TCPConnector(ssl=tls if tls is not None else True)
    timeout = ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        try:
            return await carry(session, request, url, with_body=with_body, prefix=prefix, as_messages=as_messages)
        except ConnectionResetError:
            raise
        except OSError as error:
            raise unreachable(host, port, error) from error


async def _send_messages(request: web.BaseRequest, answer: ClientResponse) -> Response:
    """The answer's body as messages of the protocols that Kubernetes has for streams in one direction."""
    socket = web.WebSocketResponse(protocols=(_BINARY, _BASE64))
    await socket.prepare(request)
    async for chunk in answer.content.iter_any():
        if socket.ws_protocol == _BASE64:
            await socket.send_str(base64.b64encode(chunk).decode())
        else:
            await socket.send_bytes(chunk)
    await socket.close()
    return socket


def _begin(answer: ClientResponse, prefix: str) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP:
            response.headers.add(name, value)
    location = answer.headers.get("Location", "")
    if prefix and location.startswith("/"):
        response.headers["Location"] = prefix + location
    length = answer.headers.get("Content-Length")
    if length is not None:
        response.content_length = int(length)
    return response
