"""Streams carried to a backend: upgrades byte for byte, answers as they come, and where they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from minikube_py.components.apiserver.streaming.passing import pass_on
from minikube_py.components.apiserver.streaming.relay import relay_upgrade
from minikube_py.components.apiserver.streaming.targets import (
    container_of,
    kubelet_address,
    log_target,
    split_target,
    stream_target,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object


async def _backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers 101 and echoes; refuses paths that say so."""
    head = await reader.readuntil(b"\r\n\r\n")
    if b"/refuse" in head:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno")
    else:
        assert b"authorization" not in head.lower()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def running() -> AsyncIterator[tuple[int, web.Server]]:
    """A front that relays everything to the backend; gives its port and the server."""
    backend = await asyncio.start_server(_backend, "127.0.0.1", 0)
    port = backend.sockets[0].getsockname()[1]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await relay_upgrade(request, "127.0.0.1", port, request.raw_path, None)

    server = web.Server(handle, handler_cancellation=True)  # type: ignore[arg-type]
    front = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield front.sockets[0].getsockname()[1], server
    finally:
        front.close()
        backend.close()
        await server.shutdown(1)


REQUEST = (
    b"POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nAuthorization: Bearer t\r\n\r\n"
)


async def test_upgraded_bytes_go_both_ways() -> None:
    async with running() as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 101")
        sent = bytes(range(256)) * 2000
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(30):
            while server.connections:  # noqa: ASYNC110 - aiohttp has no event for it
                await asyncio.sleep(0.01)


async def test_refused_upgrade_is_an_ordinary_answer() -> None:
    async with running() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.replace(b"/exec", b"/refuse"))
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.1 403")
        assert answer.endswith(b"no")
        writer.close()


async def test_answers_are_streamed_as_they_come() -> None:
    go_on = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"one\n")
        await go_on.wait()
        await response.write(b"two\n")
        return response

    loop = asyncio.get_running_loop()
    backend = web.Server(slow)  # type: ignore[arg-type]
    listening = await loop.create_server(backend, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await pass_on(request, "127.0.0.1", port, "/logs", None, with_body=False)

    front_server = web.Server(handle)  # type: ignore[arg-type]
    front = await loop.create_server(front_server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{front.sockets[0].getsockname()[1]}/"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert await asyncio.wait_for(answer.content.readline(), 30) == b"one\n"
        go_on.set()
        assert await asyncio.wait_for(answer.content.read(), 30) == b"two\n"
    front.close()
    listening.close()
    await front_server.shutdown(1)
    await backend.shutdown(1)


@pytest.mark.parametrize(
    ("protocol", "wanted"),
    [
        pytest.param("binary.k8s.io", aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"said\n", None), id="bytes"),
        pytest.param("base64.binary.k8s.io", aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, "c2FpZAo=", ""), id="text"),
    ],
)
async def test_answers_go_over_a_websocket(protocol: str, wanted: aiohttp.WSMessage) -> None:
    """The backend is asked for an ordinary answer; a refusal reaches the client as one."""

    async def says(request: web.BaseRequest) -> web.Response:
        assert not [name for name in request.headers if name.lower().startswith(("sec-", "upgrade"))]
        return web.Response(text="said\n") if request.path == "/logs" else web.Response(status=404)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await pass_on(request, "127.0.0.1", port, request.path, None, with_body=False, as_messages=True)

    loop = asyncio.get_running_loop()
    backend, front = web.Server(says), web.Server(handle)  # type: ignore[arg-type]
    behind, before = await loop.create_server(backend, "127.0.0.1", 0), await loop.create_server(front, "127.0.0.1", 0)
    port = behind.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{before.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{url}/logs", protocols=[protocol]) as socket:
            received = [message async for message in socket]
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await session.ws_connect(f"{url}/none", protocols=[protocol])
    assert [(found.type, found.data) for found in received] == [(wanted.type, wanted.data)]
    before.close()
    behind.close()
    await front.shutdown(1)
    await backend.shutdown(1)


POD: Object = {
    "metadata": {"name": "p", "namespace": "x"},
    "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
}

TARGETS = {
    "exec": (
        "exec",
        "container=a&command=ls&command=-l&stdin=true&stdout=1&tty=true",
        "/exec/x/p/a?input=1&output=1&tty=1&command=ls&command=-l",
    ),
    "attach": ("attach", "container=b&stdout=true&stderr=true", "/attach/x/p/b?output=1&error=1"),
    "ports": ("portforward", "ports=80,81", "/portForward/x/p?port=80&port=81"),
}


@pytest.mark.parametrize("case", TARGETS.values(), ids=TARGETS.keys())
def test_kubelet_paths(case: tuple[str, str, str]) -> None:
    subresource, query, expected = case
    assert stream_target(POD, subresource, query) == expected


def test_container_must_be_chosen() -> None:
    with pytest.raises(ApiError) as refused:
        container_of(POD, "")
    assert refused.value.message == "a container name must be specified for pod p, choose one of: [i a b]"


def test_log_options() -> None:
    assert log_target(POD, {"container": "i", "follow": "true"}) == "/containerLogs/x/p/i?follow=true"
    with pytest.raises(ApiError) as refused:
        log_target(POD, {"container": "a", "tailLines": "-1"})
    assert "must be greater than or equal to 0" in refused.value.message


LOG_OPTIONS = {
    "a number that is none": ({"tailLines": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    "no number": ({"limitBytes": ""}, 400, 'strconv.ParseInt: parsing "": invalid syntax'),
    "a time that is none": (
        {"sinceTime": "abc"},
        400,
        'parsing time "abc" as "2006-01-02T15:04:05Z07:00": cannot parse "abc" as "2006"',
    ),
    "a stream": ({"stream": "Stdout"}, 422, 'PodLogOptions "p" is invalid: stream: Forbidden: may not be specified'),
    "all at once": (
        {"tailLines": "-1", "limitBytes": "0", "sinceSeconds": "0"},
        422,
        'PodLogOptions "p" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, '
        "limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]",
    ),
}


@pytest.mark.parametrize(("query", "code", "message"), LOG_OPTIONS.values(), ids=LOG_OPTIONS.keys())
def test_wrong_log_options(query: dict[str, str], code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        log_target(POD, {"container": "a", **query})
    assert (refused.value.code, refused.value.message) == (code, message)


def test_addresses() -> None:
    node = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.5"}]}}
    assert kubelet_address(node) == ("10.0.0.5", 10250)
    assert split_target("https:s:web") == ("https", "s", "web")
