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


@pytest.mark.parametrize("text", ["K10abc::server:x", "K10", "two words", ""])
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
