"""kubectl's way from client-side to server-side apply: its annotation allows conflicts, and is kept up to date."""

from __future__ import annotations

import orjson
import pytest

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.last_applied import ANNOTATION
from minikube_py.machinery.managed_fields import apply_patch, track_update
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import Schema, definitions


@pytest.fixture(scope="module")
def config_map() -> Schema:
    return definitions().schema("io.k8s.api.core.v1.ConfigMap")


def configuration(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}, "data": data}


def by_client(schema: Schema, applied: Object, **data: str) -> Object:
    """An object that kubectl has applied on its side; ``data`` is what it holds since."""
    text = orjson.dumps({**applied, "metadata": {**applied["metadata"], "annotations": {}}}).decode() + "\n"
    obj = configuration(**data)
    obj["metadata"]["annotations"] = {ANNOTATION: text}
    track_update(schema, None, obj, manager="kubectl-client-side-apply", api_version="v1", now=0)
    return obj


def apply(schema: Schema, live: Object, patch: Object, manager: str = "kubectl") -> Object:
    return apply_patch(schema, live, patch, manager=manager, force=False, api_version="v1", now=1)


def test_kubectl_takes_over_what_it_applied_itself(config_map: Schema) -> None:
    live = by_client(config_map, configuration(a="1", b="2"), a="1", b="2")
    result = apply(config_map, live, configuration(a="x", b="<2>"))
    assert result["data"] == {"a": "x", "b": "<2>"}
    text = result["metadata"]["annotations"][ANNOTATION]
    assert text == (
        '{"apiVersion":"v1","data":{"a":"x","b":"\\u003c2\\u003e"},"kind":"ConfigMap",'
        '"metadata":{"name":"c","namespace":"d"}}\n'
    )


def test_what_has_changed_since_is_a_conflict(config_map: Schema) -> None:
    live = by_client(config_map, configuration(a="1", b="2"), a="1", b="of somebody else")
    with pytest.raises(ApiError) as caught:
        apply(config_map, live, configuration(a="x", b="y"))
    why = 'conflict with "kubectl-client-side-apply" using v1: .data.b'
    assert (caught.value.code, caught.value.message) == (409, f"Apply failed with 1 conflict: {why}")


def test_other_managers_have_no_such_right(config_map: Schema) -> None:
    live = by_client(config_map, configuration(a="1"), a="1")
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        apply(config_map, live, configuration(a="x"), "helm")
    kept = apply(config_map, live, configuration(b="y"), "helm")
    assert kept["metadata"]["annotations"] == live["metadata"]["annotations"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"apiVersion":"v2","data":{"a":"1"}}', '{"apiVersion":"v1","data":{"a":"1"},"bogus":1}'],
    ids=["empty", "no JSON", "no object", "another version", "another schema"],
)
def test_an_annotation_that_cannot_be_read_allows_nothing(config_map: Schema, text: str) -> None:
    live = by_client(config_map, configuration(a="1"), a="1")
    live["metadata"]["annotations"][ANNOTATION] = text
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        apply(config_map, live, configuration(a="x"))


def test_objects_without_the_annotation_get_none(config_map: Schema) -> None:
    live = configuration(a="1")
    assert "annotations" not in apply(config_map, live, configuration(b="2"))["metadata"]


def test_an_annotation_that_grows_too_large_is_left_out(config_map: Schema) -> None:
    live = by_client(config_map, configuration(a="1"), a="1")
    result = apply(config_map, thaw(live), configuration(a="1", big="x" * 300_000))
    assert ANNOTATION not in result["metadata"].get("annotations", {})
