"""Asking remote services: over TLS on the loopback, and every way in which they can misbehave."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from minikube_py.client.clock import SystemClock
from minikube_py.client.kubeconfig import Connection
from minikube_py.components.apiserver.authentication.issuer_keys import KeysUnavailable, https_fetch
from minikube_py.components.apiserver.authentication.webhook_tokens import WebhookTokens
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.components.apiserver.webhook_client import WebhookClient, WebhookError, read_webhook_kubeconfig
from minikube_py.machinery.errors import ApiError
from minikube_py.pki import certificates as x

NOW = SystemClock().now()
CA, OTHER_CA = x.make_authority("ca", NOW), x.make_authority("other", NOW)
QUESTION = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": "t"}}
GOOD = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": {"authenticated": True}}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Impatient(SystemClock):
    """Never waits between attempts."""

    __slots__ = ("slept",)

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def leaf(authority: Any, usage: Any, **names: Any) -> tuple[bytes, bytes]:
    key = x.new_key()
    certificate = x.issue(authority, x.Subject(common_name="x", **names), key.public_key(), [usage], NOW)
    return x.certificate_pem(certificate), x.key_pem(key)


CLIENT_CERT, CLIENT_KEY = leaf(CA, x.CLIENT_AUTH)


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = leaf(CA, x.SERVER_AUTH, addresses=("127.0.0.1",))
    (folder / "tls.crt").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=x.certificate_pem(CA.certificate).decode())
    return context


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext) -> AsyncIterator[str]:
    server = web.Server(answer)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await server.shutdown(0.1)


def kubeconfig(folder: Path, url: str, ca: Any = CA, **user: Any) -> Path:
    path = folder / "kubeconfig.yaml"
    ca_data = base64.b64encode(x.certificate_pem(ca.certificate)).decode()
    content = {
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": ca_data}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


@asynccontextmanager
async def asking(
    folder: Path, url: str, *, timeout: float = 5.0, clock: SystemClock | None = None, ca: Any = CA, **user: Any
) -> AsyncIterator[WebhookClient]:
    connection = await asyncio.to_thread(lambda: read_webhook_kubeconfig(kubeconfig(folder, url, ca, **user)))
    client = WebhookClient(connection, clock or Impatient(), timeout_seconds=timeout)
    try:
        yield client
    finally:
        await client.close()


async def test_the_identity_of_the_kubeconfig_is_shown(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert")
        seen.append((request.method, request.path, request.headers.get("Authorization"), bool(certificate)))
        assert await request.json() == QUESTION
        return web.json_response(GOOD)

    encoded = {
        "client-certificate-data": base64.b64encode(CLIENT_CERT).decode(),
        "client-key-data": base64.b64encode(CLIENT_KEY).decode(),
        "token": "secret",
    }
    async with serving(answer, server_tls) as url, asking(tmp_path, f"{url}/review", **encoded) as client:
        assert await client.ask(QUESTION) == GOOD
        assert await client.ask(QUESTION) == GOOD
    assert seen == [("POST", "/review", "Bearer secret", True)] * 2


async def hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


def replies(**arguments: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(**arguments)

    return answer


def sends(body: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body)

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(128):
        await response.write(b" " * 65536)
        await asyncio.sleep(0)
    return response


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize(
    ("answer", "text", "attempts"),
    [
        (hang, "no answer within 0.1 seconds", 1),
        (replies(status=302, headers={"Location": "https://127.0.0.1:1/"}), "redirect (302), which is refused", 1),
        (replies(status=403), "status 403", 1),
        (replies(status=500), "status 500", 5),
        (replies(status=429), "status 429", 5),
        (replies(text="<html>"), "is not JSON", 1),
        (sends([GOOD]), "is not an object", 1),
        (sends({**GOOD, "kind": "SubjectAccessReview"}), "kind is 'SubjectAccessReview'", 1),
        (sends({**GOOD, "apiVersion": "v1"}), "apiVersion is 'v1'", 1),
        (sends({**GOOD, "status": "yes"}), "has no status", 1),
        (endless, "is larger than", 1),
        (breaks_off, "", 5),
    ],
    ids=["hangs", "redirect", "forbidden", "fails", "overloaded", "html", "list", "other kind", "other version",
         "status is text", "endless", "breaks off"],
)  # fmt: skip
async def test_services_that_misbehave(
    tmp_path: Path, server_tls: ssl.SSLContext, answer: Answer, text: str, attempts: int
) -> None:
    calls = 0

    async def counted(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        return await answer(request)

    timeout = 0.1 if answer is hang else 5.0
    async with serving(counted, server_tls) as url, asking(tmp_path, url, timeout=timeout) as client:
        with pytest.raises(WebhookError) as caught:
            await client.ask(QUESTION)
    assert text in str(caught.value)
    assert calls == attempts


async def test_a_service_that_comes_back_is_asked_again(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    statuses = [503, 500, 200]
    clock = Impatient()

    async def answer(request: web.Request) -> web.Response:
        status = statuses.pop(0)
        return web.json_response(GOOD, status=status)

    async with serving(answer, server_tls) as url, asking(tmp_path, url, clock=clock) as client:
        assert await client.ask(QUESTION) == GOOD
    assert clock.slept == [0.5, 0.75]


async def test_the_first_delay_is_the_caller_s(tmp_path: Path) -> None:
    clock = Impatient()
    client = WebhookClient(Connection("http://127.0.0.1:1"), clock, delay_seconds=2.0)
    with pytest.raises(WebhookError):
        await client.ask(QUESTION)
    await client.close()
    assert clock.slept == [2.0, 3.0, 4.5, 6.75]


async def test_a_server_of_another_ca_is_not_asked(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    async with serving(sends(GOOD), server_tls) as url, asking(tmp_path, url, ca=OTHER_CA) as client:
        with pytest.raises(WebhookError, match="certificate"):
            await client.ask(QUESTION)


async def test_nobody_listens(tmp_path: Path) -> None:
    async with asking(tmp_path, "https://127.0.0.1:1") as client:
        with pytest.raises(WebhookError):
            await client.ask(QUESTION)


@pytest.mark.parametrize("server", ["", "ftp://x", "x:1", "https://"])
def test_kubeconfigs_without_a_url(tmp_path: Path, server: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an https URL"):
        read_webhook_kubeconfig(kubeconfig(tmp_path, server))


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read kubeconfig"):
        read_webhook_kubeconfig(tmp_path / "none")


class Canned:
    """A token review service in memory."""

    def __init__(self, status: Any) -> None:
        self.status = status
        self.questions: list[Any] = []

    async def ask(self, question: Any) -> Any:
        self.questions.append(question)
        if isinstance(self.status, Exception):
            raise self.status
        return {"status": self.status}

    async def close(self) -> None:
        """Nothing is open."""


API = ("api",)
USER = {"username": "joe", "uid": "7", "groups": ["a"], "extra": {"k": ["v"]}}


@pytest.mark.parametrize(
    ("status", "asked", "expected"),
    [
        ({"authenticated": True, "user": USER}, API, API),
        ({"authenticated": True, "user": USER, "audiences": ["vault"]}, ("vault", "api"), ("vault",)),
        ({"authenticated": True, "user": USER, "audiences": ["vault"]}, API, None),
        ({"authenticated": True, "user": USER}, ("vault",), None),
        ({"authenticated": False}, API, None),
        ({}, API, None),
        ({"authenticated": "true", "user": USER}, API, None),
    ],
    ids=["for the API", "for the audience asked", "for another audience", "audience that only the service could give",
         "refused", "empty", "text for a truth"],
)  # fmt: skip
async def test_token_reviews(status: Any, asked: tuple[str, ...], expected: tuple[str, ...] | None) -> None:
    service = Canned(status)
    found = await WebhookTokens(service, "v1", API).authenticate_token("t", asked)
    assert service.questions[0]["spec"] == {"token": "t", "audiences": list(asked)}
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.user == UserInfo("joe", ("a", "system:authenticated"), "7", {"k": ("v",)})
        assert found.audiences == expected


@pytest.mark.parametrize(
    "status",
    [
        WebhookError("away"),
        {"authenticated": False, "error": "unknown token"},
        {"authenticated": True},
        {"authenticated": True, "user": {}},
        {"authenticated": True, "user": {"username": 7}},
        {"authenticated": True, "user": {"username": "joe", "groups": "system:masters"}},
        {"authenticated": True, "user": {"username": "joe", "extra": {"k": "v"}}},
        {"authenticated": True, "user": USER, "audiences": 7},
    ],
)
async def test_reviews_that_vouch_for_nobody(status: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await WebhookTokens(Canned(status), "v1", API).authenticate_token("t", API)
    assert caught.value.code == 401


async def test_documents_of_issuers_come_over_https_from_the_ca_given(server_tls: ssl.SSLContext) -> None:
    ca = x.certificate_pem(CA.certificate).decode()
    async with serving(sends({"keys": []}), server_tls) as url:
        assert await https_fetch(ca)(f"{url}/keys") == b'{"keys": []}'
        with pytest.raises(KeysUnavailable):
            await https_fetch(x.certificate_pem(OTHER_CA.certificate).decode())(url)
    async with serving(replies(status=404), server_tls) as url:
        with pytest.raises(KeysUnavailable, match="status 404"):
            await https_fetch(ca)(url)
    async with serving(endless, server_tls) as url:
        with pytest.raises(KeysUnavailable, match="is larger than"):
            await https_fetch(ca)(url)
