"""Puts the security of an API server together: who asks, who may, what is let in, and the reviews about it.

``build_security`` only composes; nothing is read before the first request. Everything decides from the
client's informers, so an API server must be able to serve its local client before it serves requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.certificates import CertificateRequester
from minikube_py.components.apiserver.admission.chain import PluginChain, build_chain
from minikube_py.components.apiserver.admission.composition import configured_plugins
from minikube_py.components.apiserver.admission.configuration import (
    AdmissionConfiguration,
    read_admission_configuration,
)
from minikube_py.components.apiserver.admission.dynamic import build_dynamic_admission
from minikube_py.components.apiserver.admission.resource_quota import ResourceQuotaPlugin
from minikube_py.components.apiserver.authentication.composition import (
    TokenAuthentication,
    build_token_authentication,
)
from minikube_py.components.apiserver.authentication.configuration import (
    OidcFlags,
)
from minikube_py.components.apiserver.authentication.identity import Now
from minikube_py.components.apiserver.authentication.peers import PeerTrust, peer_authenticators
from minikube_py.components.apiserver.authentication.reviews import (
    SelfSubjectReviewHandler,
    TokenRequestHandler,
    TokenReviewHandler,
)
from minikube_py.components.apiserver.authentication.union import UnionAuthenticator
from minikube_py.components.apiserver.authentication.webhook_tokens import (
    default_cache_ttl_seconds,
)
from minikube_py.components.apiserver.authorization.chain import AuthorizerChain
from minikube_py.components.apiserver.authorization.configuration import (
    AuthorizationConfiguration,
    WebhookFlags,
    read_authorization_configuration,
)
from minikube_py.components.apiserver.authorization.configuration import (
    configuration_from_flags as authorization_from_flags,
)
from minikube_py.components.apiserver.authorization.escalation import EscalationCheck
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.authorization.reviews import (
    LocalSubjectAccessReviewHandler,
    SelfSubjectAccessReviewHandler,
    SelfSubjectRulesReviewHandler,
    SubjectAccessReviewHandler,
)
from minikube_py.components.apiserver.authorization.union import UnionAuthorizer
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.file_reload import follow_file
from minikube_py.components.apiserver.lookup import Lookups
from minikube_py.components.apiserver.metrics.composition import ApiServerMetrics
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.types import AdmissionPlugin, VirtualHandler
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.pod_resources import Amounts
from minikube_py.machinery.resources import (
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from minikube_py.pki import Pki, ServiceAccountTokens

HandlerKey = tuple[str, str, str]
"""(group, plural, subresource)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """What an administrator may choose; names are those of kube-apiserver's flags."""

    token_auth_file: str = ""
    authentication_config: str = ""
    oidc: OidcFlags = field(default_factory=OidcFlags)
    authentication_token_webhook_config_file: str = ""
    authentication_token_webhook_version: str = "v1beta1"
    authentication_token_webhook_cache_ttl_seconds: float = default_cache_ttl_seconds
    service_account_issuer: str = "https://kubernetes.default.svc"
    api_audiences: tuple[str, ...] = ()
    """Empty: the issuer."""
    service_account_extend_token_expiration: bool = True
    anonymous_auth: bool = True
    join_groups: tuple[str, ...] = ()
    """Groups of whoever shows one of the server's join tokens (empty: they are no credentials for the API)."""
    authorization_mode: tuple[str, ...] = ("Node", "RBAC")
    authorization_config: str = ""
    """A file; replaces the mode and the webhook's flags."""
    authorization_webhook: WebhookFlags = field(default_factory=WebhookFlags)
    admission_control_config_file: str = ""
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    requestheader_allowed_names: tuple[str, ...] = ("system:auth-proxy",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityBundle:
    """What the API server is given."""

    authenticator: UnionAuthenticator
    authorizer: UnionAuthorizer
    explain: UnionAuthorizer
    """The authorizers that decide from memory: what audit says of requests inside this process."""
    admission: PluginChain
    virtual_handlers: Mapping[HandlerKey, VirtualHandler]
    pending_charges: Callable[[str, str], Amounts]
    """What writes on their way have charged to a quota (namespace, name)."""
    service_account_tokens: ServiceAccountTokens
    """For the OIDC discovery documents (``discovery``, ``jwks``)."""
    legacy_tokens: ServiceAccountTokens
    """Verifies the tokens in Secrets."""
    rbac: RbacAuthorizer
    peer_trust: PeerTrust
    """Follows the certificate authorities in a rotation."""
    background: tuple[Callable[[], Awaitable[None]], ...] = ()
    """Run beside the API server until it ends: they follow configuration files and close connections."""


def build_security(
    client: Client,
    pki: Pki,
    settings: SecuritySettings,
    clock: Clock,
    *,
    kinds: Kinds | None = None,
    further: Sequence[AdmissionPlugin] = (),
    metrics: ApiServerMetrics | None = None,
) -> SecurityBundle:
    """Compose everything. Blocks for a few small files: call it from a thread.

    ``client`` must be privileged (system:masters). Webhooks and admission policies see ``kinds``, the kinds that
    are served; without them there is no dynamic admission. Raises PkiError, OSError, ConfigurationError for a
    file that cannot be used, and ValueError for settings that make no sense.
    """
    metrics = metrics or ApiServerMetrics()
    lookups = Lookups(client)
    now, trust = pki.floor.now, PeerTrust(pki, pki.floor.now)
    tokens = build_token_authentication(client, lookups, pki, settings, clock, metrics)
    rbac = RbacAuthorizer(client)
    chain = AuthorizerChain(client, rbac, clock, _authorization(settings), metrics.rest_clients)
    authorizer = chain.union
    configured = _admission_configuration(settings)
    plugins = configured_plugins(client, lookups, authorizer, clock, configured, metrics.admission, kinds)
    _check_configured(settings, configured)
    dynamic = None
    if kinds is not None:
        dynamic = build_dynamic_admission(client, kinds, authorizer, configured, metrics)
    admission = build_chain(
        {**plugins, **(dynamic.plugins if dynamic is not None else {}), **{found.name: found for found in further}},
        enable=settings.enable_admission_plugins,
        disable=settings.disable_admission_plugins,
        always=[EscalationCheck(rbac, authorizer)] if chain.has("RBAC") else [],
        last=[CertificateRequester()],
        metrics=metrics.admission,
    )
    made = (*tokens.closables, chain, plugins.get("ImagePolicyWebhook"), dynamic)
    closables: list[_Closable] = [item for item in made if isinstance(item, _Closable)]
    return SecurityBundle(
        authenticator=UnionAuthenticator(
            peer_authenticators(trust, settings.requestheader_allowed_names, metrics.identity.certificates.observe),
            tokens.union,
            api_audiences=tokens.audiences,
            anonymous=tokens.structured,
        ),
        authorizer=authorizer,
        explain=chain.in_process,
        pending_charges=_quota_plugin(plugins).pending,
        admission=admission,
        virtual_handlers=_handlers(
            lookups, tokens, authorizer, now, extend_expiration=settings.service_account_extend_token_expiration
        ),
        service_account_tokens=tokens.service_account_tokens,
        legacy_tokens=tokens.legacy_tokens,
        rbac=rbac,
        peer_trust=trust,
        background=(*tokens.background, *_background(settings, clock, chain, closables)),
    )


def _quota_plugin(plugins: Mapping[str, AdmissionPlugin]) -> ResourceQuotaPlugin:
    found = plugins[ResourceQuotaPlugin.name]
    assert isinstance(found, ResourceQuotaPlugin)
    return found


def _check_configured(settings: SecuritySettings, configured: AdmissionConfiguration) -> None:
    """Raises ConfigurationError for a plugin that is enabled and cannot do without a configuration."""
    for name in ("EventRateLimit", "ImagePolicyWebhook"):
        if name in settings.enable_admission_plugins and name not in configured.plugins:
            raise ConfigurationError(f"admission plugin {name} needs a configuration: --admission-control-config-file")


def _authorization(settings: SecuritySettings) -> AuthorizationConfiguration:
    """Blocks for the configuration file or the webhook's kubeconfig."""
    if not settings.authorization_config:
        return authorization_from_flags(settings.authorization_mode, settings.authorization_webhook)
    if (
        settings.authorization_mode != SecuritySettings().authorization_mode
        or settings.authorization_webhook.config_file
    ):
        raise ConfigurationError(
            "--authorization-config excludes --authorization-mode and --authorization-webhook-config-file"
        )
    return read_authorization_configuration(Path(settings.authorization_config))


def _admission_configuration(settings: SecuritySettings) -> AdmissionConfiguration:
    if not settings.admission_control_config_file:
        return AdmissionConfiguration()
    return read_admission_configuration(Path(settings.admission_control_config_file))


@runtime_checkable
class _Closable(Protocol):
    async def close(self) -> None: ...


def _background(
    settings: SecuritySettings,
    clock: Clock,
    chain: AuthorizerChain,
    closables: Sequence[_Closable],
) -> Iterator[Callable[[], Awaitable[None]]]:
    """What follows files and, at the end, closes connections."""
    if settings.authorization_config:
        chain_file = Path(settings.authorization_config)
        yield lambda: follow_file(chain_file, read_authorization_configuration, chain.apply, clock)

    async def close_at_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for closable in closables:
                await closable.close()

    yield close_at_end


def _handlers(
    lookups: Lookups,
    tokens: TokenAuthentication,
    authorizer: UnionAuthorizer,
    now: Now,
    *,
    extend_expiration: bool,
) -> dict[HandlerKey, VirtualHandler]:
    authentication, authorization = "authentication.k8s.io", "authorization.k8s.io"
    return {
        (authentication, "tokenreviews", ""): TokenReviewHandler(tokens.union, tokens.audiences),
        (authentication, "selfsubjectreviews", ""): SelfSubjectReviewHandler(now),
        ("", "serviceaccounts", "token"): TokenRequestHandler(
            tokens=tokens.service_account_tokens,
            service_accounts=lookups(SERVICE_ACCOUNTS),
            pods=lookups(PODS),
            secrets=lookups(SECRETS),
            nodes=lookups(NODES),
            api_audiences=tokens.audiences,
            now=now,
            extend_expiration=extend_expiration,
        ),
        (authorization, "subjectaccessreviews", ""): SubjectAccessReviewHandler(authorizer),
        (authorization, "localsubjectaccessreviews", ""): LocalSubjectAccessReviewHandler(authorizer),
        (authorization, "selfsubjectaccessreviews", ""): SelfSubjectAccessReviewHandler(authorizer),
        (authorization, "selfsubjectrulesreviews", ""): SelfSubjectRulesReviewHandler(authorizer),
    }
