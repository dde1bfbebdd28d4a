"""Tokens in Secrets: made by the controller, accepted while Secret and account live, cleaned when unused."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authentication.legacy_token_controller import (
    TRACKING_CONFIG_MAP,
    clean,
    run_token_cleaner,
    run_token_controller,
)
from minikube_py.components.apiserver.authentication.legacy_tokens import (
    INVALID_SINCE,
    LAST_USED,
    LEGACY_ISSUER,
    LegacyTokens,
    day_of,
)
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import thaw
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.resources import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS
from minikube_py.pki import ensure_pki, load_service_account_tokens

API = ("https://kubernetes.default.svc",)
TYPE = "kubernetes.io/service-account-token"
YEAR = 365 * 86_400


class World:
    """An API in memory, the controller's signer and the authenticator."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.client = FakeClient(self.clock)
        pki = ensure_pki(folder, node_name="n", node_ips=[], service_ip="10.43.0.1", clock=self.clock)
        self.tokens = load_service_account_tokens(pki.service_key, [LEGACY_ISSUER])
        self.others = load_service_account_tokens(pki.service_key, [API[0]])
        self.authenticator = LegacyTokens(
            self.tokens,
            self.client,
            service_accounts=Lookup(self.client, SERVICE_ACCOUNTS),
            secret_lookup=Lookup(self.client, SECRETS),
            api_audiences=API,
            now=self.clock.now,
        )
        self.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "bot", "namespace": "ns"}})
        self.root_ca = Observed("CA")
        self.running: asyncio.Task[None] | None = None

    def secret(self, name: str = "s", account: str = "bot", **fields: Any) -> None:
        annotations = {"kubernetes.io/service-account.name": account}
        meta = {"name": name, "namespace": "ns", "annotations": annotations, **fields.pop("metadata", {})}
        self.client.seed(SECRETS, {"metadata": meta, "type": TYPE, **fields})

    async def control(self) -> None:
        if self.running is None:
            loop = run_token_controller(self.client, self.tokens, self.root_ca, self.clock, lambda: None)
            self.running = asyncio.create_task(loop)
        await self.clock.settle()

    def data(self, name: str = "s") -> dict[str, str]:
        data = self.client.one(SECRETS, name, "ns").get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    async def who(self, token: str) -> Any:
        found = await self.authenticator.authenticate_token(token, API)
        return None if found is None else found.user


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    world = await asyncio.to_thread(World, tmp_path)
    yield world
    await world.authenticator.close()
    if world.running is not None:
        world.running.cancel()
        await asyncio.gather(world.running, return_exceptions=True)


async def test_secrets_are_filled_and_their_tokens_accepted(world: World) -> None:
    world.secret(data={"more": base64.b64encode(b"kept").decode()})
    await world.control()
    data = world.data()
    assert {key: data[key] for key in ("ca.crt", "namespace", "more")} == {
        "ca.crt": "CA", "namespace": "ns", "more": "kept",
    }  # fmt: skip
    secret = world.client.one(SECRETS, "s", "ns")
    account = world.client.one(SERVICE_ACCOUNTS, "bot", "ns")
    uid = account["metadata"]["uid"]
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == uid
    user = await world.who(data["token"])
    assert user.name == "system:serviceaccount:ns:bot"
    assert (user.uid, user.groups) == (
        uid,
        ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
    )


async def test_the_day_of_use_is_written_once_a_day(world: World) -> None:
    world.secret()
    await world.control()
    token = world.data()["token"]
    world.client.actions.clear()
    for _ in range(5):
        await world.who(token)
        await world.clock.settle()
    label = world.client.one(SECRETS, "s", "ns")["metadata"]["labels"][LAST_USED]
    assert label == day_of(world.clock.now())
    assert world.client.written("patch", "secrets") == ["ns/s"]
    await world.clock.advance(86_400)
    await world.who(token)
    await world.clock.settle()
    assert len(world.client.written("patch", "secrets")) == 2


async def test_a_filled_secret_is_left_alone(world: World) -> None:
    world.secret()
    await world.control()
    world.client.actions.clear()
    account = thaw(world.client.one(SERVICE_ACCOUNTS, "bot", "ns"))
    account["metadata"]["labels"] = {"a": "b"}
    await world.client.update(SERVICE_ACCOUNTS, account, "ns")
    await world.clock.settle()
    assert world.client.written("update", "secrets") == []


async def test_a_new_root_ca_reaches_every_secret(world: World) -> None:
    world.secret()
    await world.control()
    token = world.data()["token"]
    world.root_ca.set("CA2")
    await world.clock.settle()
    assert (world.data()["ca.crt"], world.data()["token"]) == ("CA2", token)


async def test_secrets_end_with_their_account(world: World) -> None:
    world.secret()
    await world.control()
    token = world.data()["token"]
    await world.client.delete(SERVICE_ACCOUNTS, "bot", "ns")
    await world.clock.settle()
    assert world.client.all(SECRETS) == []
    with pytest.raises(ApiError):
        await world.who(token)


async def test_secrets_of_accounts_that_are_not_there_go(world: World) -> None:
    world.secret(account="ghost")
    await world.control()
    assert world.client.all(SECRETS) == []


async def test_a_secret_of_a_former_account_of_the_name_goes(world: World) -> None:
    annotations = {
        "kubernetes.io/service-account.name": "bot",
        "kubernetes.io/service-account.uid": "another",
    }
    world.secret(metadata={"annotations": annotations})
    await world.control()
    assert world.client.all(SECRETS) == []


async def test_accounts_stop_listing_secrets_that_are_gone(world: World) -> None:
    world.secret()
    await world.control()
    account = thaw(world.client.one(SERVICE_ACCOUNTS, "bot", "ns"))
    account["secrets"] = [{"name": "s"}]
    await world.client.update(SERVICE_ACCOUNTS, account, "ns")
    await world.client.delete(SECRETS, "s", "ns")
    await world.clock.settle()
    assert world.client.one(SERVICE_ACCOUNTS, "bot", "ns")["secrets"] == []


async def spoiled(world: World, how: str) -> str:
    token = world.data()["token"]
    secret = thaw(world.client.one(SECRETS, "s", "ns"))
    match how:
        case "secret deleted":
            await world.client.delete(SECRETS, "s", "ns")
        case "another token in the secret":
            secret["data"]["token"] = base64.b64encode(b"x").decode()
            await world.client.update(SECRETS, secret, "ns")
        case "token taken out of the secret":
            secret["data"]["token"] = "%%%"
            await world.client.update(SECRETS, secret, "ns")
        case "marked invalid":
            secret["metadata"]["labels"] = {INVALID_SINCE: "2026-01-01"}
            await world.client.update(SECRETS, secret, "ns")
        case "account made anew":
            await world.client.delete(SERVICE_ACCOUNTS, "bot", "ns")
            world.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "bot", "namespace": "ns"}})
        case "truncated":
            return token[:-4]
        case "claims of nothing":
            return world.tokens.sign({"sub": "system:serviceaccount:ns:bot"})
        case "subject of another":
            name = "kubernetes.io/serviceaccount/"
            claims = {f"{name}namespace": "ns", f"{name}secret.name": "s"}
            claims |= {f"{name}service-account.name": "bot", f"{name}service-account.uid": "u"}
            return world.tokens.sign({"sub": "system:serviceaccount:kube-system:admin", **claims})
    return token


@pytest.mark.parametrize(
    "how",
    ["secret deleted", "another token in the secret", "token taken out of the secret", "marked invalid",
     "account made anew", "truncated", "claims of nothing", "subject of another"],
)  # fmt: skip
async def test_tokens_that_are_refused(world: World, how: str) -> None:
    world.secret()
    await world.control()
    assert world.running is not None
    assert await world.who(world.data()["token"])
    world.running.cancel()  # what follows is the authenticator's alone
    token = await spoiled(world, how)
    with pytest.raises(ApiError) as caught:
        await world.who(token)
    assert caught.value.code == 401


async def test_tokens_of_the_other_issuer_are_left_alone(world: World) -> None:
    assert await world.who(world.others.sign({"sub": "x"})) is None


def since(world: World, day: str) -> None:
    meta = {"name": TRACKING_CONFIG_MAP, "namespace": "kube-system"}
    world.client.seed(CONFIG_MAPS, {"metadata": meta, "data": {"since": day}})


@pytest.mark.parametrize(
    ("tracked", "labels", "listed", "mounted", "age", "expected"),
    [
        ("2020-01-01", {}, True, False, 2 * YEAR, "marked"),
        ("2020-01-01", {LAST_USED: "old"}, True, False, 2 * YEAR, "marked"),
        ("2020-01-01", {LAST_USED: "old", INVALID_SINCE: "old"}, True, False, 2 * YEAR, "deleted"),
        ("2020-01-01", {INVALID_SINCE: "today"}, True, False, 2 * YEAR, "kept"),
        ("2020-01-01", {LAST_USED: "today"}, True, False, 2 * YEAR, "kept"),
        ("2020-01-01", {LAST_USED: "nonsense"}, True, False, 2 * YEAR, "kept"),
        ("2020-01-01", {}, False, False, 2 * YEAR, "kept"),
        ("2020-01-01", {}, True, True, 2 * YEAR, "kept"),
        ("2020-01-01", {}, True, False, 86_400, "kept"),
        ("today", {}, True, False, 2 * YEAR, "kept"),
        ("", {}, True, False, 2 * YEAR, "kept"),
    ],
    ids=["never used", "not used for long", "marked a year ago", "marked today", "used today", "unreadable label",
         "made by a user", "mounted", "young", "tracking is young", "tracking is unreadable"],
)  # fmt: skip
async def test_cleaning(world: World, tracked, labels, listed, mounted, age, expected: str) -> None:
    now = world.clock.now()
    days = {"today": day_of(now), "old": day_of(now - YEAR - 3 * 86_400)}
    since(world, days.get(tracked, tracked))
    written = {key: days.get(value, value) for key, value in labels.items()}
    created = f"{day_of(now - age)}T00:00:00Z"
    world.secret(metadata={"labels": written, "creationTimestamp": created})
    account = thaw(world.client.one(SERVICE_ACCOUNTS, "bot", "ns"))
    account["secrets"] = [{"name": "s"}] if listed else []
    await world.client.update(SERVICE_ACCOUNTS, account, "ns")
    if mounted:
        volumes = [{"name": "v", "secret": {"secretName": "s"}}]
        world.client.seed(PODS, {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"volumes": volumes}})
    await clean(world.client, now)
    left = world.client.all(SECRETS)
    if expected == "deleted":
        assert left == []
        return
    marked = left[0]["metadata"].get("labels", {}).get(INVALID_SINCE)
    assert marked == (days["today"] if expected == "marked" else written.get(INVALID_SINCE))


async def test_the_cleaner_notes_when_tracking_began_and_runs_daily(world: World) -> None:
    running = asyncio.create_task(run_token_cleaner(world.client, world.client, world.clock, lambda: None))
    await world.clock.settle()
    noted = world.client.one(CONFIG_MAPS, TRACKING_CONFIG_MAP, "kube-system")
    assert noted["data"] == {"since": day_of(world.clock.now())}
    world.secret()
    account = thaw(world.client.one(SERVICE_ACCOUNTS, "bot", "ns"))
    account["secrets"] = [{"name": "s"}]
    await world.client.update(SERVICE_ACCOUNTS, account, "ns")
    await world.clock.advance(YEAR + 3 * 86_400)
    assert INVALID_SINCE in world.client.one(SECRETS, "s", "ns")["metadata"]["labels"]
    await world.clock.advance(YEAR + 3 * 86_400)
    assert world.client.all(SECRETS) == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
