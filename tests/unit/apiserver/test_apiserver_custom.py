"""Custom resources: served once established, pruned and defaulted, gone with their definition."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from open_server import open_server

from minikube_py.components.apiserver.custom.paths import first_value
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.machinery.objects import Object

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HATS = "/apis/example.com/v1/namespaces/x/hats"

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"size": {"type": "integer", "default": 7}, "replicas": {"type": "integer"}},
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    },
}
CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "hats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "hats", "kind": "Hat", "shortNames": ["ht"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            }
        ],
    },
}


async def establish(http: aiohttp.ClientSession) -> None:
    async with http.post(CRDS, json=CRD) as answer:
        assert answer.status == 201, await answer.text()
    async with asyncio.timeout(30):
        async with http.get(f"{CRDS}?watch=1") as stream:
            async for line in stream.content:
                conditions = (orjson.loads(line)["object"].get("status") or {}).get("conditions") or []
                if any(item["type"] == "Established" and item["status"] == "True" for item in conditions):
                    return


async def test_life_of_a_custom_resource(http: aiohttp.ClientSession) -> None:
    await establish(http)
    body = {"apiVersion": "example.com/v1", "kind": "Hat", "metadata": {"name": "h"}, "spec": {"nope": 1}}
    async with http.post(HATS, json=body) as answer:
        made = await answer.json()
        assert (answer.status, made["spec"], made["metadata"]["generation"]) == (201, {"size": 7}, 1)
    async with http.get(HATS, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}) as answer:
        table = await answer.json(content_type=None)
        assert table["rows"][0]["cells"] == ["h", 7]
    async with http.get("/apis/example.com/v1") as answer:
        names = [item["name"] for item in (await answer.json())["resources"]]
        assert names == ["hats", "hats/status", "hats/scale"]
    patch = {"spec": {"replicas": 3}}
    headers = {"Content-Type": "application/merge-patch+json"}
    async with http.patch(f"{HATS}/h/scale", data=orjson.dumps(patch), headers=headers) as answer:
        assert (await answer.json())["spec"] == {"replicas": 3}
    async with http.delete(f"{CRDS}/hats.example.com") as answer:
        assert answer.status == 200
    async with asyncio.timeout(30):
        while True:
            async with http.get("/apis/example.com/v1") as answer:
                if answer.status == 404:
                    return
            await asyncio.sleep(0.02)


PATHS = {
    ".spec.a": 1,
    "{.spec.a}": 1,
    ".spec.list[0].v": "x",
    ".spec.list[*].v": "x",
    '.spec.list[?(@.k=="two")].v': "y",
    ".metadata.annotations['a.b/c']": "z",
    r".metadata.annotations.a\.b/c": "z",
    ".none.at.all": None,
}


@pytest.mark.parametrize("path", PATHS)
def test_paths(path: str) -> None:
    obj = {
        "metadata": {"annotations": {"a.b/c": "z"}},
        "spec": {"a": 1, "list": [{"k": "one", "v": "x"}, {"k": "two", "v": "y"}]},
    }
    assert first_value(obj, path) == PATHS[path]


async def test_schemas_are_published(http: aiohttp.ClientSession) -> None:
    await establish(http)
    async with http.get("/openapi/v3/apis/example.com/v1") as answer:
        schema = (await answer.json())["components"]["schemas"]["com.example.v1.Hat"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.com", "version": "v1", "kind": "Hat"}]
    assert set(schema["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    async with http.get("/openapi/v3/apis/example.com/v9") as answer:
        assert (answer.status, await answer.read(), "Content-Type" in answer.headers) == (404, b"", False)


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        pytest.param(
            {"metadata": {"name": "h"}}, 400,
            "the object provided is unrecognized (must be of type Hat): Object 'Kind' is missing in", id="no kind",
        ),
        pytest.param(
            {"kind": "Hat"}, 400, "the API version in the data () does not match the expected API version (",
            id="no version",
        ),
        pytest.param(
            {"kind": "Hat", "apiVersion": "example.com/v2"}, 400, "the API version in the data (example.com/v2) does",
            id="another version",
        ),
        pytest.param(
            {"kind": "Cap", "apiVersion": "example.com/v1", "metadata": {"name": "h"}}, 422,
            'Hat.example.com "h" is invalid: kind: Invalid value: "Cap": must be Hat', id="another kind",
        ),
    ],
)  # fmt: skip
async def test_custom_objects_say_what_they_are(http: aiohttp.ClientSession, body: Object, code: int, why: str) -> None:
    await establish(http)
    async with http.post(HATS, json=body) as answer:
        found = await answer.json()
    assert (answer.status, found["message"][: len(why)]) == (code, why)


PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize(
    ("accept", "code", "media_type"),
    [
        (PROTOBUF, 406, PROTOBUF),
        (f"{PROTOBUF},application/json", 200, "application/json"),
        (f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", 200, PROTOBUF),
    ],
    ids=["protobuf alone", "protobuf or JSON", "metadata in protobuf"],
)
async def test_custom_objects_have_no_protobuf(
    http: aiohttp.ClientSession, accept: str, code: int, media_type: str
) -> None:
    await establish(http)
    async with http.post(HATS, json={"apiVersion": "example.com/v1", "kind": "Hat", "metadata": {"name": "h"}}) as made:
        assert made.status == 201
    async with http.get(f"{HATS}/h", headers={"Accept": accept}) as answer:
        assert (answer.status, answer.content_type) == (code, media_type)
    if code == 200 and media_type != PROTOBUF:
        async with http.get(f"{HATS}?watch=1&timeoutSeconds=1", headers={"Accept": accept}) as answer:
            assert answer.content_type == media_type


async def test_a_restarted_server_knows_custom_resources_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[bool] = []
    listen = ApiServer._listen

    async def observed(api: ApiServer, face: Any) -> Any:
        served.append(api.kinds.get("example.com", "v1", "hats") is not None)
        return await listen(api, face)

    monkeypatch.setattr(ApiServer, "_listen", observed)
    async with open_server(tmp_path) as api, aiohttp.ClientSession(f"http://127.0.0.1:{api.port}") as session:
        await establish(session)
    async with open_server(tmp_path):
        pass
    assert served == [False, True]
