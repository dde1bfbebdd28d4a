"""The protobuf form of OpenAPI v2, read back without a schema as field numbers."""

from __future__ import annotations

import orjson

from minikube_py.machinery.openapi_protobuf import openapi_v2_protobuf
from minikube_py.machinery.wire import fields


def tree(data: bytes) -> dict[int, list[int | bytes]]:
    found: dict[int, list[int | bytes]] = {}
    for number, _, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def inside(data: bytes, *path: int) -> bytes:
    """Follow the first field of each number."""
    for number in path:
        value = tree(data)[number][0]
        assert isinstance(value, bytes)
        data = value
    return data


DOCUMENT = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "v1.36"},
    "paths": {
        "/api/v1/pods/{name}": {
            "patch": {
                "operationId": "patchPod",
                "consumes": ["application/json-patch+json"],
                "parameters": [
                    {"name": "fieldValidation", "in": "query", "type": "string", "uniqueItems": True},
                    {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/Pod"}, "required": True},
                ],
                "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/Pod"}}},
                "x-kubernetes-group-version-kind": {"group": "", "kind": "Pod", "version": "v1"},
            }
        }
    },
    "definitions": {"Pod": {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}}},
    "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
    "security": [{"BearerToken": []}],
}


def test_kubectl_finds_the_field_validation_parameter() -> None:
    path = inside(openapi_v2_protobuf(DOCUMENT), 8, 2)
    assert inside(path, 1) == b"/api/v1/pods/{name}"
    patch = inside(path, 2, 8)
    query = inside(patch, 8, 1, 2, 3)
    assert tree(query)[4] == [b"fieldValidation"]
    assert tree(query)[20] == [1]
    extension = inside(patch, 13)
    assert inside(extension, 1) == b"x-kubernetes-group-version-kind"
    assert orjson.loads(inside(extension, 2, 2)) == {"group": "", "kind": "Pod", "version": "v1"}


def test_bodies_responses_and_definitions() -> None:
    data = openapi_v2_protobuf(DOCUMENT)
    patch = inside(data, 8, 2, 2, 8)
    body = tree(patch)[8][1]
    assert isinstance(body, bytes)
    assert inside(body, 1, 1, 5, 1) == b"#/definitions/Pod"
    assert inside(patch, 9, 1, 1) == b"200"
    assert inside(patch, 9, 1, 2, 1, 2, 1, 1) == b"#/definitions/Pod"
    pod = inside(data, 9, 1)
    assert inside(pod, 1) == b"Pod"
    assert inside(pod, 2, 25, 1, 2, 23, 1, 22, 1) == b"string"
    assert inside(data, 13, 1, 2, 2, 2) == b"authorization"
    assert inside(data, 12, 1, 1) == b"BearerToken"


def test_all_built_in_kinds_fit() -> None:
    from minikube_py.machinery.kinds import builtin_kinds
    from minikube_py.machinery.openapi import openapi_v2

    document = openapi_v2(builtin_kinds())
    paths = tree(inside(openapi_v2_protobuf(document), 8))[2]
    assert len(paths) == len(document["paths"])
