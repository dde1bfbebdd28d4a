"""Composes a server process: what starts, in which order, with what.

The recipe is ``server_components``. ``foundation`` opens the datastore and the PKI and makes the API
server; containerd starts beside it; everything else follows as its needs become ready. A failure of
a vital part at the start ends the process with one line (``StartError``); later failures are the
supervisor's.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import signal
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py import agent, config, logs
from minikube_py.client.clock import SystemClock
from minikube_py.config import ConfigError, ServerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.supervisor import Component, Ready, Supervisor

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.client.recorder import Recorder
    from minikube_py.client.types import Client
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.storage.caches import TappedStore
    from minikube_py.datastore.transactions import TransactionalStore
    from minikube_py.machinery.resources import Resource
    from minikube_py.pki.layout import Pki

log = logging.getLogger(__name__)

X509_V_FLAG_NO_CHECK_TIME = 0x200000
"""OpenSSL's flag, which the ssl module does not name."""
floor_interval_seconds = 86_400.0


class StartError(Exception):
    """The server cannot start; the text is one line with the cause and the mend."""


def run_server(settings: ServerSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError."""
    import uvloop

    logs.configure(json=settings.log_format == "json", debug=settings.debug)
    data = Path(settings.data_dir).resolve()
    lock = own_data_dir(data)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    finally:
        os.close(lock)


def own_data_dir(data: Path) -> int:
    """Take the data folder for this process; returns the locked file. Raises StartError."""
    folder = data / "server"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot use data folder {data}: {error.strerror}; choose another with --data-dir") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartError(
            f"data folder {data} is in use by another pyk3s server; stop that one or choose another --data-dir"
        ) from None
    return lock


async def _serve(settings: ServerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    server = Server(settings, clock)
    supervisor = Supervisor(server_components(server), clock)
    server.supervisor = supervisor
    try:
        await supervisor.run(stop)
    except BaseExceptionGroup as group:
        raise explained(group.exceptions[0], settings) from group
    except Exception as error:
        raise explained(error, settings) from error
    log.info("stopped")


def explained(error: BaseException, settings: ServerSettings) -> BaseException:
    """The StartError for a failure that a user can mend; anything else as it is."""
    from minikube_py.components.kubelet.runtime.containerd_config import RuntimeMissing
    from minikube_py.components.kubelet.runtime.types import RuntimeFailure
    from minikube_py.datastore.types import StoreCorrupt, StoreLocked, StoreUnavailable
    from minikube_py.pki.errors import PkiError

    if isinstance(error, BaseExceptionGroup):
        return explained(error.exceptions[0], settings)
    if isinstance(error, RuntimeMissing | PkiError | ConfigError | StoreCorrupt | StoreLocked | StoreUnavailable):
        return StartError(str(error))
    if isinstance(error, RuntimeFailure):
        return StartError(f"the container runtime does not work: {error.message}")
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return StartError(
            f"port {settings.https_listen_port} on {settings.bind_address} is in use; stop the program that has it "
            "or choose another with --https-listen-port"
        )
    if isinstance(error, OSError):
        named = f" {error.filename}" if error.filename else ""
        return StartError(f"cannot start:{named} {error.strerror or error}")
    return error


@dataclass(slots=True)
class Foundation:
    """What the foundation component makes for the others."""

    pki: Pki
    store: TransactionalStore
    api: ApiServer
    registry: CollectorRegistry


class Server:
    """The parts of one server process that components share."""

    def __init__(self, settings: ServerSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.supervisor: Supervisor | None = None
        self._foundation: Foundation | None = None
        self._recorders: dict[str, Recorder] = {}

    @property
    def data(self) -> Path:
        return Path(self.settings.data_dir).resolve()

    @property
    def foundation(self) -> Foundation:
        """Raises RuntimeError before the foundation is ready: a component that forgot to need it."""
        if self._foundation is None:
            raise RuntimeError("the foundation is not ready")
        return self._foundation

    def lay(self, foundation: Foundation) -> None:
        self._foundation = foundation

    def recorder(self, component: str, host: str = "") -> Recorder:
        """The event recorder under a component's name; ``events`` runs them all."""
        from minikube_py.client.recorder import Recorder
        from minikube_py.components.apiserver.types import LOOPBACK

        found = self._recorders.get(component)
        if found is None:
            found = Recorder(self.foundation.api.client(LOOPBACK), component, host, clock=self.clock)
            self._recorders[component] = found
        return found

    def node(self) -> agent.Node:
        """What the node's components get: identities of the node, through the local client."""
        from minikube_py.components.apiserver.types import AUTHENTICATED, UserInfo

        found, name = self.foundation, config.node_name(self.settings)
        kubelet = UserInfo(f"system:node:{name}", ("system:nodes", AUTHENTICATED))
        proxy = UserInfo("system:kube-proxy", (AUTHENTICATED,))
        return agent.Node(
            settings=self.settings,
            client=found.api.client(kubelet),
            recorder=self.recorder("kubelet", name),
            proxy_client=found.api.client(proxy),
            pki=found.pki,
            clock=self.clock,
            registry=found.registry,
        )


def server_components(server: Server) -> Sequence[Component]:
    """The start recipe."""
    settings = server.settings
    components = [
        Component("foundation", lambda ready: _foundation(server, ready), vital=True),
    ]
    if not settings.disable_agent:
        components.append(agent.runtime_component(settings, server.clock))
    components.append(
        Component("apiserver", lambda ready: _apiserver(server, ready), needs=("foundation",), vital=True)
    )
    if settings.etcd_listen:
        components.append(Component("etcd", lambda ready: _etcd(server, ready), needs=("foundation",), vital=True))
    if not settings.disable_controller_manager:
        components.append(Component("controllers", lambda ready: _controllers(server, ready), needs=("apiserver",)))
        components.append(
            Component("role-aggregation", lambda ready: _aggregation(server, ready), needs=("apiserver",))
        )
    if not settings.disable_scheduler:
        components.append(Component("scheduler", lambda ready: _scheduler(server, ready), needs=("apiserver",)))
    if not settings.disable_agent:
        components += agent.node_components(settings, server.node)
    components.append(Component("clock-floor", lambda ready: _clock_floor(server, ready), needs=("foundation",)))
    components.append(Component("events", lambda ready: _events(server, ready), needs=("apiserver",)))
    return components


async def _foundation(server: Server, ready: Ready) -> None:
    """Datastore and PKI side by side, then the API server on them; afterwards the store's housekeeping."""
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from minikube_py.datastore.endpoints import open_endpoint

    disable_created_metrics()  # type: ignore[no-untyped-call]  # Kubernetes has no ``_created`` series
    pki_task = asyncio.create_task(asyncio.to_thread(_pki, server))
    try:
        store = await open_endpoint(config.datastore_endpoint(server.settings), clock=server.clock)
    except BaseException:
        pki_task.cancel()
        raise
    try:
        pki = await pki_task
        registry = CollectorRegistry()
        api = _make_api(server, store, pki, registry)
        server.lay(Foundation(pki, store, api, registry))
        ready()
        try:
            await store.run()
        finally:
            api.close()
    finally:
        await store.close()


def _pki(server: Server) -> Pki:
    """Create or complete the PKI and the join token. Blocks. Raises PkiError, OSError, DefinitionsMissing."""
    from minikube_py.machinery.schema import definitions
    from minikube_py.pki import ensure_pki, ensure_server_token

    definitions()  # read the bundle here, in a thread: the first request must not read it on the loop
    settings, address = server.settings, config.node_ip(server.settings)
    addresses = [address, "127.0.0.1", *([settings.advertise_address] if settings.advertise_address else [])]
    pki = ensure_pki(
        server.data,
        node_name=config.node_name(settings),
        node_ips=tuple(dict.fromkeys(addresses)),
        sans=settings.tls_san,
        service_ip=config.service_address(settings, 1),
        cluster_domain=settings.cluster_domain,
        clock=server.clock,
    )
    ensure_server_token(server.data, pki.server_ca.certificate, settings.token)
    return pki


def _make_api(server: Server, store: TappedStore, pki: Pki, registry: CollectorRegistry) -> ApiServer:
    """The API server with its security in place; it does not listen yet."""
    from minikube_py.components.apiserver.authentication.impersonation import impersonate
    from minikube_py.components.apiserver.authorization.denial import denied
    from minikube_py.components.apiserver.registry.allocation import ServiceRanges
    from minikube_py.components.apiserver.security import SecuritySettings, build_security
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.settings import ApiServerSettings, KubeletTls
    from minikube_py.components.apiserver.types import LOOPBACK

    settings = server.settings
    first_port, last_port = config.node_port_range(settings)
    address = settings.advertise_address or config.node_ip(settings)
    api = ApiServer(
        ApiServerSettings(
            bind_address=settings.bind_address,
            port=settings.https_listen_port,
            advertise_address=address,
            tls=server_tls(pki),
            kubelet_tls=KubeletTls(
                str(pki.server_ca.certificate),
                str(pki.client_kube_apiserver.certificate),
                str(pki.client_kube_apiserver.key),
            ),
            service_ranges=ServiceRanges(settings.service_cidr, first_port, last_port),
            priority_and_fairness=settings.enable_priority_and_fairness,
            max_requests_inflight=settings.max_requests_inflight,
            max_mutating_requests_inflight=settings.max_mutating_requests_inflight,
        ),
        store,
        server.clock,
        registry,
    )
    security = SecuritySettings(
        token_auth_file=settings.token_auth_file,
        service_account_issuer=settings.service_account_issuer,
        api_audiences=settings.api_audiences,
        anonymous_auth=settings.anonymous_auth,
        authorization_mode=settings.authorization_mode,
        enable_admission_plugins=settings.enable_admission_plugins,
        disable_admission_plugins=settings.disable_admission_plugins,
    )
    bundle = build_security(api.client(LOOPBACK), pki, security, server.clock)
    tokens, keys_url = bundle.service_account_tokens, f"https://{address}:{settings.https_listen_port}/openid/v1/jwks"
    api.secure(
        bundle.authenticator,
        bundle.authorizer,
        bundle.admission,
        bundle.virtual_handlers,
        impersonate=impersonate,
        denied=denied,
        documents={
            "/.well-known/openid-configuration": ("application/json", lambda: tokens.discovery(keys_url)),
            "/openid/v1/jwks": ("application/jwk-set+json", tokens.jwks),
        },
    )
    return api


def server_tls(pki: Pki) -> ssl.SSLContext:
    """TLS 1.2 or newer; client certificates are asked for and judged by the authenticators."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(pki.client_ca.certificate)
    context.load_verify_locations(pki.request_header_ca.certificate)
    # The authenticators judge times, against the floor of a clock that may be wrong; OpenSSL would only
    # compare with that clock and break the handshake.
    context.verify_flags |= X509_V_FLAG_NO_CHECK_TIME
    return context


async def _apiserver(server: Server, ready: Ready) -> None:
    """Listen, create what a cluster is born with, write the kubeconfig; ready when all of it is there."""
    from minikube_py.components.apiserver.bootstrap import ensure_bootstrap
    from minikube_py.components.apiserver.types import LOOPBACK

    found = server.foundation
    listening = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(found.api.run(listening.set))
        await ensure_bootstrap(found.api.client(LOOPBACK))
        await ensure_dns_service(found.api.client(LOOPBACK), server.settings)
        await listening.wait()
        await asyncio.to_thread(_write_kubeconfig, server.settings, found.pki)
        ready()


def _write_kubeconfig(settings: ServerSettings, pki: Pki) -> None:
    from minikube_py.pki import write_kubeconfig

    host = "127.0.0.1" if settings.bind_address in ("0.0.0.0", "::") else settings.bind_address
    write_kubeconfig(
        settings.write_kubeconfig,
        server=f"https://{host}:{settings.https_listen_port}",
        ca_certificate=pki.server_ca.certificate,
        client=pki.client_admin,
        mode=int(settings.write_kubeconfig_mode, 8),
    )


async def ensure_dns_service(client: Client, settings: ServerSettings) -> None:
    """The Service ``kube-system/kube-dns``: the name under which clusters find their DNS. Raises ApiError."""
    from minikube_py.machinery.errors import ApiError, is_not_found
    from minikube_py.machinery.resources import SERVICES

    if "dns" in settings.disable or settings.disable_agent:
        return
    namespace, name = agent.DNS_SERVICE
    try:
        await client.get(SERVICES, name, namespace)
    except ApiError as error:
        if not is_not_found(error):
            raise
        ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
        labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
        service = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"clusterIP": config.cluster_dns_address(settings), "ports": ports},
        }
        await client.create(SERVICES, service, namespace)


async def _controllers(server: Server, ready: Ready) -> None:
    from minikube_py.components.apiserver.types import LOOPBACK
    from minikube_py.components.controllers import ControllerSettings, run_controllers

    found = server.foundation
    root_ca = await asyncio.to_thread(found.pki.server_ca.certificate.read_text)
    settings = ControllerSettings(root_ca=root_ca, cluster_cidr=server.settings.cluster_cidr)
    await run_controllers(
        found.api.client(LOOPBACK), settings, server.clock, ready, resources=lambda: deletable_resources(found.api)
    )


async def _etcd(server: Server, ready: Ready) -> None:
    """The datastore's etcd face, with the API server's certificate; clients show one of the client CA's."""
    from minikube_py.datastore.etcd import EtcdTls, serve_etcd

    pki, store = server.foundation.pki, server.foundation.store
    files = (pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key, pki.client_ca.certificate)
    texts = [await asyncio.to_thread(path.read_bytes) for path in files]
    await serve_etcd(store, listen=server.settings.etcd_listen, tls=EtcdTls(*texts), ready=ready)


async def _aggregation(server: Server, ready: Ready) -> None:
    """The clusterrole-aggregation controller; it lives with the rules it compiles, in the API server's room."""
    from minikube_py.components.apiserver.authorization.aggregation import run_role_aggregation
    from minikube_py.components.apiserver.types import LOOPBACK

    await run_role_aggregation(server.foundation.api.client(LOOPBACK), server.clock, ready)


async def _clock_floor(server: Server, ready: Ready) -> None:
    """Once a day write down the latest time ever seen, for boards that forget it."""
    ready()
    while True:
        await server.clock.sleep(floor_interval_seconds)
        await asyncio.to_thread(server.foundation.pki.floor.record)


def deletable_resources(api: ApiServer) -> list[Resource]:
    """Every stored resource that can be listed and deleted, each once, custom ones included."""
    from minikube_py.components.apiserver.registry.kinds import is_virtual

    kinds = [kind for kind in api.kinds.all() if not is_virtual(kind) and kind.stored_as == kind.resource]
    return [kind.resource for kind in kinds if {"list", "delete"} <= set(kind.verbs)]


async def _scheduler(server: Server, ready: Ready) -> None:
    from minikube_py.components.apiserver.types import LOOPBACK
    from minikube_py.components.scheduler import SchedulerSettings, run_scheduler

    found = server.foundation
    recorder = server.recorder("default-scheduler")
    await run_scheduler(found.api.client(LOOPBACK), SchedulerSettings(), server.clock, recorder, found.registry, ready)


async def _events(server: Server, ready: Ready) -> None:
    """Write what the recorders of scheduler and kubelet take in."""
    recorders = [server.recorder("default-scheduler"), server.recorder("kubelet", config.node_name(server.settings))]
    async with asyncio.TaskGroup() as tasks:
        for recorder in recorders:
            tasks.create_task(recorder.run())
        ready()
