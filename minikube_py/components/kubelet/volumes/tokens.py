"""Service account tokens for projected volumes: requested from the API, kept, refreshed in time.

A token is renewed after 80 % of its life or 24 hours, whichever comes first (kubelet's token
manager). If renewal fails, the old token is used until it expires. Owner: pod uid.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from minikube_py.client.types import Client
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, name_of, namespace_of, uid_of
from minikube_py.machinery.resources import SERVICE_ACCOUNTS
from minikube_py.machinery.times import parse_time

log = logging.getLogger(__name__)

longest_age_seconds = 24 * 60 * 60.0
retry_seconds = 60.0


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    expires: float
    refresh: float


class Tokens:
    """Tokens by pod, audience and lifetime; two volumes that ask for the same share one."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[tuple[str, str, int], _Token] = {}
        self._locks: dict[tuple[str, str, int], asyncio.Lock] = {}

    async def get(self, pod: Object, audience: str, lifetime_seconds: int) -> str:
        """A token that is good for a while. Raises ApiError."""
        key = (uid_of(pod), audience, lifetime_seconds)
        async with self._locks.setdefault(key, asyncio.Lock()):
            known, now = self._tokens.get(key), self._clock.now()
            if known is not None and now < known.refresh:
                return known.text
            try:
                fresh = await self._request(pod, audience, lifetime_seconds)
            except ApiError:
                if known is None or now >= known.expires:
                    raise
                log.warning("cannot renew token", extra={"pod": name_of(pod)}, exc_info=True)
                fresh = _Token(known.text, known.expires, min(now + retry_seconds, known.expires))
            self._tokens[key] = fresh
            return fresh.text

    def next_refresh(self, pod_uid: str) -> float | None:
        """When (seconds since the epoch) the pod's volumes must be looked at again; None for never."""
        return min((token.refresh for key, token in self._tokens.items() if key[0] == pod_uid), default=None)

    def forget(self, pod_uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == pod_uid]:
            del self._tokens[key]
        for key in [key for key in self._locks if key[0] == pod_uid]:
            del self._locks[key]

    async def _request(self, pod: Object, audience: str, lifetime_seconds: int) -> _Token:
        account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": lifetime_seconds,
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name_of(pod), "uid": uid_of(pod)},
            },
        }
        answer = await self._client.create(
            SERVICE_ACCOUNTS, request, namespace_of(pod), name=account, subresource="token"
        )
        status, now = answer.get("status") or {}, self._clock.now()
        expires = parse_time(status["expirationTimestamp"]) if status.get("expirationTimestamp") else now + 3600
        refresh = min(now + (expires - now) * 0.8, now + longest_age_seconds)
        return _Token(str(status.get("token") or ""), expires, refresh)
