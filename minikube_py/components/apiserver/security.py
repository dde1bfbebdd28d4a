"""Puts the security of an API server together: who asks, who may, what is let in, and the reviews about it.

``build_security`` only composes; nothing is read before the first request. Everything decides from the
client's informers, so an API server must be able to serve its local client before it serves requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from minikube_py.components.apiserver.admission.chain import PluginChain, build_chain
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
from minikube_py.components.apiserver.admission.pod_security import PodSecurity
from minikube_py.components.apiserver.admission.resource_quota import ResourceQuotaPlugin
from minikube_py.components.apiserver.admission.service_account import ServiceAccountPlugin
from minikube_py.components.apiserver.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    DenyServiceExternalIPs,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from minikube_py.components.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from minikube_py.components.apiserver.authentication.certificates import CertificateAuthenticator, CertificateJudge
from minikube_py.components.apiserver.authentication.identity import Now, TokenAuthenticator
from minikube_py.components.apiserver.authentication.request_header import (
    RequestHeaderAuthenticator,
    RequestHeaderNames,
)
from minikube_py.components.apiserver.authentication.reviews import (
    SelfSubjectReviewHandler,
    TokenRequestHandler,
    TokenReviewHandler,
)
from minikube_py.components.apiserver.authentication.service_accounts import ServiceAccountAuthenticator
from minikube_py.components.apiserver.authentication.static_tokens import StaticTokens, read_token_file
from minikube_py.components.apiserver.authentication.union import TokenUnion, UnionAuthenticator
from minikube_py.components.apiserver.authorization.escalation import EscalationCheck
from minikube_py.components.apiserver.authorization.node import NodeAuthorizer
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.authorization.reviews import (
    LocalSubjectAccessReviewHandler,
    SelfSubjectAccessReviewHandler,
    SelfSubjectRulesReviewHandler,
    SubjectAccessReviewHandler,
)
from minikube_py.components.apiserver.authorization.rules import compile_rules
from minikube_py.components.apiserver.authorization.union import AlwaysAllow, AlwaysDeny, UnionAuthorizer
from minikube_py.components.apiserver.bootstrap.policy import cluster_role_rules
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionPlugin, Authorizer, VirtualHandler
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import (
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    RUNTIME_CLASSES,
    SECRETS,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
    Resource,
)
from minikube_py.pki import Pki, ServiceAccountTokens, load_service_account_tokens

INGRESS_CLASSES = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False)
AUTHORIZATION_MODES = ("Node", "RBAC", "AlwaysAllow", "AlwaysDeny")
HandlerKey = tuple[str, str, str]
"""(group, plural, subresource)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """What an administrator may choose; names are those of kube-apiserver's flags."""

    token_auth_file: str = ""
    service_account_issuer: str = "https://kubernetes.default.svc"
    api_audiences: tuple[str, ...] = ()
    """Empty: the issuer."""
    anonymous_auth: bool = True
    authorization_mode: tuple[str, ...] = ("Node", "RBAC")
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
    rbac: RbacAuthorizer


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
    dynamic_plugins: Mapping[str, AdmissionPlugin] | None = None,
) -> SecurityBundle:
    """Compose everything. Blocks for a few small files: call it from a thread.

    ``client`` must be privileged (system:masters). ``dynamic_plugins`` are webhooks and admission policies
    under their names in the chain's order. Raises PkiError, OSError, and ValueError for settings that make
    no sense.
    """
    lookups = _Lookups(client)
    now = pki.floor.now
    audiences = settings.api_audiences or (settings.service_account_issuer,)
    tokens = load_service_account_tokens(pki.service_key, [settings.service_account_issuer])
    token_union = TokenUnion(_token_authenticators(lookups, tokens, settings, audiences, now))
    rbac = RbacAuthorizer(client)
    authorizer = UnionAuthorizer(_authorizers(client, rbac, settings.authorization_mode))
    admission = build_chain(
        {**_plugins(client, lookups, authorizer, clock), **(dynamic_plugins or {})},
        enable=settings.enable_admission_plugins,
        disable=settings.disable_admission_plugins,
        always=[EscalationCheck(rbac, authorizer)] if "RBAC" in settings.authorization_mode else [],
        last=[CertificateRequester()],
    )
    return SecurityBundle(
        authenticator=UnionAuthenticator(
            _peer_authenticators(pki, settings, now),
            token_union,
            api_audiences=audiences,
            anonymous=settings.anonymous_auth,
        ),
        authorizer=authorizer,
        admission=admission,
        virtual_handlers=_handlers(lookups, tokens, token_union, authorizer, rbac, audiences, now),
        service_account_tokens=tokens,
        rbac=rbac,
    )


def _token_authenticators(
    lookups: _Lookups, tokens: ServiceAccountTokens, settings: SecuritySettings, audiences: Sequence[str], now: Now
) -> list[TokenAuthenticator]:
    found: list[TokenAuthenticator] = []
    if settings.token_auth_file:
        found.append(StaticTokens(read_token_file(Path(settings.token_auth_file)), audiences))
    found.append(
        ServiceAccountAuthenticator(
            tokens,
            service_accounts=lookups(SERVICE_ACCOUNTS),
            pods=lookups(PODS),
            secrets=lookups(SECRETS),
            nodes=lookups(NODES),
            now=now,
        )
    )
    found.append(BootstrapTokens(lookups(SECRETS), audiences, now))
    return found


def _peer_authenticators(
    pki: Pki, settings: SecuritySettings, now: Now
) -> list[RequestHeaderAuthenticator | CertificateAuthenticator]:
    from minikube_py.pki.certificates import load_certificates

    proxies = load_certificates(pki.request_header_ca.certificate.read_bytes())
    clients = load_certificates(pki.client_ca.certificate.read_bytes())
    names = RequestHeaderNames(allowed_names=settings.requestheader_allowed_names)
    return [
        RequestHeaderAuthenticator(CertificateJudge(proxies, now), names),
        CertificateAuthenticator(CertificateJudge(clients, now)),
    ]


def _authorizers(client: Client, rbac: RbacAuthorizer, modes: Sequence[str]) -> list[Authorizer]:
    made: list[Authorizer] = []
    for mode in modes:
        match mode:
            case "Node":
                made.append(NodeAuthorizer(client, compile_rules(cluster_role_rules("system:node"))))
            case "RBAC":
                made.append(rbac)
            case "AlwaysAllow":
                made.append(AlwaysAllow())
            case "AlwaysDeny":
                made.append(AlwaysDeny())
            case _:
                raise ValueError(f"authorization-mode {mode!r} is unknown; use {', '.join(AUTHORIZATION_MODES)}")
    return made


def _plugins(client: Client, lookups: _Lookups, authorizer: Authorizer, clock: Clock) -> dict[str, AdmissionPlugin]:
    plugins: list[AdmissionPlugin] = [
        NamespaceLifecycle(lookups(NAMESPACES)),
        LimitRanger(lookups(LIMIT_RANGES)),
        ServiceAccountPlugin(lookups(SERVICE_ACCOUNTS), clock),
        NodeRestriction(lookups(PODS)),
        TaintNodesByCondition(),
        AlwaysPullImages(),
        PodSecurity(lookups(NAMESPACES), lookups(PODS)),
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
    return {plugin.name: plugin for plugin in plugins}


def _handlers(
    lookups: _Lookups,
    tokens: ServiceAccountTokens,
    token_union: TokenUnion,
    authorizer: Authorizer,
    rbac: RbacAuthorizer,
    audiences: Sequence[str],
    now: Now,
) -> dict[HandlerKey, VirtualHandler]:
    authentication, authorization = "authentication.k8s.io", "authorization.k8s.io"
    return {
        (authentication, "tokenreviews", ""): TokenReviewHandler(token_union, audiences),
        (authentication, "selfsubjectreviews", ""): SelfSubjectReviewHandler(now),
        ("", "serviceaccounts", "token"): TokenRequestHandler(
            tokens=tokens,
            service_accounts=lookups(SERVICE_ACCOUNTS),
            pods=lookups(PODS),
            secrets=lookups(SECRETS),
            nodes=lookups(NODES),
            api_audiences=audiences,
            now=now,
        ),
        (authorization, "subjectaccessreviews", ""): SubjectAccessReviewHandler(authorizer),
        (authorization, "localsubjectaccessreviews", ""): LocalSubjectAccessReviewHandler(authorizer),
        (authorization, "selfsubjectaccessreviews", ""): SelfSubjectAccessReviewHandler(authorizer),
        (authorization, "selfsubjectrulesreviews", ""): SelfSubjectRulesReviewHandler(rbac),
    }
