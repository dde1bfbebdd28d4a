"""Bootstrap tokens end in time, and cluster-info is signed by those that may."""

from __future__ import annotations

import base64
import hashlib
import hmac

import orjson
import pytest
import yaml
from controllers_world import World

from minikube_py.bootstrap_tokens import create
from minikube_py.components.controllers.bootstrap.signing import (
    BootstrapSigner,
    cluster_kubeconfig,
    detached_signature,
)
from minikube_py.components.controllers.bootstrap.token_cleaning import TokenCleaner
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.settings import ControllerSettings
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.resources import CONFIG_MAPS, NAMESPACES, SECRETS

URL = "https://192.0.2.10:6443"


@pytest.fixture
async def authority(world: World) -> Observed[str]:
    value = Observed("OLD CA")
    settings = ControllerSettings(root_ca=value, api_url=URL)
    world.kit = Kit(world.client, world.clock, world.recorder, settings, world.kit.resources)
    for name in ("kube-system", "kube-public"):
        await world.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return value


def secrets(world: World) -> list[str]:
    return [secret["metadata"]["name"] for secret in world.client.all(SECRETS, "kube-system")]


def info(world: World) -> Object:
    found = world.client.all(CONFIG_MAPS, "kube-public")
    return found[0]["data"] if found else {}


def signature_is_good(data: Object, token: str) -> bool:
    """What a joining node does: check the detached JWS with the secret of its token."""
    identifier, password = token.split(".")
    header, nothing, signature = data[f"jws-kubeconfig-{identifier}"].split(".")
    assert nothing == ""
    assert orjson.loads(decoded(header)) == {"alg": "HS256", "kid": identifier}
    body = base64.urlsafe_b64encode(data["kubeconfig"].encode()).rstrip(b"=").decode()
    wanted = hmac.digest(password.encode(), f"{header}.{body}".encode(), hashlib.sha256)
    return hmac.compare_digest(decoded(signature), wanted)


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_signature_of_kubernetes_own_test() -> None:
    content = "Hello from the other side. I must have called a thousand times."
    wanted = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
    assert detached_signature(content, "joshua", "my voice is my passcode") == wanted


def test_cluster_kubeconfig_is_a_kubeconfig_without_user() -> None:
    content = yaml.safe_load(cluster_kubeconfig(URL, "PEM"))
    cluster = content["clusters"][0]["cluster"]
    assert cluster["server"] == URL and base64.b64decode(cluster["certificate-authority-data"]) == b"PEM"
    assert not content["users"] and content["kind"] == "Config"


async def test_tokens_end_in_time(world: World, authority: Observed[str]) -> None:
    world.start(TokenCleaner)
    await create(world.client, world.clock, "aaaaaa.0123456789abcdef", ttl_seconds=600)
    await create(world.client, world.clock, "bbbbbb.0123456789abcdef", ttl_seconds=0)
    await world.settle(595)
    assert secrets(world) == ["bootstrap-token-aaaaaa", "bootstrap-token-bbbbbb"]
    await world.settle(10)
    assert secrets(world) == ["bootstrap-token-bbbbbb"]


async def test_unreadable_end_counts_as_come(world: World, authority: Observed[str]) -> None:
    await create(world.client, world.clock, "aaaaaa.0123456789abcdef")
    draft = thaw(world.client.one(SECRETS, "bootstrap-token-aaaaaa", "kube-system"))
    draft["data"]["expiration"] = base64.b64encode(b"tomorrow").decode()
    await world.client.update(SECRETS, draft)
    world.start(TokenCleaner)
    await world.settle()
    assert not secrets(world)


async def test_cluster_info_lives_with_the_tokens(world: World, authority: Observed[str]) -> None:
    world.start(BootstrapSigner)
    await world.settle()
    assert info(world) == {}, "nothing is published until there is a token to sign it"
    first = await create(world.client, world.clock, ttl_seconds=600)
    second = await create(world.client, world.clock, ttl_seconds=6000)
    silent = await create(world.client, world.clock, usages=["authentication"])
    await world.settle()
    data = info(world)
    assert signature_is_good(data, first) and signature_is_good(data, second)
    assert f"jws-kubeconfig-{silent[:6]}" not in data
    await world.settle(700)
    assert set(info(world)) == {"kubeconfig", f"jws-kubeconfig-{second[:6]}"}
    await world.client.delete(SECRETS, f"bootstrap-token-{second[:6]}", "kube-system")
    await world.settle()
    assert set(info(world)) == {"kubeconfig"}


async def test_cluster_info_follows_the_ca(world: World, authority: Observed[str]) -> None:
    world.start(BootstrapSigner)
    token = await create(world.client, world.clock)
    await world.settle()
    authority.set("NEW CA")
    await world.settle()
    assert base64.b64encode(b"NEW CA").decode() in info(world)["kubeconfig"]
    assert signature_is_good(info(world), token)


async def test_somebody_elses_cluster_info_is_only_signed(world: World, authority: Observed[str]) -> None:
    body: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cluster-info"},
        "data": {"kubeconfig": "mine", "note": "kept", "jws-kubeconfig-gone00": "x"},
    }
    await world.client.create(CONFIG_MAPS, body, "kube-public")
    token = await create(world.client, world.clock)
    world.start(BootstrapSigner)
    await world.settle()
    data = info(world)
    assert data["kubeconfig"] == "mine" and data["note"] == "kept" and "jws-kubeconfig-gone00" not in data
    assert signature_is_good(data, token)
