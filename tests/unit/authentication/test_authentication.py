"""Who a request comes from: certificates, front proxies, static, service account and bootstrap tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authentication.service_accounts import clock_leeway_seconds
from minikube_py.components.apiserver.authentication.static_tokens import read_token_file
from minikube_py.components.apiserver.security import SecurityBundle, SecuritySettings, build_security
from minikube_py.components.apiserver.types import (
    ANONYMOUS,
    Credentials,
    RequestContext,
    UserInfo,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, TOKEN_REVIEWS
from minikube_py.machinery.times import rfc3339
from minikube_py.pki import Pki, ensure_pki
from minikube_py.pki.certificates import load_certificates
from minikube_py.pki.layout import KeyPair

ISSUER = "https://kubernetes.default.svc"
ADMIN = RequestContext(UserInfo("admin", ("system:masters",)))
SA_KIND = Kind(SERVICE_ACCOUNTS, "serviceaccount", "io.k8s.api.core.v1.ServiceAccount")
REVIEW_KIND = Kind(TOKEN_REVIEWS, "tokenreview", "io.k8s.api.authentication.v1.TokenReview")


class World:
    """A PKI, an API in memory and the security around it."""

    def __init__(self, directory: Path, *, extend: bool = True) -> None:
        self.clock = FakeClock()
        self.client = FakeClient(self.clock)
        self.pki: Pki = ensure_pki(directory, node_name="n", node_ips=[], service_ip="10.43.0.1", clock=self.clock)
        tokens = directory / "tokens.csv"
        tokens.write_text('tok,admin,1,"system:masters"\nlimited,limited-user,3,"a,b"\n')
        settings = SecuritySettings(token_auth_file=str(tokens), service_account_extend_token_expiration=extend)
        self.security: SecurityBundle = build_security(self.client, self.pki, settings, self.clock)
        self.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "bot", "namespace": "ns"}})
        self.client.seed(
            PODS,
            {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"serviceAccountName": "bot", "nodeName": "n1"}},
        )
        self.client.seed(SECRETS, {"metadata": {"name": "s", "namespace": "ns"}})
        self.client.seed(NODES, {"metadata": {"name": "n1"}})

    async def who(self, token: str = "", pair: KeyPair | None = None, headers: dict[str, str] | None = None):
        der = b""
        if pair is not None:
            from cryptography.hazmat.primitives.serialization import Encoding

            der = load_certificates(pair.certificate.read_bytes())[0].public_bytes(Encoding.DER)
        return await self.security.authenticator.authenticate(Credentials(token, der, headers or {}))

    async def token(self, **spec) -> dict:
        handler = self.security.virtual_handlers["", "serviceaccounts", "token"]
        answer = await handler.create(ADMIN, SA_KIND, "ns", "bot", {"metadata": {}, "spec": spec})
        assert answer["kind"] == "TokenRequest"
        return answer

    def bound(self, kind: str, name: str) -> dict[str, str]:
        return {"apiVersion": "v1", "kind": kind, "name": name}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def refused(awaitable) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await awaitable
    return caught.value


async def test_no_credentials_are_anonymous(world: World) -> None:
    assert await world.who() == ANONYMOUS


async def test_static_tokens(world: World) -> None:
    user = await world.who("limited")
    assert (user.name, user.uid, user.groups) == ("limited-user", "3", ("a", "b", "system:authenticated"))
    assert (await refused(world.who("nothing"))).code == 401


async def test_client_certificate(world: World) -> None:
    user = await world.who(pair=world.pki.client_admin)
    assert (user.name, user.groups) == ("system:admin", ("system:masters", "system:authenticated"))


async def test_expired_certificate_is_refused(world: World) -> None:
    world.clock.jump(366 * 86400)
    assert (await refused(world.who(pair=world.pki.client_admin))).code == 401


async def test_certificate_of_another_ca_is_refused(world: World, tmp_path: Path) -> None:
    other = await asyncio.to_thread(
        ensure_pki, tmp_path / "x", node_name="n", node_ips=[], service_ip="10.43.0.1", clock=world.clock
    )
    assert (await refused(world.who(pair=other.client_admin))).code == 401


async def test_serving_certificate_is_no_identity(world: World) -> None:
    assert (await refused(world.who(pair=world.pki.serving_kubelet))).code == 401


HEADERS = {"X-Remote-User": "joe", "X-Remote-Group": "devs", "X-Remote-Extra-A%2fb": "c"}


async def test_front_proxy_names_the_user(world: World) -> None:
    user = await world.who(pair=world.pki.client_auth_proxy, headers=HEADERS)
    assert user == UserInfo("joe", ("devs", "system:authenticated"), "", {"a/b": ("c",)})


@pytest.mark.parametrize("pair", ["client_admin", "client_kubelet"])
async def test_remote_headers_of_ordinary_clients_are_ignored(world: World, pair: str) -> None:
    user = await world.who(pair=getattr(world.pki, pair), headers=HEADERS)
    assert user.name != "joe"


async def test_remote_headers_without_certificate_are_ignored(world: World) -> None:
    assert await world.who(headers=HEADERS) == ANONYMOUS


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Remote-User": ""},
        {"X_Remote_User": "joe"},
        {"X-Remote-Group": "system:masters"},
        {"Remote-User": "joe"},
    ],
    ids=["none", "empty name", "underscores", "group alone", "other name"],
)
async def test_a_front_proxy_that_names_nobody_is_refused(world: World, headers: dict[str, str]) -> None:
    assert (await refused(world.who(pair=world.pki.client_auth_proxy, headers=headers))).code == 401


async def test_only_listed_proxies_may_name_users(tmp_path: Path) -> None:
    world = await asyncio.to_thread(World, tmp_path)
    settings = SecuritySettings(requestheader_allowed_names=("other-proxy",))
    world.security = await asyncio.to_thread(build_security, world.client, world.pki, settings, world.clock)
    assert (await refused(world.who(pair=world.pki.client_auth_proxy, headers=HEADERS))).code == 401


async def test_a_token_counts_beside_a_foreign_certificate(world: World) -> None:
    user = await world.who("limited", pair=world.pki.serving_kubelet, headers=HEADERS)
    assert user.name == "limited-user"


async def test_service_account_token(world: World) -> None:
    token = (await world.token(boundObjectRef=world.bound("Pod", "p")))["status"]["token"]
    user = await world.who(token)
    assert user.name == "system:serviceaccount:ns:bot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


@pytest.mark.parametrize("expires", [3600, 600])
async def test_token_expires(world: World, expires: int) -> None:
    answer = await world.token(expirationSeconds=expires)
    assert answer["status"]["expirationTimestamp"] == rfc3339(world.clock.now() + expires)
    token = answer["status"]["token"]
    world.clock.jump(expires + clock_leeway_seconds)
    assert await world.who(token)
    world.clock.jump(1)
    assert (await refused(world.who(token))).code == 401


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        pytest.param({}, True, id="as it was signed"),
        pytest.param({"nbf": 61}, False, id="begins later"),
        pytest.param({"nbf": 59}, True, id="begins later by another server's clock"),
        pytest.param({"iat": 61}, False, id="signed later"),
        pytest.param({"exp": -61}, False, id="ended"),
        pytest.param({"exp": "9999999999"}, False, id="ends at a text"),
        pytest.param({"exp": True}, False, id="ends at a truth"),
        pytest.param({"exp": 10**400}, False, id="ends at no time"),
        pytest.param({"exp": float("inf")}, False, id="ends never"),
        pytest.param({"exp": float("nan")}, False, id="ends at no number"),
    ],
)
async def test_times_of_a_token_are_numbers_near_this_clock(world: World, claims: dict[str, Any], good: bool) -> None:
    """Even with a good signature: what another server of the cluster, or another program with its key, has signed."""
    tokens = world.security.service_account_tokens
    answer = await world.token(expirationSeconds=3600)
    signed = tokens.verify(answer["status"]["token"])
    assert signed is not None
    now = world.clock.now()
    moved = {
        name: now + value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1000 else value
        for name, value in claims.items()
    }
    token = tokens.sign({**signed, **moved})
    if good:
        assert await world.who(token)
    else:
        assert (await refused(world.who(token))).code == 401


@pytest.mark.parametrize("kid", [["a"], {"a": 1}, 7, None, ""])
async def test_a_key_id_that_is_no_text_is_no_error_of_the_server(world: World, kid: object) -> None:
    token = (await world.token(expirationSeconds=3600))["status"]["token"]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": kid}).encode()).decode().rstrip("=")
    assert (await refused(world.who(f"{header}.{token.partition('.')[2]}"))).code == 401


@pytest.fixture
def strict(tmp_path: Path) -> World:
    return World(tmp_path, extend=False)


async def test_extension_can_be_switched_off(strict: World) -> None:
    world = strict
    answer = await world.token(expirationSeconds=3607, boundObjectRef=world.bound("Pod", "p"))
    world.clock.jump(3608 + clock_leeway_seconds)
    assert (await refused(world.who(answer["status"]["token"]))).code == 401


async def test_kubelet_lifetime_is_extended(world: World) -> None:
    token = (await world.token(expirationSeconds=3607, boundObjectRef=world.bound("Pod", "p")))["status"]["token"]
    world.clock.jump(30 * 86400)
    assert await world.who(token)


@pytest.mark.parametrize(
    ("kind", "resource", "name", "namespace"),
    [("Pod", PODS, "p", "ns"), ("Secret", SECRETS, "s", "ns"), ("Node", NODES, "n1", None)],
)
async def test_token_ends_with_what_it_is_bound_to(world: World, kind, resource, name, namespace) -> None:
    token = (await world.token(boundObjectRef=world.bound(kind, name)))["status"]["token"]
    assert await world.who(token)
    stored = await world.client.get(resource, name, namespace)
    await world.client.delete(resource, name, namespace)
    world.clock.jump(120)
    try:
        await world.client.get(resource, name, namespace)
    except ApiError:
        world.client.seed(resource, {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}})
    assert (await refused(world.who(token))).code == 401, stored


async def test_token_ends_with_its_account_even_when_it_is_made_anew(world: World) -> None:
    token = (await world.token())["status"]["token"]
    assert await world.who(token)
    await world.client.delete(SERVICE_ACCOUNTS, "bot", "ns")
    assert (await refused(world.who(token))).code == 401
    world.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "bot", "namespace": "ns"}})
    assert (await refused(world.who(token))).code == 401


async def test_reviews_say_why_a_token_is_refused(world: World) -> None:
    token = (await world.token(expirationSeconds=600, boundObjectRef=world.bound("Pod", "p")))["status"]["token"]
    handler = world.security.virtual_handlers["authentication.k8s.io", "tokenreviews", ""]

    async def why() -> str:
        answer = await handler.create(ADMIN, REVIEW_KIND, "", "", {"metadata": {}, "spec": {"token": token}})
        return answer["status"].get("error", "")

    assert await why() == ""
    await world.client.delete(PODS, "p", "ns")
    world.clock.jump(120)
    assert await why() == "[invalid bearer token, service account token has been invalidated]"
    await world.client.delete(SERVICE_ACCOUNTS, "bot", "ns")
    assert await why() == '[invalid bearer token, serviceaccounts "bot" not found]'
    world.clock.jump(600)
    assert await why() == "[invalid bearer token, service account token has expired]"


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        ({"kind": "ConfigMap", "apiVersion": "v1"}, 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        ({"kind": "Pod", "apiVersion": "x/v1"}, 400, "cannot bind token to object of type x/v1, Kind=Pod"),
        ({"kind": "Pod", "apiVersion": "a/b/c", "name": "none"}, 404, 'pods "none" not found'),
        ({"name": "x"}, 400, "cannot bind token to object of type /, Kind="),
        ({"kind": "Secret", "apiVersion": "v1", "name": "none"}, 404, 'secrets "none" not found'),
        (
            {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "other"},
            409,
            'Operation cannot be fulfilled on Secret "s": the UID in the bound object reference (other) does not match '
            "the UID in record. The object might have been deleted and then recreated",
        ),
    ],
)
async def test_what_tokens_are_bound_to(world: World, reference: dict, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        await world.token(boundObjectRef=reference)
    assert (caught.value.code, caught.value.message) == (code, message)


async def test_token_for_another_audience_is_refused_and_reviewed(world: World) -> None:
    token = (await world.token(audiences=["vault"]))["status"]["token"]
    assert (await refused(world.who(token))).code == 401
    handler = world.security.virtual_handlers["authentication.k8s.io", "tokenreviews", ""]
    body = {"metadata": {}, "spec": {"token": token, "audiences": ["x", "vault"]}}
    status = (await handler.create(ADMIN, REVIEW_KIND, "", "", body))["status"]
    assert (status["authenticated"], status["audiences"]) == (True, ["vault"])
    body = {"metadata": {}, "spec": {"token": token}}
    status = (await handler.create(ADMIN, REVIEW_KIND, "", "", body))["status"]
    assert status == {
        "user": {},
        "error": '[invalid bearer token, token audiences ["vault"] is invalid for the target audiences '
        '["https://kubernetes.default.svc"]]',
    }


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"expirationSeconds": 60}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 8589934592}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "gone"}}, 404, 'pods "gone" not found'),
        (
            {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
            400,
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
        (
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "other"}},
            409,
            "The object might have been deleted and then recreated",
        ),
    ],
    ids=["too short", "too long", "no such pod", "kind that cannot bind", "wrong uid"],
)
async def test_token_requests_that_are_refused(world: World, spec: dict, code: int, text: str) -> None:
    error = await refused(world.token(**spec))
    assert error.code == code
    assert text in error.message


async def test_a_request_for_another_account_of_the_name_is_a_conflict(world: World) -> None:
    uid = world.client.one(SERVICE_ACCOUNTS, "bot", "ns")["metadata"]["uid"]
    handler = world.security.virtual_handlers["", "serviceaccounts", "token"]
    assert await handler.create(ADMIN, SA_KIND, "ns", "bot", {"metadata": {"uid": uid}, "spec": {}})
    error = await refused(handler.create(ADMIN, SA_KIND, "ns", "bot", {"metadata": {"uid": "other"}, "spec": {}}))
    assert error.code == 409
    assert error.message == (
        'Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "bot": the UID in the token request '
        f"(other) does not match the UID of the service account ({uid})"
    )


def bootstrap_secret(**changes: str) -> dict:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:nodes",
        **changes,
    }
    return {
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


async def test_bootstrap_token(world: World) -> None:
    world.client.seed(SECRETS, bootstrap_secret())
    user = await world.who("abcdef.0123456789abcdef")
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups == ("system:bootstrappers", "system:bootstrappers:nodes", "system:authenticated")


@pytest.mark.parametrize(
    "changes",
    [
        {"token-secret": "fedcba9876543210"},
        {"usage-bootstrap-authentication": "false"},
        {"expiration": "2001-01-01T00:00:00Z"},
        {"expiration": "soon"},
        {"auth-extra-groups": "system:masters"},
    ],
    ids=["wrong secret", "not for authentication", "expired", "unreadable expiry", "group outside"],
)
async def test_bootstrap_tokens_that_are_refused(world: World, changes: dict[str, str]) -> None:
    world.client.seed(SECRETS, bootstrap_secret(**changes))
    assert (await refused(world.who("abcdef.0123456789abcdef"))).code == 401


@pytest.mark.parametrize("line", ["only,two", ",user,uid"])
def test_bad_token_files_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"# comment\n{line}\n")
    with pytest.raises(ValueError, match=r"t\.csv:2"):
        read_token_file(path)
