"""Definitions, schemas and the OpenAPI documents made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_py.machinery.definitions import DefinitionsMissing, open_bundle
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.openapi import openapi_v2, openapi_v3, openapi_v3_index
from minikube_py.machinery.openapi_custom import published
from minikube_py.machinery.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, Resource
from minikube_py.machinery.schema import definitions

KINDS = (
    Kind(CONFIG_MAPS, "configmap", "io.k8s.api.core.v1.ConfigMap"),
    Kind(
        PODS, "pod", "io.k8s.api.core.v1.Pod",
        subresources=(
            Subresource("status"),
            Subresource("log", ("get",)),
            Subresource("eviction", ("create",), kind="Eviction", group="policy", version="v1"),
        ),
    ),
    Kind(DEPLOYMENTS, "deployment", "io.k8s.api.apps.v1.Deployment"),
)  # fmt: skip


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*map(references, value.values())) if value else found
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_a_missing_bundle_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(DefinitionsMissing, match=r"scripts/build_hook\.py"):
        open_bundle(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"something else")
    with pytest.raises(DefinitionsMissing, match="unknown format"):
        open_bundle(tmp_path / "bad")


def test_schemas_know_what_lists_merge_by() -> None:
    spec = definitions().schema("io.k8s.api.core.v1.Pod").at("spec")
    assert spec is not None
    containers = spec.properties["containers"]
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    assert (containers.patch_strategy, containers.patch_merge_key) == ("merge", "name")
    ports = containers.items.properties["ports"] if containers.items else None
    assert ports is not None and ports.items is not None
    assert ports.items.properties["protocol"].default == "TCP"
    assert "containers" in spec.required
    strategy = definitions().schema("io.k8s.api.apps.v1.Deployment").at("spec.strategy")
    assert strategy is not None and strategy.patch_strategy == "retainKeys"
    assert strategy.properties


def test_a_recursive_definition_is_no_problem() -> None:
    props = definitions().schema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    deeper = props.at("properties.any.properties.any.not")
    assert deeper is not None and deeper.name == props.name


def test_kinds_are_found_by_their_type() -> None:
    assert definitions().definition_of("apps/v1", "Deployment") == "io.k8s.api.apps.v1.Deployment"
    assert definitions().definition_of("v1", "PodList") == "io.k8s.api.core.v1.PodList"
    assert definitions().definition_of("v1", "Nope") is None


def test_version_3_document() -> None:
    document = openapi_v3(KINDS, "", "v1")
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"]["default"] == {}
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    assert schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]["oneOf"] == [{"type": "string"}, {"type": "number"}]
    item = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert set(item) == {"get", "put", "patch", "delete"}
    assert "fieldValidation" in [parameter["name"] for parameter in item["patch"]["parameters"]]
    assert item["patch"]["x-kubernetes-group-version-kind"] == {"group": "", "kind": "Pod", "version": "v1"}
    assert item["get"]["operationId"] == "readCoreV1NamespacedPod"
    assert "io.k8s.api.apps.v1.Deployment" not in schemas
    assert "io.k8s.api.policy.v1.Eviction" in schemas


def test_version_2_document() -> None:
    document = openapi_v2(KINDS)
    for reference in references(document):
        assert reference.removeprefix("#/definitions/") in document["definitions"]
    identifiers = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(identifiers) == len(set(identifiers))
    assert document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"


def test_the_index_names_each_group_version_with_a_hash_of_its_kinds() -> None:
    index = openapi_v3_index(KINDS)["paths"]
    assert sorted(index) == ["api/v1", "apis/apps/v1"]
    assert index["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")
    fewer = openapi_v3_index(KINDS[1:])["paths"]
    assert fewer["api/v1"] != index["api/v1"]
    assert fewer["apis/apps/v1"] == index["apis/apps/v1"]


def test_custom_resources_publish_their_own_schema() -> None:
    raw = {"type": "object", "properties": {"spec": {"type": "object", "nullable": True}}}
    schema = published(raw, {"group": "example.com", "version": "v1", "kind": "Widget"})
    kind = Kind(
        Resource("example.com", "v1", "widgets", "Widget"), "widget", "com.example.v1.Widget", extra={"openapi": schema}
    )
    document = openapi_v3([kind], "example.com", "v1")
    assert document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"]["nullable"] is True
    assert "com.example.v1.WidgetList" in document["components"]["schemas"]
    old = openapi_v2([kind])["definitions"]["com.example.v1.Widget"]
    assert "nullable" not in old["properties"]["spec"]
