"""ID tokens: which are accepted, what they become, and when the issuer is asked for its keys."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authentication.configuration import (
    AuthenticationConfiguration,
    OidcFlags,
    configuration_from_flags,
    read_authentication_configuration,
)
from minikube_py.components.apiserver.authentication.id_tokens import TokenRefused, check_claims
from minikube_py.components.apiserver.authentication.issuer_keys import KeysUnavailable, read_keys
from minikube_py.components.apiserver.authentication.oidc import OidcAuthenticator
from minikube_py.components.apiserver.authentication.structured import StructuredAuthentication
from minikube_py.components.apiserver.authentication.token_cache import CachedTokens
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import ApiError

ISSUER = "https://issuer.example"
API = ("https://kubernetes.default.svc",)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str, **fields: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **fields}


class Idp:
    """An issuer: its documents, and how often they were asked for."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.keys: list[dict[str, Any]] = [jwk(RSA_KEY, "one"), jwk(EC_KEY, "two")]
        self.issuer = ISSUER
        self.down = False
        self.asked: list[str] = []
        self.claims: dict[str, str] = {}
        """Tokens of distributed claims by URL."""

    async def fetch(self, url: str, token: str = "") -> bytes:
        self.asked.append(url)
        await asyncio.sleep(0)
        if url in self.claims:
            assert token == "key to the groups"
            return self.claims[url].encode()
        if self.down:
            raise KeysUnavailable("down")
        if url.endswith("/keys"):
            return json.dumps({"keys": self.keys}).encode()
        return json.dumps({"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"}).encode()

    def token(self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
        body = {"iss": ISSUER, "aud": "k8s", "sub": "joe", "exp": self.clock.now() + 600, **claims}
        headers = {"kid": kid} if kid is not None else {}
        return jwt.encode({name: value for name, value in body.items() if value is not None}, key, algorithm, headers)


@pytest.fixture
def idp() -> Idp:
    return Idp(FakeClock())


def authenticator(idp: Idp, configuration: AuthenticationConfiguration) -> OidcAuthenticator:
    (entry,) = configuration.jwt
    return OidcAuthenticator(entry, idp.fetch, API, idp.clock, idp.clock.now)


FLAGS = configuration_from_flags(OidcFlags(issuer_url=ISSUER, client_id="k8s", groups_claim="groups"))


def written(tmp_path: Path, *entries: dict[str, Any], **more: Any) -> Path:
    path = tmp_path / "authentication.yaml"
    version = "apiserver.config.k8s.io/v1"
    body = {"apiVersion": version, "kind": "AuthenticationConfiguration", "jwt": list(entries), **more}
    path.write_text(yaml.safe_dump(body))
    return path


def entry(**fields: Any) -> dict[str, Any]:
    base = {
        "issuer": {"url": ISSUER, "audiences": ["k8s"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    }
    return {**base, **fields}


async def configured(tmp_path: Path, **fields: Any) -> AuthenticationConfiguration:
    return await asyncio.to_thread(read_authentication_configuration, written(tmp_path, entry(**fields)))


async def test_flags_give_name_and_groups(idp: Idp) -> None:
    found = await authenticator(idp, FLAGS).authenticate_token(idp.token(groups=["a", "b"]), API)
    assert found is not None
    assert found.user == UserInfo(f"{ISSUER}#joe", ("a", "b", "system:authenticated"))
    assert found.audiences == API
    assert idp.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"groups": "admins"}, ("admins", "system:authenticated")),
        ({"groups": None}, ("system:authenticated",)),
        ({"aud": ["x", "k8s"]}, ("system:authenticated",)),
        ({"nbf": 1_800_000_030}, ("system:authenticated",)),
    ],
    ids=["one group as a string", "no groups", "one of several audiences", "not-before within the leeway"],
)
async def test_tokens_that_are_accepted(idp: Idp, claims: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = await authenticator(idp, FLAGS).authenticate_token(idp.token(**claims), API)
    assert found is not None
    assert found.user.groups == expected


def unsigned(idp: Idp) -> str:
    return idp.token(key="", algorithm="none")


def confused(idp: Idp) -> str:
    """HS256 with the text of the public RSA key as the secret."""
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    body = idp.token().split(".")[1].encode()
    import hashlib
    import hmac

    signature = hmac.new(pem, header + b"." + body, hashlib.sha256).digest()
    return b".".join((header, body, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def other_body(idp: Idp) -> str:
    head, _, signature = idp.token().split(".")
    return ".".join((head, idp.token(sub="root").split(".")[1], signature))


BAD: dict[str, Callable[[Idp], str]] = {
    "expired": lambda idp: idp.token(exp=idp.clock.now() - 1),
    "expires this second": lambda idp: idp.token(exp=idp.clock.now()),
    "without expiry": lambda idp: idp.token(exp=None),
    "expiry is no number": lambda idp: idp.token(exp="soon"),
    "not yet valid": lambda idp: idp.token(nbf=idp.clock.now() + 120),
    "wrong audience": lambda idp: idp.token(aud="other"),
    "no audience": lambda idp: idp.token(aud=None),
    "audience of another type": lambda idp: idp.token(aud=["x"]),
    "no name": lambda idp: idp.token(sub=None),
    "empty name": lambda idp: idp.token(sub=""),
    "groups are numbers": lambda idp: idp.token(groups=[1]),
    "unsigned": unsigned,
    "HMAC with the public key": confused,
    "algorithm that is not configured": lambda idp: idp.token(EC_KEY, "ES256", "two"),
    "body of another token": other_body,
    "key of nobody": lambda idp: idp.token(OTHER_KEY),
    "unknown key id": lambda idp: idp.token(kid="nine"),
    "key id with a path": lambda idp: idp.token(OTHER_KEY, kid="../../../dev/null"),
    "key id of the other key": lambda idp: idp.token(kid="two"),
    "truncated": lambda idp: idp.token()[:-10],
    "empty signature": lambda idp: idp.token().rpartition(".")[0] + ".",
}


@pytest.mark.parametrize("name", BAD)
async def test_tokens_that_are_refused(idp: Idp, name: str) -> None:
    with pytest.raises(ApiError) as caught:
        await authenticator(idp, FLAGS).authenticate_token(BAD[name](idp), API)
    assert (caught.value.code, caught.value.message) == (401, "Unauthorized")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "..",
        "." * 5,
        "\udcff.\udcff.\udcff",
        jwt.encode({"iss": "https://other", "exp": 9e9}, RSA_KEY, "RS256"),
        jwt.encode({"sub": "joe"}, RSA_KEY, "RS256"),
        jwt.encode({"iss": ISSUER, "exp": float("nan")}, RSA_KEY, "RS256"),
        jwt.encode({"iss": ISSUER, "exp": float("inf")}, RSA_KEY, "RS256"),
        "A" * 70_000 + ".e30.x",
    ],
    ids=[
        "word",
        "no base64",
        "dots",
        "more dots",
        "surrogates",
        "other issuer",
        "no issuer",
        "no number",
        "infinite",
        "huge",
    ],
)
async def test_tokens_of_others_are_left_to_them(idp: Idp, token: str) -> None:
    assert await authenticator(idp, FLAGS).authenticate_token(token, API) is None
    assert idp.asked == []


async def test_tokens_for_another_audience_of_the_api_are_not_ours(idp: Idp) -> None:
    assert await authenticator(idp, FLAGS).authenticate_token(idp.token(), ("vault",)) is None


def referring(url: Any = f"{ISSUER}/groups") -> dict[str, Any]:
    source = {"endpoint": url, "access_token": "key to the groups"}
    return {"_claim_names": {"groups": "src"}, "_claim_sources": {"src": source}}


async def test_groups_from_where_the_token_says(idp: Idp) -> None:
    idp.claims[f"{ISSUER}/groups"] = idp.token(groups=["far"], sub=None)
    oidc = authenticator(idp, FLAGS)
    found = await oidc.authenticate_token(idp.token(**referring()), API)
    assert found is not None
    assert found.user.groups == ("far", "system:authenticated")
    idp.asked.clear()
    found = await oidc.authenticate_token(idp.token(groups=["near"], **referring()), API)
    assert found is not None
    assert found.user.groups == ("near", "system:authenticated")
    assert idp.asked == [], "a claim that is there is not asked for"
    await oidc.close()


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        (referring(), "not a token"),
        (referring(), "expired"),
        (referring(), "forged"),
        (referring(), "no groups"),
        (referring(), "for others"),
        (referring("http://plain.example"), ""),
        (referring(7), ""),
        ({**referring(), "_claim_sources": {}}, ""),
        ({**referring(), "_claim_sources": None}, ""),
        (referring("https://nowhere.example/x"), ""),
    ],
    ids=["no token", "expired", "forged", "without the claim", "other audience", "plain text", "no URL",
         "no such source", "no sources", "unknown endpoint"],
)  # fmt: skip
async def test_distributed_claims_that_are_refused(idp: Idp, claims: dict[str, Any], answer: str) -> None:
    answers = {
        "expired": idp.token(groups=["x"], exp=idp.clock.now() - 1),
        "forged": idp.token(OTHER_KEY, groups=["x"]),
        "no groups": idp.token(),
        "for others": idp.token(groups=["x"], aud="other"),
    }
    if answer:
        idp.claims[f"{ISSUER}/groups"] = answers.get(answer, answer)
    with pytest.raises(ApiError) as caught:
        await authenticator(idp, FLAGS).authenticate_token(idp.token(**claims), API)
    assert caught.value.code == 401


async def test_a_new_key_is_fetched_once_and_forgers_cannot_flood(idp: Idp) -> None:
    oidc = authenticator(idp, FLAGS)
    assert await oidc.authenticate_token(idp.token(), API)
    idp.asked.clear()
    idp.clock.jump(6)
    idp.keys.append(jwk(OTHER_KEY, "three"))
    fresh = idp.token(OTHER_KEY, kid="three")
    found = await asyncio.gather(*(oidc.authenticate_token(fresh, API) for _ in range(20)))
    assert all(found)
    assert len(idp.asked) == 2, "discovery and keys, once for all"
    for _ in range(50):
        with pytest.raises(ApiError):
            await oidc.authenticate_token(idp.token(OTHER_KEY, kid="forged"), API)
    assert len(idp.asked) == 2


async def test_withdrawn_keys_end_within_the_hour(idp: Idp) -> None:
    oidc = authenticator(idp, FLAGS)
    assert await oidc.authenticate_token(idp.token(), API)
    idp.keys = [jwk(OTHER_KEY, "three")]
    idp.clock.jump(3601)
    await oidc.authenticate_token(idp.token(), API)  # starts the refresh, answers from what is known
    await idp.clock.settle()
    with pytest.raises(ApiError):
        await oidc.authenticate_token(idp.token(), API)


@pytest.mark.parametrize("trouble", ["down", "issuer"])
async def test_an_issuer_that_cannot_be_used_refuses_until_it_can(idp: Idp, trouble: str) -> None:
    setattr(idp, trouble, True if trouble == "down" else "https://evil.example")
    oidc = authenticator(idp, FLAGS)
    for _ in range(3):
        with pytest.raises(ApiError):
            await oidc.authenticate_token(idp.token(), API)
    assert len(idp.asked) == 1, "asked again only after a pause"
    idp.down, idp.issuer = False, ISSUER
    idp.clock.jump(6)
    assert await oidc.authenticate_token(idp.token(), API)


async def test_a_request_that_goes_away_does_not_end_the_fetch(idp: Idp) -> None:
    oidc = authenticator(idp, FLAGS)
    first = asyncio.create_task(oidc.authenticate_token(idp.token(), API))
    second = asyncio.create_task(oidc.authenticate_token(idp.token(), API))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ([{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}], 0),
        ([jwk(RSA_KEY, "x", use="enc")], 0),
        ([{"kty": "RSA", "n": "!!", "e": "AQAB"}], 0),
        ([{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}], 0),
        (["text", None, 7], 0),
        ([jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "weak")], 0),
        ([jwk(RSA_KEY, "x"), jwk(EC_KEY, "y")], 2),
    ],
    ids=["symmetric", "for encryption", "unreadable", "unknown family", "no objects", "weak", "good"],
)
def test_only_public_signature_keys_are_kept(keys: list[Any], count: int) -> None:
    assert len(read_keys(json.dumps({"keys": keys}).encode())) == count


def test_keys_fit_their_own_algorithm_only() -> None:
    (key,) = read_keys(json.dumps({"keys": [jwk(RSA_KEY, "x", alg="RS256")]}).encode())
    assert [name for name in ("RS256", "RS512", "PS256", "ES256", "HS256", "none") if key.fits(name)] == ["RS256"]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"keys": 7}', b"\xff"])
def test_what_is_no_key_set(data: bytes) -> None:
    with pytest.raises(KeysUnavailable):
        read_keys(data)


MAPPINGS = {
    "username": {"expression": "claims.email + ':oidc'"},
    "groups": {"expression": "claims.roles.filter(r, r.startsWith('k8s-')).map(r, 'oidc:' + r)"},
    "uid": {"claim": "oid"},
    "extra": [
        {"key": "example.com/tenant", "valueExpression": "claims.tenant"},
        {"key": "example.com/none", "valueExpression": "claims.?missing.orValue('')"},
    ],
}


async def test_expressions_map_and_check(idp: Idp, tmp_path: Path) -> None:
    configuration = await configured(
        tmp_path,
        claimMappings=MAPPINGS,
        claimValidationRules=[
            {"claim": "hd", "requiredValue": "example.com"},
            {"expression": "claims.email_verified == true", "message": "email must be verified"},
            {"expression": "claims.exp - claims.iat <= 86400", "message": "lives too long"},
        ],
        userValidationRules=[{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
    )
    claims = {
        "email": "joe@example.com",
        "email_verified": True,
        "roles": ["k8s-admin", "other"],
        "oid": "42",
        "tenant": ["t1", "t2"],
        "hd": "example.com",
        "iat": int(idp.clock.now()),
        "exp": int(idp.clock.now()) + 600,
    }
    oidc = authenticator(idp, configuration)
    found = await oidc.authenticate_token(idp.token(**claims), API)
    assert found is not None
    assert found.user == UserInfo(
        "joe@example.com:oidc",
        ("oidc:k8s-admin", "system:authenticated"),
        "42",
        {"example.com/tenant": ("t1", "t2")},
    )
    for change in (
        {"hd": "other.com"},
        {"hd": 7},
        {"hd": None},
        {"email_verified": False},
        {"email_verified": None},
        {"exp": int(idp.clock.now()) + 90_000},
        {"email": "system:admin"},
        {"email": 7},
        {"oid": 42},
        {"roles": "k8s-admin"},
        {"tenant": {"a": "b"}},
    ):
        with pytest.raises(ApiError) as caught:
            await oidc.authenticate_token(idp.token(**{**claims, **change}), API)
        assert caught.value.code == 401, change


async def test_discovery_url_and_several_audiences(idp: Idp, tmp_path: Path) -> None:
    issuer = {
        "url": ISSUER,
        "discoveryURL": "https://inside.example/openid",
        "audiences": ["a", "b"],
        "audienceMatchPolicy": "MatchAny",
    }
    oidc = authenticator(idp, await configured(tmp_path, issuer=issuer))
    assert await oidc.authenticate_token(idp.token(EC_KEY, "ES256", "two", aud="b"), API)
    assert idp.asked[0] == "https://inside.example/openid"


async def test_unverified_email_is_no_name(idp: Idp) -> None:
    flags = OidcFlags(issuer_url=ISSUER, client_id="k8s", username_claim="email")
    oidc = authenticator(idp, configuration_from_flags(flags))
    found = await oidc.authenticate_token(idp.token(email="j@x"), API)
    assert found is not None
    assert found.user.name == "j@x"
    with pytest.raises(ApiError):
        await oidc.authenticate_token(idp.token(email="j@x", email_verified=False), API)


USERNAME = {"username": {"claim": "sub", "prefix": ""}}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"issuer": {"audiences": ["a"]}}, "jwt[0].issuer.url: Required value"),
        ({"issuer": {"url": "http://x", "audiences": ["a"]}}, "URL scheme must be https"),
        ({"issuer": {"url": "https://u:p@x", "audiences": ["a"]}}, "URL must not contain a username or password"),
        ({"issuer": {"url": "https://x?q=1", "audiences": ["a"]}}, "URL must not contain a query"),
        ({"issuer": {"url": ISSUER}}, "jwt[0].issuer.audiences: Required value: at least one"),
        ({"issuer": {"url": ISSUER, "audiences": ["a", "b"]}}, "audienceMatchPolicy must be MatchAny"),
        ({"issuer": {"url": ISSUER, "audiences": ["a"], "certificateAuthority": "x"}}, "valid RSA or ECDSA"),
        ({"issuer": {"url": ISSUER, "audiences": ["a"], "discoveryURL": ISSUER + "/"}}, "must be different from URL"),
        ({"issuer": {"url": "https://kubernetes.default.svc", "audiences": ["a"]}}, "disallowed issuers"),
        ({"issuer": {"url": ISSUER, "audiences": ["a"], "keys": []}}, 'unknown field "jwt[0].issuer.keys"'),
        ({"claimMappings": {}}, "jwt[0].claimMappings.username: Required value: claim or expression is required"),
        ({"claimMappings": {"username": {"claim": "sub"}}}, "prefix is required when claim is set"),
        ({"claimMappings": {"username": {"claim": "a", "expression": "b"}}}, "claim and expression can't both be set"),
        (
            {"claimMappings": {"username": {"expression": "claims.sub +"}}},
            "jwt[0].claimMappings.username.expression: Invalid value",
        ),
        ({"claimMappings": {"username": {"expression": "who.sub"}}}, "undeclared reference to 'who'"),
        ({"claimMappings": {"username": {"expression": "claims.email"}}}, "claims.email_verified must be used in"),
        (
            {"claimMappings": {**USERNAME, "extra": [{"key": "foo", "valueExpression": "'x'"}]}},
            "jwt[0].claimMappings.extra[0].key",
        ),
        (
            {"claimMappings": {**USERNAME, "extra": [{"key": "a.k8s.io/x", "valueExpression": "'x'"}]}},
            "reserved for Kubernetes use",
        ),
        ({"claimValidationRules": [{"expression": "'text'"}]}, "must evaluate to bool"),
        ({"claimValidationRules": [{}]}, "claim or expression is required"),
        ({"userValidationRules": [{"expression": "user.nothing == 'x'"}]}, "undefined field 'nothing'"),
        ({"userValidationRules": [{"expression": "true"}, {"expression": "true"}]}, "Duplicate value"),
    ],
)
def test_configurations_that_are_refused(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    path = written(tmp_path, entry(**fields))
    with pytest.raises(ConfigurationError) as caught:
        read_authentication_configuration(path, disallowed_issuers=API)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "must be an object"),
        ("a: [", "is not YAML"),
        ("apiVersion: v1\nkind: Secret\n", "expected apiserver.config.k8s.io/v1"),
        ("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: 7\n", "jwt: must be a list"),
        (
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
            "anonymous: {enabled: false, conditions: [{path: /livez}]}\n",
            "enabled should be set to true when conditions are defined",
        ),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=text.replace("(", r"\(")):
        read_authentication_configuration(path)


def test_an_issuer_appears_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"jwt\[1\]\.issuer\.url: Duplicate value"):
        read_authentication_configuration(written(tmp_path, entry(), entry()))


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"issuer_url": ISSUER}, "needs --oidc-client-id"),
        ({"client_id": "x"}, "needs --oidc-issuer-url"),
        ({"issuer_url": "http://x", "client_id": "x"}, "URL scheme must be https"),
        ({"issuer_url": ISSUER, "client_id": "x", "signing_algs": ("HS256",)}, "unsupported signing algorithm"),
        ({"issuer_url": ISSUER, "client_id": "x", "required_claim": ("hd",)}, "key=value"),
        ({"issuer_url": ISSUER, "client_id": "x", "ca_file": "/does/not/exist"}, "cannot read /does/not/exist"),
    ],
)
def test_flags_that_are_refused(flags: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        configuration_from_flags(OidcFlags(**flags))


async def test_cached_tokens_cost_one_check_and_end_with_the_token(idp: Idp) -> None:
    checks = 0

    class Counting:
        async def authenticate_token(self, token: str, audiences):
            nonlocal checks
            checks += 1
            return await oidc.authenticate_token(token, audiences)

    oidc = authenticator(idp, FLAGS)
    cached = CachedTokens(Counting(), idp.clock, idp.clock.now)
    token = idp.token(exp=idp.clock.now() + 4)
    found = await asyncio.gather(*(cached.authenticate_token(token, API) for _ in range(10)))
    assert all(found)
    assert checks == 1
    idp.clock.jump(5)
    with pytest.raises(ApiError):
        await cached.authenticate_token(token, API)
    lasting = idp.token()
    await cached.authenticate_token(lasting, API)
    idp.clock.jump(11)
    await cached.authenticate_token(lasting, API)
    assert checks == 4


async def test_another_configuration_takes_over_at_once(idp: Idp, tmp_path: Path) -> None:
    from minikube_py.components.apiserver.authentication.configuration import Anonymous

    def make(jwt_entry: Any) -> OidcAuthenticator:
        return OidcAuthenticator(jwt_entry, idp.fetch, API, idp.clock, idp.clock.now)

    structured = StructuredAuthentication(AuthenticationConfiguration(), make, Anonymous(True))
    assert await structured.authenticate_token(idp.token(), API) is None
    path = written(tmp_path, entry(), anonymous={"enabled": True, "conditions": [{"path": "/livez"}]})
    await structured.apply(await asyncio.to_thread(read_authentication_configuration, path))
    assert await structured.authenticate_token(idp.token(), API)
    assert [structured.anonymous.allows(asked) for asked in ("/livez", "/livez/ping", "/api")] == [True, False, False]
    await structured.apply(AuthenticationConfiguration())
    assert await structured.authenticate_token(idp.token(), API) is None
    assert structured.anonymous.allows("/api")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "9999999999", [9e9]])
def test_times_that_are_none(value: Any) -> None:
    with pytest.raises(TokenRefused):
        check_claims({"aud": "k8s", "exp": value}, ("k8s",), 1.0)
