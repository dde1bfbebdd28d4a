"""One look instead of three checks: what it passes, none of the checks would say anything about."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.machinery.decoding import check_types, count_keys, drop_unknown, unknown_fields
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import thaw
from minikube_py.machinery.plain_objects import DOUBT, plain_keys
from minikube_py.machinery.schema import ANYTHING, Schema, custom_schema, definitions


def schema_of(name: str) -> Schema:
    return definitions().schema(f"io.k8s.api.{name}")


def pod(**container: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", **container}]}}


PLAIN: list[dict[str, Any]] = [
    {},
    pod(),
    pod(resources={"limits": {"cpu": "100m"}}, ports=[{"containerPort": 80}], stdin=True),
    pod(livenessProbe={"httpGet": {"port": "http"}}, readinessProbe={"httpGet": {"port": 8080}}),
    {"metadata": {"creationTimestamp": None, "labels": {"a": "b"}}, "status": {}},
    {"metadata": {"managedFields": [{"fieldsV1": {"f:metadata": {"f:labels": {}}}}]}},
]
DOUBTFUL: list[dict[str, Any]] = [
    {"spce": {}},
    {"metadata": {"labels": {"a": 1}}},
    {"metadata": {"labels": {"a": None}}},
    {"metadata": {"labels": ["a"]}},
    {"metadata": []},
    {"metadata": {"finalizers": [None]}},
    {"metadata": {"generation": True}},
    {"spec": {"terminationGracePeriodSeconds": 2**63}},
    {"spec": {"terminationGracePeriodSeconds": 1.5}},
    {"spec": {"hostNetwork": "true"}},
    {"spec": {"containers": {}}},
    pod(ports=[{"containerPort": 2**31}]),
    pod(resources={"limits": {"cpu": "many"}}),
    pod(livenessProbe={"httpGet": {"port": 2**31}}),
    pod(livenessProbe={"httpGet": {"port": 1.0}}),
    pod(image=["a"]),
    pod(env=[{"name": "a", "valeu": "b"}]),
]


@pytest.mark.parametrize("obj", PLAIN)
def test_plain_objects_are_counted(obj: dict[str, Any]) -> None:
    assert plain_keys(schema_of("core.v1.Pod"), obj) == count_keys(obj)


@pytest.mark.parametrize("obj", DOUBTFUL)
def test_whatever_a_check_may_report_is_doubted(obj: dict[str, Any]) -> None:
    schema = schema_of("core.v1.Pod")
    assert plain_keys(schema, obj) == DOUBT
    assert _said(schema, obj)


@pytest.mark.parametrize(
    ("name", "obj"),
    [
        ("core.v1.Secret", {"data": {"a": "!"}}),
        ("core.v1.Event", {"firstTimestamp": "yesterday"}),
        ("core.v1.Event", {"eventTime": "2026-11-21T06:20:13Z"}),
    ],
)
def test_values_that_read_themselves_are_doubted(name: str, obj: dict[str, Any]) -> None:
    assert plain_keys(schema_of(name), obj) == DOUBT
    assert _said(schema_of(name), obj)


def test_definitions_that_contain_themselves() -> None:
    schema = definitions().schema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition")
    inner: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    obj = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"b": inner}}}}]}}
    assert plain_keys(schema, obj) == count_keys(obj)
    inner["properties"]["a"]["typ"] = "x"
    assert plain_keys(schema, obj) == DOUBT


CUSTOM = {
    "type": "object",
    "x-kubernetes-embedded-resource": True,
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {}}}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                        "properties": {"known": {"type": "object", "properties": {"c": {}}}}},
                "template": {"type": "object", "x-kubernetes-embedded-resource": True,
                             "properties": {"d": {"type": "string"}}},
            },
        }
    },
}  # fmt: skip
_NAMES = st.sampled_from(["spec", "metadata", "name", "list", "map", "any", "known", "template", "kind", "a", "b", "c"])
_VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        ({"name": "n", "list": [{"a": 1}, None, {}], "map": {"x": {"b": {"y": 1}}, "spec": None}}, True),
        ({"name": 1, "list": {}, "map": []}, True),  # values are checked by validation
        ({"nme": "n"}, False),
        ({"list": [{"a": 1, "b": 2}]}, False),
        ({"map": {"x": {"c": 1}}}, False),
        ({"any": {"other": [{"x": {"y": 1}}], "known": {"c": 1}}}, True),
        ({"any": {"known": {"x": 1}}}, False),
        ({"template": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "d": ""}}, True),
        ({"template": {"metadata": {"nme": "a"}}}, False),
        ({"template": {"metadata": {"labels": {"a": 1}}}}, False),
        ({"template": {"e": ""}}, False),
    ],
)
def test_fields_of_custom_kinds(spec: dict[str, Any], plain: bool) -> None:
    obj = {"apiVersion": "example.com/v1", "kind": "X", "metadata": {"name": "a"}, "spec": spec}
    assert plain_keys(custom_schema(CUSTOM), obj) == (count_keys(obj) if plain else DOUBT)


@given(_VALUES.filter(lambda value: isinstance(value, dict)))
def test_what_passes_has_nothing_that_a_check_would_report(spec: dict[str, Any]) -> None:
    schema = custom_schema(CUSTOM)
    for obj in (spec, {"spec": spec}):
        found = plain_keys(schema, obj)
        assert found == DOUBT or (found == count_keys(obj) and not _said(schema, obj))


def test_schemas_that_are_no_resource_are_never_passed() -> None:
    assert plain_keys(custom_schema({"type": "object"}), {}) == DOUBT
    assert plain_keys(ANYTHING, {}) == DOUBT


def _said(schema: Schema, obj: dict[str, Any]) -> bool:
    """Whether one of the checks has anything to say or to change."""
    try:
        check_types(schema, obj, "X")
    except ApiError:
        return True
    cleaned = thaw(obj)
    drop_unknown(schema, cleaned)
    return bool(unknown_fields(schema, obj)) or cleaned != obj
