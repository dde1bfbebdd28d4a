"""Writes that come in one piece: answered like all others, in their order, and to their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from minikube_py.components.apiserver.http.call import answer_bytes
from minikube_py.components.apiserver.http.request_info import RequestInfo
from minikube_py.components.apiserver.http.whole_requests import MOST_BYTES, MOST_HEAD_BYTES, WholeRequests
from minikube_py.components.apiserver.registry.metadata import new_uid
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.types import AdmissionChain, AdmissionRequest
from minikube_py.machinery.resources import CONFIG_MAPS

MAPS = "/api/v1/namespaces/x/configmaps"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def elsewhere(info: RequestInfo) -> bool:
    return info.group == "metrics.k8s.io"


@pytest.fixture
def whole() -> WholeRequests:
    return WholeRequests(elsewhere, lambda: 0.0)


@pytest.fixture
async def connection(http: aiohttp.ClientSession, api: ApiServer) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    yield reader, writer
    writer.close()


def request(method: str, path: str, body: object = None, *lines: str) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    fields = ["Host: x", "User-Agent: test/1", "Content-Type: application/json", f"Content-Length: {len(data)}", *lines]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode() + data


def config_map(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"k": "v"}}


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode()
    line, *fields = head.rstrip().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return int(line.split()[1]), headers, await reader.readexactly(int(headers["Content-Length"]))


POST = request("POST", MAPS, config_map("a"))


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (POST, True),
        (request("PUT", f"{MAPS}/a", config_map("a")), True),
        (request("PATCH", f"{MAPS}/a?fieldManager=me&force=true", {}), True),
        (request("DELETE", f"{MAPS}/a"), True),
        (b"DELETE /api/v1/namespaces/x/configmaps/a HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (POST.replace(b"\r\n\r\n", b"\r\nKubectl-Command: create\r\n\r\n", 1), True),
        (POST[:-1], False),
        (POST + b"x", False),
        (POST + POST, False),
        (POST.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (POST.replace(b"Host: x\r\n", b""), False),
        (POST.replace(b"Host: x", b"Host : x"), False),
        (POST.replace(b"User-Agent", b"Expect: 100-continue\r\nUser-Agent"), False),
        (POST.replace(b"User-Agent", b"Transfer-Encoding: chunked\r\nUser-Agent"), False),
        (POST.replace(b"User-Agent", b"Connection: close\r\nUser-Agent"), False),
        (POST.replace(b"User-Agent", b"Content-Encoding: gzip\r\nUser-Agent"), False),
        (POST.replace(b"User-Agent", b"Impersonate-User: root\r\nUser-Agent"), False),
        (POST.replace(b"User-Agent", b"Content-Length: 5\r\nUser-Agent"), False),
        (POST.replace(b"Content-Length: ", b"Content-Length: +"), False),
        (POST.replace(b"User-Agent: test/1", b"User-Agent: " + b"x" * MOST_HEAD_BYTES), False),
        (POST.replace(b"\r\n", b"\n"), False),
        (request("GET", MAPS), False),
        (request("POST", "/api/v1//namespaces/x/configmaps", {}), False),
        (request("POST", "/api/v1/namespaces/../x/configmaps", {}), False),
        (request("POST", "/api/v1/namespaces/%78/configmaps", {}), False),
        (request("POST", f"{MAPS}?fieldManager=a%20b", {}), False),
        (request("POST", "/version", {}), False),
        (request("POST", "/api/v1/namespaces/x/pods/p/exec", {}), False),
        (request("POST", "/apis/metrics.k8s.io/v1/things", {}), False),
        (request("POST", MAPS, "x" * MOST_BYTES), False),
        (b"", False),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_only_usual_and_complete_writes_are_taken(whole: WholeRequests, data: bytes, taken: bool) -> None:
    assert (whole.read(data) is not None) is taken


def test_what_was_read_is_what_was_sent(whole: WholeRequests) -> None:
    for name in ("a", "b"):  # the header lines of the second are known
        found = whole.read(request("POST", f"{MAPS}?fieldManager=me", config_map(name)))
        assert found is not None
        assert (found.message.method, found.message.path) == ("POST", f"{MAPS}?fieldManager=me")
        assert found.message.url.query["fieldManager"] == "me"
        assert found.message.headers["user-agent"] == "test/1"
        assert json.loads(found.body) == config_map(name)


async def test_the_answer_is_the_ordinary_one(http: aiohttp.ClientSession, connection: Connection) -> None:
    reader, writer = connection
    for body in (config_map("a"), config_map("a"), {"metadata": {"name": "a"}, "dta": {}}, {"kind": "Secret"}):
        writer.write(request("POST", f"{MAPS}?dryRun=All", body))
        status, headers, data = await answered(reader)
        # With a header that the other way does not know, the ordinary way is taken.
        async with http.post(f"{MAPS}?dryRun=All", json=body, headers={"Accept-Language": "en"}) as ordinary:
            assert status == ordinary.status
            assert set(ordinary.headers) - set(headers) <= {"Server"}
            assert headers["Content-Type"] == ordinary.headers["Content-Type"]
            assert headers.get("Warning") == ordinary.headers.get("Warning")
            assert _lasting(data) == _lasting(await ordinary.read())


def _lasting(data: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(data)
    meta = found.get("metadata")
    if isinstance(meta, dict):
        for name in ("uid", "creationTimestamp", "managedFields"):
            meta.pop(name, None)
    return found


async def test_requests_sent_ahead_are_answered_in_order(connection: Connection) -> None:
    reader, writer = connection
    names = [f"n{index:02}" for index in range(40)]
    for name in names:
        writer.write(request("POST", MAPS, config_map(name)))
        await asyncio.sleep(0)
    writer.write(request("GET", f"{MAPS}/n00") + request("PUT", f"{MAPS}/n00", config_map("n00")))
    found = [await answered(reader) for _ in range(42)]
    assert [status for status, _, _ in found] == [201] * 40 + [200] * 2
    assert [json.loads(body)["metadata"]["name"] for _, _, body in found] == [*names, "n00", "n00"]


async def test_a_request_in_pieces_is_left_to_the_parser(connection: Connection) -> None:
    reader, writer = connection
    for name in ("a", "b"):
        data = request("POST", MAPS, config_map(name))
        for start in range(0, len(data), 50):
            writer.write(data[start : start + 50])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answered(reader))[0] == 201
    writer.write(request("DELETE", f"{MAPS}/a"))
    assert (await answered(reader))[0] == 200


async def test_a_write_runs_to_its_end_when_its_client_goes_away(
    http: aiohttp.ClientSession, connection: Connection, api: ApiServer
) -> None:
    _, writer = connection
    kind = api.core.kinds.get("", "v1", "configmaps")
    assert kind is not None
    stored = asyncio.Event()
    api.core.cache(kind).subscribe(lambda _: stored.set())
    writer.write(request("POST", MAPS, config_map("left")))
    writer.close()
    await asyncio.wait_for(stored.wait(), 30)
    async with http.get(f"{MAPS}/left") as answer:
        assert answer.status == 200


async def test_a_write_that_takes_too_long_is_answered_and_goes_on(
    http: aiohttp.ClientSession, connection: Connection, api: ApiServer
) -> None:
    reader, writer = connection
    held, stored = asyncio.Event(), asyncio.Event()
    api.core.cache(api.core.kinds.of(CONFIG_MAPS)).subscribe(lambda _: stored.set())
    api.core.admission = Hesitant(api.core.admission, held)
    writer.write(request("POST", f"{MAPS}?timeout=1ms", config_map("slow")))
    status, _, body = await answered(reader)
    assert (status, json.loads(body)["reason"]) == (504, "Timeout")
    assert await asyncio.wait_for(reader.read(), 30) == b"", "the connection ends: nobody answers on it any more"
    assert not stored.is_set()
    held.set()
    await asyncio.wait_for(stored.wait(), 30)


async def test_a_malformed_time_limit_is_told(connection: Connection) -> None:
    reader, writer = connection
    writer.write(request("POST", f"{MAPS}?timeout=soon", config_map("a")))
    status, _, body = await answered(reader)
    assert status == 400
    assert 'invalid duration "soon"' in json.loads(body)["message"]


@dataclass
class Hesitant:
    """Admission that waits to be let go on."""

    chain: AdmissionChain
    held: asyncio.Event

    async def admit(self, request: AdmissionRequest) -> None:
        await self.held.wait()
        await self.chain.admit(request)

    async def validate(self, request: AdmissionRequest) -> None:
        await self.chain.validate(request)


def test_only_short_complete_answers_are_plain(whole: WholeRequests) -> None:
    assert whole.plain_answer(answer_bytes(b"{}")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{}"
    )
    closing = answer_bytes(b"{}")
    closing.force_close()
    broken = answer_bytes(b"{}")
    broken.headers["Warning"] = "a\r\nb"
    assert whole.plain_answer(closing) is None
    assert whole.plain_answer(broken) is None
    assert whole.plain_answer(web.StreamResponse()) is None


def test_uids_are_random_uuids() -> None:
    import uuid

    found = {new_uid() for _ in range(100)}
    assert len(found) == 100
    assert all(uuid.UUID(text).version == 4 and str(uuid.UUID(text)) == text for text in found)
    assert all(uuid.UUID(text).variant == uuid.RFC_4122 for text in found)
