"""Join tokens, kubeconfigs and the signing of service account tokens."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import orjson
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.pki import (
    Pki,
    PkiError,
    ensure_pki,
    ensure_server_token,
    load_service_account_tokens,
    parse_join_token,
    write_kubeconfig,
)
from minikube_py.pki.join_tokens import bootstrap_join_token, load_join_tokens, rotate_server_token

ISSUER = "https://kubernetes.default.svc"


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return ensure_pki(tmp_path, node_name="n", node_ips=[], service_ip="10.43.0.1", clock=FakeClock())


def test_token_pins_the_ca_and_is_kept(pki: Pki) -> None:
    token = ensure_server_token(pki.data_dir, pki.server_ca.certificate)
    ca = pki.server_ca.certificate.read_bytes()
    assert str(token).startswith(f"K10{hashlib.sha256(ca).hexdigest()}::server:")
    assert token.pins(ca) and not token.pins(b"another")
    assert ensure_server_token(pki.data_dir, pki.server_ca.certificate) == token
    assert parse_join_token((pki.server_dir / "node-token").read_text()) == token


def test_given_secret_is_used_and_another_one_refused(pki: Pki) -> None:
    assert ensure_server_token(pki.data_dir, pki.server_ca.certificate, "mine").secret == "mine"
    with pytest.raises(PkiError, match="differs"):
        ensure_server_token(pki.data_dir, pki.server_ca.certificate, "other")


def test_agents_have_their_own_secret_when_given(pki: Pki) -> None:
    server = ensure_server_token(pki.data_dir, pki.server_ca.certificate, "strong", "weak")
    tokens = load_join_tokens(pki.data_dir)
    assert tokens.agent.secret == "weak" and tokens.server == server
    assert (pki.server_dir / "node-token").read_text() == f"{tokens.agent}\n"
    assert "::node:weak" in str(tokens.agent)
    roles = {pair: tokens.role_of(*pair) for pair in JOINERS}
    assert roles == {
        ("server", "strong"): "server",
        ("node", "strong"): "agent",
        ("node", "weak"): "agent",
        ("server", "weak"): "",
        ("node", "wrong"): "",
        ("", "strong"): "",
    }
    for name in ("token", "agent-token", "node-token"):
        assert (pki.server_dir / name).stat().st_mode & 0o777 == 0o600


JOINERS = [
    ("server", "strong"),
    ("node", "strong"),
    ("node", "weak"),
    ("server", "weak"),
    ("node", "wrong"),
    ("", "strong"),
]


def test_agents_use_the_servers_secret_otherwise(pki: Pki) -> None:
    server = ensure_server_token(pki.data_dir, pki.server_ca.certificate)
    assert load_join_tokens(pki.data_dir).role_of("node", server.secret) == "agent"
    assert not (pki.server_dir / "agent-token").exists()


def test_server_token_is_rotated_by_who_knows_it(pki: Pki) -> None:
    old = ensure_server_token(pki.data_dir, pki.server_ca.certificate, "old", "agents")
    with pytest.raises(PkiError, match="is not the server's"):
        rotate_server_token(pki.data_dir, pki.server_ca.certificate, "wrong")
    new = rotate_server_token(pki.data_dir, pki.server_ca.certificate, str(old), "fresh")
    assert new.secret == "fresh" and load_join_tokens(pki.data_dir).agent.secret == "agents"
    assert rotate_server_token(pki.data_dir, pki.server_ca.certificate, "fresh").secret not in ("fresh", "old")


def test_bootstrap_token_pins_the_ca(pki: Pki) -> None:
    ca = pki.server_ca.certificate.read_bytes()
    text = bootstrap_join_token("abcdef.0123456789abcdef", ca)
    assert text == f"K10{hashlib.sha256(ca).hexdigest()}::abcdef.0123456789abcdef"
    parsed = parse_join_token(text)
    assert parsed.is_bootstrap_token and parsed.pins(ca) and parsed.user == "" and str(parsed) == text
    assert parse_join_token("abcdef.0123456789abcdef").is_bootstrap_token


def test_broken_token_file_is_told(pki: Pki) -> None:
    with pytest.raises(PkiError, match="start `pyk3s server` once"):
        load_join_tokens(pki.data_dir)
    ensure_server_token(pki.data_dir, pki.server_ca.certificate)
    (pki.server_dir / "token").write_text("K10abc")
    with pytest.raises(PkiError, match=r"server/token: the token is cut off.*restore it") as caught:
        ensure_server_token(pki.data_dir, pki.server_ca.certificate)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["K10abc::server:x", "K10", f"K10{'a' * 64}::nouser", "two words", ""])
def test_bad_join_tokens(text: str) -> None:
    with pytest.raises(PkiError):
        parse_join_token(text)


def test_kubeconfig_is_private_and_complete(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "etc" / "pyk3s.yaml"
    ca = pki.server_ca.certificate
    assert write_kubeconfig(path, server="https://127.0.0.1:6443", ca_certificate=ca, client=pki.client_admin)
    assert not write_kubeconfig(path, server="https://127.0.0.1:6443", ca_certificate=ca, client=pki.client_admin)
    assert path.stat().st_mode & 0o777 == 0o600
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == "default"
    assert base64.b64decode(content["users"][0]["user"]["client-key-data"]) == pki.client_admin.key.read_bytes()


def test_signed_token_is_verified(pki: Pki) -> None:
    tokens = load_service_account_tokens(pki.service_key, [ISSUER])
    claims = tokens.verify(tokens.sign({"sub": "x", "aud": ["a"]}))
    assert claims == {"sub": "x", "aud": ["a"], "iss": ISSUER}


def unsigned(header: dict[str, str], claims: dict[str, str]) -> str:
    parts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


def test_forgeries_are_refused(pki: Pki, tmp_path: Path) -> None:
    tokens = load_service_account_tokens(pki.service_key, [ISSUER])
    token = tokens.sign({"sub": "x"})
    head, body, signature = token.split(".")
    other_key = tmp_path / "other.key"
    other_key.write_bytes(pki.client_admin.key.read_bytes())
    stranger = load_service_account_tokens(other_key, [ISSUER])
    forged_body = base64.urlsafe_b64encode(orjson.dumps({"iss": ISSUER, "sub": "admin"})).rstrip(b"=").decode()
    forgeries = {
        "alg none": unsigned({"alg": "none"}, {"iss": ISSUER}),
        "cut signature": f"{head}.{body}.{signature[:-8]}",
        "no signature": f"{head}.{body}.",
        "padded": f"{token}==",
        "a character inside": f"{head}.{body}.{signature[:5]}!{signature[5:]}",
        "a line's end behind": f"{token}\n",
        "other claims": f"{head}.{forged_body}.{signature}",
        "other key": stranger.sign({"sub": "x"}),
        "other issuer": load_service_account_tokens(pki.service_key, ["https://elsewhere"]).sign({"sub": "x"}),
        "no token": "...",
        "huge": token + "a" * 20000,
    }
    assert {name: tokens.verify(forged) for name, forged in forgeries.items()} == dict.fromkeys(forgeries)


def test_rsa_key_verifies_beside_the_new_one(pki: Pki, tmp_path: Path) -> None:
    old = rsa.generate_private_key(65537, 2048)
    path = tmp_path / "old.key"
    path.write_bytes(
        old.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    before = load_service_account_tokens(path, [ISSUER])
    after = load_service_account_tokens(pki.service_key, [ISSUER], [path])
    assert after.verify(before.sign({"sub": "x"})) is not None
    assert [key["alg"] for key in after.jwks()["keys"]] == ["ES256", "RS256"]
    assert after.discovery("https://x/openid/v1/jwks")["id_token_signing_alg_values_supported"] == ["ES256", "RS256"]
