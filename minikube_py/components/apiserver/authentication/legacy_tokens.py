"""Tokens in Secrets of type ``kubernetes.io/service-account-token``: they have no expiry and live as long as
their Secret.

The Secret must still hold this very token, and its service account be the one it was made for. A Secret
that the cleaner has marked invalid is refused; the day of the last use is kept in a label, written at
most once a day. Same rules as ``pkg/serviceaccount/legacy.go``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.client.types import Client
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
from minikube_py.machinery.errors import ApiError, unauthorized
from minikube_py.machinery.objects import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from minikube_py.machinery.resources import SECRETS
from minikube_py.machinery.times import rfc3339
from minikube_py.pki.service_accounts import ServiceAccountTokens

log = logging.getLogger(__name__)

LEGACY_ISSUER = "kubernetes/serviceaccount"
SECRET_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_CLAIM = "kubernetes.io/serviceaccount/"
remembered_tokens = 1024


@dataclass(frozen=True, slots=True)
class _Verified:
    """What the signature vouches for."""

    namespace: str
    secret: str
    account: str
    uid: str
    user: UserInfo


def legacy_claims(account: Object, secret: Object) -> Object:
    """The claims of the token for a Secret."""
    namespace, name = namespace_of(account), name_of(account)
    return {
        "sub": service_account_user_name(namespace, name),
        f"{_CLAIM}namespace": namespace,
        f"{_CLAIM}secret.name": name_of(secret),
        f"{_CLAIM}service-account.name": name,
        f"{_CLAIM}service-account.uid": uid_of(account),
    }


def day_of(seconds: float) -> str:
    """The UTC day as the labels have it, ``2026-11-21``."""
    return rfc3339(seconds)[:10]


class LegacyTokens:
    """Accepts tokens of Secrets, for every audience of the API. ``tokens`` has ``LEGACY_ISSUER`` as its issuer."""

    def __init__(
        self,
        tokens: ServiceAccountTokens,
        client: Client,
        *,
        service_accounts: Lookup,
        secret_lookup: Lookup,
        api_audiences: Sequence[str],
        now: Now,
        metrics: TokenMetrics | None = None,
    ) -> None:
        self._metrics = metrics or TokenMetrics()
        self._tokens = VerifiedTokens(tokens, _read_claims, most=remembered_tokens)
        self._client = client
        self._service_accounts = service_accounts
        self._secrets = secret_lookup
        self._api_audiences = tuple(api_audiences)
        self._now = now
        self._marked: dict[tuple[str, str], str] = {}
        self._marking: set[asyncio.Task[None]] = set()

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        if not self._tokens.is_ours(token):
            return None
        granted = intersect(audiences, self._api_audiences)
        if not granted:
            return None
        verified = self._tokens.verify(token)
        secret = await self._check_alive(verified, token)
        self._mark_used(secret)
        self._metrics.legacy.inc()
        made = self._made_for_account(verified)
        (self._metrics.legacy_auto if made else self._metrics.legacy_manual).inc()
        return TokenIdentity(verified.user, granted)

    async def close(self) -> None:
        """End the writing of labels."""
        for task in self._marking:
            task.cancel()
        await asyncio.gather(*self._marking, return_exceptions=True)

    async def _check_alive(self, verified: _Verified, token: str) -> Object:
        """The token's Secret. Raises ApiError(401) unless it holds the token and the account is the same."""
        secret = self._secrets.informer.get(verified.secret, verified.namespace)
        if secret is None or not _holds(secret, token):
            secret = await self._secrets.get_live(verified.secret, verified.namespace)
        if secret is None or is_deleting(secret) or not _holds(secret, token):
            raise unauthorized()
        if labels_of(secret).get(INVALID_SINCE):
            if self._made_for_account(verified):
                self._metrics.legacy_invalid.inc()
            raise unauthorized()
        account = self._service_accounts.informer.get(verified.account, verified.namespace)
        if account is None or uid_of(account) != verified.uid:
            account = await self._service_accounts.get_live(verified.account, verified.namespace)
        if account is None or is_deleting(account) or uid_of(account) != verified.uid:
            raise unauthorized()
        return secret

    def _made_for_account(self, verified: _Verified) -> bool:
        """Whether the Secret was made by the controller of old times: its service account lists it."""
        account = self._service_accounts.informer.get(verified.account, verified.namespace)
        return any(item.get("name") == verified.secret for item in (account or {}).get("secrets") or ())

    def _mark_used(self, secret: Object) -> None:
        """Write today's date into the label, beside the request and once a day."""
        key, today = (namespace_of(secret), name_of(secret)), day_of(self._now())
        if self._marked.get(key) == today or labels_of(secret).get(LAST_USED) == today:
            return
        if len(self._marked) >= remembered_tokens:
            self._marked.clear()
        self._marked[key] = today
        task = asyncio.create_task(self._write_label(*key, today), name="legacy-token-used")
        self._marking.add(task)
        task.add_done_callback(self._marking.discard)

    async def _write_label(self, namespace: str, name: str, today: str) -> None:
        try:
            await self._client.patch(SECRETS, name, {"metadata": {"labels": {LAST_USED: today}}}, namespace)
        except ApiError as error:
            self._marked.pop((namespace, name), None)
            log.warning("cannot label a used token", extra={"secret": f"{namespace}/{name}", "error": str(error)})


def _holds(secret: Object, token: str) -> bool:
    try:
        held = base64.b64decode((secret.get("data") or {}).get("token") or "", validate=True)
    except binascii.Error:
        return False
    return secret.get("type") == SECRET_TYPE and secrets.compare_digest(held, token.encode())


def _read_claims(claims: Mapping[str, Any]) -> _Verified:
    names = ("namespace", "secret.name", "service-account.name", "service-account.uid")
    found = [claims.get(f"{_CLAIM}{name}") for name in names]
    if not all(isinstance(text, str) and text for text in found):
        raise unauthorized()
    namespace, secret, account, uid = map(str, found)
    name = service_account_user_name(namespace, account)
    if claims.get("sub") != name:
        raise unauthorized()
    user = as_authenticated(UserInfo(name, service_account_groups(namespace), uid))
    return _Verified(namespace, secret, account, uid, user)
