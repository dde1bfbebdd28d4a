"""The server's join tokens as credentials, and what somebody without any gets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from open_server import Everybody, listening
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.components.apiserver.authentication.join_tokens import (
    JoinTokenAuthenticator,
    read_join_tokens,
    token_file,
)
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import Credentials, UserInfo
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.machinery.errors import unauthorized
from minikube_py.pki.certificates import certificate_pem, make_authority
from minikube_py.pki.join_tokens import ensure_server_token, rotate_server_token

GROUP = "system:bootstrappers:joiners"


def tokens(folder: Path) -> Path:
    """An installation with the secrets ``s3cret`` and ``agents``; its CA."""
    (folder / "server").mkdir()
    authority = folder / "ca.crt"
    authority.write_bytes(certificate_pem(make_authority("ca", 1_800_000_000.0).certificate))
    ensure_server_token(folder, authority, "s3cret", "agents")
    return authority


@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("server:s3cret", "system:bootstrap:server"),
        ("node:s3cret", "system:bootstrap:node"),
        ("node:agents", "system:bootstrap:node"),
        ("server:agents", ""),
        ("node:wrong", ""),
        ("node:", ""),
        ("other:s3cret", ""),
        ("s3cret", ""),
        ("node:s3cret:", ""),
    ],
)
async def test_who_is_known(tmp_path: Path, token: str, name: str) -> None:
    await asyncio.to_thread(tokens, tmp_path)
    known = JoinTokenAuthenticator(await asyncio.to_thread(read_join_tokens, token_file(tmp_path)), (GROUP,), ("api",))
    found = await known.authenticate_token(token, ("api", "else"))
    assert (found.user.name if found else "") == name
    if found:
        assert found.user.groups == ("system:bootstrappers", GROUP, "system:authenticated")
        assert found.audiences == ("api",)
    assert await known.authenticate_token(token, ("else",)) is None


async def test_rotated_token_is_good_no_more(tmp_path: Path) -> None:
    authority = await asyncio.to_thread(tokens, tmp_path)
    known = JoinTokenAuthenticator(await asyncio.to_thread(read_join_tokens, token_file(tmp_path)), (), ("api",))
    await asyncio.to_thread(rotate_server_token, tmp_path, authority, "s3cret", "newer")
    await known.adopt(await asyncio.to_thread(read_join_tokens, token_file(tmp_path)))
    assert await known.authenticate_token("server:s3cret", ("api",)) is None
    assert await known.authenticate_token("server:newer", ("api",)) is not None


def test_missing_token_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="start `pyk3s server` once"):
        read_join_tokens(token_file(tmp_path))


class Nobody(Everybody):
    """Knows nobody."""

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        raise unauthorized()


async def test_public_text_needs_no_credentials_and_opens_nothing_else(tmp_path: Path) -> None:
    nobody, clock, content = Nobody(), SystemClock(), [b"first"]
    store = await open_sqlite(tmp_path / "state.db", clock=clock)
    api = ApiServer(ApiServerSettings(port=0), store, clock, CollectorRegistry())
    api.secure(nobody, nobody, nobody, {}, public={"/cacerts": lambda: content[0]})
    try:
        async with listening(api) as url, aiohttp.ClientSession(url) as session:
            for text in (b"first", b"second"):
                content[0] = text
                async with session.get("/cacerts") as answer:
                    assert (answer.status, await answer.read()) == (200, text)
            for method, path in (("POST", "/cacerts"), ("GET", "/cacerts/x"), ("GET", "/cacerts%2f..%2fapi")):
                async with session.request(method, path) as answer:
                    assert answer.status == 401, (method, path)
    finally:
        api.close()
        await store.close()
