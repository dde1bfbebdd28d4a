"""aiohttp's connection handler with a few differences.

HTTP methods that nobody knows are answered with a Status: the parser refuses them before there is a request, so
neither authentication nor a path comes into it. And a request that is alone on its connection may be answered by
``quick_get`` before there is a request object; a write that has come whole is answered by the face without aiohttp's
parser and streams (``whole_requests``). A connection that sends no request is closed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from minikube_py.components.apiserver.http.call import answer_object
from minikube_py.components.apiserver.http.discovery import method_not_allowed
from minikube_py.components.apiserver.http.face import Face, peer_certificate
from minikube_py.components.apiserver.http.negotiation import Form
from minikube_py.components.apiserver.http.quick_get import QuickGets, boundary
from minikube_py.components.apiserver.http.whole_requests import Whole, WholeRequests
from minikube_py.machinery.errors import ApiError, bad_request

log = logging.getLogger(__name__)
_MOST_HELD = 16
"""Pieces of what a client sends ahead; then it has to wait."""

_TOO_MANY = "Too many headers"
"""How aiohttp's parser begins to say that there are."""

HEADER_SECONDS = 32.0
"""kube-apiserver's time for a TLS handshake and for the headers of a connection's first request."""


class Connection(web.RequestHandler):
    """One connection of a client. Requests that ``quick_get`` can answer never reach aiohttp's parser.

    While a whole request is being answered (``_held`` is a list), what else comes is held back: requests of one
    connection are answered in their order. To aiohttp the connection looks idle meanwhile, but for
    ``_request_in_progress``, which makes its shutdown wait.
    """

    __slots__ = (
        "_answering",
        "_certificate",
        "_first_request",
        "_held",
        "_holds_back",
        "_owed",
        "_quick",
        "_whole",
        "_write",
    )

    def __init__(self, manager: Server, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(manager, loop=loop, **settings)
        self._quick = manager.quick_gets
        self._whole = manager.whole_requests
        self._write = manager.write
        self._answering: asyncio.Task[None] | None = None
        self._held: list[bytes] | None = None
        self._holds_back = False
        self._owed = 0 if self._quick is not None else -1
        self._certificate: bytes | None = None
        self._first_request: asyncio.TimerHandle | None = loop.call_later(HEADER_SECONDS, self._overdue)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave_to_aiohttp()
        super().connection_lost(exc)

    def _overdue(self) -> None:
        """Nothing has come but, perhaps, what was answered at once, which moves the time on."""
        if self._loop.time() < self._next_keepalive_close_time:
            self._first_request = self._loop.call_at(self._next_keepalive_close_time, self._overdue)
        else:
            self.force_close()

    def _leave_to_aiohttp(self) -> None:
        """aiohttp limits the time between two requests, once it has seen one."""
        if self._first_request is not None:
            self._first_request.cancel()
            self._first_request = None

    def data_received(self, data: bytes) -> None:
        if self._held is not None:
            self._hold(data)
            return
        if self._owed == 0 and self._idle:
            answer = self._answered_at_once(data)
            if answer is not None:
                assert self.transport is not None
                self.transport.write(answer)
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                return
            whole = self._whole.read(data) if self._whole is not None else None
            if whole is not None:
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                self._held = []
                self._request_in_progress = True
                self._answering = self._loop.create_task(self._answer(whole), name="api-request")
                return
        if self._owed >= 0:
            self._owed = boundary(self._owed, data)
        super().data_received(data)
        if self._first_request is not None and self._messages:
            self._leave_to_aiohttp()

    def _hold(self, data: bytes) -> None:
        held = self._held
        assert held is not None
        held.append(data)
        if len(held) >= _MOST_HELD and not self._holds_back and self.transport is not None:
            self._holds_back = True
            self.transport.pause_reading()

    async def _answer(self, whole: Whole) -> None:
        """Answer one request. Its client may go away meanwhile: a write runs to its end all the same."""
        task = self._answering
        assert task is not None
        try:
            request = whole.request(self, task)
            await self._write(request, whole.body, self)
        except ConnectionError:
            log.debug("a client went away while it was answered")
        except Exception:
            log.exception("an answer could not be sent", extra={"path": whole.message.path})
            self.force_close()
        finally:
            self._end_answer()

    @property
    def peer_certificate(self) -> bytes:
        """See ``call.Exchange``; so are the next two."""
        if self._certificate is None:
            self._certificate = peer_certificate(self.transport)
        return self._certificate

    def give_up(self, response: web.StreamResponse) -> None:
        answer = self._whole.plain_answer(response) if self._whole is not None else None
        if answer is not None and self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    async def send(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        if self.transport is None:
            return
        answer = self._whole.plain_answer(response) if self._whole is not None else None
        if answer is not None:
            self.transport.write(answer)
            return
        await self.finish_response(request, response, None)
        if response.keep_alive is False:
            self.force_close()

    def _end_answer(self) -> None:
        """Go on with what has come meanwhile, or let aiohttp end the connection if it wanted to."""
        held, self._held, self._answering = self._held or [], None, None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._close or self._force_close or self.transport is None:
            super().close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._holds_back:
            self._holds_back = False
            self.transport.resume_reading()
        for data in held:  # from the next whole request on, they are held again
            self.data_received(data)

    def close(self) -> None:
        """aiohttp's, but a whole request is answered first."""
        if self._held is None:
            super().close()
        else:
            self._close = True

    @property
    def _idle(self) -> bool:
        """Whether nothing is being answered, and the client has taken its last answers."""
        waiter = self._waiter
        closing = self._close or self._force_close or self.transport is None
        return waiter is not None and not waiter.done() and not self._messages and not self._paused and not closing

    def _answered_at_once(self, data: bytes) -> bytes | None:
        if self._quick is None:
            return None
        return self._quick.answer(data, self.peer_certificate)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, BadHttpMethod):
            error = method_not_allowed()
        elif isinstance(exc, LineTooLong) or _TOO_MANY in str(exc):
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

    def __init__(
        self,
        face: Face,
        *,
        quick_gets: QuickGets | None = None,
        whole_requests: WholeRequests | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(face, **settings)
        self.write = face.write
        self.quick_gets = quick_gets
        self.whole_requests = whole_requests

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)
