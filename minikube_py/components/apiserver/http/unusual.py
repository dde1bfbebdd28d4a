"""What Go's HTTP server answers by itself, before any handler: requests of other versions, expectations and framings
that it does not know, questions about the server as a whole; and request targets that name a server.

Where Go writes a line of text the answer is a Status with the same code.
"""

from __future__ import annotations

from aiohttp import web

from minikube_py.components.apiserver.http.call import answer_object
from minikube_py.components.apiserver.http.negotiation import Form
from minikube_py.machinery.errors import ApiError, bad_request


def answer_to_unusual(request: web.BaseRequest) -> web.Response | None:
    """The answer to what is no request to the API; None for all others."""
    if request.version.major != 1:
        error = ApiError(505, "", "unsupported protocol version", details={})
        return _refused(error if request.version.major > 1 else bad_request("the request is malformed HTTP"))
    headers = request.headers
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        return _refused(ApiError(501, "", "unsupported transfer encoding", details={}))
    if headers.get("Expect", "100-continue").lower() != "100-continue":
        return _refused(ApiError(417, "", "the expectation of the request cannot be met", details={}))
    if request.raw_path == "*" and request.method == "OPTIONS":
        return web.Response()
    return None


def target_of(request: web.BaseRequest) -> str:
    """The path and the query that a request is for, also when it names the server (RFC 9112, absolute form)."""
    target = request.raw_path
    if target.startswith("/") or "://" not in target:
        return target
    rest = target.partition("://")[2]
    path = rest[min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest)) :]
    return path if path.startswith("/") else f"/{path}"


def _refused(error: ApiError) -> web.Response:
    """What else comes on the connection cannot be told from the rest of this request."""
    response = answer_object(error.status(), Form(), status=error.code)
    response.force_close()
    return response
