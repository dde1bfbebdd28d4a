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
import gc
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py import agent, config, logs, plugging
from minikube_py.client.clock import SystemClock
from minikube_py.config import ConfigError, ServerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.supervisor import Component, Ready, Supervisor

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.certificates import ServerCredentials
    from minikube_py.client.recorder import Recorder
    from minikube_py.client.types import Client
    from minikube_py.components.apiserver.audit.options import AuditSettings
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.storage.caches import TappedStore
    from minikube_py.datastore.transactions import TransactionalStore
    from minikube_py.machinery.resources import Resource
    from minikube_py.pki import Pki, ServiceAccountTokens
    from minikube_py.plugins.context import Context
    from minikube_py.plugins.host import PluginHost
    from minikube_py.secrets_encryption import Encryption

log = logging.getLogger(__name__)

_GC_THRESHOLDS = 20_000, 20, 100
"""Objects rarely form cycles here; with Python's own thresholds the collector walks all caches many times a second."""
_FREEZE_SECONDS = 5.0
"""After the start: what exists then (modules, kinds, schemas) stays, and the collector need not look at it again."""


class StartError(Exception):
    """The server cannot start; the text is one line with the cause and the mend."""


def run_server(settings: ServerSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError."""
    import uvloop

    logs.configure(json=settings.log_format == "json", debug=settings.debug)
    data = Path(settings.data_dir).resolve()
    lock = own_data_dir(data)
    gc.set_threshold(*_GC_THRESHOLDS)
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
    loop.call_later(_FREEZE_SECONDS, gc.freeze)
    clock = SystemClock()
    server = Server(settings, clock)
    if await asyncio.to_thread(plugging.present, plugging.plugins_folder(server.data)):
        await asyncio.to_thread(server.load_plugins)
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
    from minikube_py.components.apiserver.configuration_file import ConfigurationError
    from minikube_py.components.kubelet.runtime.containerd_config import RuntimeMissing
    from minikube_py.components.kubelet.runtime.types import RuntimeFailure
    from minikube_py.datastore.types import StoreCorrupt, StoreLocked, StoreUnavailable
    from minikube_py.pki.errors import PkiError

    if isinstance(error, BaseExceptionGroup):
        return explained(error.exceptions[0], settings)
    if isinstance(
        error,
        ConfigurationError | RuntimeMissing | PkiError | ConfigError | StoreCorrupt | StoreLocked | StoreUnavailable,
    ):
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

    credentials: ServerCredentials
    store: TransactionalStore
    api: ApiServer
    registry: CollectorRegistry

    @property
    def pki(self) -> Pki:
        return self.credentials.pki


class Server:
    """The parts of one server process that components share."""

    def __init__(self, settings: ServerSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.supervisor: Supervisor | None = None
        self._foundation: Foundation | None = None
        self._recorders: dict[str, Recorder] = {}
        self.plugins: PluginHost | None = None
        self._served: plugging.ServedKinds | None = None

    @property
    def data(self) -> Path:
        return Path(self.settings.data_dir).resolve()

    @property
    def foundation(self) -> Foundation:
        """Raises RuntimeError before the foundation is ready: a component that forgot to need it."""
        if self._foundation is None:
            raise RuntimeError("the foundation is not ready")
        return self._foundation

    def load_plugins(self) -> None:
        """Import the plugins. Blocks; what is wrong with one of them is in the log and in its state."""
        from minikube_py.plugins.host import PluginHost

        self.plugins = PluginHost(plugging.plugins_folder(self.data))

    def plugin_context(self, name: str) -> Context:
        """What the plugin ``name`` is given; ``events`` runs its recorder."""
        api = self.foundation.api
        if self._served is None:
            self._served = plugging.ServedKinds(api)
        return plugging.context_of(name, api, self._served, self.recorder(f"plugin-{name}"), self.clock)

    def lay(self, foundation: Foundation) -> None:
        self._foundation = foundation

    def recorder(self, component: str, host: str = "") -> Recorder:
        """The event recorder under a component's name; ``events`` runs them all."""
        from minikube_py.client.recorder import Recorder
        from minikube_py.components.apiserver.types import LOOPBACK

        found = self._recorders.get(component)
        if found is None:
            client = self.foundation.api.client(LOOPBACK, user_agent=component)
            found = Recorder(client, component, host, clock=self.clock)
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
            client=found.api.client(kubelet, user_agent="kubelet"),
            recorder=self.recorder("kubelet", name),
            proxy_client=found.api.client(proxy, user_agent="kube-proxy"),
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
        components.append(
            Component("admission-policy-status", lambda ready: _policy_status(server, ready), needs=("apiserver",))
        )
        components.append(
            Component("service-account-tokens", lambda ready: _token_secrets(server, ready), needs=("apiserver",))
        )
    if not settings.disable_scheduler:
        components.append(Component("scheduler", lambda ready: _scheduler(server, ready), needs=("apiserver",)))
    if not settings.disable_agent:
        components += agent.node_components(settings, server.node)
        components.append(
            Component("datastore-condition", lambda ready: _datastore_condition(server, ready), needs=("kubelet",))
        )
    components.append(
        Component("certificates", lambda ready: server.foundation.credentials.run(ready), needs=("apiserver",))
    )
    if server.plugins is not None:
        components += server.plugins.components(server.plugin_context, needs=("apiserver",))
    components.append(Component("events", lambda ready: _events(server, ready), needs=("apiserver",)))
    return components


async def _foundation(server: Server, ready: Ready) -> None:
    """Datastore and PKI side by side, then the API server on them; afterwards the store's housekeeping."""
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from minikube_py.datastore.endpoints import open_endpoint
    from minikube_py.secrets_encryption import encrypted

    disable_created_metrics()  # type: ignore[no-untyped-call]  # Kubernetes has no ``_created`` series
    credentials_task = asyncio.create_task(asyncio.to_thread(_credentials, server))
    try:
        store = await open_endpoint(
            config.datastore_endpoint(server.settings),
            clock=server.clock,
            client_rate=server.settings.datastore_client_rate,
        )
    except BaseException:
        credentials_task.cancel()
        raise
    try:
        credentials = await credentials_task
        registry = CollectorRegistry()
        encryption = await encrypted(server.settings, server.data, store, server.clock, registry)
        api = _make_api(server, store, credentials, registry, encryption)
        server.lay(Foundation(credentials, store, api, registry))
        ready()
        try:
            await store.run()
        finally:
            api.close()
    finally:
        await store.close()


def _credentials(server: Server) -> ServerCredentials:
    """The PKI and the join tokens. Blocks. Raises PkiError, OSError, DefinitionsMissing."""
    from minikube_py.certificates import ServerCredentials
    from minikube_py.machinery.schema import definitions

    definitions()  # read the bundle here, in a thread: the first request must not read it on the loop
    return ServerCredentials(server.settings, server.clock)


def _make_api(
    server: Server,
    store: TappedStore,
    credentials: ServerCredentials,
    registry: CollectorRegistry,
    encryption: Encryption | None,
) -> ApiServer:
    """The API server with its security in place; it does not listen yet."""
    from minikube_py.certificates import CertificateMetrics
    from minikube_py.components.apiserver.aggregation.connections import ProxyIdentity
    from minikube_py.components.apiserver.audit.options import build_auditor
    from minikube_py.components.apiserver.authentication.configuration import OidcFlags
    from minikube_py.components.apiserver.authentication.impersonation import impersonate
    from minikube_py.components.apiserver.authorization.configuration import WebhookFlags
    from minikube_py.components.apiserver.authorization.denial import denied
    from minikube_py.components.apiserver.registry.allocation import ServiceRanges
    from minikube_py.components.apiserver.security import SecuritySettings, build_security
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.settings import ApiServerSettings, KubeletTls
    from minikube_py.components.apiserver.types import LOOPBACK

    settings, pki = server.settings, credentials.pki
    first_port, last_port = config.node_port_range(settings)
    address = settings.advertise_address or config.node_ip(settings)
    api = ApiServer(
        ApiServerSettings(
            bind_address=settings.bind_address,
            port=settings.https_listen_port,
            advertise_address=address,
            tls=credentials.tls.context,
            kubelet_tls=KubeletTls(
                str(pki.server_ca.certificate),
                str(pki.client_kube_apiserver.certificate),
                str(pki.client_kube_apiserver.key),
            ),
            service_ranges=ServiceRanges(settings.service_cidr, first_port, last_port),
            aggregation=True,
            proxy_identity=ProxyIdentity(pki.client_auth_proxy.certificate, pki.client_auth_proxy.key),
            priority_and_fairness=settings.enable_priority_and_fairness,
            max_requests_inflight=settings.max_requests_inflight,
            max_mutating_requests_inflight=settings.max_mutating_requests_inflight,
        ),
        encryption.store if encryption is not None else store,
        server.clock,
        registry,
    )
    if encryption is not None:
        api.core.stale = encryption.store.stale

    def seconds(name: str) -> float:
        return config.seconds(name, getattr(settings, name))

    security = SecuritySettings(
        token_auth_file=settings.token_auth_file,
        authentication_config=settings.authentication_config,
        oidc=OidcFlags(
            issuer_url=settings.oidc_issuer_url,
            client_id=settings.oidc_client_id,
            ca_file=settings.oidc_ca_file,
            username_claim=settings.oidc_username_claim,
            username_prefix=settings.oidc_username_prefix,
            groups_claim=settings.oidc_groups_claim,
            groups_prefix=settings.oidc_groups_prefix,
            signing_algs=settings.oidc_signing_algs,
            required_claim=settings.oidc_required_claim,
        ),
        authentication_token_webhook_config_file=settings.authentication_token_webhook_config_file,
        authentication_token_webhook_version=settings.authentication_token_webhook_version,
        authentication_token_webhook_cache_ttl_seconds=seconds("authentication_token_webhook_cache_ttl"),
        service_account_issuer=settings.service_account_issuer,
        api_audiences=settings.api_audiences,
        anonymous_auth=settings.anonymous_auth,
        authorization_mode=settings.authorization_mode,
        authorization_config=settings.authorization_config,
        authorization_webhook=WebhookFlags(
            config_file=settings.authorization_webhook_config_file,
            version=settings.authorization_webhook_version,
            cache_authorized_ttl_seconds=seconds("authorization_webhook_cache_authorized_ttl"),
            cache_unauthorized_ttl_seconds=seconds("authorization_webhook_cache_unauthorized_ttl"),
        ),
        admission_control_config_file=settings.admission_control_config_file,
        enable_admission_plugins=settings.enable_admission_plugins,
        disable_admission_plugins=settings.disable_admission_plugins,
    )
    further = [server.plugins.hooks] if server.plugins is not None else []
    auditor = build_auditor(_audit_settings(settings), server.clock, registry)
    bundle = build_security(api.client(LOOPBACK), pki, security, server.clock, kinds=api.kinds, further=further)
    registry.register(CertificateMetrics(credentials))
    credentials.on_change("client authorities", bundle.peer_trust.reload, first=True)
    credentials.on_change("service account keys", partial(_adopt_service_key, pki, bundle.service_account_tokens))
    credentials.on_change("legacy token keys", partial(_adopt_service_key, pki, bundle.legacy_tokens))
    credentials.on_change("kubelet client", api.forget_credentials)
    tokens, keys_url = bundle.service_account_tokens, f"https://{address}:{settings.https_listen_port}/openid/v1/jwks"
    api.secure(
        bundle.authenticator,
        bundle.authorizer,
        bundle.admission,
        bundle.virtual_handlers,
        impersonate=impersonate,
        denied=denied,
        auditor=auditor,
        background=[*bundle.background, *([encryption.control.run] if encryption is not None else [])],
        checks={"kms-providers": encryption.control.check} if encryption is not None else {},
        documents={
            "/.well-known/openid-configuration": ("application/json", lambda: tokens.discovery(keys_url)),
            "/openid/v1/jwks": ("application/jwk-set+json", tokens.jwks),
        },
    )
    return api


def _audit_settings(settings: ServerSettings) -> AuditSettings:
    from minikube_py.components.apiserver.audit.file import FileSettings
    from minikube_py.components.apiserver.audit.options import AuditSettings

    log = FileSettings(
        settings.audit_log_path,
        max_age_days=settings.audit_log_maxage,
        max_backups=settings.audit_log_maxbackup,
        max_size_megabytes=settings.audit_log_maxsize,
        compress=settings.audit_log_compress,
        legacy=settings.audit_log_format == "legacy",
    )
    return AuditSettings(
        policy_file=settings.audit_policy_file,
        log=log if settings.audit_log_path else None,
        log_mode=settings.audit_log_mode,
        webhook_config_file=settings.audit_webhook_config_file,
        webhook_mode=settings.audit_webhook_mode,
        truncate_bytes=settings.audit_truncate_max_event_size,
    )


async def _adopt_service_key(pki: Pki, tokens: ServiceAccountTokens) -> None:
    """Sign and verify service account tokens with the keys that the file holds now. Raises PkiError, OSError."""
    from minikube_py.pki import load_service_account_tokens

    tokens.adopt(await asyncio.to_thread(load_service_account_tokens, pki.service_key, tokens.issuers))


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
        write = partial(asyncio.to_thread, _write_kubeconfig, server.settings, found.pki)
        await write()
        found.credentials.on_change("kubeconfig", write)
        publish = partial(_publish_authentication, found)
        await publish()
        found.credentials.on_change("published authorities", publish)
        ready()


async def _publish_authentication(found: Foundation) -> None:
    """Tell aggregated servers whom to believe. Raises ApiError, OSError."""
    from minikube_py.components.apiserver.aggregation.published import publish_authentication
    from minikube_py.components.apiserver.security import SecuritySettings
    from minikube_py.components.apiserver.types import LOOPBACK

    pki = found.pki
    await publish_authentication(
        found.api.client(LOOPBACK),
        client_ca=await asyncio.to_thread(pki.client_ca.certificate.read_text),
        request_header_ca=await asyncio.to_thread(pki.request_header_ca.certificate.read_text),
        allowed_names=SecuritySettings().requestheader_allowed_names,
    )


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
    address = server.settings.advertise_address or config.node_ip(server.settings)
    settings = ControllerSettings(
        root_ca=found.credentials.root_ca,
        sign_request=found.credentials.sign_request,
        cluster_signing_seconds=config.seconds("cluster_signing_duration", server.settings.cluster_signing_duration),
        api_url=f"https://{address}:{server.settings.https_listen_port}",
        cluster_cidr=server.settings.cluster_cidr,
    )
    client = found.api.client(LOOPBACK, user_agent="kube-controller-manager")
    await run_controllers(client, settings, server.clock, ready, resources=lambda: deletable_resources(found.api))


async def _etcd(server: Server, ready: Ready) -> None:
    """The datastore's etcd face, with the API server's certificate; clients show one of the client CA's."""
    from minikube_py.certificates import restart_on_change
    from minikube_py.datastore.etcd import EtcdTls, serve_etcd

    pki, store = server.foundation.pki, server.foundation.store
    files = (pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key, pki.client_ca.certificate)

    async def serve() -> None:
        texts = [await asyncio.to_thread(path.read_bytes) for path in files]
        await serve_etcd(store, listen=server.settings.etcd_listen, tls=EtcdTls(*texts), ready=ready)

    await restart_on_change(server.foundation.credentials, "etcd", serve)


async def _datastore_condition(server: Server, ready: Ready) -> None:
    """Say on this server's node when the datastore takes no writes."""
    from minikube_py.components.apiserver.datastore_stall import keep_node_condition
    from minikube_py.components.apiserver.types import LOOPBACK

    found, name = server.foundation, config.node_name(server.settings)
    await keep_node_condition(found.api.client(LOOPBACK), name, found.store, server.clock, ready)


async def _aggregation(server: Server, ready: Ready) -> None:
    """The clusterrole-aggregation controller; it lives with the rules it compiles, in the API server's room."""
    from minikube_py.components.apiserver.authorization.aggregation import run_role_aggregation
    from minikube_py.components.apiserver.types import LOOPBACK

    await run_role_aggregation(server.foundation.api.client(LOOPBACK), server.clock, ready)


async def _policy_status(server: Server, ready: Ready) -> None:
    """The controller of admission policies' status; it needs the kinds that the API server serves."""
    from minikube_py.components.apiserver.admission.policies.status import run_policy_status
    from minikube_py.components.apiserver.types import LOOPBACK

    api = server.foundation.api
    client = api.client(LOOPBACK, user_agent="kube-controller-manager")
    await run_policy_status(client, api.kinds, server.clock, ready)


async def _token_secrets(server: Server, ready: Ready) -> None:
    """The token controller and the cleaner of legacy tokens; they sign, so they live in the API server's room."""
    from minikube_py.components.apiserver.authentication.legacy_token_controller import (
        run_token_cleaner,
        run_token_controller,
    )
    from minikube_py.components.apiserver.authentication.legacy_tokens import LEGACY_ISSUER
    from minikube_py.components.apiserver.types import LOOPBACK
    from minikube_py.pki import load_service_account_tokens

    found = server.foundation
    tokens = await asyncio.to_thread(load_service_account_tokens, found.pki.service_key, [LEGACY_ISSUER])
    found.credentials.on_change("token controller's keys", partial(_adopt_service_key, found.pki, tokens))
    root_ca = found.credentials.root_ca
    client = found.api.client(LOOPBACK, user_agent="kube-controller-manager")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_token_controller(client, tokens, root_ca, server.clock, ready))
        tasks.create_task(run_token_cleaner(client, server.clock, lambda: None))


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
    client = found.api.client(LOOPBACK, user_agent="kube-scheduler")
    plugins, weights = server.plugins.scheduler_plugins() if server.plugins is not None else ([], {})
    settings = SchedulerSettings(plugins=plugins, weights=weights)
    await run_scheduler(client, settings, server.clock, recorder, found.registry, ready)


async def _events(server: Server, ready: Ready) -> None:
    """Write what the recorders of scheduler and kubelet take in."""
    recorders = [server.recorder("default-scheduler"), server.recorder("kubelet", config.node_name(server.settings))]
    if server.plugins is not None:
        recorders += [server.recorder(f"plugin-{name}") for name in server.plugins.names]
    async with asyncio.TaskGroup() as tasks:
        for recorder in recorders:
            tasks.create_task(recorder.run())
        ready()
