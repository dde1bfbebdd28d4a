"""Published schemas of custom kinds: in version 2 without what its readers misunderstand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from minikube_py.machinery.kind import Kind, Subresource
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
    inner = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {"spec": INT},
        "required": ["kind"],
    }
    shown = published({"type": "object", "properties": {"t": {"type": "array", "items": inner}}}, GVK)
    for render in (in_version_3, in_version_2):
        item = render(shown)["properties"]["t"]["items"]
        assert set(item["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
        assert item["required"] == ["kind", "apiVersion"]
        assert item["properties"]["kind"]["description"].startswith("kind is a string value representing the type of")
    kept = {**inner, **PRESERVE, "required": ["spec"]}
    shown = published({"type": "object", "properties": {"t": kept}}, GVK)
    assert in_version_3(shown)["properties"]["t"]["required"] == ["spec", "kind", "apiVersion"]
    old = in_version_2(shown)["properties"]["t"]
    assert "properties" not in old
    assert old["required"] == ["spec"]


def test_fields_that_selectors_may_name_are_published() -> None:
    fields = [{"fieldPath": "spec.color"}, {"fieldPath": "spec.size"}]
    for extra in ({}, PRESERVE):
        shown = published({"type": "object", **extra}, GVK, ["spec.color", "spec.size"])
        for render in (in_version_3, in_version_2):
            assert render(shown)["x-kubernetes-selectable-fields"] == fields
    assert "x-kubernetes-selectable-fields" not in published({"type": "object"}, GVK)


def test_lists() -> None:
    resource = Resource("example.com", "v1", "widgets", "Widget", namespaced=True)
    kind, shown = Kind(resource, "widget", "com.example.v1.Widget"), published({"type": "object"}, GVK)
    found = list_schema(kind, shown)
    assert found["description"] == "WidgetList is a list of Widget"
    assert found["properties"]["items"]["items"] == {"$ref": "com.example.v1.Widget"}
    assert found["x-kubernetes-group-version-kind"] == [{**GVK, "kind": "WidgetList"}]
    own = replace(kind, extra={"listKind": "Widgets"})
    assert list_schema(own, shown)["description"] == "Widgets is a list of Widget"
    assert own.list_definition == "com.example.v1.Widgets"


@pytest.mark.parametrize("make", [openapi_v2, lambda kinds: openapi_v3(kinds, "apis/example.com/v1")])
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


def test_operations_of_custom_kinds() -> None:
    """As apiextensions publishes them: no watches below /watch/, no deletion options for collections."""
    resource = Resource("example.com", "v1", "widgets", "Widget", namespaced=True)
    extra = {"custom": True, "openapi": published({"type": "object"}, GVK)}
    scale = Subresource("scale", kind="Scale", group="autoscaling", version="v1")
    declared = Kind(resource, "widget", "com.example.v1.Widget", subresources=(scale,), extra=extra)
    paths = openapi_v3([declared], "apis/example.com/v1")["paths"]
    base = "/apis/example.com/v1/namespaces/{namespace}/widgets"
    assert set(paths) == {"/apis/example.com/v1/widgets", base, f"{base}/{{name}}", f"{base}/{{name}}/scale"}
    assert paths[base]["get"]["description"] == "list objects of kind Widget"
    assert paths[base]["delete"]["operationId"] == "deleteExampleComV1CollectionNamespacedWidget"
    assert "requestBody" not in paths[base]["delete"]
    item = paths[f"{base}/{{name}}"]
    assert [found["name"] for found in item["get"]["parameters"]] == ["resourceVersion"]
    assert list(item["put"]["requestBody"]["content"]) == [
        "application/json", "application/yaml",
    ]  # fmt: skip
    assert list(item["patch"]["responses"]) == ["200", "401"]
    read = paths[f"{base}/{{name}}/scale"]["get"]
    assert read["x-kubernetes-group-version-kind"]["kind"] == "Widget"
    assert read["operationId"] == "readExampleComV1NamespacedWidgetScale"
