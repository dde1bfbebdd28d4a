"""The API server as a component: composes cache, registry and HTTP face, and owns their life.

``ApiServer`` is usable in two steps, because the security packages read through its local client::

    api = ApiServer(settings, store, clock, metrics)
    bundle = build_security(api.client(LOOPBACK), ...)
    api.secure(bundle.authenticator, bundle.authorizer, bundle.admission, bundle.virtual_handlers, ...)
    await api.run(ready)

Writes before ``secure`` are refused (there is no admission to judge them).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from prometheus_client import CollectorRegistry, ProcessCollector

from minikube_py.build_info import version_info
from minikube_py.client.types import Client
from minikube_py.components.apiserver import datastore_stall
from minikube_py.components.apiserver.admission.webhooks.transport import HttpHookCaller
from minikube_py.components.apiserver.aggregation.aggregator import Aggregator
from minikube_py.components.apiserver.aggregation.availability import Availability
from minikube_py.components.apiserver.aggregation.connections import Connections
from minikube_py.components.apiserver.aggregation.documents import RemoteDocuments
from minikube_py.components.apiserver.aggregation.local import keep_local_services
from minikube_py.components.apiserver.aggregation.reading import AggregatedReader
from minikube_py.components.apiserver.audit.auditor import Auditor
from minikube_py.components.apiserver.audited_client import AuditedClient
from minikube_py.components.apiserver.bootstrap.policy import mandatory_flow_control
from minikube_py.components.apiserver.custom.controller import CustomKinds
from minikube_py.components.apiserver.flowcontrol import FlowControl, run_consumer
from minikube_py.components.apiserver.flowcontrol.in_flight import limit_in_flight
from minikube_py.components.apiserver.flowcontrol.metrics import FlowMetrics
from minikube_py.components.apiserver.http.discovery import Discovery
from minikube_py.components.apiserver.http.dispatch import Dispatcher
from minikube_py.components.apiserver.http.endpoints import BOOTSTRAP_CHECK, Check, Endpoints
from minikube_py.components.apiserver.http.face import Denied, Face, Impersonate, denied_plainly
from minikube_py.components.apiserver.http.metrics import RequestMetrics
from minikube_py.components.apiserver.http.protocol import HEADER_SECONDS, Server
from minikube_py.components.apiserver.http.quick_get import QuickGets
from minikube_py.components.apiserver.http.request_info import RequestInfo
from minikube_py.components.apiserver.http.whole_requests import WholeRequests
from minikube_py.components.apiserver.kubernetes_service import ensure_kubernetes_service
from minikube_py.components.apiserver.local_audit import Journal
from minikube_py.components.apiserver.local_client import LocalClient, LocalInformers
from minikube_py.components.apiserver.metrics.composition import ApiServerMetrics
from minikube_py.components.apiserver.metrics.exposition import exposition
from minikube_py.components.apiserver.metrics.process import (
    availability_family,
    build_families,
    count_handshake_errors,
    no_audit_families,
    service_families,
)
from minikube_py.components.apiserver.metrics.storage import cache_families, size_family
from minikube_py.components.apiserver.metrics.values import Family
from minikube_py.components.apiserver.registry.allocation import ServiceAllocator
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.kinds import Kinds, is_virtual
from minikube_py.components.apiserver.service_endpoints import ServiceEndpoints
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.storage.cache import RECENT_EVENTS
from minikube_py.components.apiserver.storage.caches import Caches, TappedStore
from minikube_py.components.apiserver.streaming.streams import KubeletStreams
from minikube_py.components.apiserver.types import (
    LOOPBACK,
    AdmissionChain,
    AdmissionRequest,
    Authenticator,
    Authorizer,
    UserInfo,
    VirtualHandler,
)
from minikube_py.datastore.types import DatastoreError
from minikube_py.machinery.cel_timing import cel_observer
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import service_unavailable
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.objects import Object
from minikube_py.machinery.pod_resources import Amounts
from minikube_py.machinery.resources import API_SERVICES, SERVICES

log = logging.getLogger(__name__)

Documents = Mapping[str, tuple[str, Callable[[], Object]]]
_KEEPALIVE_SECONDS = 75.0
_BACKLOG = 1024
_SIZE_SECONDS = 1.0
"""A scrape waits so long for the datastore to tell its size; kube-apiserver does the same."""
_LINE_BYTES = 32 * 1024
"""The longest request line (selectors may name many objects) and header field (tokens with many groups)."""
_MOST_HEADERS = 512
"""A proxy that impersonates users names each of their groups in a header of its own."""


class _NotYet:
    """The admission chain before there is one."""

    async def admit(self, request: AdmissionRequest) -> None:
        raise service_unavailable("the API server is starting")

    async def validate(self, request: AdmissionRequest) -> None:
        raise service_unavailable("the API server is starting")


class ApiServer:
    """See the module. ``core`` is for the security packages' composition and for tests."""

    def __init__(
        self,
        settings: ApiServerSettings,
        store: TappedStore,
        clock: Clock,
        metrics: CollectorRegistry,
        *,
        auditor: Auditor | None = None,
    ) -> None:
        """``auditor`` None: nothing is audited, and neither requests nor clients in this process pay for it."""
        self._auditor = auditor
        self._journal = Journal(auditor) if auditor is not None else None
        self.settings = settings
        self._clock = clock
        self._registry = metrics
        self.metrics = ApiServerMetrics()
        """What the rooms of this server count into."""
        self._request_metrics = RequestMetrics(self.metrics.identity)
        datastore_stall.register_metrics(metrics, store, clock)
        self._caches = Caches(store)
        self.kinds = Kinds(builtin_kinds())
        for kind in self.kinds.all():
            if not is_virtual(kind):
                self._caches.open(kind.stored_as)
        services = [entry.object for entry in self._caches.open(SERVICES).unordered()]
        allocators = {("", "services"): ServiceAllocator(settings.service_ranges, services)}
        self.core = Core(self.kinds, self._caches, clock, _NotYet(), allocators=allocators)
        self._informers = LocalInformers(self.core)
        endpoints = ServiceEndpoints(self.client())
        self._conversion_webhooks = HttpHookCaller(endpoints, metrics=self.metrics.rest_clients)
        self._show_metrics(allocators["", "services"])
        self._custom = CustomKinds(self.core, self._conversion_webhooks, self.metrics.conversion)
        self._aggregator = Aggregator(Connections(endpoints, settings.proxy_identity, self.metrics.rest_clients))
        reading, writing = settings.max_requests_inflight, settings.max_mutating_requests_inflight
        self._flow = FlowControl(reading + writing, clock, FlowMetrics(metrics))
        if not settings.priority_and_fairness:
            limit_in_flight(self._flow, reading, writing)
        self._face: Face | None = None
        self._quick_gets: QuickGets | None = None
        self._streams: KubeletStreams | None = None
        self._background: tuple[Callable[[], Awaitable[None]], ...] = ()
        self.pending_charges: Callable[[str, str], Amounts] = lambda namespace, quota: {}
        """What writes on their way have charged to a quota (namespace, name); set by who makes admission."""
        self.not_ready = ""
        """Why the server is not ready yet though it answers, for /readyz; set by who starts it."""
        self.port = settings.port
        """The port that is listened on; differs from the settings when those ask for any (0)."""

    def client(
        self, user: UserInfo = LOOPBACK, *, user_agent: str = "kube-apiserver", informers_as: UserInfo | None = None
    ) -> Client:
        """A client in this process that acts as ``user`` (whose rights are not checked again).

        ``informers_as`` is who reads through its informers, as audit sees it; None: the user.
        """
        if self._journal is None:
            return LocalClient(self.core, user, self._informers, user_agent)

        def plain(annotations: dict[str, str] | None) -> Client:
            return LocalClient(self.core, user, self._informers, user_agent, annotations)

        return AuditedClient(plain, self._journal, user, user_agent, informers_as=informers_as)

    def aggregated_reader(self, user: UserInfo) -> AggregatedReader:
        """What a component of this process reads aggregated API servers with, which are told that ``user`` asks."""
        return AggregatedReader(self._aggregator, user, self._journal)

    def secure(
        self,
        authenticator: Authenticator,
        authorizer: Authorizer,
        admission: AdmissionChain,
        virtual_handlers: Mapping[tuple[str, str, str], VirtualHandler],
        *,
        impersonate: Impersonate | None = None,
        denied: Denied = denied_plainly,
        documents: Documents | None = None,
        public: Mapping[str, Callable[[], bytes]] | None = None,
        checks: Mapping[str, Check] | None = None,
        explain: Authorizer | None = None,
        background: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """Set who decides; must be called once before ``run``. ``documents`` are OpenID's, by path.

        ``public`` are texts, by path, that everybody gets without being asked who they are.
        ``explain`` says from memory why requests of this process would be allowed, for their audit.
        ``background`` runs as long as the server; what fails in it ends the server.
        """
        self._background = tuple(background)
        auditor = self._auditor
        if self._journal is not None:
            self._journal.explain = explain
        self.core.admission = admission
        self.core.virtual.update(virtual_handlers)
        shown = f"{self.settings.advertise_address or self.settings.bind_address}:{self.settings.port}"
        all_checks = {**self._own_checks(), **(checks or {})}
        remote = RemoteDocuments(self._aggregator, self._clock)
        endpoints = Endpoints(self.kinds, self._scraped, all_checks, documents or {}, remote, now=self.core.clock.now)
        self._streams = KubeletStreams(self.core, self.settings.kubelet_tls)
        discovery = Discovery(self.kinds, shown, self._aggregator, self.metrics.discovery_builds.inc)
        dispatcher = Dispatcher(self.core, discovery, endpoints, self._streams, self._aggregator)
        self._face = Face(
            dispatcher,
            authenticator,
            authorizer,
            self._clock,
            self._request_metrics,
            impersonate=impersonate,
            denied=denied,
            flow=self._flow,
            auditor=auditor,
            public=public,
        )
        if auditor is None:  # what is audited goes the ordinary way
            self.metrics.show(no_audit_families)
            self._quick_gets = QuickGets(
                self.core,
                authenticator,
                authorizer,
                self._flow,
                self._request_metrics,
                self._clock,
                self._aggregator,
            )

    async def forget_credentials(self) -> None:
        """Show kubelets what the credential files hold now, from the next connection on."""
        if self._streams is not None:
            self._streams.forget_credentials()
        self._aggregator.connections.forget()

    def _aggregated(self, info: RequestInfo) -> bool:
        """Whether another API server answers a request."""
        return self._aggregator.backend(info) is not None

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled. Raises RuntimeError when ``secure`` was not called, OSError for a taken port."""
        if self._face is None:
            raise RuntimeError("ApiServer.secure must be called before run")
        if self.settings.tls is not None:
            count_handshake_errors(self.settings.tls, self.metrics.handshake_errors.inc)
        cel_observer.set(self.metrics.cel.observer)
        self._custom.start()  # before anybody can ask: what is stored already must not be answered with 404
        async with self._auditing():
            await self._serve(self._face, ready)

    @asynccontextmanager
    async def _auditing(self) -> AsyncIterator[None]:
        """Write audit events from before the first request until after the last one."""
        if self._journal is None:
            yield
            return
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._journal.run(), name="audit")
            try:
                yield
            finally:
                writing.cancel()

    async def _serve(self, face: Face, ready: Callable[[], None]) -> None:
        settings = self.settings
        server, listening = await self._listen(face)
        try:
            self.port = listening.sockets[0].getsockname()[1]
            if settings.advertise_address:
                await ensure_kubernetes_service(
                    self.client(), settings.service_ranges.network, settings.advertise_address, self.port
                )
            ready()
            await self._work()
        finally:
            listening.close()
            await face.drain()
            await server.shutdown(timeout=1.0)
            await self._aggregator.connections.close()
            await self._informers.converted.close()
            await self._conversion_webhooks.close()
            await listening.wait_closed()

    async def _listen(self, face: Face) -> tuple[Server, asyncio.Server]:
        """The HTTP server and its socket. Raises OSError for a taken port."""
        settings = self.settings
        server = Server(
            face,
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            quick_gets=self._quick_gets,
            whole_requests=WholeRequests(self._aggregated, self._clock.now) if self._quick_gets is not None else None,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            max_headers=_MOST_HEADERS,
            access_log=None,
            auto_decompress=True,
        )
        listening = await asyncio.get_running_loop().create_server(
            server,
            settings.bind_address,
            settings.port,
            ssl=settings.tls,
            ssl_handshake_timeout=HEADER_SECONDS if settings.tls is not None else None,
            backlog=_BACKLOG,
        )
        return server, listening

    async def _work(self) -> None:
        """What the server does beside answering, until cancelled; what fails in it ends the server."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._custom.run(), name="custom-kinds")
            for work in self._background:
                tasks.create_task(_as_coroutine(work), name="security")
            if self.settings.aggregation:
                availability = Availability(self.client(), self._aggregator, self._clock)
                tasks.create_task(availability.run(), name="aggregation")
                local = keep_local_services(self.client(), self.kinds, self._clock)
                tasks.create_task(local, name="local-apiservices")
            if self.settings.priority_and_fairness:
                mandatory = await asyncio.to_thread(mandatory_flow_control)
                consumer = run_consumer(self.client(), self._flow, self._clock, mandatory)
                tasks.create_task(consumer, name="flow-control")

    def close(self) -> None:
        """Stop following the store; call after ``run`` has ended and before the store is closed."""
        self._caches.close()

    def _show_metrics(self, services: ServiceAllocator) -> None:
        shown, caches = self.metrics, self._caches
        ProcessCollector(registry=self._registry)
        shown.show(self._request_metrics.families)
        shown.show(caches.requests.families)
        shown.show(self.core.metrics.families)
        shown.show(services.metrics.families)
        shown.show(lambda: cache_families(caches.all(), RECENT_EVENTS))
        shown.show(lambda: service_families(services))
        shown.show(lambda: build_families(version_info()))
        shown.show(self._availability)

    def _availability(self) -> Iterator[Family]:
        names = [entry.name for entry in self._caches.open(API_SERVICES).unordered()]
        yield availability_family(self._aggregator.availability(names))

    async def _scraped(self) -> bytes:
        """The page of /metrics: what libraries and other components register, then the API server's own."""
        from prometheus_client import generate_latest  # only scraped servers need it

        others = await asyncio.to_thread(generate_latest, self._registry)
        size: list[Family] = []
        with suppress(DatastoreError, TimeoutError):
            async with asyncio.timeout(_SIZE_SECONDS):
                size = [size_family(await self._caches.store.size_bytes())]
        return others + await self.metrics.text() + await exposition([lambda: size])

    def _own_checks(self) -> dict[str, Check]:
        """What health pages look at, by name."""
        return {
            "etcd": self._check_store,
            "etcd-readiness": lambda: datastore_stall.check(self._caches.store),
            BOOTSTRAP_CHECK: self._check_bootstrap,
        }

    async def _check_bootstrap(self) -> str:
        return self.not_ready

    async def _check_store(self) -> str:
        return "" if self._caches.revision >= 0 else "no revision"


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def run_apiserver(api: ApiServer, ready: Callable[[], None]) -> None:
    """The component's entry point."""
    await api.run(ready)
