"""Bytes that no honest client sends: each is answered with the right class of error, in bounded time, and what
comes after is served as if nothing had been."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time

import pytest
from api_process import UNVERIFIED, Running, hang_up

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
PATIENCE_SECONDS = 20.0  # the slowest, megabytes of YAML, takes 3 s of a free processor (in a thread)
MEMORY_KILOBYTES = 400 * 1024


def config_map(rest: bytes) -> bytes:
    return b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"h"},' + rest + b"}"


def pod(grace: bytes) -> bytes:
    spec = b'{"terminationGracePeriodSeconds":%b,"containers":[{"name":"a","image":"b"}]}' % grace
    return b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"h"},"spec":%b}' % spec


def laughs(levels: int = 9) -> bytes:
    lines = [b"a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [b"a%d: &a%d [%b]" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, levels)]
    return b"\n".join(lines)


BODIES: list[tuple[str, bytes, str, set[int]]] = [
    ("truncated", b'{"a":', JSON, {400}),
    ("empty", b" ", JSON, {400}),
    ("a list", b"[]", JSON, {400}),
    ("100 levels", config_map(b'"data":{"a":' + b"[" * 100 + b"]" * 100 + b"}"), JSON, {400}),
    ("100,000 lists", b"[" * 100_000 + b"]" * 100_000, JSON, {400}),
    ("100,000 objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON, {400}),
    ("10 MB", b'{"a":"' + b"x" * 10_000_000 + b'"}', JSON, {413}),
    ("200,000 keys", b"{" + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}", JSON, {400, 422}),
    ("NaN", config_map(b'"x":NaN'), JSON, {400}),
    ("number of 5,000 digits", config_map(b'"immutable":' + b"9" * 5_000), JSON, {400}),
    ("metadata is text", b'{"kind":"ConfigMap","apiVersion":"v1","metadata":"x"}', JSON, {400}),
    ("kind is a number", b'{"kind":5,"apiVersion":[],"metadata":{"name":"h"}}', JSON, {400}),
    ("aliases without end", laughs(), YAML, {400}),
    ("an alias within itself", b"&a [*a]", YAML, {400}),
    ("3 MB of lists in YAML", b"[" * 3_000_000, YAML, {400}),
    ("3 MB of maps in YAML", b"{a: " * 750_000, YAML, {400}),
    ("3 MB of compact lists in YAML", b"- " * 1_500_000, YAML, {400}),
    ("3 MB of compact keys in YAML", b"? " * 1_500_000, YAML, {400}),
    ("UTF-16 lists in YAML", ("[" * 60_000).encode("utf-16"), YAML, {400}),
    ("700,000 items in YAML", b"- a\n" * 700_000, YAML, {400}),
    ("python tag", b'!!python/object/apply:os.system ["id"]', YAML, {400}),
    ("hexadecimal of 10,000 digits", b"metadata: {name: h, generation: 0x" + b"f" * 10_000 + b"}", YAML, {400}),
    ("a list as key", b"? [a]\n: 1", YAML, {400}),
    ("protobuf without magic", b"abc", PROTOBUF, {400}),
    ("protobuf garbage", b"k8s\x00" + b"\xff" * 50, PROTOBUF, {400}),
    ("unknown media type", b"{}", "text/html", {415}),
]


@pytest.mark.parametrize(("body", "media_type", "codes"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
async def test_bodies(running: Running, body: bytes, media_type: str, codes: set[int]) -> None:
    began = time.monotonic()
    reply = await running.send("POST", MAPS, body, media_type)
    assert reply.code in codes, (reply.code, reply.body[:300])
    assert reply.object["kind"] == "Status"
    assert time.monotonic() - began < PATIENCE_SECONDS
    await still_serves(running)


@pytest.mark.parametrize("text", [b"\xff", b"\\ud800"], ids=["invalid UTF-8", "lone surrogate"])
async def test_texts_that_are_none_are_mended(running: Running, text: bytes) -> None:
    """As Go's decoder does."""
    reply = await running.send(
        "POST", f"{MAPS}?dryRun=All", config_map(b'"data":{"a":"%b"}' % text).replace(b'"h"', b'"m"')
    )
    assert (reply.code, reply.object["data"]) == (201, {"a": "\ufffd"})


@pytest.mark.parametrize("grace", [b"1e999", b"1e30", b"9" * 30, b'"x"', b"1.5"])
async def test_absurd_numbers(running: Running, grace: bytes) -> None:
    reply = await running.send("POST", PODS, pod(grace))
    assert (reply.code, reply.object["kind"]) == (400, "Status")


async def test_two_documents_are_the_first(running: Running) -> None:
    body = b"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\nkind: Secret\n"
    reply = await running.send("POST", f"{MAPS}?dryRun=All", body, YAML)
    assert (reply.code, reply.object["metadata"]["name"]) == (201, "first")


async def test_duplicate_keys_are_refused_where_strictness_is_asked_for(running: Running) -> None:
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","name":"b"}}'
    reply = await running.send("POST", f"{MAPS}?fieldValidation=Strict", body)
    assert reply.code == 400
    assert 'duplicate field "metadata.name"' in reply.object["message"]


PATCHES: list[tuple[str, bytes, str, set[int]]] = [
    ("900 levels", b'{"metadata":{"annotations":' + b'{"a":' * 900 + b"1" + b"}" * 902, MERGE_PATCH, {400}),
    ("a number", b"5", MERGE_PATCH, {400}),
    ("metadata becomes a number", b'{"metadata":5}', MERGE_PATCH, {400, 422}),
    ("text", b'"x"', JSON_PATCH, {400}),
    ("no operations", b"[1,2,null]", JSON_PATCH, {400}),
    ("the whole object becomes a number", b'[{"op":"replace","path":"","value":5}]', JSON_PATCH, {400, 422}),
    ("no metadata any more", b'[{"op":"remove","path":"/metadata"}]', JSON_PATCH, {400, 422}),
    (
        "copies of copies",
        b'[{"op":"add","path":"/metadata/annotations","value":{"a":["x"]}}'
        + b',{"op":"copy","from":"/metadata/annotations/a","path":"/metadata/annotations/a/0"}' * 40
        + b"]",
        JSON_PATCH,
        {413, 422},
    ),
    ("50,000 operations", b"[" + b",".join([b'{"op":"test","path":"/a"}'] * 50_000) + b"]", JSON_PATCH, {413}),
    ("apply: aliases without end", laughs(), APPLY, {400}),
    ("apply: 3 MB of lists", b"[" * 3_000_000, APPLY, {400}),
]


@pytest.mark.parametrize(("body", "media_type", "codes"), [row[1:] for row in PATCHES], ids=[row[0] for row in PATCHES])
async def test_patches(running: Running, body: bytes, media_type: str, codes: set[int]) -> None:
    reply = await running.send("PATCH", "/api/v1/namespaces/default?fieldManager=x", body, media_type)
    assert reply.code in codes, (reply.code, reply.body[:300])
    assert reply.object["kind"] == "Status"
    await still_serves(running)


ENDLESS = '{"v":"meta.k8s.io/v1","rv":1e300,"start":"a"}'
NEGATIVE = '{"v":"meta.k8s.io/v1","rv":-5,"start":"a"}'


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


QUERIES: list[tuple[str, set[int]]] = [
    (f"{PODS}?limit={'9' * 5000}", {400}),
    (f"{PODS}?limit=%D9%A3", {400}),
    (f"{PODS}?resourceVersion={'9' * 5000}", {400}),
    (f"{PODS}?timeoutSeconds={'9' * 30}", {400}),
    (f"{PODS}?limit=1&continue=%00%ff", {400}),
    (f"{PODS}?limit=1&continue={token('[' * 4000)}", {400}),
    (f"{PODS}?limit=1&continue={token(ENDLESS)}", {400}),
    (f"{PODS}?limit=1&continue={token(NEGATIVE)}", {200, 400, 410}),
    (f"{PODS}?labelSelector=%28%28%28", {400}),
    (f"{PODS}?labelSelector=%ff%fe", {400}),
    (f"{PODS}?labelSelector=a%3E{'9' * 5000}", {400}),
    (f"{PODS}?labelSelector={'a' * 7000}!", {400}),
    (f"{PODS}?labelSelector={'a%3Db,' * 1000}c", {200, 400}),
    (f"{PODS}?fieldSelector={'%5C' * 500}", {400}),
    (f"{PODS}?x={'a' * 100_000}", {431}),
    ("/api/v1/namespaces/default%2Fx/pods", {200, 400, 404}),
    (f"{PODS}/a%2Fb", {400, 404}),
    ("/api/v1/../v1/namespaces", {301, 400, 404}),
    ("/api/v1/namespaces/%2e%2e/pods", {200, 400, 404}),
    ("/api/v1/namespaces/default/services/a/proxy/../../../../secrets", {400, 404, 503}),
    ("/api/v1/namespaces/%00", {400, 404}),
    ("/api/v1/namespaces/%zz", {400, 404}),
]


@pytest.mark.parametrize(("path", "codes"), QUERIES, ids=[path[:60] for path, _ in QUERIES])
async def test_paths_and_queries(running: Running, path: str, codes: set[int]) -> None:
    reply = await running.send("GET", path)
    assert reply.code in codes, (reply.code, reply.body[:300])
    await still_serves(running)


def chunked(size: int, count: int) -> bytes:
    return (b"%x\r\n" % size + b"x" * size + b"\r\n") * count + b"0\r\n\r\n"


MESSAGES: list[tuple[str, tuple[str, ...], bytes, set[int]]] = [
    ("two framings", ("Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", {400}),
    ("two lengths", ("Content-Length: 5", "Content-Length: 6"), b"abcdef", {400}),
    ("negative length", ("Content-Length: -5",), b"", {400}),
    ("endless length", ("Content-Length: 99999999999999999999999",), b"", {400}),
    ("unknown framing", ("Transfer-Encoding: xchunked",), b"0\r\n\r\n", {400}),
    ("chunk without size", ("Transfer-Encoding: chunked",), b"zz\r\n", {400}),
    ("chunk of absurd size", ("Transfer-Encoding: chunked",), b"f" * 18 + b"\r\n", {400}),
    ("10 MB of chunks", ("Transfer-Encoding: chunked",), chunked(65536, 160), {413}),
    ("folded header", ("X: a\r\n b",), b"", {400}),
    ("blank before the colon", ("X : a",), b"", {400}),
    ("NUL in a header", ("X: a\0b",), b"", {400}),
    ("header of 100 kB", ("X: " + "a" * 100_000,), b"", {431}),
    ("5,000 headers", tuple(f"X{n}: a" for n in range(5000)), b"", {431}),
    ("an unknown expectation", ("Expect: bananas", "Content-Length: 2"), b"{}", {417}),
    ("two codings of a message", ("Transfer-Encoding: gzip, chunked",), b"2\r\n{}\r\n0\r\n\r\n", {501}),
    ("10 MB are announced", ("Expect: 100-continue", "Content-Length: 10000000"), b"", {413}),
    ("a length with a sign", ("Content-Length: +2",), b"{}", {400}),
    ("an unknown upgrade", ("Connection: Upgrade", "Upgrade: x", "Content-Length: 4"), b"{}  ", {422}),
    ("extensions of chunks", ("Transfer-Encoding: chunked",), b"2;a=b\r\n{}\r\n0\r\nX: a\r\n\r\n", {422}),
    ("broken gzip", ("Content-Encoding: gzip", "Content-Length: 9"), b"\x1f\x8bgarbage", {400}),
    ("unknown encoding", ("Content-Encoding: br", "Content-Length: 2"), b"{}", {400, 415}),
]


@pytest.mark.parametrize(("lines", "body", "codes"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
async def test_messages(running: Running, lines: tuple[str, ...], body: bytes, codes: set[int]) -> None:
    reply = await running.exchange(running.head("POST", MAPS, "Content-Type: application/json", *lines) + body)
    assert reply.code in codes, (reply.code, reply.body[:300])
    assert reply.object["kind"] == "Status"
    await still_serves(running)


LINES: list[tuple[str, str, set[int]]] = [
    ("an old version", "GET /version HTTP/1.0", {200}),
    ("no version", "GET /version", {400}),
    ("version 2", "GET /version HTTP/2.0", {505}),
    ("version 9.9", "GET /version HTTP/9.9", {400, 505}),
    ("no request", "GARBAGE", {400, 405}),
    ("the target names a server", "GET http://elsewhere:1/version?a=b HTTP/1.1", {200}),
    ("the target names a server alone", "GET http://elsewhere HTTP/1.1", {200}),
    ("a question about the server", "OPTIONS * HTTP/1.1", {200}),
    ("another target", "GET * HTTP/1.1", {400}),
    ("a connection to elsewhere", "CONNECT elsewhere:443 HTTP/1.1", {404, 405}),
    ("an echo", "TRACE /api/v1/pods HTTP/1.1", {405}),
    ("small letters", "get /version HTTP/1.1", {405}),
    ("a blank in the path", "GET /api/v1/na me HTTP/1.1", {400}),
    ("no path", "GET version HTTP/1.1", {400}),
    ("two slashes first", "GET //version HTTP/1.1", {404}),
    ("a fragment", "GET /version#a HTTP/1.1", {404}),
    ("2 MB of path", f"GET /api/v1/{'a' * 2_000_000} HTTP/1.1", {431}),
]


@pytest.mark.parametrize(("line", "codes"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
async def test_request_lines(running: Running, line: str, codes: set[int]) -> None:
    rest = running.head("GET", "/").partition(b"\r\n")[2]
    reply = await running.exchange(line.encode() + b"\r\n" + rest)
    assert reply.code in codes, (reply.code, reply.body[:300])
    await still_serves(running)


async def test_requests_in_a_row_are_answered_in_their_order(running: Running) -> None:
    body = b'{"metadata":{"name":"row"}}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    write = running.head("POST", f"{MAPS}?dryRun=All", *lines) + body
    last = running.head("GET", "/api/v1/namespaces/default", "Connection: close")
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=UNVERIFIED)
        writer.write(running.head("GET", "/version") + write + running.head("GET", "/nothing") + last)
        answers = await reader.read(-1)
    await hang_up(writer)
    assert [int(part[1:4]) for part in answers.split(b"HTTP/1.1")[1:]] == [200, 201, 404, 200]


async def test_who_waits_for_it_is_told_to_send_the_body(running: Running) -> None:
    body = b'{"metadata":{"name":"waits"}}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue")
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=UNVERIFIED)
        writer.write(running.head("POST", f"{MAPS}?dryRun=All", *lines))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
    await hang_up(writer)


async def test_400_groups_of_an_impersonated_user_are_no_attack(running: Running) -> None:
    lines = ["Impersonate-User: jane", *(f"Impersonate-Group: g{n}" for n in range(400))]
    reply = await running.exchange(running.head("GET", "/api/v1/namespaces", *lines))
    assert reply.code == 403


async def test_a_gzip_bomb_is_stopped_at_the_limit_of_bodies(running: Running) -> None:
    bomb = gzip.compress(b'{"a":"' + b"x" * 200_000_000 + b'"}')
    lines = ("Content-Type: application/json", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}")
    reply = await running.exchange(running.head("POST", MAPS, *lines) + bomb)
    assert reply.code == 413
    assert running.resident_kilobytes() < MEMORY_KILOBYTES


async def test_a_smuggled_request_is_not_answered(running: Running) -> None:
    """A quick GET must not be seen where the parser is in the middle of something else."""
    begun = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
    inner = running.head("GET", "/api/v1/namespaces/default")
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=UNVERIFIED)
    writer.write(begun)
    await asyncio.sleep(0.2)  # two TLS records, so two reads of the server
    writer.write(inner)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    await hang_up(writer)
    assert b"kind" not in head
    assert b"application/json" not in head or b" 400 " in head.split(b"\r\n")[0]


async def test_a_regular_expression_of_a_user_takes_bounded_time(running: Running) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "string", "pattern": "^(a+)+$"}}}
    names = {"plural": "regs", "kind": "Reg"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": "x.example", "scope": "Cluster", "names": names, "versions": [version]}
    definition = {"metadata": {"name": "regs.x.example"}, "spec": spec}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await running.send("POST", path, json.dumps(definition).encode())).code == 201
    custom = {"apiVersion": "x.example/v1", "kind": "Reg", "metadata": {"name": "a"}, "spec": "a" * 5000 + "!"}
    ends = time.monotonic() + PATIENCE_SECONDS
    while (reply := await running.send("POST", "/apis/x.example/v1/regs", json.dumps(custom).encode())).code == 404:
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)
    assert reply.code == 422


async def test_slow_clients_do_not_keep_others_waiting(running: Running) -> None:
    """Two hundred connections with half a request each."""
    async with asyncio.timeout(60):
        opened = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", running.port, ssl=UNVERIFIED) for _ in range(200))
        )
    for _, writer in opened:
        writer.write(b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nContent-Le")
    began = time.monotonic()
    await still_serves(running)
    assert time.monotonic() - began < PATIENCE_SECONDS
    for _, writer in opened:
        await hang_up(writer)


async def still_serves(running: Running) -> None:
    assert running.process.poll() is None
    reply = await running.send("GET", "/api/v1/namespaces/default")
    assert (reply.code, reply.object["metadata"]["name"]) == (200, "default")
    assert running.resident_kilobytes() < MEMORY_KILOBYTES
