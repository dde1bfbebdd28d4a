"""Signatures are checked once for each token, and again when the keys have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_py.components.apiserver.authentication.verified_tokens import VerifiedTokens
from minikube_py.machinery.errors import ApiError
from minikube_py.pki import ServiceAccountTokens, load_service_account_tokens
from minikube_py.pki.certificates import key_pem, new_key

ISSUER = "https://issuer"


class Reader:
    """Counts what is read, which is what was verified."""

    def __init__(self) -> None:
        self.subjects: list[Any] = []

    def __call__(self, claims: Any) -> Any:
        self.subjects.append(claims["sub"])
        return claims["sub"]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "service.key"
    path.write_bytes(key_pem(new_key()))
    return path


@pytest.fixture
def tokens(key: Path) -> ServiceAccountTokens:
    return load_service_account_tokens(key, [ISSUER])


def test_a_signature_is_checked_once(tokens: ServiceAccountTokens) -> None:
    reader = Reader()
    verified = VerifiedTokens(tokens, reader, most=2)
    token = tokens.sign({"sub": "a"})
    assert [verified.verify(token) for _ in range(3)] == ["a"] * 3
    assert verified.is_ours(token)
    assert reader.subjects == ["a"]


def test_no_more_are_remembered_than_asked_for(tokens: ServiceAccountTokens) -> None:
    reader = Reader()
    verified = VerifiedTokens(tokens, reader, most=2)
    made = [tokens.sign({"sub": name}) for name in "abc"]
    for token in (*made, made[2], made[0]):
        verified.verify(token)
    assert reader.subjects == ["a", "b", "c", "a"]


@pytest.mark.parametrize("kept", [True, False], ids=["the old key still verifies", "the old key is gone"])
def test_other_keys_are_asked_about_a_remembered_token(kept: bool, key: Path, tokens: ServiceAccountTokens) -> None:
    verified, token = VerifiedTokens(tokens, Reader(), most=2), tokens.sign({"sub": "a"})
    assert verified.verify(token) == "a"
    key.write_bytes(key_pem(new_key()) + (key.read_bytes() if kept else b""))
    tokens.adopt(load_service_account_tokens(key, [ISSUER]))
    if kept:
        assert verified.verify(token) == "a"
        return
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            verified.verify(token)
        assert refused.value.code == 401


def test_what_another_has_signed_is_refused(tmp_path: Path, tokens: ServiceAccountTokens) -> None:
    path = tmp_path / "other.key"
    path.write_bytes(key_pem(new_key()))
    token = load_service_account_tokens(path, [ISSUER]).sign({"sub": "a"})
    with pytest.raises(ApiError):
        VerifiedTokens(tokens, Reader(), most=2).verify(token)
    assert not VerifiedTokens(tokens, Reader(), most=2).is_ours("no.token.atall")
