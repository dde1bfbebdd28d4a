"""Published schemas of custom kinds: in version 2 without what its readers misunderstand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.openapi import openapi_v2, openapi_v3
from minikube_py.machinery.openapi_custom import in_version_2, in_version_3, list_schema, published
from minikube_py.machinery.resources import Resource

GVK = {"group": "example.com", "version": "v1", "kind": "Widget"}
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}
INT = {"type": "integer"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({**INT, "default": 3}, INT),
        ({**INT, "nullable": True}, {}),
        ({"type": "object", "nullable": True, "properties": {"a": INT}}, {}),
        ({"type": "array", "nullable": True, "items": INT}, {}),
        ({**PRESERVE}, {**PRESERVE}),
        ({"type": "object", **PRESERVE, "properties": {"a": INT}}, {"type": "object", **PRESERVE}),
        ({"type": "array", **PRESERVE, "items": INT}, {**PRESERVE}),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [INT, {"type": "string"}]},
            {"x-kubernetes-int-or-string": True},
        ),
        ({"type": "string", "oneOf": [{"minLength": 1}], "not": {"pattern": "a"}}, {"type": "string"}),
        (
            {"type": "object", "properties": {"a": {**INT, "nullable": True}, "b": INT}, "required": ["a", "b"]},
            {"type": "object", "properties": {"a": {}, "b": INT}, "required": ["b"]},
        ),
        (
            {"type": "object", "additionalProperties": {**INT, "nullable": True}, "required": ["a"]},
            {"type": "object", "additionalProperties": {}},
        ),
        (
            {"type": "object", "properties": {"default": {**INT, "default": 1}, "not": INT}},
            {"type": "object", "properties": {"default": INT, "not": INT}},
        ),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
    ],
)
def test_version_2(raw: dict[str, Any], expected: dict[str, Any]) -> None:
    shown = published({"type": "object", "properties": {"spec": raw}}, GVK)
    assert in_version_2(shown)["properties"]["spec"] == expected
    assert shown["properties"]["spec"] == raw


def test_a_root_that_keeps_unknown_fields_has_no_properties_in_version_2() -> None:
    shown = published({"type": "object", **PRESERVE, "properties": {"spec": INT}}, GVK)
    assert set(shown["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert in_version_2(shown) == {"type": "object", "x-kubernetes-group-version-kind": [GVK]}


def test_embedded_resources_have_the_common_fields() -> None:
    inner = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": INT}}
    shown = published({"type": "object", "properties": {"t": {"type": "array", "items": inner}}}, GVK)
    item = in_version_3(shown)["properties"]["t"]["items"]
    assert set(item["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    kept = {**inner, **PRESERVE}
    shown = published({"type": "object", "properties": {"t": kept}}, GVK)
    assert "properties" not in in_version_2(shown)["properties"]["t"]


def test_lists() -> None:
    found = list_schema("com.example.v1.Widget", "widgets", published({"type": "object"}, GVK))
    assert found["description"] == "WidgetList is a list of Widget"
    assert found["properties"]["items"]["items"] == {"$ref": "com.example.v1.Widget"}
    assert found["x-kubernetes-group-version-kind"] == [{**GVK, "kind": "WidgetList"}]


@pytest.mark.parametrize("make", [openapi_v2, lambda kinds: openapi_v3(kinds, "example.com", "v1")])
def test_custom_kinds_offer_neither_strategic_patches_nor_protobuf(make: Callable[[list[Kind]], Any]) -> None:
    """kubectl apply takes the strategic form wherever the document offers it, and the server refuses it."""
    resource = Resource("example.com", "v1", "widgets", "Widget", namespaced=True)
    extra = {"custom": True, "openapi": published({"type": "object"}, GVK)}
    declared = Kind(resource, "widget", "com.example.v1.Widget", extra=extra)
    operation = make([declared])["paths"][resource.path("{namespace}") + "/{name}"]["patch"]
    taken = operation.get("consumes") or list(operation["requestBody"]["content"])
    given = operation.get("produces") or list(operation["responses"]["200"]["content"])
    assert taken == ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
    assert given == ["application/json", "application/yaml"]
