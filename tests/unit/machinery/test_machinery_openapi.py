"""Definitions, schemas and the OpenAPI documents made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_py.machinery.definitions import DefinitionsMissing, open_bundle
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.openapi import openapi_v2, openapi_v3, openapi_v3_index
from minikube_py.machinery.openapi_custom import published
from minikube_py.machinery.resources import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS, Resource
from minikube_py.machinery.schema import definitions

KINDS = (
    Kind(CONFIG_MAPS, "configmap", "io.k8s.api.core.v1.ConfigMap"),
    Kind(
        PODS, "pod", "io.k8s.api.core.v1.Pod",
        subresources=(
            Subresource("status"),
            Subresource("exec", ("create", "get"), kind="PodExecOptions"),
            Subresource("log", ("get",)),
            Subresource("eviction", ("create",), kind="Eviction", group="policy", version="v1"),
        ),
    ),
    Kind(DEPLOYMENTS, "deployment", "io.k8s.api.apps.v1.Deployment"),
)  # fmt: skip


PROXIED = Kind(NODES, "node", "io.k8s.api.core.v1.Node", subresources=(
    Subresource("proxy", ("create", "delete", "get", "patch", "update"), kind="NodeProxyOptions"),
))  # fmt: skip


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
    document = openapi_v3(KINDS, "api/v1")
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"]["default"] == {}
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    assert schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]["oneOf"] == [{"type": "string"}, {"type": "number"}]
    item = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert set(item) == {"get", "put", "patch", "delete", "parameters"}
    assert [parameter["name"] for parameter in item["parameters"]] == ["name", "namespace", "pretty"]
    assert "fieldValidation" in [parameter["name"] for parameter in item["patch"]["parameters"]]
    assert item["patch"]["x-kubernetes-group-version-kind"] == {"group": "", "kind": "Pod", "version": "v1"}
    assert item["get"]["operationId"] == "readCoreV1NamespacedPod"
    assert "io.k8s.api.apps.v1.Deployment" not in schemas
    assert "io.k8s.api.policy.v1.Eviction" in schemas


def operation_ids(document: dict[str, Any]) -> list[str]:
    items = (item for item in document["paths"].values())
    return [op["operationId"] for item in items for method, op in item.items() if method != "parameters"]


def test_version_2_document() -> None:
    document = openapi_v2(KINDS)
    found = references(document)
    for reference in found:
        member, _, name = reference.removeprefix("#/").partition("/")
        assert name in document[member]
    assert {name.rpartition("/")[2] for name in found if "parameters" in name} == set(document["parameters"])
    identifiers = operation_ids(document)
    assert len(identifiers) == len(set(identifiers))
    assert document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"


def test_shared_parameters_have_the_names_of_the_reference() -> None:
    """The names are hashes of all that the reference publishes of a parameter."""
    names = set(openapi_v2(KINDS)["parameters"])
    assert names >= {
        "namespace-vgWSWtn3", "pretty-tJGM1-ng", "body-78PwaGsr", "body-2Y1dVQaQ", "allowWatchBookmarks-HC2hJt-J",
        "continue-QfD61s0i", "fieldManager-Qy4HdaTW", "force-tOGGb0Yi", "limit-1NfNmdNH", "labelSelector-5Zw57w4C",
        "sendInitialEvents-rLXlEK_k", "propagationPolicy-6jk3prlO", "tailLines-9xQLWHMV",
    }  # fmt: skip
    assert not any(name.startswith(("name-", "dryRun-", "fieldValidation-")) for name in names)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {"get": "getCoreV1APIResources"}),
        ("/configmaps", {"get": "listCoreV1ConfigMapForAllNamespaces"}),
        (
            "/namespaces/{namespace}/configmaps",
            {
                "get": "listCoreV1NamespacedConfigMap",
                "post": "createCoreV1NamespacedConfigMap",
                "delete": "deleteCoreV1CollectionNamespacedConfigMap",
            },
        ),
        ("/watch/configmaps", {"get": "watchCoreV1ConfigMapListForAllNamespaces"}),
        ("/watch/namespaces/{namespace}/configmaps", {"get": "watchCoreV1NamespacedConfigMapList"}),
        ("/watch/namespaces/{namespace}/configmaps/{name}", {"get": "watchCoreV1NamespacedConfigMap"}),
        ("/namespaces/{namespace}/pods/{name}/log", {"get": "readCoreV1NamespacedPodLog"}),
        ("/namespaces/{namespace}/pods/{name}/eviction", {"post": "createCoreV1NamespacedPodEviction"}),
        (
            "/namespaces/{namespace}/pods/{name}/exec",
            {"get": "connectCoreV1GetNamespacedPodExec", "post": "connectCoreV1PostNamespacedPodExec"},
        ),
    ],
)
def test_operations_of_a_path(path: str, expected: dict[str, str]) -> None:
    item = openapi_v3(KINDS, "api/v1")["paths"][f"/api/v1{path}"]
    assert {method: op["operationId"] for method, op in item.items() if method != "parameters"} == expected


def test_a_proxy_has_all_methods_and_a_path_of_its_own() -> None:
    paths = openapi_v3([PROXIED], "api/v1")["paths"]
    item = paths["/api/v1/nodes/{name}/proxy/{path}"]
    assert set(item) == {"delete", "get", "head", "options", "patch", "post", "put", "parameters"}
    assert [(found["name"], found["in"]) for found in item["parameters"]] == [
        ("name", "path"), ("path", "path"), ("path", "query"),
    ]  # fmt: skip
    assert item["parameters"][0]["description"] == "name of the NodeProxyOptions"
    head = item["head"]
    assert head["operationId"] == "connectCoreV1HeadNodeProxyWithPath"
    assert head["description"] == "connect HEAD requests to proxy of Node"
    assert head["x-kubernetes-group-version-kind"]["kind"] == "NodeProxyOptions"


@pytest.mark.parametrize(
    ("group", "word"),
    [
        ("rbac.authorization.k8s.io", "rbacAuthorization"),
        ("flowcontrol.apiserver.k8s.io", "flowcontrolApiserver"),
        ("stable.example.com", "stableExampleCom"),
        ("my-group.example.com", "myGroupExampleCom"),
    ],
)
def test_groups_in_identifiers_and_tags(group: str, word: str) -> None:
    kind = Kind(Resource(group, "v1", "things", "Thing"), "thing", "io.k8s.api.core.v1.ConfigMap")
    document = openapi_v3([kind], f"apis/{group}/v1")
    read = document["paths"][f"/apis/{group}/v1/namespaces/{{namespace}}/things/{{name}}"]["get"]
    assert read["tags"] == [f"{word}_v1"]
    assert read["operationId"] == f"read{word[:1].upper()}{word[1:]}V1NamespacedThing"


@pytest.mark.parametrize(
    ("kind", "text"), [("Ingress", "create an Ingress"), ("Endpoints", "create Endpoints"), ("Lease", "create a Lease")]
)
def test_articles(kind: str, text: str) -> None:
    declared = Kind(Resource("", "v1", "x", kind), "x", "io.k8s.api.core.v1.ConfigMap")
    collection = openapi_v3([declared], "api/v1")["paths"]["/api/v1/namespaces/{namespace}/x"]
    assert collection["post"]["description"] == text


def test_answers_of_operations() -> None:
    paths = openapi_v3(KINDS, "api/v1")["paths"]
    pods, pod = (paths[f"/api/v1/namespaces/{{namespace}}/pods{rest}"] for rest in ("", "/{name}"))
    found = {method: list(pod[method]["responses"]) for method in ("get", "put", "patch", "delete")}
    assert found == {"get": ["200", "401"], "put": ["200", "201", "401"], "patch": ["200", "201", "401"],
                     "delete": ["200", "202", "401"]}  # fmt: skip
    assert list(pods["post"]["responses"]) == ["200", "201", "202", "401"]
    assert "application/json;stream=watch" in pods["get"]["responses"]["200"]["content"]
    deleted = pod["delete"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert deleted == "#/components/schemas/io.k8s.api.core.v1.Pod"
    assert "required" not in pod["delete"]["requestBody"]
    assert pods["post"]["requestBody"]["required"] is True


def test_the_index_names_each_document_with_a_hash_of_its_kinds() -> None:
    index = openapi_v3_index(KINDS)["paths"]
    assert list(index) == [".well-known/openid-configuration", "api", "api/v1", "apis", "apis/apps", "apis/apps/v1",
                           "openid/v1/jwks", "version"]  # fmt: skip
    assert index["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")
    fewer = openapi_v3_index(KINDS[1:])["paths"]
    assert fewer["api/v1"] != index["api/v1"]
    assert fewer["apis/apps/v1"] == index["apis/apps/v1"]


def test_every_document_of_the_index_can_be_had_and_others_cannot() -> None:
    for name in openapi_v3_index(KINDS)["paths"]:
        document = openapi_v3(KINDS, name)
        assert document["paths"]
        for reference in references(document):
            assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for name in ("apis/none", "apis/apps/v9", "", "api/v1/pods"):
        with pytest.raises(KeyError):
            openapi_v3(KINDS, name)


def test_custom_resources_publish_their_own_schema() -> None:
    raw = {"type": "object", "properties": {"spec": {"type": "object", "nullable": True}}}
    schema = published(raw, {"group": "example.com", "version": "v1", "kind": "Widget"})
    kind = Kind(
        Resource("example.com", "v1", "widgets", "Widget"), "widget", "com.example.v1.Widget", extra={"openapi": schema}
    )
    document = openapi_v3([kind], "apis/example.com/v1")
    assert document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"]["nullable"] is True
    assert "com.example.v1.WidgetList" in document["components"]["schemas"]
    old = openapi_v2([kind])["definitions"]["com.example.v1.Widget"]
    assert "nullable" not in old["properties"]["spec"]
