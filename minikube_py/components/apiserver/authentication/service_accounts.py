"""Service account tokens: what their claims say, and whether what they are bound to still lives.

A token's signature is checked once and remembered; expiry and the live objects are checked on every
request (dictionary look-ups), so that deleting a pod, secret, node or service account ends its tokens
at once. Same claims and rules as ``pkg/serviceaccount/claims.go``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.authentication.identity import (
    BadToken,
    Now,
    TokenIdentity,
    as_authenticated,
    intersect,
    service_account_groups,
    service_account_user_name,
)
from minikube_py.components.apiserver.authentication.verified_tokens import VerifiedTokens
from minikube_py.components.apiserver.authorization.rules import quoted_list
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.identity import TokenMetrics
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import go_quote, unauthorized
from minikube_py.machinery.objects import Object, metadata, name_of, uid_of
from minikube_py.machinery.times import parse_time
from minikube_py.pki.service_accounts import ServiceAccountTokens

PRIVATE_CLAIM = "kubernetes.io"
EXTRA = "authentication.kubernetes.io/"
# Something that is being deleted keeps its tokens for its grace period and this long after.
deletion_leeway_seconds = 60.0
clock_leeway_seconds = 60.0
"""The clocks of the servers that sign and verify may differ by so much, as in Kubernetes (``jwt.DefaultLeeway``)."""
_LATEST = 2.0**53
_INVALIDATED = "service account token has been invalidated"
remembered_tokens = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTo:
    """The live objects a token depends on. ``node`` alone is a bond, beside ``pod`` it is information."""

    service_account: Object
    pod: Object | None = None
    secret: Object | None = None
    node: Object | None = None


@dataclass(frozen=True, slots=True)
class _Verified:
    """What stays true of a token while its key does."""

    namespace: str
    references: Mapping[str, Mapping[str, str]]
    audiences: tuple[str, ...]
    issued: float
    begins: float
    ends: float
    user: UserInfo
    warns: float = 0.0
    """From then on its use is counted as stale: whoever has it reads no new one. 0: never."""


def claims_for(
    bound: BoundTo, *, audiences: Sequence[str], now: float, lifetime_seconds: int, warn_after_seconds: int = 0
) -> Object:
    """The claims of a new token (all but the issuer)."""
    account = bound.service_account
    namespace, name = str(metadata(account).get("namespace", "")), name_of(account)
    private: Object = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid_of(account)}}
    for key, obj in (("pod", bound.pod), ("secret", bound.secret), ("node", bound.node)):
        if obj is not None:
            private[key] = {"name": name_of(obj), "uid": uid_of(obj)}
    issued = int(now)
    if warn_after_seconds:
        private["warnafter"] = issued + warn_after_seconds
    return {
        "sub": service_account_user_name(namespace, name),
        "aud": list(audiences),
        "iat": issued,
        "nbf": issued,
        "exp": issued + lifetime_seconds,
        "jti": str(uuid.uuid4()),
        PRIVATE_CLAIM: private,
    }


class ServiceAccountAuthenticator:
    """Accepts tokens that this cluster signed."""

    def __init__(
        self,
        tokens: ServiceAccountTokens,
        *,
        service_accounts: Lookup,
        pods: Lookup,
        secrets: Lookup,
        nodes: Lookup,
        now: Now,
        metrics: TokenMetrics | None = None,
    ) -> None:
        self._metrics = metrics or TokenMetrics()
        self._tokens = VerifiedTokens(tokens, _read_claims, most=remembered_tokens)
        self._service_accounts = service_accounts
        self._bound = {"pod": pods, "secret": secrets, "node": nodes}
        self._now = now

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        if not self._tokens.is_ours(token):
            return None
        verified = self._tokens.verify(token)
        now = self._now()
        granted = intersect(audiences, verified.audiences)
        if not granted:
            wrong, right = quoted_list(verified.audiences), quoted_list(audiences)
            raise unauthorized() from BadToken(f"token audiences {wrong} is invalid for the target audiences {right}")
        if what := _untimely(verified, now):
            raise unauthorized() from BadToken(f"service account token {what}")
        await self._check_alive(verified, now)
        if verified.warns:
            (self._metrics.stale if now > verified.warns else self._metrics.valid).inc()
        return TokenIdentity(verified.user, granted)

    async def _check_alive(self, verified: _Verified, now: float) -> None:
        references = verified.references
        account = references["serviceaccount"]
        await _check_reference("serviceaccount", self._service_accounts, account, verified.namespace, now)
        for key, lookup in self._bound.items():
            reference = references.get(key)
            if reference is None or (key == "node" and "pod" in references):
                continue
            namespace = None if key == "node" else verified.namespace
            await _check_reference(key, lookup, reference, namespace, now)


def _untimely(verified: _Verified, now: float) -> str:
    """What is wrong with a token's times, empty for nothing (``Claims.Validate`` of go-jose, in its order)."""
    if now + clock_leeway_seconds < verified.begins:
        return "is not valid yet"
    if now - clock_leeway_seconds > verified.ends:
        return "has expired"
    return "is issued in the future" if now + clock_leeway_seconds < verified.issued else ""


async def _check_reference(
    key: str, lookup: Lookup, reference: Mapping[str, str], namespace: str | None, now: float
) -> None:
    """Raise ApiError(401) unless the very object (by uid) exists and is not long being deleted."""
    name, uid = reference["name"], reference["uid"]
    found = lookup.informer.get(name, namespace)
    if found is None or uid_of(found) != uid:
        found = await lookup.get_live(name, namespace)
    is_account = key == "serviceaccount"
    if found is None:
        why = f"serviceaccounts {go_quote(name)} not found" if is_account else _INVALIDATED
        raise unauthorized() from BadToken(why)
    if uid_of(found) != uid:
        what, claim = ("service account", "claim") if is_account else (key, f"service account {key} ref claim")
        raise unauthorized() from BadToken(f"{what} UID ({uid_of(found)}) does not match {claim} ({uid})")
    deleted = metadata(found).get("deletionTimestamp")
    if deleted and parse_time(deleted) < now - deletion_leeway_seconds:
        why = f"service account {namespace}/{name} has been deleted" if is_account else _INVALIDATED
        raise unauthorized() from BadToken(why)


def _read_claims(claims: Mapping[str, Any]) -> _Verified:
    """Claims of a token with a good signature. Raises ApiError(401) when they are not a service account's."""
    private = claims.get(PRIVATE_CLAIM)
    audiences = claims.get("aud")
    if not isinstance(private, dict) or not isinstance(private.get("serviceaccount"), dict):
        raise unauthorized()
    try:
        references = {
            key: {"name": str(private[key]["name"]), "uid": str(private[key]["uid"])}
            for key in ("serviceaccount", "pod", "secret", "node")
            if private.get(key)
        }
        namespace = str(private["namespace"])
        issued, ends = _moment(claims.get("iat", 0)), _moment(claims["exp"])
        begins = _moment(claims.get("nbf", issued))
        warns = float(private.get("warnafter") or 0)
    except (KeyError, TypeError, ValueError) as error:
        raise unauthorized() from error
    name = references["serviceaccount"]["name"]
    if claims.get("sub") != service_account_user_name(namespace, name):
        raise unauthorized()
    user = UserInfo(
        service_account_user_name(namespace, name),
        service_account_groups(namespace),
        references["serviceaccount"]["uid"],
        _extra(references, str(claims.get("jti", ""))),
    )
    listed = (audiences,) if isinstance(audiences, str) else tuple(str(item) for item in audiences or ())
    return _Verified(namespace, references, listed, issued, begins, ends, as_authenticated(user), warns)


def _moment(value: Any) -> float:
    """A NumericDate (RFC 7519): a number of seconds that a clock can show. Raises TypeError, ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number of seconds")
    if not abs(value) < _LATEST:  # also of what is no number at all (NaN)
        raise ValueError("not a time")
    return float(value)


def _extra(references: Mapping[str, Mapping[str, str]], token_id: str) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    if token_id:
        extra[f"{EXTRA}credential-id"] = (f"JTI={token_id}",)
    for key in ("node", "pod"):
        if key in references:
            extra[f"{EXTRA}{key}-name"] = (references[key]["name"],)
            extra[f"{EXTRA}{key}-uid"] = (references[key]["uid"],)
    return extra
