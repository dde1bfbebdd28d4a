"""JSON patch, JSON merge patch and strategic merge patch."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.patching.json_patch import apply_json_patch
from minikube_py.machinery.patching.merge_patch import apply_merge_patch
from minikube_py.machinery.patching.strategic_patch import apply_strategic_patch, go_map
from minikube_py.machinery.schema import Schema, definitions


@pytest.mark.parametrize(
    ("ops", "result"),
    [
        ([{"op": "add", "path": "/b", "value": 1}], {"a": [1, 2], "b": 1}),
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
        ([{"op": "remove", "path": "/a/-1"}], {"a": [1]}),
        ([{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ([{"op": "move", "from": "/a", "path": "/c~1d"}], {"c/d": [1, 2]}),
        ([{"op": "copy", "from": "/a/0", "path": "/z"}], {"a": [1, 2], "z": 1}),
        ([{"op": "test", "path": "/a", "value": [1, 2]}, {"op": "remove", "path": "/a"}], {}),
        ([{"op": "test", "path": "/missing", "value": None}], {"a": [1, 2]}),
    ],
)
def test_json_patch(ops: list[Any], result: dict[str, Any]) -> None:
    live = {"a": [1, 2]}
    assert apply_json_patch(live, ops) == result
    assert live == {"a": [1, 2]}


@pytest.mark.parametrize(
    "op",
    [
        {"op": "add", "path": "nolead", "value": 1},
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "test", "path": "/a", "value": True},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "move", "from": "/a", "path": "/a/0"},
        {"op": "jump", "path": "/a"},
    ],
    ids=lambda op: f"{op['op']} {op['path']}",
)
def test_json_patch_that_cannot_be_applied(op: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        apply_json_patch({"a": [1]}, [op])
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == "the server rejected our request due to an error in our request"


def test_json_patch_limits() -> None:
    with pytest.raises(ApiError) as caught:
        apply_json_patch({}, [{"op": "test", "path": ""}] * 10_001)
    assert caught.value.code == 413
    doubling = [{"op": "add", "path": "/a", "value": [1]}] + [
        {"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(40)
    ]
    with pytest.raises(ApiError) as caught:
        apply_json_patch({}, doubling)
    assert caught.value.code == 422


json_objects = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.integers(0, 3) | st.text("xy", max_size=2),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


def merge_patch_between(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            patch[key] = merge_patch_between(before, value)
        elif isinstance(value, dict) or key not in old or before != value:
            patch[key] = value
    return patch


@settings(max_examples=80)
@given(json_objects, json_objects)
def test_a_merge_patch_makes_the_difference(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = orjson.dumps(old)
    assert apply_merge_patch(old, merge_patch_between(old, new)) == new
    assert orjson.dumps(old) == before


def test_merge_patch_drops_nulls_of_new_objects() -> None:
    assert apply_merge_patch({}, {"a": {"b": None, "c": 1}}) == {"a": {"c": 1}}
    with pytest.raises(ApiError):
        apply_merge_patch({}, [])


@pytest.fixture(scope="module")
def deployment() -> Schema:
    return definitions().schema("io.k8s.api.apps.v1.Deployment")


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(items)}}}}


LIVE = containers({"name": "a", "image": "1"}, {"name": "b", "image": "2", "env": [{"name": "E", "value": "x"}]})


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (containers({"name": "a", "image": "9"}), [("a", "9"), ("b", "2")]),
        (containers({"name": "n", "image": "3"}), [("n", "3"), ("a", "1"), ("b", "2")]),
        (containers({"name": "a", "$patch": "delete"}), [("b", "2")]),
        (containers({"$patch": "replace"}, {"name": "z", "image": "0"}), [("z", "0")]),
        (
            {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}}},
            [("b", "2"), ("a", "1")],
        ),
        ({"spec": {"template": {"spec": {"containers": None}}}}, None),
    ],
    ids=["merge", "new item first", "delete", "replace", "order", "null"],
)
def test_strategic_lists(deployment: Schema, patch: dict[str, Any], expected: Any) -> None:
    result = apply_strategic_patch(deployment, LIVE, patch)
    found = result["spec"]["template"]["spec"].get("containers")
    assert (found and [(item["name"], item["image"]) for item in found]) == expected
    assert LIVE["spec"]["template"]["spec"]["containers"][0]["image"] == "1"


def test_strategic_directives(deployment: Schema) -> None:
    live = {
        "metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}},
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    }
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"$patch": "replace", "y": "2"}},
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
    }
    assert apply_strategic_patch(deployment, live, patch) == {
        "metadata": {"finalizers": ["b"], "labels": {"y": "2"}},
        "spec": {"strategy": {"type": "Recreate"}},
    }


def test_primitive_lists_merge_without_repeats(deployment: Schema) -> None:
    result = apply_strategic_patch(
        deployment, {"metadata": {"finalizers": ["a", "b"]}}, {"metadata": {"finalizers": ["c", "a"]}}
    )
    assert sorted(result["metadata"]["finalizers"]) == ["a", "b", "c"]


def test_directives_do_not_survive_in_new_parts(deployment: Schema) -> None:
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}, "paused": None}}
    assert apply_strategic_patch(deployment, {}, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_a_missing_merge_key_is_the_references_500(deployment: Schema) -> None:
    with pytest.raises(ApiError) as caught:
        apply_strategic_patch(deployment, LIVE, containers({"image": "i"}))
    assert caught.value.code == 500
    assert caught.value.message == "map: map[image:i] does not contain declared merge key: name"


def test_go_prints_maps_sorted() -> None:
    assert go_map({"b": [1, True], "a": None}) == "map[a:<nil> b:[1 true]]"
