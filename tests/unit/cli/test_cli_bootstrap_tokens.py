"""Bootstrap tokens through the API: what is written, listed, deleted, refused; the authenticator takes them."""

from __future__ import annotations

import base64

import pytest

from minikube_py.bootstrap_tokens import NODE_GROUP, TokenError, create, delete, generate, parse_ttl, tokens
from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.components.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.machinery.resources import CLUSTER_ROLE_BINDINGS, NAMESPACES, SECRETS

TOKEN = "abcdef.0123456789abcdef"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def client(clock: FakeClock) -> FakeClient:
    made = FakeClient(clock)
    await made.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    return made


async def test_created_token_lets_a_node_in(client: FakeClient, clock: FakeClock) -> None:
    assert await create(client, clock, TOKEN, ttl_seconds=600, description="rack 7") == TOKEN
    secret = client.one(SECRETS, "bootstrap-token-abcdef", "kube-system")
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert secret["type"] == "bootstrap.kubernetes.io/token"
    assert data["token-id"] == "abcdef" and data["token-secret"] == "0123456789abcdef"
    assert data["usage-bootstrap-authentication"] == data["usage-bootstrap-signing"] == "true"
    assert data["description"] == "rack 7" and data["auth-extra-groups"] == NODE_GROUP
    authenticator = BootstrapTokens(Lookup(client, SECRETS), ["api"], clock.now)
    identity = await authenticator.authenticate_token(TOKEN, ["api"])
    assert identity is not None and identity.user.name == "system:bootstrap:abcdef"
    assert NODE_GROUP in identity.user.groups
    clock.jump(601)
    assert await authenticator.authenticate_token(TOKEN, ["api"]) is None


async def test_nodes_may_ask_for_their_certificates(client: FakeClient, clock: FakeClock) -> None:
    await create(client, clock)
    await create(client, clock)
    roles = {one["metadata"]["name"]: one["roleRef"]["name"] for one in client.all(CLUSTER_ROLE_BINDINGS)}
    assert roles == {
        "pyk3s:kubelet-bootstrap": "system:node-bootstrapper",
        "pyk3s:node-autoapprove-bootstrap": "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        "pyk3s:node-autoapprove-certificate-rotation": (
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
        ),
        "pyk3s:node-proxier": "system:node-proxier",
        "pyk3s:node-storage": "pyk3s:node-storage",
    }
    other = FakeClient(clock)
    await other.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    await create(other, clock, groups=["system:bootstrappers:mine"])
    assert not other.all(CLUSTER_ROLE_BINDINGS), "another group gets what its administrator gives it"


async def test_list_and_delete(client: FakeClient, clock: FakeClock) -> None:
    await create(client, clock, TOKEN, ttl_seconds=0, usages=["signing"])
    await create(client, clock, "bbbbbb.0123456789abcdef", ttl_seconds=600)
    first, second = await tokens(client)
    assert (first.identifier, first.expires, first.usages, first.groups) == ("abcdef", None, ("signing",), ())
    assert second.expires == pytest.approx(clock.now() + 600, abs=1)
    assert await delete(client, TOKEN) == "abcdef" and await delete(client, "bbbbbb") == "bbbbbb"
    assert await tokens(client) == []
    with pytest.raises(TokenError, match="there is no token with the id abcdef"):
        await delete(client, "abcdef")


@pytest.mark.parametrize(
    ("token", "options", "said"),
    [
        ("short", {}, "does not have the form"),
        ("ABCDEF.0123456789abcdef", {}, "does not have the form"),
        ("", {"usages": ["flying"]}, "unknown usage 'flying'"),
        ("", {"groups": ["system:masters"]}, "must begin with system:bootstrappers:"),
    ],
)
async def test_bad_input(
    client: FakeClient, clock: FakeClock, token: str, options: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(TokenError, match=said):
        await create(client, clock, token, **options)  # type: ignore[arg-type]
    assert not client.all(SECRETS, "kube-system")


async def test_id_is_taken_once(client: FakeClient, clock: FakeClock) -> None:
    await create(client, clock, TOKEN)
    with pytest.raises(TokenError, match="a token with the id abcdef exists"):
        await create(client, clock, TOKEN)
    assert generate() != generate()


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86400), ("1h30m", 5400), ("90s", 90), ("7d", 604800), ("0", 0), ("1.5h", 5400)]
)
def test_ttl(text: str, seconds: float) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["x", "24", "h", "1h x", "-1h"])
def test_bad_ttl(text: str) -> None:
    with pytest.raises(TokenError, match="is not a duration"):
        parse_ttl(text)
