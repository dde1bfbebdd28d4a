"""What authentication counts: certificates, service account tokens, the cache of checked tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from test_authentication import World

from minikube_py.client.testing import FakeClock
from minikube_py.components.apiserver.authentication.identity import TokenIdentity
from minikube_py.components.apiserver.authentication.token_cache import CachedTokens
from minikube_py.components.apiserver.metrics.composition import ApiServerMetrics
from minikube_py.components.apiserver.metrics.identity import IdentityMetrics, TokenMetrics
from minikube_py.components.apiserver.security import SecuritySettings, build_security
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import ApiError, unauthorized

DAY = 86400


async def test_certificates_and_service_account_tokens(tmp_path: Path) -> None:
    world, metrics = await asyncio.to_thread(World, tmp_path), ApiServerMetrics()
    world.security = await asyncio.to_thread(
        build_security, world.client, world.pki, SecuritySettings(), world.clock, metrics=metrics
    )
    await world.who(pair=world.pki.client_admin)
    left = metrics.identity.certificates
    assert sum(left.counts) == 1
    assert 364 * DAY < left.total <= 365 * DAY
    answer = await world.token(expirationSeconds=3607, boundObjectRef=world.bound("Pod", "p"))
    token = answer["status"]["token"]
    await world.who(token)
    assert (metrics.tokens.valid.values[()], metrics.tokens.stale.values[()]) == (1, 0)
    world.clock.jump(2 * 3600)
    await world.who(token)
    assert (metrics.tokens.valid.values[()], metrics.tokens.stale.values[()]) == (1, 1)


class Checker:
    """Knows one token, and waits until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def authenticate_token(self, token: str, audiences: object) -> TokenIdentity | None:
        await self.go.wait()
        if token == "bad":
            raise unauthorized()
        return TokenIdentity(UserInfo("joe"), (), expires=1e18)


async def test_the_cache_of_tokens() -> None:
    clock, metrics, checker = FakeClock(), TokenMetrics(), Checker()
    cached = CachedTokens(checker, clock, clock.now, metrics=metrics)
    asked = [asyncio.ensure_future(cached.authenticate_token("good", ())) for _ in range(3)]
    await clock.settle()
    assert metrics.fetching.values == {("in_flight",): 1, ("blocked",): 2}
    checker.go.set()
    await asyncio.gather(*asked)
    await cached.authenticate_token("good", ())
    with pytest.raises(ApiError):
        await cached.authenticate_token("bad", ())
    assert metrics.fetching.values == {("in_flight",): 0, ("blocked",): 0}
    assert metrics.requests.values == {("miss",): 4, ("hit",): 1}
    assert metrics.fetches.values == {("ok",): 1, ("error",): 1}
    assert sum(metrics.request_seconds.values["miss",].counts) == 4


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("admin", "admin"),
        ("system:serviceaccount:kube-system:default", "system:serviceaccount:kube-system:default"),
        ("joe@example.com", "email_id"),
        ("joe", "other"),
    ],
)
def test_names_of_users_are_folded(name: str, shown: str) -> None:
    metrics = IdentityMetrics()
    metrics.known(name)
    assert metrics.users == {shown: 1}
