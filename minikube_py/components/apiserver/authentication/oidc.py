"""ID tokens of OpenID Connect issuers: verified with the issuer's keys, mapped to users by the configuration.

A token of another issuer is left to the other authenticators; one of ours that is bad in any way is
refused, and the log says why while the client only learns 401. Same rules as
``plugin/pkg/authenticator/token/oidc``, with two that are stricter: an empty user name is refused, and
a token is never accepted after its expiry because it was cached.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.components.apiserver.authentication.configuration import JwtAuthenticator
from minikube_py.components.apiserver.authentication.distributed_claims import ClaimResolver
from minikube_py.components.apiserver.authentication.expressions import ExpressionFailed
from minikube_py.components.apiserver.authentication.id_tokens import TokenRefused, TokenVerifier, untrusted_issuer
from minikube_py.components.apiserver.authentication.identity import (
    Now,
    TokenIdentity,
    as_authenticated,
    intersect,
)
from minikube_py.components.apiserver.authentication.issuer_keys import Fetch, IssuerKeys, KeysUnavailable
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import unauthorized

log = logging.getLogger(__name__)


class OidcAuthenticator:
    """Accepts the tokens of one issuer, for every audience of the API. ``fetch`` gets documents of the issuer."""

    def __init__(
        self, jwt: JwtAuthenticator, fetch: Fetch, api_audiences: Sequence[str], clock: Clock, now: Now
    ) -> None:
        self._jwt = jwt
        self._verifier = TokenVerifier(jwt.issuer, IssuerKeys(jwt.issuer, fetch, clock), now)
        self._resolver = ClaimResolver(jwt.groups.claim, jwt.issuer, fetch, clock, now) if jwt.groups.claim else None
        self._api_audiences = tuple(api_audiences)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        if untrusted_issuer(token) != self._jwt.issuer.url:
            return None
        granted = intersect(audiences, self._api_audiences)
        if not granted:
            return None
        try:
            claims = await self._verifier.verify(token)
            if self._resolver is not None:
                claims = await self._resolver.expand(claims)
            user = user_of(self._jwt, claims)
        except (TokenRefused, ExpressionFailed, KeysUnavailable) as error:
            log.info("oidc token refused", extra={"issuer": self._jwt.issuer.url, "reason": str(error)})
            raise unauthorized() from error
        return TokenIdentity(as_authenticated(user), granted, float(claims["exp"]))

    async def close(self) -> None:
        """End fetches that run."""
        await self._verifier.close()
        if self._resolver is not None:
            await self._resolver.close()


def user_of(jwt: JwtAuthenticator, claims: Mapping[str, Any]) -> UserInfo:
    """The user that verified claims stand for. Raises TokenRefused and ExpressionFailed."""
    user = UserInfo(_username(jwt, claims), _groups(jwt, claims), _uid(jwt, claims), _extra(jwt, claims))
    for wanted in jwt.required_claims:
        if wanted.claim not in claims:
            raise TokenRefused(f"required claim {wanted.claim} not present in ID token")
        if claims[wanted.claim] != wanted.value:
            raise TokenRefused(f"required claim {wanted.claim} value does not match")
    for rule in jwt.claim_rules:
        if rule.expression.evaluate(claims) is not True:
            raise TokenRefused(f"validation expression '{rule.expression.text}' failed: {rule.message}")
    if jwt.user_rules:
        described = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        for check in jwt.user_rules:
            if check.expression.evaluate(described) is not True:
                raise TokenRefused(f"validation expression '{check.expression.text}' failed: {check.message}")
    return user


def _username(jwt: JwtAuthenticator, claims: Mapping[str, Any]) -> str:
    mapping = jwt.username
    if mapping.expression is not None:
        name = mapping.expression.evaluate(claims)
        if not isinstance(name, str):
            raise TokenRefused("username claim expression must return a string")
    else:
        name = claims.get(mapping.claim)
        if not isinstance(name, str):
            raise TokenRefused(f"parse username claims {mapping.claim!r}: not present as a string")
        if mapping.claim == "email" and claims.get("email_verified", True) is not True:
            raise TokenRefused("email not verified")
    if not name:
        raise TokenRefused("the user name is empty")
    return mapping.prefix + name


def _groups(jwt: JwtAuthenticator, claims: Mapping[str, Any]) -> tuple[str, ...]:
    mapping = jwt.groups
    if mapping.expression is not None:
        return _texts(mapping.expression.evaluate(claims))
    if not mapping.claim or mapping.claim not in claims:
        return ()
    given = claims[mapping.claim]
    listed = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise TokenRefused(f"parse groups claim {mapping.claim!r}: neither a string nor a list of strings")
    return tuple(mapping.prefix + item for item in listed)


def _uid(jwt: JwtAuthenticator, claims: Mapping[str, Any]) -> str:
    mapping = jwt.uid
    if mapping.expression is not None:
        uid = mapping.expression.evaluate(claims)
        if not isinstance(uid, str):
            raise TokenRefused("uid claim expression must return a string")
        return uid
    if not mapping.claim:
        return ""
    uid = claims.get(mapping.claim)
    if not isinstance(uid, str):
        raise TokenRefused(f"parse uid claim {mapping.claim!r}: not present as a string")
    return uid


def _extra(jwt: JwtAuthenticator, claims: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    evaluated = ((key, _texts(expression.evaluate(claims))) for key, expression in jwt.extra)
    return {key: values for key, values in evaluated if values}


def _texts(value: object) -> tuple[str, ...]:
    """The strings of an expression's value: a string or a list of them; empty ones count as absent."""
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(item, str) for item in listed):
        raise TokenRefused("expression must return a string or a list of strings")
    return tuple(item for item in listed if item)
