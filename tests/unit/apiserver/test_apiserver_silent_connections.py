"""A client that connects and does not ask, or stops asking, does not hold its connection for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from minikube_py.components.apiserver import server
from minikube_py.components.apiserver.http import protocol
from minikube_py.components.apiserver.server import ApiServer

HEADERS, KEEPALIVE = 0.05, 0.4
QUICK = b"GET /api/v1/namespaces/x/configmaps/a HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\nAuthorization: Bearer t\r\n\r\n"
ORDINARY = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", HEADERS)
    monkeypatch.setattr(server, "_KEEPALIVE_SECONDS", KEEPALIVE)


@pytest.fixture
async def connection(short_times: None, http: aiohttp.ClientSession, api: ApiServer) -> AsyncIterator[Connection]:
    async with http.post("/api/v1/namespaces/x/configmaps", json={"metadata": {"name": "a"}}) as made:
        assert made.status == 201
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    yield reader, writer
    writer.close()


async def answered(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))


@pytest.mark.parametrize("sent", [b"", b"GET /version HTTP/1.1\r\n", QUICK[:-2]])
async def test_no_request_no_connection(connection: Connection, sent: bytes) -> None:
    reader, writer = connection
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(), KEEPALIVE * 10) == b""


@pytest.mark.parametrize("sent", [QUICK, ORDINARY])
@pytest.mark.parametrize("again", [b"", ORDINARY[:-4]])
async def test_after_a_request_the_idle_time_counts(connection: Connection, sent: bytes, again: bytes) -> None:
    reader, writer = connection
    writer.write(sent)
    await answered(reader)
    writer.write(again)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await asyncio.wait_for(reader.read(), KEEPALIVE * 10) == b""
    assert loop.time() - begin > KEEPALIVE / 2
