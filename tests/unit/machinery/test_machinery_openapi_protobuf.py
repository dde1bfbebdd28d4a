"""The protobuf forms of OpenAPI v2 and v3, read back without a schema as field numbers."""

from __future__ import annotations

import orjson

from minikube_py.machinery.openapi_protobuf import openapi_v2_protobuf
from minikube_py.machinery.openapi_protobuf_v3 import openapi_v3_protobuf
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


DOCUMENT_3 = {
    "openapi": "3.0.0",
    "info": {"title": "Kubernetes", "version": "v1.36"},
    "paths": {
        "/api/v1/pods/{name}": {
            "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
            "put": {
                "operationId": "replacePod",
                "requestBody": {
                    "content": {"*/*": {"schema": {"$ref": "#/components/schemas/Pod"}}},
                    "required": True,
                },
                "responses": {
                    "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "string"}}}},
                    "default": {"description": "else"},
                },
                "x-kubernetes-action": "put",
            },
        }
    },
    "components": {
        "schemas": {
            "Pod": {
                "type": "object",
                "required": ["spec"],
                "properties": {
                    "spec": {"default": {}, "allOf": [{"$ref": "#/components/schemas/Spec"}]},
                    "names": {"type": "array", "items": {"type": "string", "default": "a"}},
                    "counts": {"type": "object", "additionalProperties": {"type": "integer", "default": 3}},
                },
                "x-kubernetes-map-type": "atomic",
            }
        },
        "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
    },
    "security": [{"BearerToken": []}],
}


def test_operations_of_version_3() -> None:
    data = openapi_v3_protobuf(DOCUMENT_3)
    assert tree(data)[1] == [b"3.0.0"]
    path = inside(data, 4, 1)
    assert inside(path, 1) == b"/api/v1/pods/{name}"
    assert inside(path, 2, 13, 1, 1) == b"name"
    assert tree(inside(path, 2, 13, 1))[4] == [1]
    put = inside(path, 2, 5)
    assert inside(put, 5) == b"replacePod"
    body = inside(put, 7, 1)
    assert tree(body)[3] == [1]
    assert inside(body, 2, 1, 1) == b"*/*"
    assert inside(body, 2, 1, 2, 1, 2, 1) == b"#/components/schemas/Pod"
    responses = inside(put, 8)
    assert inside(responses, 1, 1, 1) == b"else"
    assert inside(responses, 2, 1) == b"200"
    assert inside(responses, 2, 2, 1, 3, 1, 2, 1, 1, 25) == b"string"
    assert inside(put, 13, 1) == b"x-kubernetes-action"


def test_schemas_of_version_3() -> None:
    components = inside(openapi_v3_protobuf(DOCUMENT_3), 5)
    assert inside(components, 1, 1, 1) == b"Pod"
    pod = inside(components, 1, 1, 2, 1)
    assert tree(pod)[23] == [b"spec"]
    assert inside(pod, 36, 1) == b"x-kubernetes-map-type"
    properties = [entry for entry in tree(inside(pod, 31))[1] if isinstance(entry, bytes)]
    spec, names, counts = (inside(entry, 2, 1) for entry in properties)
    assert tree(spec)[33] == [b""]  # no message for it
    assert inside(spec, 26, 2, 1) == b"#/components/schemas/Spec"
    assert inside(names, 30, 1, 1, 33, 3) == b"a"
    assert inside(counts, 32, 1, 1, 25) == b"integer"
    assert 1 in tree(inside(counts, 32, 1, 1, 33))  # the number, a double
    assert inside(components, 7, 1, 2, 1, 3) == b"authorization"


def test_all_documents_of_version_3_fit() -> None:
    from minikube_py.machinery.kinds import builtin_kinds
    from minikube_py.machinery.openapi import openapi_v3, openapi_v3_index

    kinds = list(builtin_kinds())
    for name in openapi_v3_index(kinds)["paths"]:
        document = openapi_v3(kinds, name)
        assert len(tree(inside(openapi_v3_protobuf(document), 4))[1]) == len(document["paths"])
