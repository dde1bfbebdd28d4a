"""Remembers for a short time whom a token stood for, so that a busy client does not cost a check each request.

Only successes are kept, under a keyed hash of the token, never beyond the token's own expiry. One check of
a token at a time: requests that bring the same new token wait for the first one's answer. Same lifetimes as
``pkg/kubeapiserver/authenticator`` (10 seconds, or the webhook's own).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.components.apiserver.authentication.identity import TokenAuthenticator, TokenIdentity
from minikube_py.components.apiserver.metrics.identity import TokenMetrics
from minikube_py.machinery.clock import Clock

default_ttl_seconds = 10.0
most_entries = 4096
_HIT, _MISS, _BLOCKED, _IN_FLIGHT, _OK, _ERROR = ("hit",), ("miss",), ("blocked",), ("in_flight",), ("ok",), ("error",)
"""Label values of the metrics."""

_Key = tuple[bytes, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Entry:
    identity: TokenIdentity
    ends: float
    """Monotonic."""
    expires: float
    """Unix seconds."""


class CachedTokens:
    """A token authenticator that asks another one no more often than it must."""

    def __init__(
        self,
        inner: TokenAuthenticator,
        clock: Clock,
        now: Callable[[], float],
        ttl_seconds: float = default_ttl_seconds,
        metrics: TokenMetrics | None = None,
    ) -> None:
        self._metrics = metrics or TokenMetrics()
        self._inner = inner
        self._clock = clock
        self._now = now
        self._ttl = ttl_seconds
        self._secret = secrets.token_bytes(32)
        self._entries: dict[_Key, _Entry] = {}
        self._running: dict[_Key, asyncio.Task[TokenIdentity | None]] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        digest = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=32).digest()
        key = (digest, tuple(audiences))
        found = self._entries.get(key)
        begin, metrics = self._clock.monotonic(), self._metrics
        if found is not None and begin < found.ends and self._now() < found.expires:
            metrics.asked(_HIT, self._clock.monotonic() - begin)
            return found.identity
        task = self._running.get(key)
        state = _IN_FLIGHT if task is None else _BLOCKED
        if task is None:
            task = asyncio.create_task(self._ask(key, token, audiences), name="token-check")
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        metrics.fetching.inc(state)
        try:
            return await asyncio.shield(task)
        finally:
            metrics.fetching.inc(state, -1)
            metrics.asked(_MISS, self._clock.monotonic() - begin)

    def _ended(self, key: _Key, task: asyncio.Task[TokenIdentity | None]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, even when every request that waited has gone away

    async def _ask(self, key: _Key, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        try:
            identity = await self._inner.authenticate_token(token, audiences)
        except BaseException:
            self._metrics.fetches.inc(_ERROR)
            raise
        self._metrics.fetches.inc(_OK)
        self._entries.pop(key, None)
        if identity is not None and self._ttl > 0:
            if len(self._entries) >= most_entries:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = _Entry(identity, self._clock.monotonic() + self._ttl, identity.expires)
        return identity
