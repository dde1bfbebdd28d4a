"""One request on its way through the handlers, and the answers they give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from minikube_py.components.apiserver.flowcontrol.control import Flow
from minikube_py.components.apiserver.http.bodies import too_large
from minikube_py.components.apiserver.http.negotiation import Form
from minikube_py.components.apiserver.http.request_info import Query, RequestInfo
from minikube_py.components.apiserver.http.views import content_type, encode
from minikube_py.components.apiserver.types import RequestContext, UserInfo
from minikube_py.machinery.decoding import MAX_BODY_BYTES

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
            **options,
        )


Handler = Callable[[Call], Awaitable[Response]]


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body. ApiError 413 beyond the limit."""
    if not request.body_exists:
        return b""
    length = request.content_length
    if length is not None and length > MAX_BODY_BYTES:
        raise too_large()
    parts: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large()
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def answer_bytes(body: bytes, *, status: int = 200, media_type: str = "application/json") -> web.Response:
    """A complete answer."""
    return web.Response(body=body, status=status, headers={"Content-Type": media_type})


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
