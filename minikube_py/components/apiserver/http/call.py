"""One request on its way through the handlers, and the answers they give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from minikube_py.components.apiserver.audit.events import Record
from minikube_py.components.apiserver.flowcontrol.control import Flow
from minikube_py.components.apiserver.http.bodies import too_large
from minikube_py.components.apiserver.http.metrics import RequestMetrics
from minikube_py.components.apiserver.http.negotiation import Form
from minikube_py.components.apiserver.http.request_info import Query, RequestInfo
from minikube_py.components.apiserver.http.views import content_type, encode
from minikube_py.components.apiserver.types import RequestContext, UserInfo
from minikube_py.machinery.decoding import MAX_BODY_BYTES
from minikube_py.machinery.errors import bad_request

Response = web.StreamResponse


class Exchange(Protocol):
    """The connection that a write came on as a whole: it sends the answer itself, before the request is counted."""

    @property
    def peer_certificate(self) -> bytes:
        """The client certificate, as TLS has verified it (DER); empty for none."""

    async def send(self, request: web.BaseRequest, response: Response) -> None:
        """Send the answer, unless the client is gone. Raises ConnectionError when it goes meanwhile."""

    def give_up(self, response: Response) -> None:
        """Send the answer to a write that takes too long and goes on, and end the connection."""


@dataclass(slots=True)
class Call:
    """A request, who sent it, and what it says about its answer. ``warnings`` become Warning headers."""

    request: web.BaseRequest
    info: RequestInfo
    user: UserInfo
    request_id: str
    warnings: list[str] = field(default_factory=list)
    flow: Flow | None = None
    audit: Record | None = None
    user_agent: str = ""
    accept: str = ""
    content_type: str = ""
    """Headers that are looked at again and again, as they were sent; the last one is the body's."""
    body: bytes | None = None
    """The request's body, once it was read (``read_body``)."""
    metrics: RequestMetrics | None = None
    waited: list[float] = field(default_factory=list)
    """Seconds that the request spent in a queue and in webhooks, as the only element; none: it was not measured."""
    deprecated: bool = False
    exchange: Exchange | None = None
    """Of a write that came whole, in a task of its own, which nobody cancels: what sends its answer."""
    overdue: bool = False
    """Whether the exchange was given up, because the write takes too long."""
    on_start: Callable[[int], Awaitable[None]] | None = None
    """Called with the status code when an answer that takes long begins."""

    @property
    def query(self) -> Query:
        return self.info.query

    def context(self, **options: Any) -> RequestContext:
        """What the registry needs to know."""
        return RequestContext(
            user=self.user,
            user_agent=self.user_agent,
            request_id=self.request_id,
            warnings=self.warnings,
            audit_annotations=self.audit.annotations if self.audit is not None else {},
            body_bytes=len(self.body) if self.body else 0,
            **options,
        )

    async def started(self, code: int) -> None:
        """To be called when an answer that takes long begins."""
        if self.on_start is not None:
            await self.on_start(code)


Handler = Callable[[Call], Awaitable[Response]]
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PIECE_BYTES = 512 * 1024
"""The most of a body that is encrypted in one go."""


async def read_body(call: Call) -> bytes:
    """The whole body, which the call then keeps. ApiError 413 beyond the limit."""
    if call.body is not None:
        return call.body
    request = call.request
    if not request.body_exists:
        return b""
    length = request.content_length
    if length is not None and length > MAX_BODY_BYTES:
        raise too_large()
    await invite_body(request)
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise too_large()
            parts.append(chunk)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise bad_request("the body of the request cannot be read: bad framing or content encoding") from error
    body = call.body = parts[0] if len(parts) == 1 else b"".join(parts)
    return body


async def invite_body(request: web.BaseRequest) -> None:
    """Tell a client that waits for it (``Expect: 100-continue``) to send the body. Call before the body is read."""
    if "Expect" in request.headers and request.version == HttpVersion11:
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # the answer has not begun


class Answer(web.Response):
    """A complete answer. A large body goes out in pieces, each as the client takes it.

    aiohttp would copy head and body together, and TLS would then hold the loop for as long as it encrypts all of it.
    """

    async def write_eof(self, data: bytes = b"") -> None:
        body, writer = self._body, self._payload_writer
        if data or not isinstance(body, bytes) or len(body) <= PIECE_BYTES or writer is None:
            await super().write_eof(data)
            return
        if not self._must_be_empty_body:
            writer.send_headers()
            view = memoryview(body)
            for start in range(0, len(body), PIECE_BYTES):
                await writer.write(view[start : start + PIECE_BYTES])
        self._body = None  # it is out, or must not go out
        await super().write_eof()


def answer_bytes(body: bytes, *, status: int = 200, media_type: str = "application/json") -> web.Response:
    """A complete answer."""
    return Answer(body=body, status=status, headers={"Content-Type": media_type})


def answer_object(obj: Mapping[str, Any], form: Form, *, status: int = 200) -> web.Response:
    """An object in the negotiated form."""
    return answer_bytes(encode(obj, form), status=status, media_type=content_type(form))


def answer_text(text: str, status: int = 200) -> web.Response:
    return answer_bytes(text.encode(), status=status, media_type="text/plain; charset=utf-8")


def not_modified() -> web.Response:
    """304 without a Content-Type: caches put the headers of this answer on what they have kept."""
    return web.Response(status=304)


def not_found_page() -> web.Response:
    """What Go's mux says of an unknown path."""
    response = answer_text("404 page not found\n", 404)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
