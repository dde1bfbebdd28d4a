"""Expectations, kubeconfig files, and how HTTP failures become errors."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from minikube_py.client.expectations import Expectations
from minikube_py.client.http import HttpClient, kubeconfig_client
from minikube_py.client.informer import ListWatchInformer
from minikube_py.client.kubeconfig import KubeconfigError, load_kubeconfig
from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.client.types import WatchEvent
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.resources import PODS


def test_expectations_wait_for_what_was_asked_for_or_time_out() -> None:
    clock = FakeClock()
    expectations = Expectations(clock)
    assert expectations.satisfied("a")
    expectations.expect_creations("a", 2)
    expectations.expect_deletion("a", "u")
    expectations.creation_seen("a")
    expectations.deletion_seen("a", "u")
    assert not expectations.satisfied("a")
    expectations.creation_seen("a")
    assert expectations.satisfied("a")
    expectations.expect_creations("a", 1)
    clock.jump(301)
    assert expectations.satisfied("a")


def write_kubeconfig(path: Path, **user: str) -> Path:
    cluster = {"server": "http://127.0.0.1:1", "certificate-authority-data": base64.b64encode(b"CA").decode()}
    content = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_kubeconfig_is_read_with_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    found = load_kubeconfig(write_kubeconfig(tmp_path / "config", tokenFile="token"))
    assert (found.server, found.ca_pem, found.token, found.namespace) == ("http://127.0.0.1:1", b"CA", "secret", "n")


@pytest.mark.parametrize("context", ["missing"])
def test_a_kubeconfig_says_what_it_lacks(tmp_path: Path, context: str) -> None:
    with pytest.raises(KubeconfigError, match='no context named "missing"'):
        load_kubeconfig(write_kubeconfig(tmp_path / "config"), context)


async def test_an_unreachable_server_is_an_api_error(tmp_path: Path) -> None:
    async with await kubeconfig_client(write_kubeconfig(tmp_path / "config")) as client:
        with pytest.raises(ApiError) as failure:
            await client.get(PODS, "p", "default")
    assert failure.value.code == 503


async def serve(answers: list[bytes]) -> tuple[asyncio.Server, int]:
    """A server that gives one canned answer to each connection in turn."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


def http_answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_a_throttled_request_is_repeated_and_text_errors_are_told() -> None:
    server, port = await serve(
        [
            http_answer("429 Too Many Requests", b"slow down", "Retry-After: 1"),
            http_answer("502 Bad Gateway", b"upstream is gone"),
        ]
    )
    clock = FakeClock()
    async with server, HttpClient(f"http://127.0.0.1:{port}", clock=clock) as client:
        asking = asyncio.ensure_future(client.get(PODS, "p", "default"))
        async with asyncio.timeout(30):
            while not clock.sleepers:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await clock.advance(1)
            with pytest.raises(ApiError, match="upstream is gone") as failure:
                await asking
    assert failure.value.code == 502


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b'{"cut": '], ids=["a page", "nothing", "cut off"])
async def test_what_is_no_answer_of_an_api_server_is_an_api_error(body: bytes) -> None:
    server, port = await serve([http_answer("200 OK", body), http_answer("200 OK", body + b"\n" + b"[]\n")])
    async with server, HttpClient(f"http://127.0.0.1:{port}") as client, asyncio.timeout(30):
        with pytest.raises(ApiError, match="no JSON"):
            await client.get(PODS, "p", "default")
        with pytest.raises(ApiError, match="no event"):
            async with client.watch(PODS) as events:
                await anext(events)


async def test_watches_that_end_at_once_make_no_busy_loop() -> None:
    clock, watches = FakeClock(), 0

    class EndsWatches(FakeClient):
        @asynccontextmanager
        async def watch(self, *args: Any, **options: Any) -> AsyncIterator[AsyncIterator[WatchEvent]]:  # type: ignore[override]
            nonlocal watches
            watches += 1

            async def nothing() -> AsyncIterator[WatchEvent]:
                return
                yield

            yield nothing()

    informer = ListWatchInformer(EndsWatches(clock), clock, PODS)
    running = asyncio.ensure_future(informer.run())
    await clock.settle()
    assert watches == 1
    await clock.advance(10.0)
    assert 10 <= watches <= 60
    running.cancel()
    await asyncio.wait({running})


async def test_who_cannot_be_reached_is_told_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    async with HttpClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ApiError) as caught:
            await client.raw("GET", "/version")
    assert caught.value.message == f"cannot reach http://127.0.0.1:{port}: Connection refused"
