"""What a deletion may be told: by its body, or by its query where it has none."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from minikube_py.components.apiserver.http.delete_options import given_options
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.protobuf import encode
from minikube_py.machinery.schema import definitions

MAPS = "/api/v1/namespaces/x/configmaps"
JSON, YAML, PROTOBUF = (f"application/{form}" for form in ("json", "yaml", "vnd.kubernetes.protobuf"))
SCHEME = 'in scheme "pkg/apis/meta/internalversion/scheme/register.go:27"'


@pytest.mark.parametrize(
    ("query", "body", "form", "expected"),
    [
        ("", b"", "", {}),
        ("gracePeriodSeconds=-3&gracePeriodSeconds=x", b"", "", {"gracePeriodSeconds": -3}),
        ("orphanDependents=", b"", "", {"orphanDependents": True}),
        ("orphanDependents=FALSE", b"", "", {"orphanDependents": False}),
        ("propagationPolicy=", b"", "", {"propagationPolicy": ""}),
        ("dryRun=All&dryRun=", b"", "", {"dryRun": ["All", ""]}),
        ("uid=u&resourceVersion=7", b"", "", {"preconditions": {"uid": "u", "resourceVersion": "7"}}),
        ("uid=&resourceVersion=", b"", "", {}),
        # whatever the body says, the query no longer counts
        ("dryRun=All&gracePeriodSeconds=x", b"{}", JSON, {}),
        ("propagationPolicy=Orphan", b'{"gracePeriodSeconds": 0}', JSON, {"gracePeriodSeconds": 0}),
        ("dryRun=All", b'{"kind": "DeleteOptions", "apiVersion": "v1"}', JSON, {}),
        ("", b" null ", JSON, {}),
        ("", b'{"bogus": 1, "dryRun": ["All"]}', "", {"dryRun": ["All"]}),
        ("", b'{"kind": "DeleteOptions", "apiVersion": "nobody/v9", "dryRun": ["All"]}', JSON, {"dryRun": ["All"]}),
        ("", b'{"apiVersion": "apps/v1", "preconditions": {"uid": ""}}', JSON, {"preconditions": {"uid": ""}}),
        ("", b"gracePeriodSeconds: 5\n", YAML, {"gracePeriodSeconds": 5}),
        ("", b'{"gracePeriodSeconds": 5}', f"{YAML}; charset=utf-8", {"gracePeriodSeconds": 5}),
    ],
)
def test_what_is_given(query: str, body: bytes, form: str, expected: Object) -> None:
    assert given_options(query, body, form) == expected


@pytest.mark.parametrize("api_version", ["v1", "apps/v1", "meta.k8s.io/v1"])
def test_options_in_protobuf(api_version: str) -> None:
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "propagationPolicy": "Orphan", "dryRun": ["All"]}
    schema = definitions().schema("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
    body = encode({"kind": "DeleteOptions", "apiVersion": api_version, **options}, schema)
    assert given_options("dryRun=Nope", body, PROTOBUF) == options


@pytest.mark.parametrize(
    ("query", "body", "form", "code", "message"),
    [
        ("gracePeriodSeconds=x", b"", "", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("gracePeriodSeconds=", b"", "", 400, 'strconv.ParseInt: parsing "": invalid syntax'),
        ("", b" ", JSON, 400, "couldn't get version/kind; json parse error: unexpected end of JSON input"),
        ("", b"[]", JSON, 400, "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go"),
        ("", b'{"kind": true}', JSON, 400, "couldn't get version/kind; json parse error: json: cannot unmarshal bool"),
        ("", b'{"apiVersion": "a/b/c"}', JSON, 400, "unexpected GroupVersion string: a/b/c"),
        ("", b'{"kind": "fixed"}', JSON, 400, f'no kind "fixed" is registered for version "meta.k8s.io/v1" {SCHEME}'),
        ("", b'{"kind": "Job", "apiVersion": "batch/v1"}', JSON, 400,
         f'no kind "Job" is registered for version "batch/v1" {SCHEME}'),
        ("", b'{"kind": "ListOptions"}', JSON, 400, "converting (v1.ListOptions) to (v1.DeleteOptions): unknown"),
        ("", b'{"kind": "Status", "apiVersion": "v1"}', JSON, 400,
         "converting (v1.Status) to (v1.DeleteOptions): unknown conversion"),
        ("", b'{"kind": "ListOptions", "apiVersion": "v1"}', JSON, 400,
         f'no kind "ListOptions" is registered for version "v1" {SCHEME}'),
        ("", b'{"gracePeriodSeconds": "1"}', JSON, 400,
         "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"),
        ("", b'{"dryRun": "All"}', JSON, 400,
         "json: cannot unmarshal string into Go struct field DeleteOptions.dryRun of type []string"),
        ("", b"{}", "text/plain", 415, "the body of the request was in an unknown format"),
        ("", encode({"kind": "ConfigMap", "apiVersion": "v1"}), PROTOBUF, 400,
         f'no kind "ConfigMap" is registered for version "v1" {SCHEME}'),
        ("", b"{}", PROTOBUF, 400, "provided data does not appear to be a protobuf message"),
    ],
)  # fmt: skip
def test_what_is_refused(query: str, body: bytes, form: str, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        given_options(query, body, form)
    assert (caught.value.code, caught.value.message[: len(message)]) == (code, message)


async def ask(
    http: aiohttp.ClientSession, method: str, path: str, body: Any = None, form: str = JSON
) -> tuple[int, Object]:
    data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
    async with http.request(method, path, data=data, headers={"Content-Type": form}) as answer:
        return answer.status, await answer.json()


async def there(http: aiohttp.ClientSession) -> bool:
    return (await ask(http, "GET", f"{MAPS}/a"))[0] == 200


@pytest.mark.parametrize("path", [f"{MAPS}/a", MAPS], ids=["one", "collection"])
@pytest.mark.parametrize(
    ("query", "body", "code", "stays"),
    [
        pytest.param("?dryRun=All", None, 200, True, id="a dry run by query"),
        pytest.param("", {"dryRun": ["All"]}, 200, True, id="a dry run by body"),
        pytest.param("?dryRun=All", {}, 200, False, id="a body that says nothing"),
        pytest.param("?uid=other", None, 409, True, id="another uid"),
        pytest.param("", {"preconditions": {"uid": ""}}, 409, True, id="no uid at all"),
        pytest.param("?uid=other", {"gracePeriodSeconds": 0}, 200, False, id="a query that does not count"),
        pytest.param("?propagationPolicy=nil", None, 422, True, id="nil is no policy"),
        pytest.param("?propagationPolicy=", None, 422, True, id="an empty policy"),
        pytest.param("", {"dryRun": ["Some"]}, 422, True, id="an unknown dry run"),
        pytest.param("?propagationPolicy=Orphan&orphanDependents=1", None, 422, True, id="both policies"),
        pytest.param("?propagationPolicy=Orphan", {"orphanDependents": True}, 200, True, id="one policy each"),
        pytest.param("", {"kind": "ConfigMap", "apiVersion": "v1"}, 400, True, id="the object as its options"),
    ],
)
async def test_what_comes_of_it(
    http: aiohttp.ClientSession, path: str, query: str, body: Any, code: int, stays: bool
) -> None:
    assert (await ask(http, "POST", MAPS, {"metadata": {"name": "a"}}))[0] == 201
    status, found = await ask(http, "DELETE", path + query, body)
    assert (status, await there(http)) == (code, stays), found


async def test_a_revision_that_a_collections_query_names_holds_for_each_object(http: aiohttp.ClientSession) -> None:
    _, made = await ask(http, "POST", MAPS, {"metadata": {"name": "a"}})
    await ask(http, "POST", MAPS, {"metadata": {"name": "b"}})
    revision = made["metadata"]["resourceVersion"]
    status, found = await ask(http, "DELETE", f"{MAPS}?resourceVersion={revision}&fieldSelector=metadata.name%3Da")
    assert (status, await there(http)) == (200, False), found
    status, found = await ask(http, "DELETE", f"{MAPS}?resourceVersion={revision}")
    assert (status, found["reason"]) == (409, "Conflict")
