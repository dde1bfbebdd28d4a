"""The API server of a process: made with its security, then listening, with what a cluster is born with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from minikube_py import agent, config
from minikube_py.config import ServerSettings
from minikube_py.machinery.objects import Object
from minikube_py.serving.joining import public_documents, tell_nodes
from minikube_py.serving.process import Foundation, Server
from minikube_py.supervisor import Ready

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.certificates import ServerCredentials
    from minikube_py.client.types import Client
    from minikube_py.components.apiserver.security import SecurityBundle
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.storage.caches import TappedStore
    from minikube_py.pki import Pki, ServiceAccountTokens
    from minikube_py.secrets_encryption import Encryption


def make_api(
    server: Server,
    store: TappedStore,
    credentials: ServerCredentials,
    registry: CollectorRegistry,
    encryption: Encryption | None,
) -> ApiServer:
    """The API server with its security in place; it does not listen yet. Blocks for a few small files.

    Raises ConfigError, ConfigurationError, PkiError, OSError.
    """
    from minikube_py.certificates import CertificateMetrics
    from minikube_py.components.apiserver.audit.options import build_auditor
    from minikube_py.components.apiserver.authentication.impersonation import impersonate
    from minikube_py.components.apiserver.authorization.denial import denied
    from minikube_py.components.apiserver.security import build_security
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.types import LOOPBACK
    from minikube_py.serving import settings as settings_of

    settings, clock = server.settings, server.clock
    kept = encryption.store if encryption is not None else store
    api = ApiServer(settings_of.api_server_settings(settings, credentials), kept, clock, registry)
    if encryption is not None:
        api.core.stale = encryption.store.stale
    bundle = build_security(
        api.client(LOOPBACK),
        credentials.pki,
        settings_of.security_settings(settings),
        clock,
        kinds=api.kinds,
        further=[server.plugins.hooks] if server.plugins is not None else [],
        metrics=api.metrics,
    )
    registry.register(CertificateMetrics(credentials))
    _follow_rotation(api, bundle, credentials)
    api.secure(
        bundle.authenticator,
        bundle.authorizer,
        bundle.admission,
        bundle.virtual_handlers,
        impersonate=impersonate,
        denied=denied,
        auditor=build_auditor(settings_of.audit_settings(settings), clock, registry),
        background=[*bundle.background, *([encryption.control.run] if encryption is not None else [])],
        checks={"kms-providers": encryption.control.check} if encryption is not None else {},
        public=public_documents(credentials),
        documents=_issuer_documents(bundle.service_account_tokens, settings_of.api_url(settings)),
    )
    return api


def _follow_rotation(api: ApiServer, bundle: SecurityBundle, credentials: ServerCredentials) -> None:
    """Let everything that holds a certificate, a CA or a key take the new one."""
    pki, follow = credentials.pki, credentials.on_change
    follow("client authorities", bundle.peer_trust.reload, first=True)
    follow("service account keys", partial(adopt_service_key, pki, bundle.service_account_tokens))
    follow("legacy token keys", partial(adopt_service_key, pki, bundle.legacy_tokens))
    follow("kubelet client", api.forget_credentials)


def _issuer_documents(tokens: ServiceAccountTokens, url: str) -> dict[str, tuple[str, Callable[[], Object]]]:
    """(content type, content) by path: where others find the keys of service account tokens."""
    from minikube_py.pki.service_accounts import JWKS_PATH

    return {
        "/.well-known/openid-configuration": ("application/json", lambda: tokens.discovery(url + JWKS_PATH)),
        JWKS_PATH: ("application/jwk-set+json", tokens.jwks),
    }


async def adopt_service_key(pki: Pki, tokens: ServiceAccountTokens) -> None:
    """Sign and verify service account tokens with the keys that the file holds now. Raises PkiError, OSError."""
    from minikube_py.pki import load_service_account_tokens

    tokens.adopt(await asyncio.to_thread(load_service_account_tokens, pki.service_key, tokens.issuers))


async def run_apiserver(server: Server, ready: Ready) -> None:
    """Listen, create what a cluster is born with, write the kubeconfig; ready when all of it is there."""
    from minikube_py.components.apiserver.bootstrap import ensure_bootstrap
    from minikube_py.components.apiserver.types import LOOPBACK

    found = server.foundation
    listening = asyncio.Event()
    found.api.not_ready = "the bootstrap objects are not there yet"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(found.api.run(listening.set))
        await ensure_bootstrap(found.api.client(LOOPBACK))
        await ensure_dns_service(found.api.client(LOOPBACK), server.settings)
        await tell_nodes(server)
        await listening.wait()
        write = partial(asyncio.to_thread, _write_kubeconfig, server.settings, found.pki)
        await write()
        found.credentials.on_change("kubeconfig", write)
        publish = partial(_publish_authentication, found)
        await publish()
        found.credentials.on_change("published authorities", publish)
        found.api.not_ready = ""
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
    """Raises ConfigError."""
    from minikube_py.pki import write_kubeconfig

    host = "127.0.0.1" if settings.bind_address in ("0.0.0.0", "::") else settings.bind_address
    if ":" in host:
        host = f"[{host}]"
    path = settings.write_kubeconfig
    try:
        write_kubeconfig(
            path,
            server=f"https://{host}:{settings.https_listen_port}",
            ca_certificate=pki.server_ca.certificate,
            client=pki.client_admin,
            mode=int(settings.write_kubeconfig_mode, 8),
        )
    except OSError as error:
        raise config.ConfigError(f"--write-kubeconfig: cannot write {path}: {error.strerror}") from error


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
