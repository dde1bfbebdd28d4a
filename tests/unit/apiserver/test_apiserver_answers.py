"""Answers that Kubernetes' source gives and that clients rarely see: one row for each rule.

A row says what is sent and the status code and text that come back. ``c1`` to ``c3`` are ConfigMaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import orjson
import pytest

from minikube_py.machinery.objects import Object

MAPS = "/api/v1/namespaces/x/configmaps"
REVISIONS = "/apis/apps/v1/namespaces/x/controllerrevisions"
JSON, MERGE, OPERATIONS = "application/json", "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
NO_RESOURCE = "the server could not find the requested resource"
NO_METHOD = "the server does not allow this method on the requested resource"
SERVED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
ROUTED = f"406: Not Acceptable\n\nAvailable representations: {SERVED}"
ONLY = f"only the following media types are accepted: {SERVED}"
STREAMED = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
UNNAMED = "the name of the object ({} based on URL) was undeterminable: name must be provided"
SHAPE = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
CANNOT_APPLY = "the server rejected our request due to an error in our request"
TABLE = "as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and the answer to it; without a ``message`` only the code counts."""

    method: str
    path: str
    code: int
    message: str | None = None
    form: str = ""
    body: str = ""
    accept: str = JSON


def get(path: str, code: int, message: str | None = None, accept: str = JSON) -> Row:
    return Row("GET", path, code, message, accept=accept)


def patched(form: str, body: str, code: int, message: str | None = None, name: str = "c1", query: str = "") -> Row:
    return Row("PATCH", f"{MAPS}/{name}{query}", code, message, form, body)


def applied(body: str, code: int, message: str | None = None, name: str = "c1", query: str = "") -> Row:
    return patched(APPLY, body, code, message, name, f"?fieldManager=m&force=true{query}")


PATHS = {
    "a verb before a path takes GET alone": Row("POST", f"/api/v1/watch{MAPS[7:]}", 405, NO_METHOD, JSON, "{}"),
    "no watch of a part": get("/apis/apps/v1/watch/namespaces/x/deployments/d/status", 404, NO_RESOURCE),
    "no watch of a name in all namespaces": get("/api/v1/watch/configmaps/c1", 404, NO_RESOURCE),
    "no proxying before the path": get("/api/v1/proxy/nodes/n", 404, NO_RESOURCE),
    "an empty part is no resource": get("/api/v1//namespaces", 404, NO_RESOURCE),
    "an empty namespace is all of them": get("/api/v1/namespaces//configmaps", 200),
    "slashes at the end": get(f"{MAPS}//", 200),
    "what cannot be watched": get(
        "/api/v1/componentstatuses?watch=1", 405, 'watch is not supported on resources of kind "componentstatuses"'
    ),
    "a parameter with a semicolon does not count": get(f"{MAPS}?labelSelector=a=;b", 200),
    "the version is routed": Row("POST", "/version", 405, NO_METHOD),
    "nothing below the version": get("/version/x", 404, NO_RESOURCE),
    "the version with a slash": get("/version/", 200),
    "health takes any method": Row("POST", "/livez/ping", 200),
    "health takes no slash": get("/livez/ping/", 404),
    "nor does OpenAPI": get("/openapi/v2/", 404),
    "nor the documents of OpenAPI": get("/openapi/v3/api/v1/", 404),
    "the index by its other name": get("/index.html", 200),
}

FORMS = {
    "no such form of an object": get(f"{MAPS}/c1", 406, ROUTED, "application/xml"),
    "no such form of a list": get(MAPS, 406, f"{ROUTED}, {STREAMED}", "application/xml"),
    "no such form of a watch": get(f"{MAPS}?watch=1", 406, f"{ROUTED}, {STREAMED}", "application/xml"),
    "no such view": get(f"{MAPS}/c1", 406, ONLY, "application/json;as=Nope;v=v1;g=meta.k8s.io"),
    "no such view of events": get(
        f"{MAPS}?watch=1",
        406,
        f"only the following media types are accepted: {STREAMED}",
        "application/json;as=Nope;v=v1;g=meta.k8s.io",
    ),
    "no Tables in protobuf": get(f"{MAPS}/c1", 406, ONLY, f"application/vnd.kubernetes.protobuf;{TABLE}"),
    "the router knows no wildcard for a half": get(f"{MAPS}/c1", 406, ROUTED, "application/*"),
    "a wildcard for a half beside another form": get(f"{MAPS}/c1", 200, None, "application/*,application/yaml;q=0.1"),
    "the version is JSON": get(
        "/version", 406, "406: Not Acceptable\n\nAvailable representations: application/json", "application/xml"
    ),
    "the list of paths is JSON for everybody": get("/", 200, None, "application/xml"),
    "views of discovery": get("/apis/apps", 406, ONLY, f"application/json;{TABLE}"),
}

JSON_PATCHES = {
    "the document cannot be removed": (OPERATIONS, '[{"op":"remove","path":""}]', 422, CANNOT_APPLY),
    "the document is replaced by a list": (
        OPERATIONS,
        '[{"op":"replace","path":"","value":[]}]',
        422,
        f' "" is invalid: patch: Invalid value: "[]": couldn\'t get version/kind; json parse error: json: cannot '
        f"unmarshal array into Go value of type {SHAPE}",
    ),
    "what is before the first slash does not count": (
        OPERATIONS, '[{"op":"test","path":"x/kind","value":"ConfigMap"}]', 200, None
    ),
    "a path without a slash": (OPERATIONS, '[{"op":"test","path":"kind","value":"ConfigMap"}]', 422, CANNOT_APPLY),
    "no kind": (MERGE, '{"kind":null}', 200, None),
    "no apiVersion": (MERGE, '{"apiVersion":null}', 400, UNNAMED.format("c1")),
    "a kind that is no text": (MERGE, '{"kind":5}', 422, None),
}  # fmt: skip

STRICT = "?fieldValidation=Strict"
PATCHES = {
    **{name: patched(*row) for name, row in JSON_PATCHES.items()},
    "a strategic patch is shown as it is": patched(
        STRATEGIC,
        '{"nope":1}',
        422,
        ' "" is invalid: patch: Invalid value: "map[nope:1]": strict decoding error: unknown field "nope"',
        query=STRICT,
    ),
    "numbers in it are shown as Go shows them": patched(
        STRATEGIC,
        '{"immutable":1e6}',
        422,
        ' "" is invalid: patch: Invalid value: "map[immutable:1e+06]": unrecognized type: bool',
    ),
    "nothing to patch, before the patch is read": patched(MERGE, "{", 404, 'configmaps "none" not found', "none"),
    "nothing to scale, before the patch is read": Row(
        "PATCH", "/apis/apps/v1/namespaces/x/deployments/d/scale", 404, 'deployments.apps "d" not found', MERGE, "{"
    ),
}

MAP = '"apiVersion":"v1","kind":"ConfigMap"'
NO_MAP = "json: cannot unmarshal {} into Go value of type map[string]interface {{}}"
DECODING = "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
APPLIED = {
    "nothing": applied("", 400, "invalid object type: /, Kind="),
    "a list": applied("[]", 400, DECODING + NO_MAP.format("array")),
    "a number": applied("5", 400, DECODING + NO_MAP.format("number")),
    "no YAML": applied(
        "a: [b",
        400,
        "error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'",
    ),
    "a version that is no text": applied(
        '{"apiVersion":5,"kind":"ConfigMap"}', 400, "invalid object type: /, Kind=ConfigMap"
    ),
    "a version of three parts": applied(
        '{"apiVersion":"a/b/c","kind":"ConfigMap"}', 400, "invalid object type: /, Kind="
    ),
    "metadata that say nothing": applied(f'{{{MAP},"metadata":null}}', 200),
    "metadata that are none": applied(
        f'{{{MAP},"metadata":5}}',
        500,
        "failed to create typed patch object (/; /v1, Kind=ConfigMap): .metadata: expected map, got &{5}",
    ),
    "a new object needs a name": applied(f"{{{MAP}}}", 400, UNNAMED.format("none"), "none"),
    "a new object that somebody has seen": applied(
        f'{{{MAP},"metadata":{{"name":"none","uid":"5"}}}}',
        409,
        'Operation cannot be fulfilled on configmaps "none": uid mismatch: the provided object specified uid 5, and no '
        "existing object was found",
        "none",
    ),
    "keys that are repeated, to a strict client": applied(
        f'{{{MAP},"data":{{"a":"1","a":"2"}}}}',
        400,
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 1: key "a" already set in map',
        query="&fieldValidation=Strict",
    ),
}  # fmt: skip

BODIES = {
    "a text that is no UTF-8 is mended": Row(
        "POST", MAPS, 201, None, JSON, '{"metadata":{"name":"u"},"data":{"a":"\\ud800"}}'
    ),
}  # fmt: skip

ROWS = {**PATHS, **FORMS, **PATCHES, **APPLIED, **BODIES}


async def make(http: aiohttp.ClientSession, path: str, text: str) -> Object:
    async with http.post(path, data=text, headers={"Content-Type": JSON}) as answer:
        found: Object = await answer.json()
        assert answer.status == 201, found
        return found


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_answers(http: aiohttp.ClientSession, row: Row) -> None:
    for number in (1, 2, 3):
        await make(http, MAPS, orjson.dumps({"metadata": {"name": f"c{number}"}}).decode())
    headers = {"Accept": row.accept} | ({"Content-Type": row.form} if row.form else {})
    async with http.request(row.method, row.path, data=row.body or None, headers=headers) as answer:
        text = await answer.read()
    assert answer.status == row.code, text
    if row.message is not None:
        assert orjson.loads(text)["message"] == row.message


async def test_paths_that_name_no_resource(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/watch?a=<") as answer:
        text = await answer.text()
    shown = text.partition('"')[2].partition('"')[0]
    assert answer.status == 500
    assert text == (
        f'Internal Server Error: "{shown}": failed to create RequestInfo: unable to determine kind and namespace '
        f"from url, {shown}\n"
    )
    assert "<" not in text


async def test_a_list_from_the_watch_cache_has_no_limit(http: aiohttp.ClientSession) -> None:
    for number in (1, 2, 3):
        await make(http, MAPS, orjson.dumps({"metadata": {"name": f"c{number}"}}).decode())
    counts = []
    for query in ("limit=1", "limit=1&resourceVersion=0"):
        async with http.get(f"{MAPS}?{query}") as answer:
            found = await answer.json()
            counts.append((len(found["items"]), "continue" in found["metadata"]))
    assert counts == [(1, True), (3, False)]


async def test_an_object_without_a_version_has_unknown_fields_alone(http: aiohttp.ClientSession) -> None:
    await make(http, MAPS, '{"metadata":{"name":"c1"},"data":{"a":"1"}}')
    headers = {"Content-Type": MERGE}
    async with http.patch(f"{MAPS}/c1", data='{"apiVersion":null}', headers=headers) as answer:
        assert answer.headers.getall("Warning") == [
            '299 - "unknown field \\"data\\""',
            '299 - "unknown field \\"metadata\\""',
        ]


REVISION = '{"metadata":{"name":"r","labels":{"v":"1"}},"revision":1,"data":%s}'
LABEL = '{"metadata":{"labels":{"v":"2"}}}'
RAW = {
    "blanks do not outlive a patch": ('{"a": 1}', MERGE, 422),
    "nor a strategic one": ('{"a": 1}', STRATEGIC, 422),
    "compact data do": ('{"b":1,"a":2}', MERGE, 200),
    "a strategic patch sorts them": ('{"b":1,"a":2}', STRATEGIC, 422),
    "and leaves the sorted ones alone": ('{"a":2,"b":1}', STRATEGIC, 200),
    "what HTML minds is escaped": ('{"a":"<"}', MERGE, 422),
    "and may have been": ('{"a":"\\u003c"}', MERGE, 200),
}


@pytest.mark.parametrize(("data", "form", "code"), RAW.values(), ids=RAW.keys())
async def test_the_bytes_of_a_revision_never_change(
    http: aiohttp.ClientSession, data: str, form: str, code: int
) -> None:
    await make(http, REVISIONS, REVISION % data)
    async with http.patch(f"{REVISIONS}/r", data=LABEL, headers={"Content-Type": form}) as answer:
        found = await answer.json()
    assert answer.status == code, found
    if code == 422:
        assert found["details"]["causes"][0]["field"] == "data"
    again = (REVISION % data).replace('"1"', '"3"')
    async with http.put(f"{REVISIONS}/r", data=again, headers={"Content-Type": JSON}) as answer:
        assert answer.status == 200, await answer.text()


async def test_the_bytes_of_a_revision_are_what_protobuf_shows(http: aiohttp.ClientSession) -> None:
    await make(http, REVISIONS, REVISION % '{"a": [1, "2"]}')
    async with http.get(f"{REVISIONS}/r", headers={"Accept": "application/vnd.kubernetes.protobuf"}) as answer:
        assert b'{"a": [1, "2"]}' in await answer.read()
