"""JSON patch, JSON merge patch and strategic merge patch."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.patching.go_texts import go_map
from minikube_py.machinery.patching.json_patch import apply_json_patch, is_failed_test, why_not_applied
from minikube_py.machinery.patching.merge_patch import apply_merge_patch
from minikube_py.machinery.patching.reading import PatchForm, read_patch_text
from minikube_py.machinery.patching.strategic_patch import apply_strategic_patch
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


WHY_NOT = [
    ({"op": "add", "path": "/x/y", "value": 1},
     'add operation does not apply: doc is missing path: "/x/y": missing value'),
    ({"op": "add", "value": 1}, "add operation failed to decode path: missing value"),
    ({"op": "add", "path": "/a/9", "value": 1},
     "error in add for path: '/a/9': Unable to access invalid index: 9: invalid index referenced"),
    ({"op": "add", "path": "/a/x", "value": 1},
     "error in add for path: '/a/x': "
     "value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax"),
    ({"op": "remove", "path": "/x/y"}, 'remove operation does not apply: doc is missing path: "/x/y": missing value'),
    ({"op": "remove", "path": "/x"},
     "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value"),
    ({"op": "replace", "path": "/x/y", "value": 1},
     "replace operation does not apply: doc is missing path: /x/y: missing value"),
    ({"op": "replace", "path": "/a/3", "value": 1},
     "replace operation does not apply: doc is missing key: /a/3: missing value"),
    ({"op": "replace"}, "replace operation failed to decode path: operation missing path field: missing value"),
    ({"op": "move", "path": "/a"},
     "move operation failed to decode from: operation, missing from field: missing value"),
    ({"op": "move", "from": "/x/y", "path": "/a"},
     "move operation does not apply: doc is missing from path: /x/y: missing value"),
    ({"op": "move", "from": "/x", "path": "/a"},
     "error in move for path: 'x': unable to get nonexistent key: x: missing value"),
    ({"op": "move", "from": "/a", "path": "/a/0"},
     "move operation does not apply: doc is missing destination path: /a/0: missing value"),
    ({"op": "copy", "from": "/x", "path": "/a"},
     "error in copy for from: '/x': unable to get nonexistent key: x: missing value"),
    ({"op": "copy", "from": "/a", "path": "/x/y"},
     "copy operation does not apply: doc is missing destination path: /x/y: missing value"),
    ({"op": "copy", "from": "/a", "path": "/a/7"},
     "error while adding value during copy: Unable to access invalid index: 7: invalid index referenced"),
    ({"op": "test", "path": "/a", "value": 1}, "testing value /a failed: test failed"),
    ({"op": "test", "path": "/x/y", "value": 1}, "test operation does not apply: is missing path: /x/y: missing value"),
    ({"op": "jump"}, "Unexpected kind: jump"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "text"), WHY_NOT, ids=[text for _, text in WHY_NOT])
def test_why_a_json_patch_cannot_be_applied(op: dict[str, Any], text: str) -> None:
    with pytest.raises(ApiError) as caught:
        apply_json_patch({"a": [1]}, [op])
    assert why_not_applied(caught.value) == text
    assert is_failed_test(caught.value) == text.endswith("test failed")


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


def test_maps_with_directives_do_not_come_into_new_parts(deployment: Schema) -> None:
    patch: dict[str, Any] = {
        "spec": {"strategy": {"$patch": "delete", "type": "Recreate"}, "paused": None, "replicas": 1}
    }
    assert apply_strategic_patch(deployment, {}, patch) == {"spec": {"replicas": 1}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply_strategic_patch(deployment, {}, patch) == patch, "an unknown field, which is told of"


def template(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


MALFORMED = [
    ([], 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ({"$patch": "merge"}, 500, "unknown patch type: merge in map: map[$patch:merge]"),
    ({"$patch": None}, 500, "unknown patch type: %!s(<nil>) in map: map[$patch:<nil>]"),
    ({"$patch": 5, "a": True}, 500, "unknown patch type: %!s(int64=5) in map: map[$patch:5 a:true]"),
    ({"$patch": ["x", 1]}, 500, "unknown patch type: [x %!s(int64=1)] in map: map[$patch:[x 1]]"),
    ({"$retainKeys": "x"}, 400, "invalid patch format of retainKeys"),
    ({"$retainKeys": None}, 400, "invalid patch format of retainKeys"),
    ({"$retainKeys": ["x"], "spec": {}}, 400, "invalid patch format of retainKeys"),
    ({"$retainKeys": ["x"], "$other": 1}, 400, "invalid patch format of retainKeys"),
    ({"$deleteFromPrimitiveList": ["a"]}, 400, "invalid patch format of primitive list"),
    ({"$deleteFromPrimitiveListed/x": ["a"]}, 400, "invalid patch format of primitive list"),
    ({"$setElementOrder": ["a"]}, 400, "invalid patch format of setElementOrder list"),
    ({"$setElementOrder": "a"}, 500, "expected a []interface {}, but received a string"),
    (template(**{"$setElementOrder/containers": None}), 500, "expected a []interface {}, but received a %!s(<nil>)"),
    (
        template(**{"$setElementOrder/containers": [], "containers": {}}),
        500,
        "expected a []interface {}, but received a map[string]interface {}",
    ),
    (
        template(**{"$setElementOrder/containers": ["a"]}),
        500,
        "expected a map[string]interface {}, but received a string",
    ),
    (
        template(**{"$setElementOrder/containers": [{"image": "a"}]}),
        500,
        "map: map[image:a] does not contain declared merge key: name",
    ),
    (
        template(**{"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z"}]}),
        500,
        "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    ),
    (
        template(**{"$setElementOrder/tents": [{"name": "a"}]}),
        500,
        'unable to find api field in struct PodSpec for the json field "tents"',
    ),
    (containers({"$patch": "merge"}), 500, "merging lists cannot yet be specified in the patch"),
    (containers({"$patch": 1}), 500, "unknown patch type: %!s(int64=1) in map: map[$patch:1]"),
    (containers({"$patch": "delete"}), 500, "map: map[$patch:delete] does not contain declared merge key: name"),
    (template(containers=[["a"]]), 500, "list element types are not identical: [[map[image:1 name:a] map"),
    ({"metadata": {"finalizers": [["a"]]}}, 500, "list element types are not identical: [[f] [[a]]]"),
    ({"metadata": {"finalizers": [1]}}, 500, "list element types are not identical: [[f] [1]]"),
    ({"metadata": {"ownerReferences": [["a"]]}}, 422, "the server rejected our request due to an error in our request"),
    ({"metadata": {"labels": {"a": {"b": 1}}}}, 500, "merging an object in json but data type is not struct"),
]


@pytest.mark.parametrize(("patch", "code", "text"), MALFORMED, ids=lambda value: str(value)[:40])
def test_malformed_strategic_patches(deployment: Schema, patch: Any, code: int, text: str) -> None:
    live = {**LIVE, "metadata": {"finalizers": ["f"], "ownerReferences": [], "labels": {"a": {"b": 0}}}}
    with pytest.raises(ApiError) as caught:
        apply_strategic_patch(deployment, live, patch)
    assert (caught.value.code, caught.value.message[: len(text)]) == (code, text)


@pytest.mark.parametrize(
    ("patch", "finalizers"),
    [
        ({"$deleteFromPrimitiveList/finalizers": "a"}, ["a", "b"]),
        ({"$deleteFromPrimitiveList/finalizers": None}, None),
        ({"$deleteFromPrimitiveList/finalizers": ["a", "z"]}, ["b"]),
        ({"finalizers": ["c"], "$setElementOrder/finalizers": ["c", "b"]}, ["c", "a", "b"]),
        ({"finalizers": {"$patch": "delete"}}, None),
    ],
    ids=["no list", "null", "some", "order", "a directive for a map"],
)
def test_directives_on_lists_of_scalars(deployment: Schema, patch: dict[str, Any], finalizers: Any) -> None:
    result = apply_strategic_patch(deployment, {"metadata": {"finalizers": ["a", "b"]}}, {"metadata": patch})
    assert result["metadata"].get("finalizers") == finalizers


_words = st.sampled_from(["a", "b", "replace", "delete", "merge"])
_fields = st.sampled_from(
    ["$patch", "$retainKeys", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/containers",
     "$deleteFromPrimitiveList/containers", "$setElementOrder/finalizers", "$setElementOrder", "spec", "template",
     "containers", "metadata", "finalizers", "labels", "name", "env", "ports", "containerPort", "value"]
)  # fmt: skip
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 80) | st.floats(allow_nan=False) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_fields, inner, max_size=3),
    max_leaves=12,
)
_podlike = st.builds(
    lambda items, meta: {"metadata": meta, **template(containers=items)},
    st.lists(st.dictionaries(_fields, _values, max_size=3) | _values, max_size=3),
    st.dictionaries(_fields, _values, max_size=3),
)
_documents = st.dictionaries(_fields, _values, max_size=4) | _podlike


def outcome(apply: Any, *arguments: Any) -> str:
    """What a patch comes to: it is applied or refused, and nothing that it was given is changed."""
    before = orjson.dumps(arguments[-2:])
    try:
        assert isinstance(apply(*arguments), dict)
        found = "applied"
    except ApiError as error:
        assert error.code in (400, 413, 422, 500)
        assert error.message
        found = "refused"
    assert orjson.dumps(arguments[-2:]) == before
    return found


@settings(max_examples=120)
@given(_documents, _documents | _values)
def test_strategic_patches_are_applied_or_refused(live: dict[str, Any], patch: Any) -> None:
    outcome(apply_strategic_patch, definitions().schema("io.k8s.api.apps.v1.Deployment"), live, patch)


@settings(max_examples=80)
@given(_documents, _documents | _values)
def test_merge_patches_are_applied_or_refused(live: dict[str, Any], patch: Any) -> None:
    assert outcome(apply_merge_patch, live, patch) == ("applied" if isinstance(patch, dict) else "refused")


_pointers = st.lists(st.sampled_from(["spec", "containers", "0", "-", "-1", "9" * 5000, "x", "~1", ""]), max_size=4)
_paths = _pointers.map(lambda parts: "".join(f"/{part}" for part in parts)) | _values
_operations = st.dictionaries(st.sampled_from(["value", "extra"]), _values).flatmap(
    lambda rest: st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "jump"]) | _values, "path": _paths},
        optional={"from": _paths},
    ).map(lambda operation: {**rest, **operation})
)


@settings(max_examples=120)
@given(_documents, st.lists(_operations | _values, max_size=5) | _values)
def test_json_patches_are_applied_or_refused(live: dict[str, Any], ops: Any) -> None:
    outcome(apply_json_patch, live, ops)


@pytest.mark.parametrize(
    "ops",
    [
        [{"op": "add", "path": "/a", "value": {}}, *[{"op": "copy", "from": "/a", "path": "/a/a"}] * 1100],
        [{"op": "add", "path": f"{'/a' * 100 * turn}/a", "value": json.loads('{"a":' * 100 + "{}" + "}" * 100)}
         for turn in range(12)],
    ],
    ids=["copies into themselves", "values below values"],
)  # fmt: skip
def test_patches_that_nest_without_end_are_refused(ops: list[Any]) -> None:
    with pytest.raises(ApiError) as caught:
        apply_json_patch({}, ops)
    assert (caught.value.code, "exceeded max depth" in caught.value.message) == (400, True)


READ = [
    (b"{", PatchForm.JSON, "Warn", "error decoding patch: unexpected end of JSON input"),
    (b"{", PatchForm.JSON, "Ignore", "unexpected end of JSON input"),
    (b"{", PatchForm.MERGE, "Strict", "error decoding patch: unexpected end of JSON input"),
    (b"{", PatchForm.MERGE, "Ignore", "Invalid JSON Patch"),
    (b"{", PatchForm.STRATEGIC, "Warn", "unexpected end of JSON input"),
    (b"null", PatchForm.MERGE, "Warn", "Invalid JSON Patch"),
    (
        b"[]",
        PatchForm.MERGE,
        "Warn",
        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
    ),
    (
        b'"x"',
        PatchForm.STRATEGIC,
        "Warn",
        "json: cannot unmarshal string into Go value of type map[string]interface {}",
    ),
    (
        b"{}",
        PatchForm.JSON,
        "Warn",
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
    ),
    (b"{}", PatchForm.JSON, "Ignore", "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
    (
        b'["x"]',
        PatchForm.JSON,
        "Warn",
        "error decoding patch: json: cannot unmarshal string into Go value of type handlers.jsonPatchOp",
    ),
    (b"[1]", PatchForm.JSON, "Ignore", "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
    (
        b'[{"op":"add","path":7}]',
        PatchForm.JSON,
        "Warn",
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string",
    ),
]


@pytest.mark.parametrize(("data", "form", "validation", "text"), READ, ids=lambda value: str(value)[:20])
def test_texts_that_are_no_patches(data: bytes, form: PatchForm, validation: str, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_patch_text(data, form, validation)
    assert (caught.value.code, caught.value.message) == (400, text)


@pytest.mark.parametrize(
    ("data", "form", "problems"),
    [
        (b'{"a":1,"a":2}', PatchForm.MERGE, ['duplicate field "a"']),
        (b'{"a":{"b":1,"b":2}}', PatchForm.STRATEGIC, ['duplicate field "a.b"']),
        (b"null", PatchForm.STRATEGIC, []),
        (b"null", PatchForm.JSON, []),
        (b'[null,{"op":null,"path":"/a"}]', PatchForm.JSON, []),
        (
            b'[{"op":"add","op":"add","path":"/a","value":{"x":1},"of":1}]',
            PatchForm.JSON,
            ['json patch duplicate field "[0].op"', 'json patch unknown field "[0].of"'],
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_strict_reader_objects_to(data: bytes, form: PatchForm, problems: list[str]) -> None:
    assert read_patch_text(data, form, "Warn")[1] == problems
    assert read_patch_text(data, form, "Ignore")[1] == []


def test_a_missing_merge_key_is_the_references_500(deployment: Schema) -> None:
    with pytest.raises(ApiError) as caught:
        apply_strategic_patch(deployment, LIVE, containers({"image": "i"}))
    assert caught.value.code == 500
    assert caught.value.message == "map: map[image:i] does not contain declared merge key: name"


def test_go_prints_maps_sorted() -> None:
    assert go_map({"b": [1, True], "a": None}) == "map[a:<nil> b:[1 true]]"
