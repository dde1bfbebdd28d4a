"""The HTTP face: representations, errors, lists, watches, discovery."""

from __future__ import annotations

import asyncio
import gzip

import aiohttp
import orjson
import pytest
from multidict import CIMultiDict

from minikube_py.components.apiserver.http.warnings import add_warnings
from minikube_py.machinery.objects import Object

MAPS = "/api/v1/namespaces/x/configmaps"


async def make(http: aiohttp.ClientSession, name: str, **labels: str) -> Object:
    body = {"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}}
    async with http.post(MAPS, json=body) as answer:
        assert answer.status == 201, await answer.text()
        found: Object = await answer.json()
        return found


async def fetch(http: aiohttp.ClientSession, path: str, accept: str = "application/json") -> tuple[int, Object]:
    async with http.get(path, headers={"Accept": accept}) as answer:
        return answer.status, orjson.loads(await answer.read())


async def test_what_is_stored_is_served(http: aiohttp.ClientSession) -> None:
    made = await make(http, "a")
    assert await fetch(http, f"{MAPS}/a") == (200, made)
    status, listed = await fetch(http, MAPS)
    item = {key: value for key, value in made.items() if key not in ("kind", "apiVersion")}
    assert (status, listed["kind"], listed["items"]) == (200, "ConfigMapList", [item])


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (f"{MAPS}/none", 404, 'configmaps "none" not found'),
        ("/api/v1/nope", 404, "the server could not find the requested resource"),
        (
            f"{MAPS}?labelSelector=a=b=c",
            400,
            "unable to parse requirement: found '=', expected: ',' or 'end of string'",
        ),
        (f"{MAPS}?resourceVersion=abc", 400, None),
        (f"{MAPS}?resourceVersion=99999&resourceVersionMatch=Exact", 504, None),
        (f"{MAPS}?limit=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
    ],
)
async def test_errors(http: aiohttp.ClientSession, path: str, code: int, message: str | None) -> None:
    status, found = await fetch(http, path)
    assert (status, found["kind"], found["code"]) == (code, "Status", code)
    if message and "labelSelector" not in path:
        assert found["message"] == message


@pytest.mark.parametrize(
    ("form", "text", "problem"),
    [
        ("merge-patch+json", '{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        ("strategic-merge-patch+json", '{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (
            "strategic-merge-patch+json",
            '{"immutable":false,"$retain":["x"],"data":{"a":"2"}}',
            'unknown field "$retain"',
        ),
        (
            "json-patch+json",
            '[{"op":"add","path":"/data/a","value":"2","of":1}]',
            'json patch unknown field "[0].of"',
        ),
    ],
    ids=["merge", "strategic", "unknown directive", "json"],
)
async def test_what_is_wrong_in_the_text_of_a_patch(
    http: aiohttp.ClientSession, form: str, text: str, problem: str
) -> None:
    await make(http, "a")
    found = []
    for validation in ("Strict", "Warn", "Ignore"):
        url, headers = f"{MAPS}/a?fieldValidation={validation}", {"Content-Type": f"application/{form}"}
        async with http.patch(url, data=text, headers=headers) as answer:
            body = await answer.json()
            told = answer.headers.getall("Warning", [])
            found.append((answer.status, problem in body.get("message", ""), told))
            assert answer.status == 422 or body["data"] == {"a": "2", "k": "v"}
    quoted = problem.replace('"', '\\"')
    assert found == [(422, True, []), (200, False, [f'299 - "{quoted}"']), (200, False, [])]


async def test_pages_are_one_snapshot(http: aiohttp.ClientSession) -> None:
    for number in range(5):
        await make(http, f"a{number}")
    _, first = await fetch(http, f"{MAPS}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    await make(http, "a9")
    async with http.delete(f"{MAPS}/a3") as answer:
        assert answer.status == 200
    names = [item["metadata"]["name"] for item in first["items"]]
    token = first["metadata"]["continue"]
    while token:
        _, page = await fetch(http, f"{MAPS}?limit=2&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
    assert names == ["a0", "a1", "a2", "a3", "a4"]


async def test_table_and_metadata(http: aiohttp.ClientSession) -> None:
    await make(http, "a")
    _, table = await fetch(http, MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["a", 1]
    _, partial = await fetch(http, f"{MAPS}/a", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    assert set(partial) == {"kind", "apiVersion", "metadata"}


async def test_strict_validation(http: aiohttp.ClientSession) -> None:
    body = {"metadata": {"name": "a"}, "nope": 1}
    async with http.post(f"{MAPS}?fieldValidation=Strict", json=body) as answer:
        assert answer.status == 400
        assert 'strict decoding error: unknown field "nope"' in (await answer.json())["message"]
    async with http.post(MAPS, json=body) as answer:
        assert answer.headers["Warning"] == '299 - "unknown field \\"nope\\""'
        assert "nope" not in await answer.json()


@pytest.mark.parametrize(
    "text",
    [
        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}',
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  a: '1'\n  a: '2'\n",
    ],
)
async def test_applied_configurations_with_repeated_keys(http: aiohttp.ClientSession, text: str) -> None:
    """JSON is read as the YAML that it is; the last value counts where it is not refused."""
    headers = {"Content-Type": "application/apply-patch+yaml"}
    line = 1 if text.startswith("{") else 7
    wanted = f'yaml: unmarshal errors:\n  line {line}: key "a" already set in map'
    path = f"{MAPS}/a?fieldManager=m&fieldValidation="
    async with http.patch(path + "Strict", data=text, headers=headers) as answer:
        assert answer.status == 400
        message = (await answer.json())["message"]
        assert message == f"error strict decoding YAML: error converting YAML to JSON: {wanted}"
    async with http.patch(path + "Warn", data=text, headers=headers) as answer:
        assert answer.status == 201
        assert answer.headers["Warning"] == f'299 - "line {line}: key \\"a\\" already set in map"'
        assert (await answer.json())["data"] == {"a": "2"}
    async with http.patch(path + "Ignore", data=text, headers=headers) as answer:
        assert answer.status == 200 and "Warning" not in answer.headers


async def test_large_answers_are_compressed(http: aiohttp.ClientSession) -> None:
    body = {"metadata": {"name": "big"}, "data": {"k": "v" * 200_000}}
    async with http.post(MAPS, json=body) as answer:
        assert answer.status == 201
    async with aiohttp.ClientSession(auto_decompress=False) as raw:
        url = str(http._build_url(f"{MAPS}/big"))
        async with raw.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert orjson.loads(gzip.decompress(await answer.read()))["data"] == body["data"]


async def next_event(lines: aiohttp.StreamReader) -> tuple[str, Object]:
    event = orjson.loads(await asyncio.wait_for(lines.readline(), 30))
    return event["type"], event["object"]


async def test_watch_sees_selector_transitions(http: aiohttp.ClientSession) -> None:
    await make(http, "a", l="1")
    async with http.get(f"{MAPS}?watch=1&labelSelector=l%3D1") as stream:
        assert (await next_event(stream.content))[0] == "ADDED"
        await http.patch(
            f"{MAPS}/a",
            data=b'{"metadata":{"labels":{"l":"2"}}}',
            headers={"Content-Type": "application/merge-patch+json"},
        )
        kind, gone = await next_event(stream.content)
        assert (kind, gone["metadata"]["labels"]) == ("DELETED", {"l": "1"})


async def test_watch_resumes_without_gaps(http: aiohttp.ClientSession) -> None:
    made = await make(http, "a")
    for number in range(3):
        await make(http, f"b{number}")
    async with http.get(f"{MAPS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}") as stream:
        names = [(await next_event(stream.content))[1]["metadata"]["name"] for _ in range(3)]
    assert names == ["b0", "b1", "b2"]


async def test_streaming_list(http: aiohttp.ClientSession) -> None:
    await make(http, "a")
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    async with http.get(f"{MAPS}?{query}") as stream:
        assert (await next_event(stream.content))[0] == "ADDED"
        kind, mark = await next_event(stream.content)
    assert (kind, mark["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})


async def test_watch_ends_after_its_time(http: aiohttp.ClientSession) -> None:
    async with http.get(f"{MAPS}?watch=1&timeoutSeconds=1") as stream:
        assert await asyncio.wait_for(stream.content.read(), 30) == b""


async def test_discovery_and_health(http: aiohttp.ClientSession) -> None:
    _, groups = await fetch(http, "/apis")
    assert groups["groups"][0]["name"] == "apiregistration.k8s.io"
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    async with http.get("/apis", headers={"Accept": aggregated}) as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Content-Type"] == aggregated
    async with http.get("/apis", headers={"Accept": aggregated, "If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with http.get("/readyz?verbose") as answer:
        assert (await answer.text()).endswith("readyz check passed\n")
    async with http.get("/metrics") as answer:
        assert "apiserver_request_total" in await answer.text()


async def test_a_watch_in_the_form_of_a_list_ends_at_its_first_event(http: aiohttp.ClientSession) -> None:
    await make(http, "a")
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    async with http.get(f"{MAPS}?watch=true", headers={"Accept": accept}) as answer:
        assert (answer.status, await asyncio.wait_for(answer.read(), 30)) == (200, b"")


@pytest.mark.parametrize(
    ("warnings", "shown"),
    [
        (["a", "b", "a", ""], ["a", "b"]),
        (['say "x\\y"'], ['say \\"x\\\\y\\"']),
        (["über 日本"], ["über 日本"]),
        (["yaml: unmarshal errors:\n  line 1: a\n  line 2: b"], ["line 1: a", "line 2: b"]),
        (["a\nb", "a\rb", "a\x00b", "a\x7fb", "a\x85b", "\ud800", "c"], ["c"]),
        (["x" * 4096], ["x" * 4096]),
        (["x" * 300, "y" * 4000], ["x" * 256, "y" * 256]),
        ([f"{n:x<300}" for n in range(40)], [f"{n:x<256}" for n in range(16)]),
    ],
    ids=["once", "quoted", "other letters", "lines of YAML", "control characters", "all", "cut", "cut and limited"],
)
def test_warnings_stand_in_headers(warnings: list[str], shown: list[str]) -> None:
    headers: CIMultiDict[str] = CIMultiDict()
    add_warnings(headers, warnings)
    assert headers.getall("Warning", []) == [f'299 - "{text}"' for text in shown]


async def test_an_unknown_field_with_control_characters_is_no_harm(http: aiohttp.ClientSession) -> None:
    body = {"metadata": {"name": "w"}, "a\u0001b": 1, "c": 1}
    async with http.post(MAPS, json=body) as answer:
        assert (answer.status, answer.headers.getall("Warning")) == (201, ['299 - "unknown field \\"c\\""'])
