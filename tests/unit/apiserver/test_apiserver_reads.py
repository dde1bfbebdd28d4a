"""Options of reads as Kubernetes checks them: versions, tokens, watches, selectors, representations, health pages."""

from __future__ import annotations

import asyncio
import base64

import aiohttp
import orjson
import pytest

from minikube_py.datastore.sqlite import SqliteDatastore
from minikube_py.machinery import protobuf
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import definitions

MAPS = "/api/v1/namespaces/x/configmaps"
FOREVER = 10**15
"""A revision that no test reaches."""


async def make(http: aiohttp.ClientSession, name: str, **labels: str) -> Object:
    async with http.post(MAPS, json={"metadata": {"name": name, "labels": labels}}) as answer:
        assert answer.status == 201, await answer.text()
        found: Object = await answer.json()
        return found


async def fetch(http: aiohttp.ClientSession, path: str, accept: str = "application/json") -> tuple[int, Object]:
    async with http.get(path, headers={"Accept": accept}) as answer:
        return answer.status, orjson.loads(await answer.read())


async def events(http: aiohttp.ClientSession, query: str, accept: str = "application/json") -> list[Object]:
    """All events of a watch that the server ends."""
    async with http.get(f"{MAPS}?watch=1&{query}", headers={"Accept": accept}) as answer:
        assert answer.status == 200, await answer.text()
        return [orjson.loads(line) for line in (await answer.read()).splitlines()]


PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize("first", ["an answer", "a body", "a refusal", "a watch"])
async def test_the_first_use_of_protobuf_does_not_block_the_loop(http: aiohttp.ClientSession, first: str) -> None:
    """The tables are read from a file; whoever blocks the loop by that gets 500."""
    body = await asyncio.to_thread(
        protobuf.encode, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    )
    protobuf._numbers.cache_clear()
    definitions().schema("io.k8s.api.core.v1.ConfigMap").cache.pop("protobuf")
    if first == "a body":
        async with http.post(MAPS, data=body, headers={"Content-Type": PROTOBUF}) as answer:
            assert (answer.status, (await answer.json())["data"]) == (201, {"k": "v"})
        return
    await make(http, "a")
    path, code, begin = {
        "an answer": (f"{MAPS}/a", 200, b"k8s\0"),
        "a refusal": (f"{MAPS}/b", 404, b"k8s\0"),
        "a watch": (f"{MAPS}?watch=1", 200, b"\n\x05ADDED"),
    }[first]
    async with http.get(path, headers={"Accept": PROTOBUF}) as answer:
        assert answer.status == code
        if first == "a watch":
            await answer.content.readexactly(4)  # the length of a frame
        assert await answer.content.readexactly(len(begin)) == begin


UNLESS = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
FOR_WATCH = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
NEEDS = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
WITH_TOKEN = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
FOR_LIST = "Forbidden: sendInitialEvents is forbidden for list"


@pytest.mark.parametrize(
    ("query", "problems"),
    [
        pytest.param("resourceVersionMatch=Exact", [UNLESS], id="a match needs a version"),
        pytest.param(
            "resourceVersion=5&resourceVersionMatch=Near",
            ['Unsupported value: "Near": supported values: "Exact", "NotOlderThan", ""'],
            id="an unknown match",
        ),
        pytest.param("continue=x&resourceVersionMatch=Exact", [UNLESS, WITH_TOKEN], id="a match with a token"),
        pytest.param("sendInitialEvents=false", [FOR_LIST], id="initial events of a list"),
        pytest.param(
            "sendInitialEvents=&resourceVersionMatch=Exact", [UNLESS, FOR_LIST], id="initial events and a match"
        ),
        pytest.param("watch=1&resourceVersionMatch=NotOlderThan", [FOR_WATCH], id="a match without initial events"),
        pytest.param(
            "watch=1&resourceVersionMatch=Exact",
            [FOR_WATCH, 'Unsupported value: "Exact": supported values: "NotOlderThan"'],
            id="a match that watches do not have",
        ),
        pytest.param("watch=1&sendInitialEvents=true", [NEEDS], id="initial events without a match"),
        pytest.param(
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            [NEEDS, 'Unsupported value: "Exact": supported values: "NotOlderThan"'],
            id="initial events with another match",
        ),
        pytest.param(
            "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
            [WITH_TOKEN],
            id="a watch with a token",
        ),
    ],
)
async def test_options_that_do_not_go_together(http: aiohttp.ClientSession, query: str, problems: list[str]) -> None:
    status, found = await fetch(http, f"{MAPS}?{query}")
    assert status == 422
    assert found["message"].startswith('ListOptions.meta.k8s.io "" is invalid: ')
    assert [cause["message"] for cause in found["details"]["causes"]] == problems


def token(**fields: object) -> str:
    whole = {"v": "meta.k8s.io/v1", "rv": 1, "start": "a", **fields}
    return base64.urlsafe_b64encode(orjson.dumps(whole)).rstrip(b"=").decode()


NOT_VALID = "invalid continue token: continue key is not valid"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("abc", ": invalid character 'i' looking for beginning of value", id="no JSON"),
        pytest.param("ab*c", ": illegal base64 data at input byte 2", id="another alphabet"),
        pytest.param("e319", ": invalid character '}' after top-level value", id="more than JSON"),
        pytest.param(f"{token()}=", f": illegal base64 data at input byte {len(token())}", id="padding"),
        pytest.param("abcde", ": illegal base64 data at input byte 4", id="a character too many"),
        pytest.param(token(v="v2"), ": server does not recognize this encoded version v2", id="another version"),
        pytest.param(token(v=None), ": server does not recognize this encoded version ", id="no version"),
        pytest.param(
            token(rv=0), ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)", id="no revision"
        ),
        pytest.param(token(start=""), ": encoded start key empty (version meta.k8s.io/v1)", id="no key"),
        pytest.param(token(start="../y/a"), ": ../y/a", id="a key outside the collection"),
        pytest.param(token(start="a//b"), ": a//b", id="a key that is no path"),
        pytest.param(
            token(rv="1"),
            ": json: cannot unmarshal string into Go struct field continueToken.rv of type int64",
            id="a revision that is text",
        ),
        pytest.param(
            token(rv=1.5),
            ": json: cannot unmarshal number 1.5 into Go struct field continueToken.rv of type int64",
            id="a revision that is no integer",
        ),
    ],
)
async def test_what_is_no_continue_token(http: aiohttp.ClientSession, text: str, why: str) -> None:
    status, found = await fetch(http, f"{MAPS}?limit=1&continue={text}")
    assert (status, found["message"]) == (400, NOT_VALID + why)


async def test_a_token_is_read_before_the_version_beside_it(http: aiohttp.ClientSession) -> None:
    assert (await fetch(http, f"{MAPS}?continue=abc&resourceVersion=1"))[1]["message"].startswith(NOT_VALID)
    status, found = await fetch(http, f"{MAPS}?continue={token()}&resourceVersion=abc")
    assert (status, found["message"]) == (400, "specifying resource version is not allowed when using continue")


async def test_keys_of_tokens_may_begin_with_a_slash(http: aiohttp.ClientSession) -> None:
    made = [await make(http, name) for name in ("a", "b", "c")]
    revision = int(made[-1]["metadata"]["resourceVersion"])
    for start in ("b", "/b"):
        _, found = await fetch(http, f"{MAPS}?continue={token(rv=revision, start=start)}")
        assert [item["metadata"]["name"] for item in found["items"]] == ["b", "c"]


async def test_a_watch_may_begin_in_the_future(http: aiohttp.ClientSession) -> None:
    await make(http, "a")
    assert await events(http, f"resourceVersion={FOREVER}&timeoutSeconds=1") == []


async def test_a_watch_from_the_future_skips_what_comes_before(http: aiohttp.ClientSession) -> None:
    made = await make(http, "a")
    start = int(made["metadata"]["resourceVersion"]) + 1  # of the next change
    async with http.get(f"{MAPS}?watch=1&resourceVersion={start}") as answer:
        later = [await make(http, name) for name in ("b", "c")]
        seen = orjson.loads(await asyncio.wait_for(answer.content.readline(), 60))
    wanted = next(obj for obj in later if int(obj["metadata"]["resourceVersion"]) > start)
    assert (seen["type"], seen["object"]) == ("ADDED", wanted)


async def test_initial_events_of_the_future_are_refused_in_the_stream(http: aiohttp.ClientSession) -> None:
    query = f"sendInitialEvents=1&resourceVersionMatch=NotOlderThan&resourceVersion={FOREVER}"
    (only,) = await events(http, query)
    assert (only["type"], only["object"]["kind"], only["object"]["code"]) == ("ERROR", "Status", 504)


@pytest.mark.parametrize("query", ["", "&resourceVersion=0"])
async def test_initial_events_that_nobody_wants(http: aiohttp.ClientSession, query: str) -> None:
    await make(http, "a")
    assert (
        await events(http, f"sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=1{query}") == []
    )


async def test_a_watch_of_one_name_selects_no_other(http: aiohttp.ClientSession) -> None:
    path = "/api/v1/watch/namespaces/x/configmaps/a?timeoutSeconds=1&fieldSelector="
    for selector in ("metadata.name%3Db", "metadata.namespace%3Dx"):
        status, found = await fetch(http, path + selector)
        assert (status, found["message"]) == (400, "fieldSelector metadata.name doesn't match requested name")
    async with http.get(f"{path}metadata.name%3Da") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        ("metadata.name=b,metadata.name=a=b,zzz", "invalid field selector: unescaped character in value: 61"),
        ("zzz,aaa", "invalid selector: 'zzz,aaa'; can't understand 'aaa'"),
        (r"metadata.name=a\x", r"invalid field selector: invalid escape sequence: \x"),
    ],
    ids=["a second sign", "terms in their order", "the first of several", "an escape"],
)
async def test_malformed_field_selectors(http: aiohttp.ClientSession, selector: str, why: str) -> None:
    async with http.get(MAPS, params={"fieldSelector": selector}) as answer:
        found = await answer.json()
    assert (found["code"], found["message"]) == (400, why)


TABLE = ";as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json;v=v1", 406),
        ("application/json;as=Table", 406),
        ("application/json;stream=watch", 200),
        ("application/json;stream=nope", 406),
        ("application/yaml;stream=watch", 406),
        ("application/json;sv=v1", 200),
        ("application/json;sv=v2", 406),
        (f"application/json{TABLE}, application/json", 200),
    ],
)
async def test_parameters_of_what_is_accepted(http: aiohttp.ClientSession, accept: str, status: int) -> None:
    await make(http, "a")
    async with http.get(f"{MAPS}/a", headers={"Accept": accept}) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("query", "headers", "pretty"),
    [
        ("?pretty=true", {}, True),
        ("?pretty=yes", {"User-Agent": "curl"}, False),
        ("", {"User-Agent": "curl"}, True),
        ("", {"User-Agent": "Mozilla/4.0"}, False),
        ("", {"Accept": "application/json;pretty=1"}, True),
    ],
    ids=["true", "what is no bool is false", "curl", "an old browser", "a parameter"],
)
async def test_pretty_answers(
    http: aiohttp.ClientSession, query: str, headers: dict[str, str], *, pretty: bool
) -> None:
    await make(http, "a")
    async with http.get(f"{MAPS}/a{query}", headers=headers) as answer:
        assert (b"\n  " in await answer.read()) is pretty


@pytest.mark.parametrize("path", [f"{MAPS}/a", MAPS, f"{MAPS}?watch=1"])
async def test_rows_include_what_is_known(http: aiohttp.ClientSession, path: str) -> None:
    await make(http, "a")
    separator = "&" if "?" in path else "?"
    status, found = await fetch(http, f"{path}{separator}includeObject=All", f"application/json{TABLE}")
    why = "Unable to convert to Table as requested: includeObject: Invalid value: "
    assert (status, found["message"]) == (400, f"{why}\"All\": must be 'Metadata', 'Object', 'None', or empty")


@pytest.mark.parametrize(
    ("timeout", "why"),
    [("5", 'missing unit in duration "5"'), ("1m5", 'missing unit in duration "1m5"'),
     ("5x", 'unknown unit "x" in duration "5x"'), ("x", 'invalid duration "x"')],
)  # fmt: skip
async def test_malformed_timeouts(http: aiohttp.ClientSession, timeout: str, why: str) -> None:
    status, found = await fetch(http, f"{MAPS}?timeout={timeout}")
    assert (status, found["message"]) == (400, f"invalid timeout specified in the request URL - time: {why}")


async def test_checks_can_be_left_out_of_health_pages(http: aiohttp.ClientSession) -> None:
    async with http.get("/livez?verbose&exclude=ping&exclude=etcd&exclude=nope") as answer:
        text = await answer.text()
    assert text.splitlines() == [
        "[+]ping excluded: ok",
        "[+]etcd excluded: ok",
        'warn: some health checks cannot be excluded: no matches for "nope"',
        "livez check passed",
    ]


async def test_documents_that_are_asked_for_by_their_hash_are_kept(http: aiohttp.ClientSession) -> None:
    _, index = await fetch(http, "/openapi/v3")
    url = index["paths"]["apis/batch/v1"]["serverRelativeURL"]
    path, _, wanted = url.partition("?hash=")
    async with http.get(url) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, f'"{wanted}"')
        assert answer.headers["Cache-Control"] == "public, immutable"
        assert "Expires" in answer.headers
    async with http.get(f"{path}?hash=OLD", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, url)
    async with http.get(path) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache, private")


_OPENAPI = "application/com.github.proto-openapi.spec"


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/openapi/v2", "", "application/json"),
        ("/openapi/v2", "*/*", "application/json"),
        ("/openapi/v2", f"{_OPENAPI}.v2@v1.0+protobuf", f"{_OPENAPI}.v2.v1.0+protobuf"),
        ("/openapi/v2", f"application/json;q=0.5, {_OPENAPI}.v2.v1.0+protobuf", f"{_OPENAPI}.v2.v1.0+protobuf"),
        ("/openapi/v2", f"{_OPENAPI}.v2.v1.0+protobuf;q=0.5, application/*", "application/json"),
        ("/openapi/v2", f"{_OPENAPI}.v3.v1.0+protobuf", ""),
        ("/openapi/v3/version", "", "application/json"),
        ("/openapi/v3/version", "text/html, application/json", "application/json"),
        ("/openapi/v3/version", f"{_OPENAPI}.v3@v1.0+protobuf", f"{_OPENAPI}.v3.v1.0+protobuf"),
        ("/openapi/v3/version", f"{_OPENAPI}.v3.v1.0+protobuf,*/*", f"{_OPENAPI}.v3.v1.0+protobuf"),
        ("/openapi/v3/version", "application/yaml", ""),
        ("/openapi/v3", "application/yaml", "text/plain; charset=utf-8"),
    ],
)
async def test_forms_of_openapi_documents(http: aiohttp.ClientSession, path: str, accept: str, expected: str) -> None:
    """Nothing is expected of what is not acceptable."""
    async with http.get(path, headers={"Accept": accept}) as answer:
        body = await answer.read()
    if not expected:
        assert (answer.status, body) == (406, b"")
        return
    assert (answer.status, answer.headers["Content-Type"]) == (200, expected)
    assert (body[:1] == b"{") == (not expected.endswith("protobuf"))
    assert "Accept" in answer.headers.getall("Vary")


async def test_what_a_client_has_of_openapi_is_not_sent_again(http: aiohttp.ClientSession) -> None:
    for path in ("/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps"):
        async with http.get(path) as answer:
            tag = answer.headers["ETag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            async with http.get(path, headers={"If-None-Match": known}) as answer:
                assert (answer.status, answer.headers["ETag"], await answer.read()) == (304, tag, b"")
        async with http.get(path, headers={"If-None-Match": '"other"'}) as answer:
            assert answer.status == 200
        async with http.head(path) as answer:
            assert (answer.status, answer.headers["ETag"]) == (200, tag)


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("deflate, gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0.5", False),
        ("xgzip", False),
        ("", False),
    ],
)
async def test_large_answers_are_compressed_for_who_says_so(
    http: aiohttp.ClientSession, accepted: str, zipped: bool
) -> None:
    async with http.get("/openapi/v2", headers={"Accept-Encoding": accepted}) as answer:
        assert ("gzip" in answer.headers.get("Content-Encoding", "")) == zipped
        assert answer.headers.getall("Vary") == ["Accept", "Accept-Encoding"][: 1 + zipped]


async def test_pods_are_selected_by_the_old_name_of_their_node(http: aiohttp.ClientSession) -> None:
    status, found = await fetch(http, "/api/v1/pods?fieldSelector=spec.host%3Da")
    assert (status, found["items"]) == (200, [])


async def test_a_list_goes_on_after_its_revision_is_compacted(
    http: aiohttp.ClientSession, store: SqliteDatastore
) -> None:
    for name in ("a", "b", "c"):
        await make(http, name)
    _, first = await fetch(http, f"{MAPS}?limit=1")
    await make(http, "d")
    await make(http, "e")
    await store.compact(store.current_revision)
    status, refused = await fetch(http, f"{MAPS}?limit=1&continue={first['metadata']['continue']}")
    assert (status, refused["reason"]) == (410, "Expired")
    assert "Continuing with the provided token results in an inconsistent list" in refused["message"]
    _, rest = await fetch(http, f"{MAPS}?continue={refused['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c", "d", "e"]
    old = first["metadata"]["resourceVersion"]
    status, refused = await fetch(http, f"{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact")
    assert (status, refused["message"]) == (410, "The resourceVersion for the provided list is too old.")
    assert refused["metadata"] == {}
