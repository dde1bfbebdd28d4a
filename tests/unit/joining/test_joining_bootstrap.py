"""The first meeting with servers of many sorts: who is trusted, who gets to see the secret, what the user is told."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from minikube_py.client.clock import SystemClock
from minikube_py.config_agent import AgentSettings
from minikube_py.joining.bootstrap import join
from minikube_py.joining.errors import JoinError
from minikube_py.joining.identity import node_files
from minikube_py.machinery.errors import unauthorized
from minikube_py.pki import certificates as x
from minikube_py.pki.join_tokens import JoinToken, ca_hash

NOW = time.time()
OURS, THEIRS = (x.make_authority(name, NOW) for name in ("ours", "theirs"))
PEM = x.certificate_pem(OURS.certificate)
TOKEN = str(JoinToken("s3cret", "node", ca_hash(PEM)))


@dataclass
class Stranger:
    """A server: whose CA signed its certificate, for which address and time, what it offers and answers."""

    signer: x.Authority = OURS
    address: str = "127.0.0.1"
    begins: float = NOW
    offers: bytes = PEM
    status: int = 401
    secrets: list[str] = field(default_factory=list)
    """Every credential that it has been shown."""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if credential := request.headers.get("Authorization"):
            self.secrets.append(credential)
        if request.path == "/cacerts":
            return web.Response(body=self.offers)
        if self.status == 401:
            return web.json_response(unauthorized().status(), status=401)
        return web.Response(text="what?", status=self.status)

    def context(self, folder: Path) -> ssl.SSLContext:
        key = x.new_key()
        subject = x.Subject(common_name="s", addresses=(self.address,))
        leaf = x.issue(self.signer, subject, key.public_key(), [x.SERVER_AUTH], self.begins, begins=self.begins)
        (folder / "s.crt").write_bytes(x.certificate_pem(leaf))
        (folder / "s.key").write_bytes(x.key_pem(key))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(folder / "s.crt", folder / "s.key")
        return made


@asynccontextmanager
async def serving(stranger: Stranger, folder: Path) -> AsyncIterator[str]:
    server, context = web.Server(stranger.answer), await asyncio.to_thread(stranger.context, folder)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await server.shutdown(1.0)


@pytest.mark.parametrize(
    ("stranger", "says", "told"),
    [
        pytest.param(Stranger(), "refuses the token", True, id="our server, another token"),
        pytest.param(Stranger(status=403), "may not join nodes", True, id="a token for something else"),
        pytest.param(Stranger(status=404), "an older one", True, id="an older server"),
        pytest.param(Stranger(address="127.0.0.9"), "--tls-san", False, id="a name that it does not have"),
        pytest.param(Stranger(signer=THEIRS), "does not prove itself", False, id="an impostor with our CA's text"),
        pytest.param(
            Stranger(signer=THEIRS, offers=x.certificate_pem(THEIRS.certificate)), "of another cluster", False,
            id="another cluster",
        ),
        pytest.param(
            Stranger(signer=THEIRS, offers=x.certificate_pem(THEIRS.certificate) + PEM), "does not prove itself", False,
            id="an impostor who adds his CA to ours",
        ),
        pytest.param(Stranger(offers=b"<html>"), "is no pyk3s server", False, id="a web site"),
        pytest.param(Stranger(begins=NOW + 90_000), "is the clock right?", False, id="a certificate of tomorrow"),
    ],
)  # fmt: skip
async def test_who_is_told_the_secret(stranger: Stranger, says: str, told: bool, tmp_path: Path) -> None:
    async with serving(stranger, tmp_path) as url:
        with pytest.raises(JoinError) as caught:
            settings = AgentSettings(server=url, token=TOKEN, node_name="node-2")
            await join(settings, node_files(tmp_path / "data"), SystemClock())
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert set(stranger.secrets) == ({"Bearer node:s3cret"} if told else set())


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (TOKEN, "node:s3cret"),
        (str(JoinToken("s3cret", "server", ca_hash(PEM))), "node:s3cret"),
        (str(JoinToken("abcdef.0123456789abcdef", "", ca_hash(PEM))), "abcdef.0123456789abcdef"),
        ("s3cret", "node:s3cret"),
        ("abcdef.0123456789abcdef", "abcdef.0123456789abcdef"),
    ],
    ids=["agents'", "server's", "bootstrap", "bare secret", "bare bootstrap"],
)
async def test_forms_of_tokens(token: str, shown: str, tmp_path: Path) -> None:
    stranger = Stranger()
    async with serving(stranger, tmp_path) as url:
        with pytest.raises(JoinError, match="refuses the token"):
            await join(AgentSettings(server=url, token=token), node_files(tmp_path / "data"), SystemClock())
    assert set(stranger.secrets) == {f"Bearer {shown}"}
    assert not (tmp_path / "data").exists(), "nothing is left of a refused introduction"


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match=r"cannot reach https://127\.0\.0\.1:1: .*is the server running"):
        await join(AgentSettings(server="https://127.0.0.1:1", token=TOKEN), node_files(tmp_path), SystemClock())
