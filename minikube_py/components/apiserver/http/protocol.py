"""aiohttp's connection handler with one difference: HTTP methods that nobody knows are answered with a Status.

The parser refuses them before there is a request, so neither authentication nor a path comes into it.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from minikube_py.components.apiserver.http.call import answer_object
from minikube_py.components.apiserver.http.dispatch import method_not_allowed
from minikube_py.components.apiserver.http.negotiation import Form


class Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, BadHttpMethod):
            return super().handle_error(request, status, exc, message)
        error = method_not_allowed()
        response = answer_object(error.status(), Form(), status=error.code)
        response.force_close()
        return response


class Server(web.Server):
    """aiohttp's low-level server with these connections."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)
