"""Distributed claims: a claim that an ID token only refers to, fetched from where the token says.

For the groups claim alone, as in Kubernetes: issuers leave a long list of groups out of the token and name an
endpoint instead (OpenID Connect Core 1.0, section 5.6.2), which answers with a token of its own. That one is
verified like any other, with the keys of the issuer that it names, and for our audiences. Only tokens with
a good signature of the configured issuer make the API server ask anybody. Same rules as the claim resolver of
``plugin/pkg/authenticator/token/oidc``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from minikube_py.components.apiserver.authentication.configuration import Issuer
from minikube_py.components.apiserver.authentication.id_tokens import TokenRefused, TokenVerifier, untrusted_issuer
from minikube_py.components.apiserver.authentication.identity import Now
from minikube_py.components.apiserver.authentication.issuer_keys import Fetch, IssuerKeys
from minikube_py.machinery.clock import Clock

most_issuers = 16
fetch_timeout_seconds = 10.0


class ClaimResolver:
    """Puts one distributed claim into claims."""

    def __init__(self, claim: str, issuer: Issuer, fetch: Fetch, clock: Clock, now: Now) -> None:
        self._claim = claim
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._now = now
        self._verifiers: dict[str, TokenVerifier] = {}

    async def expand(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims with the distributed one; themselves when it is there or nowhere.

        Raises TokenRefused and KeysUnavailable.
        """
        names = claims.get("_claim_names")
        if self._claim in claims or names is None:
            return claims
        source = names.get(self._claim) if isinstance(names, dict) else None
        if source is None:
            return claims
        sources = claims.get("_claim_sources")
        endpoint = sources.get(source) if isinstance(sources, dict) else None
        if not isinstance(endpoint, dict):
            raise TokenRefused(f"_claim_names contains a source {source!r} that is missing in _claim_sources")
        url, access_token = endpoint.get("endpoint"), endpoint.get("access_token") or ""
        if not url:
            return claims  # an aggregated claim, which Kubernetes does not read either
        if not isinstance(url, str) or not url.startswith("https://") or not isinstance(access_token, str):
            raise TokenRefused("the endpoint of a distributed claim is no https URL")
        return {**claims, self._claim: await self._resolve(url, access_token)}

    async def close(self) -> None:
        """End fetches of keys that run."""
        for verifier in self._verifiers.values():
            await verifier.close()

    async def _resolve(self, url: str, access_token: str) -> Any:
        try:
            async with asyncio.timeout(fetch_timeout_seconds):
                token = (await self._fetch(url, access_token)).decode("ascii", "replace").strip()
        except TimeoutError:
            raise TokenRefused(f"distributed claim: {url} does not answer") from None
        issuer = untrusted_issuer(token)
        if not issuer.startswith("https://"):
            raise TokenRefused("the endpoint of a distributed claim did not answer with a token of an https issuer")
        claims = await self._verifier(issuer).verify(token)
        if self._claim not in claims:
            raise TokenRefused(f"the token of a distributed claim does not contain {self._claim!r}")
        return claims[self._claim]

    def _verifier(self, url: str) -> TokenVerifier:
        found = self._verifiers.get(url)
        if found is None:
            if len(self._verifiers) >= most_issuers:
                raise TokenRefused("distributed claims name too many issuers")
            issuer = replace(self._issuer, url=url, discovery_url="")
            if url == self._issuer.url:
                issuer = self._issuer
            found = TokenVerifier(issuer, IssuerKeys(issuer, self._fetch, self._clock), self._now)
            self._verifiers[url] = found
        return found
