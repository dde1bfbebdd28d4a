"""sig-api-machinery conformance: custom resources, their published OpenAPI, field validation, conversion."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import Cluster, wait_until
from conformance_api import APPLY, MERGE, Api, Refused, crd

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
Install = Callable[[dict[str, Any]], dict[str, Any]]
PRESERVE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def version(name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}, **more}


def test_definitions_are_watched_created_and_deleted(api: Api, group: str) -> None:
    name = f"things.{group}"
    since = api("GET", CRDS)["metadata"]["resourceVersion"]
    with api.watch(CRDS, fieldSelector=f"metadata.name={name}", resourceVersion=since) as following:
        api("POST", CRDS, crd(group, "things", "Thing"))
        assert following()[0] == "ADDED"
        api("PATCH", f"{CRDS}/{name}", {"metadata": {"labels": {"a": "b"}}}, media_type=MERGE)
        seen = following()
        while seen[1]["metadata"].get("labels") != {"a": "b"}:
            seen = following()
        assert seen[0] == "MODIFIED"
        api("DELETE", f"{CRDS}/{name}")
        while following()[0] != "DELETED":
            pass
    assert api.gone(f"{CRDS}/{name}")


def test_definitions_are_listed_and_deleted_by_label(api: Api) -> None:
    label = secrets.token_hex(3)
    for number in range(10):
        body = crd(f"l{number}{label}.example.com", "things", "Thing")
        body["metadata"]["labels"] = {"e2e": label} if number else {}
        api("POST", CRDS, body)
    query = f"?labelSelector=e2e={label}"
    assert len(api("GET", CRDS + query)["items"]) == 9
    api("DELETE", CRDS + query)
    wait_until("deleted", lambda: not api("GET", CRDS + query)["items"])
    api("DELETE", f"{CRDS}/things.l0{label}.example.com")


def test_status_of_a_definition(api: Api, install: Install, group: str) -> None:
    made = install(crd(group, "things", "Thing"))
    path = f"{CRDS}/{made['metadata']['name']}/status"
    found = api("GET", path)
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set"}
    found["status"]["conditions"].append(condition)
    assert condition.items() <= api("PUT", path, found)["status"]["conditions"][-1].items()
    conditions = [*found["status"]["conditions"], {**condition, "type": "StatusPatched"}]
    patched = api("PATCH", path, {"status": {"conditions": conditions}}, media_type=MERGE)
    assert [item["type"] for item in patched["status"]["conditions"]][-2:] == ["StatusUpdate", "StatusPatched"]


def test_definitions_are_in_discovery(api: Api) -> None:
    groups = {item["name"]: item for item in api("GET", "/apis")["groups"]}
    assert "apiextensions.k8s.io/v1" in [item["groupVersion"] for item in groups["apiextensions.k8s.io"]["versions"]]
    names = [item["name"] for item in api("GET", "/apis/apiextensions.k8s.io/v1")["resources"]]
    assert "customresourcedefinitions" in names


def test_defaults_for_requests_and_from_storage(api: Api, install: Install, group: str, namespace: str) -> None:
    plain = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    made = install(crd(group, "things", "Thing", version("v1", plain)))
    path = f"/apis/{group}/v1/namespaces/{namespace}/things"
    definition = f"{CRDS}/{made['metadata']['name']}"

    def default(field: str) -> None:
        properties = {**plain["properties"], field: {"type": "string", "default": field.upper()}}
        changed = [version("v1", {**plain, "properties": properties}, served=True, storage=True)]
        api("PATCH", definition, {"spec": {"versions": changed}}, media_type=MERGE)

    def create(name: str) -> Any:
        body = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {}}
        return api("POST", path, body)["spec"]

    assert create("one") == {}
    default("a")
    wait_until("default from storage", lambda: api("GET", f"{path}/one")["spec"] == {"a": "A"})
    assert create("two") == {"a": "A"}
    default("b")
    wait_until("the other default", lambda: api("GET", f"{path}/two")["spec"] == {"a": "A", "b": "B"})
    assert api("GET", f"{path}/one")["spec"] == {"b": "B"}


def test_selectable_fields(api: Api, install: Install, group: str, namespace: str) -> None:
    """Lists and watches show only what the field selector matches."""
    host = {"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "string"}}}
    fields = [{"jsonPath": ".spec.host"}, {"jsonPath": ".spec.port"}]
    install(crd(group, "things", "Thing", *(version(name, host, selectableFields=fields) for name in ("v1", "v2"))))
    path = f"/apis/{group}/v1/namespaces/{namespace}/things"

    def create(name: str, host: str, port: str) -> None:
        spec = {"host": host, "port": port}
        api("POST", path, {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})

    create("a", "one", "80")
    for number in ("v1", "v2"):
        versioned = path.replace("/v1/", f"/{number}/")
        version_now = api("GET", versioned)["metadata"]["resourceVersion"]
        selector = "spec.host=one,spec.port=80"
        with api.watch(versioned, fieldSelector=selector, resourceVersion=version_now) as following:
            create(f"b{number}", "one", "80")
            create(f"c{number}", "two", "80")
            api("PATCH", f"{path}/b{number}", {"spec": {"port": "81"}}, media_type=MERGE)
            seen = [following(), following()]
        assert [(kind, obj["metadata"]["name"]) for kind, obj in seen] == [
            ("ADDED", f"b{number}"), ("DELETED", f"b{number}"),
        ]  # fmt: skip
        listed = api("GET", f"{versioned}?fieldSelector={selector}")["items"]
        assert [(item["metadata"]["name"], item["apiVersion"]) for item in listed] == [("a", f"{group}/{number}")]
    code, _, _ = api.exchange("GET", f"{path}?fieldSelector=spec.other=x")
    assert code == 400


@pytest.fixture
def openapi(api: Api) -> Callable[[str, str], bool]:
    """Whether ``/openapi/v2`` knows the definition of a kind."""

    def known(group: str, name: str) -> bool:
        reverse = ".".join(reversed(group.split(".")))
        return f"{reverse}.{name}" in api("GET", "/openapi/v2")["definitions"]

    return known


def test_openapi_of_several_groups_versions_and_kinds(
    install: Install, group: str, openapi: Callable[[str, str], bool]
) -> None:
    spec = {"type": "object", "properties": {"a": {"type": "string"}}}
    other = f"other-{group}"
    install(crd(group, "things", "Thing", version("v1", spec), version("v2", spec)))
    install(crd(group, "goods", "Good", version("v1", spec)))
    install(crd(other, "things", "Thing", version("v5", spec)))
    wanted = [(group, "v1.Thing"), (group, "v2.Thing"), (group, "v1.Good"), (other, "v5.Thing")]
    wait_until("published", lambda: all(openapi(*item) for item in wanted))


def test_openapi_follows_renamed_and_unserved_versions(
    api: Api, install: Install, group: str, openapi: Callable[[str, str], bool]
) -> None:
    spec = {"type": "object", "properties": {"a": {"type": "string"}}}
    made = install(crd(group, "things", "Thing", version("v2", spec), version("v3", spec)))
    path = f"{CRDS}/{made['metadata']['name']}"
    wait_until("published", lambda: openapi(group, "v2.Thing") and openapi(group, "v3.Thing"))

    def change(operations: list[dict[str, Any]]) -> None:
        api("PATCH", path, operations, media_type="application/json-patch+json")

    change([{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}])
    wait_until("renamed", lambda: openapi(group, "v4.Thing") and not openapi(group, "v3.Thing"))
    assert openapi(group, "v2.Thing")
    change([{"op": "replace", "path": "/spec/versions/1/served", "value": False}])
    wait_until("not served", lambda: not openapi(group, "v4.Thing"))
    assert openapi(group, "v2.Thing")


SCHEMAS: dict[str, dict[str, Any]] = {
    "with validation": {
        "type": "object",
        "description": "Foo for testing",
        "properties": {
            "spec": {
                "type": "object",
                "description": "Specification of Foo",
                "properties": {
                    "bars": {
                        "description": "List of Bars and their specs.",
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": {"type": "string", "description": "Name of Bar."},
                                "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}},
                            },
                        },
                    }
                },
            }
        },
    },
    "without validation": PRESERVE,
    "preserving at the root": {
        **PRESERVE, "properties": {"spec": {"type": "object", "description": "Specification", **PRESERVE}},
    },
    "preserving inside": {
        "type": "object", "description": "Waldo",
        "properties": {"spec": {"type": "object", "description": "Specification of Waldo", **PRESERVE}},
    },
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEMAS)
def test_kubectl_validates_and_explains(
    cluster: Cluster, install: Install, group: str, namespace: str, case: str
) -> None:
    """Create and apply known and unknown fields with kubectl, and ``kubectl explain``."""
    install(crd(group, "foos", "Foo", {"name": "v1", "schema": {"openAPIV3Schema": SCHEMAS[case]}}))

    def use(verb: str, name: str, spec: dict[str, Any]) -> str:
        body = {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": name}, "spec": spec}
        return cluster.kubectl(verb, "-n", namespace, "-f", "-", stdin=json.dumps(body), check=False)

    strict = case == "with validation"
    assert " created" in use("create", "a", {"bars": [{"name": "test-bar"}]})
    assert " configured" in use("apply", "a", {"bars": [{"name": "test-bar", "bazs": ["x"]}]})
    for verb, name in (("create", "b"), ("apply", "a")):
        said = use(verb, name, {"bars": [{"name": "test-bar"}], "foo": True})
        assert ('unknown field "spec.foo"' in said) == strict, said
        if strict:
            assert "name: Required value" in use(verb, name, {"bars": [{"bazs": ["x"]}]})
    explained = cluster.kubectl("explain", f"foos.{group}")
    assert "KIND:       Foo" in explained and "DESCRIPTION:" in explained
    if strict:
        assert "Foo for testing" in explained and "Specification of Foo" in explained
        nested = cluster.kubectl("explain", f"foos.{group}.spec.bars")
        assert "List of Bars and their specs." in nested and "-required-" in nested and "List of Bazs." in nested
        assert "does not exist" in cluster.kubectl("explain", f"foos.{group}.spec.bars2", check=False)
    elif case == "preserving inside":
        assert "Specification of Waldo" in cluster.kubectl("explain", f"foos.{group}.spec")


@pytest.fixture
def validated(install: Install, group: str, namespace: str) -> Iterator[tuple[str, str]]:
    """(api version, collection) of a custom resource with one known field."""
    known = {
        "type": "object",
        "properties": {
            "known": {"type": "string"},
            "template": {"type": "object", "x-kubernetes-embedded-resource": True, **PRESERVE},
        },
    }
    install(crd(group, "things", "Thing", version("v1", known)))
    yield f"{group}/v1", f"/apis/{group}/v1/namespaces/{namespace}/things"


def test_custom_fields_are_validated(api: Api, validated: tuple[str, str]) -> None:
    """A valid resource passes; unknown fields, also in both metadata, are refused when strict."""
    api_version, path = validated
    head = f'"apiVersion":"{api_version}","kind":"Thing"'
    name = '"metadata":{"name":"a"}'
    strict = "?fieldValidation=Strict"
    assert api("POST", path + strict, f'{{{head},{name},"spec":{{"known":"x"}}}}')["spec"] == {"known": "x"}
    apply = f"{path}/a?fieldManager=e2e&force=true&fieldValidation=Strict"
    assert api("PATCH", apply, f'{{{head},{name},"spec":{{"known":"y"}}}}', media_type=APPLY)["spec"] == {"known": "y"}
    embedded = '"template":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","other":"1"}}'
    for body, text in (
        (f'{{{head},"metadata":{{"name":"b"}},"spec":{{"other":"x"}}}}', 'unknown field "spec.other"'),
        (f'{{{head},"metadata":{{"name":"b","other":"x"}},"spec":{{}}}}', 'unknown field "metadata.other"'),
        (f'{{{head},"metadata":{{"name":"b"}},"spec":{{{embedded}}}}}', 'unknown field "spec.template.metadata.other"'),
        (f'{{{head},"metadata":{{"name":"b"}},"spec":{{"known":"1","known":"2"}}}}', 'duplicate field "spec.known"'),
    ):
        with pytest.raises(Refused) as refused:
            api("POST", path + strict, body)
        assert text in refused.value.status["message"]
        code, fields, _ = api.exchange("POST", f"{path}?fieldValidation=Warn&dryRun=All", body)
        assert code == 201 and text.replace('"', '\\"') in fields["Warning"], fields
    with pytest.raises(Refused, match="field not declared in schema"):
        api("PATCH", apply, f'{{{head},{name},"spec":{{"other":"y"}}}}', media_type=APPLY)


def test_custom_fields_without_a_schema(api: Api, install: Install, group: str, namespace: str) -> None:
    """Unknown fields pass where they are preserved; duplicate ones do not."""
    install(crd(group, "things", "Thing"))
    path = f"/apis/{group}/v1/namespaces/{namespace}/things"
    head = f'"apiVersion":"{group}/v1","kind":"Thing","metadata":{{"name":"a"}}'
    made = api("POST", f"{path}?fieldValidation=Strict", f'{{{head},"spec":{{"any":{{"thing":1}}}}}}')
    assert made["spec"] == {"any": {"thing": 1}}
    apply = f"{path}/a?fieldManager=e2e&force=true&fieldValidation=Strict"
    assert api("PATCH", apply, f'{{{head},"spec":{{"more":1}}}}', media_type=APPLY)["spec"]["more"] == 1
    twice = f'{{{head},"spec":{{"foo":1,"foo":2}}}}'
    with pytest.raises(Refused, match=r'duplicate field "spec\.foo"'):
        api("POST", f"{path}?fieldValidation=Strict", twice.replace('"name":"a"', '"name":"b"'))
    with pytest.raises(Refused, match='key "foo" already set in map'):
        api("PATCH", apply, twice, media_type=APPLY)


def test_typed_fields_are_validated(api: Api, core: str) -> None:
    """Unknown and duplicate fields of a built-in kind, also in its metadata."""
    head = '"apiVersion":"v1","kind":"ConfigMap"'
    cases = (
        (f'{{{head},"metadata":{{"name":"a"}},"unknown":1,"data":{{"a":"1"}},"data":{{"a":"2"}}}}',
         ('unknown field "unknown"', 'duplicate field "data"')),
        (f'{{{head},"metadata":{{"name":"a","unknownMeta":"1"}}}}', ('unknown field "metadata.unknownMeta"',)),
    )  # fmt: skip
    for body, texts in cases:
        with pytest.raises(Refused) as refused:
            api("POST", f"{core}/configmaps?fieldValidation=Strict", body)
        assert refused.value.code == 400
        assert all(text in refused.value.status["message"] for text in texts)
        assert api.exchange("POST", f"{core}/configmaps?fieldValidation=Ignore&dryRun=All", body)[0] == 201
