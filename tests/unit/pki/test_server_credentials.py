"""What a server process holds of its PKI: handed on when files change, kept when they cannot be used."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from pki_support import NOW
from prometheus_client import CollectorRegistry

from minikube_py.certificates import CertificateMetrics, ServerCredentials
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.config import ServerSettings
from minikube_py.pki import PkiError, load_service_account_tokens
from minikube_py.pki.certificates import key_pem, new_key


@pytest.fixture
async def credentials(tmp_path: Path) -> ServerCredentials:
    settings = ServerSettings(data_dir=str(tmp_path), node_ip="192.0.2.10", node_name="n", agent_token="agents")
    return await asyncio.to_thread(ServerCredentials, settings, FakeClock(NOW))


async def test_everybody_is_told_whoever_fails(credentials: ServerCredentials) -> None:
    told: list[str] = []

    async def good(name: str = "good") -> None:
        told.append(name)

    async def bad() -> None:
        told.append("bad")
        raise PkiError("the file is broken")

    credentials.on_change("bad", bad)
    credentials.on_change("good", good)
    credentials.on_change("good", good)
    credentials.on_change("trust", partial(good, "trust"), first=True)
    await credentials.reload()
    assert told == ["trust", "bad", "good"]


async def test_broken_ca_file_leaves_the_bundle(credentials: ServerCredentials) -> None:
    before = credentials.root_ca.value
    await asyncio.to_thread(credentials.pki.server_ca.certificate.unlink)
    await credentials.reload()
    assert credentials.root_ca.value == before


async def test_metrics_tell_what_is_left(credentials: ServerCredentials) -> None:
    registry = CollectorRegistry()
    registry.register(CertificateMetrics(credentials))
    labels = {"filename": "client-admin.crt", "subject": "CN=system:admin,O=system:masters", "usages": "ClientAuth"}
    assert registry.get_sample_value("pyk3s_certificate_expiration_seconds", labels) == 365 * 24 * 3600
    assert registry.get_sample_value("pyk3s_clock_behind_seconds") == 0
    assert registry.get_sample_value("pyk3s_certificate_renewals_total", {"result": "success"}) == 0


async def test_agent_token_is_written(credentials: ServerCredentials) -> None:
    text = await asyncio.to_thread((credentials.pki.server_dir / "node-token").read_text)
    assert text.endswith("::node:agents\n")


def test_adopted_keys_sign_and_verify(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(key_pem(new_key()))
    new.write_bytes(key_pem(new_key()) + old.read_bytes())
    tokens = load_service_account_tokens(old, ["https://issuer"])
    before = tokens.sign({"sub": "x"})
    tokens.adopt(load_service_account_tokens(new, ["ignored"]))
    after = tokens.sign({"sub": "x"})
    assert tokens.verify(before) == tokens.verify(after) == {"sub": "x", "iss": "https://issuer"}
    assert load_service_account_tokens(old, ["https://issuer"]).verify(after) is None
