"""Puts the authenticators of bearer tokens together, in kube-apiserver's order.

Nothing is asked of anybody before the first token comes; files are read here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from minikube_py.client.types import Client
from minikube_py.components.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from minikube_py.components.apiserver.authentication.configuration import (
    Anonymous,
    AuthenticationConfiguration,
    JwtAuthenticator,
    OidcFlags,
    configuration_from_flags,
    read_authentication_configuration,
)
from minikube_py.components.apiserver.authentication.identity import Now, TokenAuthenticator
from minikube_py.components.apiserver.authentication.issuer_keys import https_fetch
from minikube_py.components.apiserver.authentication.join_tokens import (
    JoinTokenAuthenticator,
    read_join_tokens,
    token_file,
)
from minikube_py.components.apiserver.authentication.legacy_tokens import LEGACY_ISSUER, LegacyTokens
from minikube_py.components.apiserver.authentication.oidc import OidcAuthenticator
from minikube_py.components.apiserver.authentication.service_accounts import ServiceAccountAuthenticator
from minikube_py.components.apiserver.authentication.static_tokens import StaticTokens, read_token_file
from minikube_py.components.apiserver.authentication.structured import StructuredAuthentication
from minikube_py.components.apiserver.authentication.token_cache import CachedTokens
from minikube_py.components.apiserver.authentication.union import TokenUnion
from minikube_py.components.apiserver.authentication.webhook_tokens import VERSIONS, WebhookTokens
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.file_reload import follow_file
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.composition import ApiServerMetrics
from minikube_py.components.apiserver.metrics.rest_client import RestClientMetrics
from minikube_py.components.apiserver.webhook_client import WebhookClient, read_webhook_kubeconfig
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from minikube_py.pki import Pki, ServiceAccountTokens, load_service_account_tokens


class TokenSettings(Protocol):
    """What an administrator may choose about tokens; names are those of kube-apiserver's flags."""

    @property
    def token_auth_file(self) -> str: ...
    @property
    def authentication_config(self) -> str: ...
    @property
    def oidc(self) -> OidcFlags: ...
    @property
    def authentication_token_webhook_config_file(self) -> str: ...
    @property
    def authentication_token_webhook_version(self) -> str: ...
    @property
    def authentication_token_webhook_cache_ttl_seconds(self) -> float: ...
    @property
    def service_account_issuer(self) -> str: ...
    @property
    def api_audiences(self) -> tuple[str, ...]: ...
    @property
    def anonymous_auth(self) -> bool: ...
    @property
    def join_groups(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthentication:
    """All authenticators of tokens, and what others need of them."""

    union: TokenUnion
    audiences: tuple[str, ...]
    """Those of the API."""
    structured: StructuredAuthentication
    """Also says for which paths anonymous requests are let in."""
    service_account_tokens: ServiceAccountTokens
    legacy_tokens: ServiceAccountTokens
    background: tuple[Callable[[], Awaitable[None]], ...]
    """Follows the configuration file; to be run until the server ends."""
    closables: tuple[StructuredAuthentication | LegacyTokens | WebhookTokens, ...]


def build_token_authentication(
    client: Client,
    lookups: Callable[[Resource], Lookup],
    pki: Pki,
    settings: TokenSettings,
    clock: Clock,
    metrics: ApiServerMetrics | None = None,
) -> TokenAuthentication:
    """Compose them. Blocks for files. Raises ConfigurationError, PkiError, OSError, ValueError."""
    shown = metrics or ApiServerMetrics()
    now = pki.floor.now
    audiences = settings.api_audiences or (settings.service_account_issuer,)
    tokens = load_service_account_tokens(pki.service_key, [settings.service_account_issuer])
    legacy_tokens = load_service_account_tokens(pki.service_key, [LEGACY_ISSUER])
    legacy = LegacyTokens(
        legacy_tokens,
        client,
        service_accounts=lookups(SERVICE_ACCOUNTS),
        secret_lookup=lookups(SECRETS),
        api_audiences=audiences,
        now=now,
        metrics=shown.tokens,
    )
    bound = ServiceAccountAuthenticator(
        tokens,
        service_accounts=lookups(SERVICE_ACCOUNTS),
        pods=lookups(PODS),
        secrets=lookups(SECRETS),
        nodes=lookups(NODES),
        now=now,
        metrics=shown.tokens,
    )
    structured = _structured(settings, audiences, clock, now)
    webhook = _webhook(settings, audiences, clock, shown.rest_clients)
    chain: list[TokenAuthenticator] = []
    if settings.token_auth_file:
        chain.append(StaticTokens(read_token_file(Path(settings.token_auth_file)), audiences))
    # Their issuers differ, so the order of the first two is only one of speed: bound tokens are the common ones.
    bootstrap = BootstrapTokens(lookups(SECRETS), audiences, now)
    joining = _joining(settings, pki, audiences)
    chain += [bound, legacy, bootstrap, *([joining] if joining is not None else [])]
    chain.append(CachedTokens(structured, clock, now, metrics=shown.tokens))
    if webhook is not None:
        ttl = settings.authentication_token_webhook_cache_ttl_seconds
        chain.append(CachedTokens(webhook, clock, now, ttl, shown.tokens))
    return TokenAuthentication(
        union=TokenUnion(chain),
        audiences=tuple(audiences),
        structured=structured,
        service_account_tokens=tokens,
        legacy_tokens=legacy_tokens,
        background=tuple(_background(settings, clock, structured, joining, pki)),
        closables=(structured, legacy, *([webhook] if webhook is not None else [])),
    )


def _structured(
    settings: TokenSettings, audiences: tuple[str, ...], clock: Clock, now: Now
) -> StructuredAuthentication:
    def make(jwt: JwtAuthenticator) -> OidcAuthenticator:
        return OidcAuthenticator(jwt, https_fetch(jwt.issuer.ca_pem), audiences, clock, now)

    return StructuredAuthentication(_configuration(settings), make, Anonymous(settings.anonymous_auth))


def _configuration(settings: TokenSettings) -> AuthenticationConfiguration:
    issuers = (settings.service_account_issuer,)
    if not settings.authentication_config:
        return configuration_from_flags(settings.oidc, disallowed_issuers=issuers)
    if settings.oidc != OidcFlags():
        raise ConfigurationError("--authentication-config and the --oidc flags exclude each other")
    file = Path(settings.authentication_config)
    found = read_authentication_configuration(file, disallowed_issuers=issuers)
    if found.anonymous is not None and not settings.anonymous_auth:
        raise ConfigurationError(f"{file}: anonymous and --anonymous-auth exclude each other; remove the flag")
    return found


def _webhook(
    settings: TokenSettings, audiences: tuple[str, ...], clock: Clock, metrics: RestClientMetrics
) -> WebhookTokens | None:
    if not settings.authentication_token_webhook_config_file:
        return None
    version = settings.authentication_token_webhook_version
    if version not in VERSIONS:
        raise ConfigurationError(f"--authentication-token-webhook-version must be one of {', '.join(VERSIONS)}")
    connection = read_webhook_kubeconfig(Path(settings.authentication_token_webhook_config_file))
    return WebhookTokens(WebhookClient(connection, clock, metrics=metrics), version, audiences)


def _joining(settings: TokenSettings, pki: Pki, audiences: tuple[str, ...]) -> JoinTokenAuthenticator | None:
    if not settings.join_groups:
        return None
    return JoinTokenAuthenticator(read_join_tokens(token_file(pki.data_dir)), settings.join_groups, audiences)


def _background(
    settings: TokenSettings,
    clock: Clock,
    structured: StructuredAuthentication,
    joining: JoinTokenAuthenticator | None,
    pki: Pki,
) -> Iterator[Callable[[], Awaitable[None]]]:
    if settings.authentication_config:
        file = Path(settings.authentication_config)
        read = partial(read_authentication_configuration, disallowed_issuers=(settings.service_account_issuer,))
        yield lambda: follow_file(file, read, structured.apply, clock)
    if joining is not None:
        yield lambda: follow_file(token_file(pki.data_dir), read_join_tokens, joining.adopt, clock)
