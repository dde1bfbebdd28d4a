"""Checking ID tokens: signature, issuer, audience and times. Nothing here knows what a token's claims mean."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import orjson

from minikube_py.components.apiserver.authentication.configuration import Issuer
from minikube_py.components.apiserver.authentication.identity import Now
from minikube_py.components.apiserver.authentication.issuer_keys import IssuerKey, IssuerKeys

longest_token_bytes = 65536
not_before_leeway_seconds = 60.0
_LATEST = 2.0**53
_GOOGLE = "accounts.google.com"


class TokenRefused(Exception):
    """A token of ours that is not accepted; the text is for the log."""


class TokenVerifier:
    """Verifies the tokens of one issuer."""

    def __init__(self, issuer: Issuer, keys: IssuerKeys, now: Now) -> None:
        self._issuer = issuer
        self._keys = keys
        self._now = now

    async def verify(self, token: str) -> Mapping[str, Any]:
        """The claims of a token with a good signature that is meant for us and valid now.

        The caller has compared the issuer. Raises TokenRefused and KeysUnavailable.
        """
        header = _decoded(token.partition(".")[0])
        algorithm, identifier = (header or {}).get("alg"), (header or {}).get("kid") or ""
        if not isinstance(algorithm, str) or algorithm not in self._issuer.signing_algorithms:
            raise TokenRefused(f"signed with unsupported algorithm {algorithm!r}")
        if not isinstance(identifier, str):
            raise TokenRefused("the key id is not a string")
        claims = _check_signature(token, algorithm, identifier, await self._keys.get())
        if claims is None and await self._keys.refresh():
            claims = _check_signature(token, algorithm, identifier, await self._keys.get())
        if claims is None:
            raise TokenRefused("failed to verify signature")
        check_claims(claims, self._issuer.audiences, self._now())
        return claims

    async def close(self) -> None:
        """End a fetch of keys that runs."""
        await self._keys.close()


def _check_signature(
    token: str, algorithm: str, identifier: str, keys: Sequence[IssuerKey]
) -> Mapping[str, Any] | None:
    import jwt

    checks = ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti")
    options: Any = dict.fromkeys(checks, False)
    for key in keys:
        if (identifier and key.identifier != identifier) or not key.fits(algorithm):
            continue
        try:
            claims: Mapping[str, Any] = jwt.decode(token, key.public, [algorithm], options)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        return claims
    return None


def check_claims(claims: Mapping[str, Any], audiences: Sequence[str], now: float) -> None:
    """Raise TokenRefused unless the token is for one of the audiences and valid now (Unix seconds)."""
    given = claims.get("aud")
    listed = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if not any(audience in listed for audience in audiences):
        raise TokenRefused(f"expected audience in {sorted(audiences)} got {given!r}")
    if _seconds(claims.get("exp"), absent=-inf) <= now:
        raise TokenRefused("token is expired")
    if _seconds(claims.get("nbf"), absent=-inf) > now + not_before_leeway_seconds:
        raise TokenRefused("current time is before the nbf (not before) time")


def _seconds(value: object, *, absent: float) -> float:
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LATEST:
        raise TokenRefused("a time of the token is not a number")
    return float(value)


def untrusted_issuer(token: str) -> str:
    """What a token that nobody has verified says of its issuer; empty when it is no JWT."""
    if len(token) > longest_token_bytes or token.count(".") != 2:
        return ""
    claims = _decoded(token.split(".")[1])
    issuer = (claims or {}).get("iss")
    if issuer == _GOOGLE:
        return f"https://{_GOOGLE}"
    return issuer if isinstance(issuer, str) else ""


def _decoded(part: str) -> dict[str, Any] | None:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        decoded = orjson.loads(data)
    except (binascii.Error, ValueError):
        return None
    return decoded if isinstance(decoded, dict) else None
