"""aiohttp's connection handler with two differences.

HTTP methods that nobody knows are answered with a Status: the parser refuses them before there is a request, so
neither authentication nor a path comes into it. And a request that is alone on its connection may be answered by
``quick_get`` before there is a request object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from minikube_py.components.apiserver.http.call import answer_object
from minikube_py.components.apiserver.http.dispatch import method_not_allowed
from minikube_py.components.apiserver.http.face import peer_certificate
from minikube_py.components.apiserver.http.negotiation import Form
from minikube_py.components.apiserver.http.quick_get import QuickGets, boundary
from minikube_py.machinery.errors import ApiError, bad_request


class Connection(web.RequestHandler):
    """One connection of a client. Requests that ``quick_get`` can answer never reach aiohttp's parser."""

    __slots__ = ("_address", "_certificate", "_owed", "_quick")

    def __init__(self, manager: Server, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(manager, loop=loop, **settings)
        self._quick = manager.quick_gets
        self._owed = 0 if self._quick is not None else -1
        self._certificate: bytes | None = None
        self._address = ""

    def data_received(self, data: bytes) -> None:
        if self._owed == 0 and self._idle:
            answer = self._answered_at_once(data)
            if answer is not None:
                assert self.transport is not None
                self.transport.write(answer)
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                return
        if self._owed >= 0:
            self._owed = boundary(self._owed, data)
        super().data_received(data)

    @property
    def _idle(self) -> bool:
        """Whether nothing is being answered, and the client has taken its last answers."""
        waiter = self._waiter
        closing = self._close or self._force_close or self.transport is None
        return waiter is not None and not waiter.done() and not self._messages and not self._paused and not closing

    def _answered_at_once(self, data: bytes) -> bytes | None:
        if self._quick is None:
            return None
        if self._certificate is None:
            self._certificate = peer_certificate(self.transport)
            peer = self.peername
            self._address = str(peer[0] if isinstance(peer, tuple) else peer or "")
        return self._quick.answer(data, self._certificate, self._address)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, BadHttpMethod):
            error = method_not_allowed()
        elif isinstance(exc, LineTooLong):
            error = ApiError(431, "", "Request Header Fields Too Large", details={})
        elif isinstance(exc, HttpProcessingError):  # what the parser says shows the bytes that it met
            error = bad_request("the request is malformed HTTP")
        else:
            return super().handle_error(request, status, exc, message)
        response = answer_object(error.status(), Form(), status=error.code)
        response.force_close()
        return response


class Server(web.Server):
    """aiohttp's low-level server with these connections; ``quick_gets`` None leaves every request to it."""

    def __init__(self, handler: Callable[..., Any], *, quick_gets: QuickGets | None = None, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self.quick_gets = quick_gets

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)
