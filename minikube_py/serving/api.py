"""The API server of a process: made with its security, then listening, with what a cluster is born with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from minikube_py import config
from minikube_py.config import ServerSettings
from minikube_py.machinery.objects import Object
from minikube_py.serving.cluster_dns import dns_service_with_first_worker, ensure_dns_service
from minikube_py.serving.joining import follow_authorities, public_documents, tell_nodes
from minikube_py.serving.process import Foundation, Server
from minikube_py.supervisor import Ready

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.certificates import ServerCredentials
    from minikube_py.components.apiserver.security import SecurityBundle
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.apiserver.storage.caches import TappedStore
    from minikube_py.pki import Pki, ServiceAccountTokens
    from minikube_py.serving.encryption import Encryption

log = logging.getLogger(__name__)


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
    auditor = build_auditor(settings_of.audit_settings(settings), clock, registry)
    api = ApiServer(settings_of.api_server_settings(settings, credentials), kept, clock, registry, auditor=auditor)
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
    api.pending_charges = bundle.pending_charges
    api.secure(
        bundle.authenticator,
        bundle.authorizer,
        bundle.admission,
        bundle.virtual_handlers,
        impersonate=impersonate,
        denied=denied,
        explain=bundle.explain,
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
    from minikube_py.serving import settings as settings_of

    found = server.foundation
    listening = asyncio.Event()
    found.api.not_ready = "the bootstrap objects are not there yet"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(found.api.run(listening.set))
        await ensure_bootstrap(found.api.client(LOOPBACK))
        if not server.settings.disable_agent:
            await ensure_dns_service(found.api.client(LOOPBACK), server.settings)
        await tell_nodes(server)
        tasks.create_task(follow_authorities(server), name="authorities-for-nodes")
        await listening.wait()
        write = partial(asyncio.to_thread, _write_kubeconfig, server.settings, found.pki)
        await write()
        found.credentials.on_change("kubeconfig", write)
        publish = partial(_publish_authentication, found)
        await publish()
        found.credentials.on_change("published authorities", publish)
        if server.settings.disable_agent:
            with_worker = dns_service_with_first_worker(found.api.client(LOOPBACK), server.settings, server.clock)
            tasks.create_task(with_worker, name="dns-service")
        found.api.not_ready = ""
        url, kubeconfig = settings_of.api_url(server.settings), server.settings.write_kubeconfig
        log.info("the API is served", extra={"url": url, "kubeconfig": kubeconfig})
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
