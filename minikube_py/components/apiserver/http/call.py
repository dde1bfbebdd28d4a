"""One request on its way through the handlers, and the answers they give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
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
    metrics: RequestMetrics | None = None
    waited: list[float] = field(default_factory=list)
    """Seconds that the request spent in a queue and in webhooks, as the only element; none: it was not measured."""
    deprecated: bool = False
    give_up: Callable[[Response], None] | None = None
    """Of a write in a task of its own, which nobody cancels: sends the answer when its time is over."""
    overdue: bool = False
    """Whether ``give_up`` was called."""
    on_start: Callable[[int], Awaitable[None]] | None = None
    """Called with the status code when an answer that takes long begins."""

    @property
    def query(self) -> Query:
        return self.info.query

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    @property
    def accept(self) -> str:
        return self.request.headers.get("Accept", "")

    def context(self, **options: Any) -> RequestContext:
        """What the registry needs to know."""
        return RequestContext(
            user=self.user,
            user_agent=self.user_agent,
            request_id=self.request_id,
            warnings=self.warnings,
            audit_annotations=self.audit.annotations if self.audit is not None else {},
            body_bytes=len(self.request.get(BODY, b"")),
            **options,
        )

    async def started(self, code: int) -> None:
        """To be called when an answer that takes long begins."""
        if self.on_start is not None:
            await self.on_start(code)


Handler = Callable[[Call], Awaitable[Response]]
PIECE_BYTES = 512 * 1024
"""The most of a body that is encrypted in one go."""
BODY = web.RequestKey("BODY", bytes)
"""Under this key a request keeps the body that was read from it, for the audit."""


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body. ApiError 413 beyond the limit."""
    whole: bytes | None = request.get(BODY)
    if whole is not None:
        return whole
    if not request.body_exists:
        return b""
    length = request.content_length
    if length is not None and length > MAX_BODY_BYTES:
        raise too_large()
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
    body = request[BODY] = parts[0] if len(parts) == 1 else b"".join(parts)
    return body


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
