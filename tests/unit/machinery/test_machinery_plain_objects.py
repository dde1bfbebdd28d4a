"""One look instead of three checks: what it passes, none of the checks would say anything about."""

from __future__ import annotations

from typing import Any

import pytest

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


def test_custom_kinds_are_never_passed() -> None:
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
