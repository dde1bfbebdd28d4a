"""The node API's listener: TLS, authentication, authorization, routes.

``start`` binds and returns the port; ``run`` serves until cancelled. Every request but none is
authenticated; what is not known is refused with 401, what is not granted with 403 (the kubelet's texts).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import aclosing

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from minikube_py.components.kubelet.api.access import (
    ANONYMOUS,
    Access,
    Identity,
    certificate_identity,
    subresources,
    verb_of,
)
from minikube_py.components.kubelet.api.connections import FirstRequests, first_request_seconds
from minikube_py.components.kubelet.api.measures import Measures
from minikube_py.components.kubelet.api.pod_routes import PodRoutes
from minikube_py.components.kubelet.api.stats_routes import StatsRoutes
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.node.facts import Machine
from minikube_py.components.kubelet.pods.pods import Pods
from minikube_py.host.file_changes import file_changes
from minikube_py.host.tls import ServerTls, begins, ignore_times
from minikube_py.machinery.errors import ApiError

log = logging.getLogger(__name__)

shutdown_seconds = 2.0
keepalive_seconds = 90.0
"""The kubelet's time between two requests of one connection."""
_BACKLOG = 128


class NodeApi:
    """The HTTPS server of one node."""

    def __init__(self, kit: Kit, pods: Pods, machine: Machine) -> None:
        self._kit = kit
        self._access = Access(kit.client, kit.clock, kit.settings.node_name)
        self._routes = PodRoutes(kit, pods)
        self._stats = StatsRoutes(kit, Measures(kit, pods, machine))
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._connections: FirstRequests | None = None
        self._server_tls: ServerTls | None = None
        self._begins = 0.0

    def application(self) -> web.Application:
        """All routes behind the access check."""
        app = web.Application(middlewares=[self._guard()], client_max_size=1 << 20)
        app.router.add_get("/healthz", _ok)
        app.router.add_get("/healthz/{check}", _ok)
        self._routes.add_to(app)
        self._stats.add_to(app)
        return app

    async def start(self) -> int:
        """Bind; returns the port. Raises OSError when the address is taken, ssl.SSLError for bad certificates."""
        settings = self._kit.settings
        self._server_tls = await asyncio.to_thread(ServerTls, self._tls)
        self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=shutdown_seconds,
            keepalive_timeout=keepalive_seconds,
        )
        await self._runner.setup()
        assert self._runner.server is not None
        self._connections = FirstRequests(self._runner.server)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._connections,
                settings.bind_address,
                settings.port,
                ssl=self._server_tls.context,
                ssl_handshake_timeout=first_request_seconds,
                backlog=_BACKLOG,
            )
        except OSError:
            await self._runner.cleanup()
            raise
        return int(self._listening.sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Serve until cancelled; show a new certificate to new connections when the files change."""
        assert self._runner is not None and self._server_tls is not None and self._listening is not None
        try:
            await self._follow_files(self._server_tls)
        finally:
            self._listening.close()
            await self._runner.cleanup()

    async def _follow_files(self, server_tls: ServerTls) -> None:
        settings = self._kit.settings
        files = [path for path in (settings.tls_cert_file, settings.tls_key_file, settings.client_ca_file) if path]
        try:
            async with aclosing(file_changes(files, self._kit.clock)) as changes:
                async for _ in changes:
                    await self._exchange(server_tls)
        except OSError as error:  # no more inotify instances: serving matters more
            log.warning(
                "cannot watch the node API's certificate; restart to take in a new one", extra={"error": str(error)}
            )
            await asyncio.Event().wait()

    async def _exchange(self, server_tls: ServerTls) -> None:
        try:
            await server_tls.exchange()
        except (OSError, ValueError) as error:
            log.error("cannot take in the node API's new certificate", extra={"error": str(error)})
        else:
            log.info("the node API has a new certificate")

    def _tls(self) -> ssl.SSLContext:
        settings = self._kit.settings
        assert settings.tls_cert_file is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings.tls_policy.apply(context)
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
        if settings.client_ca_file is not None:
            context.load_verify_locations(settings.client_ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
            ignore_times(context)  # ``_identify`` judges them, by a clock that cannot be before our own certificate
        self._begins = begins(settings.tls_cert_file)
        return context

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._connections is not None:
                self._connections.heard(request.protocol)
            try:
                who = await self._identify(request)
                if who is None:
                    return web.Response(status=401, text="Unauthorized")
                if not await self._access.allowed(who, request.method, request.path):
                    return web.Response(status=403, text=_forbidden(who, request))
            except ApiError as error:
                log.info("cannot check access to the node API", extra={"error": error.message})
                return web.Response(status=500, text=f"Authorization error (error={error.message})")
            labels = (request.method, _metric_path(request), "readwrite", _long_running(request))
            self._kit.metrics.http_requests.labels(*labels).inc()
            inflight = self._kit.metrics.http_inflight.labels(*labels)
            with inflight.track_inprogress():
                return await handler(request)

        return guard

    async def _identify(self, request: web.Request) -> Identity | None:
        transport = request.transport
        now = max(self._kit.clock.now(), self._begins)
        found = certificate_identity(transport.get_extra_info("ssl_object") if transport else None, now)
        if found is not None:
            return found
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token.strip():
            return await self._access.token_identity(token.strip())
        return ANONYMOUS if self._kit.settings.anonymous_auth else None


def _forbidden(who: Identity, request: web.Request) -> str:
    verb, parts = verb_of(request.method), " ".join(subresources(request.path))
    return f"Forbidden (user={who.name}, verb={verb}, resource=nodes, subresource(s)=[{parts}])\n"


def _metric_path(request: web.Request) -> str:
    """The first element of the path, which is bounded in number (for a known route)."""
    resource = request.match_info.route.resource
    return resource.canonical.lstrip("/").split("/", 1)[0] if resource is not None else "other"


def _long_running(request: web.Request) -> str:
    return "true" if request.path.startswith(("/exec", "/attach", "/portForward", "/containerLogs")) else "false"


async def _ok(request: web.Request) -> web.Response:
    return web.Response(text="ok")
