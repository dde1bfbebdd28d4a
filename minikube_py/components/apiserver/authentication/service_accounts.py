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
    Now,
    TokenIdentity,
    as_authenticated,
    intersect,
    service_account_groups,
    service_account_user_name,
)
from minikube_py.components.apiserver.authentication.verified_tokens import VerifiedTokens
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.identity import TokenMetrics
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import unauthorized
from minikube_py.machinery.objects import Object, metadata, name_of, uid_of
from minikube_py.machinery.times import parse_time
from minikube_py.pki.service_accounts import ServiceAccountTokens

PRIVATE_CLAIM = "kubernetes.io"
EXTRA = "authentication.kubernetes.io/"
# Something that is being deleted keeps its tokens for its grace period and this long after.
deletion_leeway_seconds = 60.0
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
        if not verified.begins <= now < verified.ends:
            raise unauthorized()
        granted = intersect(audiences, verified.audiences)
        if not granted:
            raise unauthorized()
        await self._check_alive(verified, now)
        if verified.warns:
            (self._metrics.stale if now > verified.warns else self._metrics.valid).inc()
        return TokenIdentity(verified.user, granted)

    async def _check_alive(self, verified: _Verified, now: float) -> None:
        references = verified.references
        account = references["serviceaccount"]
        await _check_reference(self._service_accounts, account, verified.namespace, now)
        for key, lookup in self._bound.items():
            reference = references.get(key)
            if reference is None or (key == "node" and "pod" in references):
                continue
            namespace = None if key == "node" else verified.namespace
            await _check_reference(lookup, reference, namespace, now)


async def _check_reference(lookup: Lookup, reference: Mapping[str, str], namespace: str | None, now: float) -> None:
    """Raise ApiError(401) unless the very object (by uid) exists and is not long being deleted."""
    name, uid = reference["name"], reference["uid"]
    found = lookup.informer.get(name, namespace)
    if found is None or uid_of(found) != uid:
        found = await lookup.get_live(name, namespace)
    if found is None or uid_of(found) != uid:
        raise unauthorized()
    deleted = metadata(found).get("deletionTimestamp")
    if deleted and parse_time(deleted) < now - deletion_leeway_seconds:
        raise unauthorized()


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
        begins, ends = float(claims.get("nbf", claims.get("iat", 0))), float(claims["exp"])
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
    return _Verified(namespace, references, listed, begins, ends, as_authenticated(user), warns)


def _extra(references: Mapping[str, Mapping[str, str]], token_id: str) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    if token_id:
        extra[f"{EXTRA}credential-id"] = (f"JTI={token_id}",)
    for key in ("node", "pod"):
        if key in references:
            extra[f"{EXTRA}{key}-name"] = (references[key]["name"],)
            extra[f"{EXTRA}{key}-uid"] = (references[key]["uid"],)
    return extra
