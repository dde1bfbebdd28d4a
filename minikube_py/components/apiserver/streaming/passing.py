"""Ordinary HTTP requests carried to a backend: logs, and the proxy subresources."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from minikube_py.components.apiserver.http.call import Response
from minikube_py.components.apiserver.streaming.relay import unreachable

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers",
    "transfer-encoding", "upgrade", "host", "authorization", "content-length",
))  # fmt: skip
_CONNECT_SECONDS = 10.0


@asynccontextmanager
async def _request(
    request: web.BaseRequest, url: str, tls: ssl.SSLContext | None, headers: dict[str, str], body: bool
) -> AsyncIterator[ClientResponse]:
    from aiohttp import ClientSession, ClientTimeout, TCPConnector  # only servers with nodes need the client side

    connector = TCPConnector(ssl=tls if tls is not None else True)
    timeout = ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    async with (
        ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
        session.request(
            request.method,
            url,
            headers=headers,
            data=request.content if body and request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent"),
        ) as answer,
    ):
        yield answer


async def pass_on(
    request: web.BaseRequest,
    host: str,
    port: int,
    target: str,
    tls: ssl.SSLContext | None,
    *,
    with_body: bool = True,
    prefix: str = "",
) -> Response:
    """Send the request to ``host:port`` and stream the answer back. ApiError 500 when it cannot be reached.

    ``prefix`` is the path under which the client sees the backend; redirects are rewritten to it.
    """
    from aiohttp import ClientError
    from yarl import URL

    scheme = "https" if tls is not None else "http"
    shown = f"[{host}]" if ":" in host else host
    url = URL(f"{scheme}://{shown}:{port}{target}", encoded=True)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
    started = False
    try:
        async with _request(request, url, tls, headers, with_body) as answer:  # type: ignore[arg-type]
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
        raise unreachable(host, port, error) from error


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
