"""GETs that are answered before there is a request object: like all others to the client, and only those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from minikube_py.components.apiserver.http.quick_get import MOST_BYTES, QuickGets, boundary
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.types import Attributes, Credentials, Decision, UserInfo
from minikube_py.machinery.errors import unauthorized

MAPS = "/api/v1/namespaces/x/configmaps"


class Guard:
    """Authenticates one token, refuses others; allows or denies; waits when told to."""

    def __init__(self) -> None:
        self.allowed = True
        self.waits = False
        self.asked = 0

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        self.asked += 1
        if self.waits:
            await asyncio.sleep(0)
        if credentials.bearer_token != "good":
            raise unauthorized()
        return UserInfo("somebody")

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return (Decision.ALLOW if self.allowed else Decision.DENY), ""


@pytest.fixture
async def session(http: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientSession]:
    async with http.post(MAPS, json={"metadata": {"name": "a"}, "data": {"k": "v"}}) as answer:
        assert answer.status == 201
    yield http


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def quick(api: ApiServer, guard: Guard) -> QuickGets:
    return QuickGets(api.core, guard, guard, api._flow, api._request_metrics, api._clock)


def request(path: str = f"{MAPS}/a", *lines: str, method: str = "GET", token: str = "good") -> bytes:
    fields = ["Host: x", "User-Agent: test/1", *([f"Authorization: Bearer {token}"] if token else []), *lines]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode()


async def test_the_answer_is_the_ordinary_one(session: aiohttp.ClientSession, quick: QuickGets) -> None:
    given = quick.answer(request(), b"")
    assert given is not None
    head, _, body = given.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    async with session.get(f"{MAPS}/a", headers={"Accept-Language": "en"}) as answer:  # not taken by the quick way
        assert body == await answer.read()
        ordinary = dict(answer.headers)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert set(ordinary) - set(fields) <= {"Server"}
    for name in ("Content-Type", "Content-Length", "Cache-Control"):
        assert fields[name] == ordinary[name]


@pytest.mark.parametrize(
    "data",
    [
        request(f"{MAPS}/none"),
        request(f"{MAPS}/a?pretty=1"),
        request(f"{MAPS}/%61"),
        request("/api/v1//namespaces/x/configmaps/a"),
        request("/api/v1/namespaces/x/../x/configmaps/a"),
        request(MAPS),
        request(f"{MAPS}/a/status"),
        request("/api/v1/namespaces/x/endpoints/a"),
        request("/api/v1/configmaps/a"),
        request("/healthz"),
        request(method="HEAD"),
        request(method="DELETE"),
        request(f"{MAPS}/a", "Accept: application/yaml"),
        request(f"{MAPS}/a", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"),
        request(f"{MAPS}/a", "Connection: close"),
        request(f"{MAPS}/a", "Connection: Upgrade", "Upgrade: websocket"),
        request(f"{MAPS}/a", "Content-Length: 0"),
        request(f"{MAPS}/a", "Transfer-Encoding: chunked"),
        request(f"{MAPS}/a", "Impersonate-User: root"),
        request(f"{MAPS}/a", "X-Remote-User: root"),
        request(f"{MAPS}/a", "Audit-Id: mine"),
        request(f"{MAPS}/a", "Host: y"),
        request(f"{MAPS}/a", "Accept : application/json"),
        request(f"{MAPS}/a", "Accept: a", " b"),
        request(f"{MAPS}/a", "Accept: \x00"),
        request(f"{MAPS}/a", "Accept-Encoding: " + "x" * MOST_BYTES),
        request(token="bad"),
        request().replace(b"Bearer good", b"Basic Z29vZA=="),
        request().replace(b"Host: x\r\n", b""),
        request().replace(b"User-Agent: test/1", b"User-Agent: curl/8"),
        request().replace(b"\r\n", b"\n"),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request() + request(),
        request()[:-2],
        b"",
    ],
)
async def test_what_is_unusual_takes_the_ordinary_way(
    session: aiohttp.ClientSession, quick: QuickGets, data: bytes
) -> None:
    assert quick.answer(data, b"") is None


async def test_every_request_is_judged_anew(
    session: aiohttp.ClientSession, quick: QuickGets, guard: Guard, api: ApiServer
) -> None:
    assert quick.answer(request(), b"") is not None
    guard.allowed = False
    assert quick.answer(request(), b"") is None
    guard.allowed = True
    first = quick.answer(request(), b"")
    async with session.put(f"{MAPS}/a", json={"metadata": {"name": "a"}, "data": {"k": "w"}}) as answer:
        assert answer.status == 200
    second = quick.answer(request(), b"")
    assert first is not None
    assert second is not None
    assert b'"w"' in second
    assert b'"w"' not in first
    async with session.delete(f"{MAPS}/a") as answer:
        assert answer.status == 200
    assert quick.answer(request(), b"") is None
    assert guard.asked == 4


async def test_who_has_to_be_waited_for_is_not_asked_twice_for_a_while(
    session: aiohttp.ClientSession, quick: QuickGets, guard: Guard
) -> None:
    guard.waits = True
    assert quick.answer(request(), b"") is None
    assert quick.answer(request(), b"") is None
    assert guard.asked == 1


async def test_two_requests_in_one_piece_get_two_answers(session: aiohttp.ClientSession, api: ApiServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    for data, answers in ((request(), 1), (request() + request(), 2), (request(), 1)):
        writer.write(data)
        for _ in range(answers):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            assert b'"k":"v"' in await reader.readexactly(int(length.split()[1]))
    writer.close()


@pytest.mark.parametrize(
    ("pieces", "left"),
    [
        ([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], 0),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"], 0),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"a", b"bc"], 0),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na"], 2),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd"], -1),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"abcd"], -1),
        ([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], -1),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"], -1),
        ([b"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc"], -1),
        ([b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc"], -1),
        ([b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc"], -1),
        ([b"GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"], -1),
        ([b"GET / HTTP/1.1\r\nHost: a"], -1),
        ([b"GET / HTTP/1.1\nX: a\r\n\r\n"], -1),
        ([b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"], -1),
        ([b"GET / HTTP/1.1\r\nHost: a", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"], -1),
    ],
)
def test_boundaries(pieces: list[bytes], left: int) -> None:
    owed = 0
    for piece in pieces:
        owed = boundary(owed, piece)
    assert owed == left
