"""Puts the security of an API server together: who asks, who may, what is let in, and the reviews about it.

``build_security`` only composes; nothing is read before the first request. Everything decides from the
client's informers, so an API server must be able to serve its local client before it serves requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from minikube_py.components.apiserver.admission.chain import PluginChain, build_chain
from minikube_py.components.apiserver.admission.configuration import (
    AdmissionConfiguration,
    read_admission_configuration,
)
from minikube_py.components.apiserver.admission.dynamic import build_dynamic_admission
from minikube_py.components.apiserver.admission.event_rate_limit import EventRateLimit, read_limits
from minikube_py.components.apiserver.admission.image_policy import ImagePolicyWebhook
from minikube_py.components.apiserver.admission.image_policy import read_settings as read_image_policy
from minikube_py.components.apiserver.admission.limit_ranger import LimitRanger
from minikube_py.components.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from minikube_py.components.apiserver.admission.node_restriction import NodeRestriction
from minikube_py.components.apiserver.admission.pod_defaults import (
    AlwaysPullImages,
    DefaultTolerationSeconds,
    PriorityPlugin,
    RuntimeClassPlugin,
    TaintNodesByCondition,
)
from minikube_py.components.apiserver.admission.pod_node_selector import PodNodeSelector
from minikube_py.components.apiserver.admission.pod_node_selector import read_settings as read_node_selectors
from minikube_py.components.apiserver.admission.pod_security import PodSecurity
from minikube_py.components.apiserver.admission.pod_security.configuration import (
    read_configuration as read_pod_security,
)
from minikube_py.components.apiserver.admission.resource_quota import ResourceQuotaPlugin
from minikube_py.components.apiserver.admission.service_account import ServiceAccountPlugin
from minikube_py.components.apiserver.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    DenyServiceExternalIPs,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from minikube_py.components.apiserver.admission.token_audiences import CSI_DRIVERS, TokenAudiences
from minikube_py.components.apiserver.authentication.certificates import CertificateAuthenticator, CertificateJudge
from minikube_py.components.apiserver.authentication.composition import (
    TokenAuthentication,
    build_token_authentication,
)
from minikube_py.components.apiserver.authentication.configuration import (
    OidcFlags,
)
from minikube_py.components.apiserver.authentication.identity import Now
from minikube_py.components.apiserver.authentication.request_header import (
    RequestHeaderAuthenticator,
    RequestHeaderNames,
)
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
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.types import AdmissionPlugin, Authorizer, VirtualHandler
from minikube_py.components.apiserver.webhook_client import WebhookClient
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import (
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    RUNTIME_CLASSES,
    SECRETS,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
    Resource,
)
from minikube_py.pki import Pki, PkiError, ServiceAccountTokens

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

INGRESS_CLASSES = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False)
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
    anonymous_auth: bool = True
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
    admission: PluginChain
    virtual_handlers: Mapping[HandlerKey, VirtualHandler]
    service_account_tokens: ServiceAccountTokens
    """For the OIDC discovery documents (``discovery``, ``jwks``)."""
    legacy_tokens: ServiceAccountTokens
    """Verifies the tokens in Secrets."""
    rbac: RbacAuthorizer
    peer_trust: PeerTrust
    """Follows the certificate authorities in a rotation."""
    background: tuple[Callable[[], Awaitable[None]], ...] = ()
    """Run beside the API server until it ends: they follow configuration files and close connections."""


class _Lookups:
    """One lookup for each resource, shared by all who read it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._made: dict[Resource, Lookup] = {}

    def __call__(self, resource: Resource) -> Lookup:
        return self._made.setdefault(resource, Lookup(self._client, resource))


def build_security(
    client: Client,
    pki: Pki,
    settings: SecuritySettings,
    clock: Clock,
    *,
    kinds: Kinds | None = None,
    further: Sequence[AdmissionPlugin] = (),
) -> SecurityBundle:
    """Compose everything. Blocks for a few small files: call it from a thread.

    ``client`` must be privileged (system:masters). Webhooks and admission policies see ``kinds``, the kinds that
    are served; without them there is no dynamic admission. Raises PkiError, OSError, ConfigurationError for a
    file that cannot be used, and ValueError for settings that make no sense.
    """
    lookups = _Lookups(client)
    now, trust = pki.floor.now, PeerTrust(pki, pki.floor.now)
    tokens = build_token_authentication(client, lookups, pki, settings, clock)
    rbac = RbacAuthorizer(client)
    chain = AuthorizerChain(client, rbac, clock, _authorization(settings))
    authorizer = chain.union
    configured = _admission_configuration(settings)
    plugins = _plugins(client, lookups, authorizer, clock, configured)
    for name in ("EventRateLimit", "ImagePolicyWebhook"):
        if name in settings.enable_admission_plugins and name not in configured.plugins:
            raise ConfigurationError(f"admission plugin {name} needs a configuration: --admission-control-config-file")
    dynamic = build_dynamic_admission(client, kinds, authorizer, configured) if kinds is not None else None
    admission = build_chain(
        {**plugins, **(dynamic.plugins if dynamic is not None else {}), **{found.name: found for found in further}},
        enable=settings.enable_admission_plugins,
        disable=settings.disable_admission_plugins,
        always=[EscalationCheck(rbac, authorizer)] if chain.has("RBAC") else [],
        last=[CertificateRequester()],
    )
    made = (*tokens.closables, chain, plugins.get("ImagePolicyWebhook"), dynamic)
    closables: list[_Closable] = [item for item in made if isinstance(item, _Closable)]
    return SecurityBundle(
        authenticator=UnionAuthenticator(
            _peer_authenticators(trust, settings),
            tokens.union,
            api_audiences=tokens.audiences,
            anonymous=tokens.structured,
        ),
        authorizer=authorizer,
        admission=admission,
        virtual_handlers=_handlers(lookups, tokens, authorizer, now),
        service_account_tokens=tokens.service_account_tokens,
        legacy_tokens=tokens.legacy_tokens,
        rbac=rbac,
        peer_trust=trust,
        background=(*tokens.background, *_background(settings, clock, chain, closables)),
    )


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


class PeerTrust:
    """Which CAs client certificates may come from: those of users, and those of front proxies."""

    def __init__(self, pki: Pki, now: Now) -> None:
        self._files = (pki.client_ca.certificate, pki.request_header_ca.certificate)
        clients, proxies = self._read()
        self.clients = CertificateJudge(clients, now)
        self.proxies = CertificateJudge(proxies, now)

    async def reload(self) -> None:
        """Take in what the files hold now. Raises PkiError or OSError, and then nothing has changed."""
        clients, proxies = await asyncio.to_thread(self._read)
        self.clients.trust(clients)
        self.proxies.trust(proxies)

    def _read(self) -> list[list[Certificate]]:
        from minikube_py.pki.certificates import load_certificates

        found: list[list[Certificate]] = []
        for path in self._files:
            try:
                found.append(load_certificates(path.read_bytes()))
            except ValueError as error:
                raise PkiError(f"{path} is not a PEM certificate: restore it from a backup") from error
        return found


def _peer_authenticators(
    trust: PeerTrust, settings: SecuritySettings
) -> list[RequestHeaderAuthenticator | CertificateAuthenticator]:
    names = RequestHeaderNames(allowed_names=settings.requestheader_allowed_names)
    return [RequestHeaderAuthenticator(trust.proxies, names), CertificateAuthenticator(trust.clients)]


def _plugins(
    client: Client, lookups: _Lookups, authorizer: Authorizer, clock: Clock, configured: AdmissionConfiguration
) -> dict[str, AdmissionPlugin]:
    pod_security, exemptions = read_pod_security(configured)
    volumes = (lookups(PERSISTENT_VOLUME_CLAIMS), lookups(PERSISTENT_VOLUMES), lookups(CSI_DRIVERS))
    audiences = TokenAudiences(*volumes, authorizer)
    plugins: list[AdmissionPlugin] = [
        NamespaceLifecycle(lookups(NAMESPACES)),
        LimitRanger(lookups(LIMIT_RANGES)),
        ServiceAccountPlugin(lookups(SERVICE_ACCOUNTS), clock),
        NodeRestriction(lookups(PODS), audiences),
        TaintNodesByCondition(),
        AlwaysPullImages(),
        PodSecurity(lookups(NAMESPACES), lookups(PODS), pod_security, exemptions),
        PodNodeSelector(lookups(NAMESPACES), read_node_selectors(configured)),
        EventRateLimit(read_limits(configured), clock),
        PriorityPlugin(lookups(PRIORITY_CLASSES)),
        DefaultTolerationSeconds(),
        DefaultStorageClass(lookups(STORAGE_CLASSES)),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(lookups(STORAGE_CLASSES)),
        RuntimeClassPlugin(lookups(RUNTIME_CLASSES)),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        CertificateSubjectRestriction(),
        DefaultIngressClass(lookups(INGRESS_CLASSES)),
        DenyServiceExternalIPs(),
        ResourceQuotaPlugin(client, lookups(RESOURCE_QUOTAS)),
    ]
    images = read_image_policy(configured)
    if images is not None:
        service = WebhookClient(images.connection, clock, delay_seconds=images.first_delay_seconds)
        plugins.append(ImagePolicyWebhook(images, service, clock))
    return {plugin.name: plugin for plugin in plugins}


def _handlers(
    lookups: _Lookups,
    tokens: TokenAuthentication,
    authorizer: UnionAuthorizer,
    now: Now,
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
        ),
        (authorization, "subjectaccessreviews", ""): SubjectAccessReviewHandler(authorizer),
        (authorization, "localsubjectaccessreviews", ""): LocalSubjectAccessReviewHandler(authorizer),
        (authorization, "selfsubjectaccessreviews", ""): SelfSubjectAccessReviewHandler(authorizer),
        (authorization, "selfsubjectrulesreviews", ""): SelfSubjectRulesReviewHandler(authorizer),
    }
