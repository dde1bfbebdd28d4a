"""Server-side apply of lists and of nulls: order, items that repeat each other, and what null leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.field_sets import is_field_set, paths
from minikube_py.machinery.managed_fields import apply_patch, track_update
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import Schema, custom_schema, definitions

CONTAINER = '.spec.containers[name="c"]'


@pytest.fixture(scope="module")
def pod() -> Schema:
    return definitions().schema("io.k8s.api.core.v1.Pod")


def make_pod(env: Any = None, **fields: Any) -> Object:
    container: Object = {"name": "c"} if env is None else {"name": "c", "env": env}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container], **fields}}


def variables(text: str) -> list[Object]:
    """``a1 b2``: variables with one letter as a name and a digit as a value."""
    return [{"name": item[0], "value": item[1:]} for item in text.split()]


def env_of(obj: Object) -> str:
    env = obj["spec"]["containers"][0].get("env") or []
    return " ".join(item["name"] + item["value"] for item in env)


def created(schema: Schema, obj: Object, manager: str = "creator") -> Object:
    draft = thaw(obj)
    track_update(schema, None, draft, manager=manager, api_version="v1", now=0)
    return draft


def apply(schema: Schema, live: Object | None, patch: Object, manager: str = "me", *, force: bool = False) -> Object:
    return apply_patch(schema, live, patch, manager=manager, force=force, api_version="v1", now=0)


def owned(obj: Object, manager: str) -> set[str]:
    """The paths below the container's variables that a manager owns."""
    prefix = f"{CONTAINER}.env["
    found = [entry for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager]
    return {path.removeprefix(f"{CONTAINER}.env") for entry in found for path in paths(entry["fieldsV1"])
            if path.startswith(prefix)}  # fmt: skip


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        pytest.param("a1 b2", "c3", "a1 b2 c3", id="new items come last"),
        pytest.param("a1 b2 c3", "c3 a1", "b2 c3 a1", id="shared items take the applied order"),
        pytest.param("a1 x9 b2", "b2 a1", "x9 b2 a1", id="an item that waits for its turn is passed over"),
        pytest.param("x9 a1 y8", "n5 a1", "x9 n5 a1 y8", id="new items come before the shared one they precede"),
        pytest.param("a1 a2 b3", "c4", "a1 a2 b3 c4", id="repeated items stay"),
        pytest.param("a1 b3 a2", "a4", "a4 b3", id="what is applied replaces all repeated items"),
        pytest.param("a1 a2 x9", "a4 n5 m6", "a4 n5 x9 m6", id="repeated items are passed over once"),
    ],
)
def test_the_order_of_merged_lists(pod: Schema, live: str, applied: str, merged: str) -> None:
    result = apply(pod, created(pod, make_pod(variables(live))), make_pod(variables(applied)), force=True)
    assert env_of(result) == merged


def test_repeated_items_are_owned_as_one(pod: Schema) -> None:
    live = created(pod, make_pod(variables("a1 a2 b3")))
    assert owned(live, "creator") == {'[name="a"]', '[name="b"]', '[name="b"].name', '[name="b"].value'}
    with pytest.raises(ApiError) as caught:
        apply(pod, live, make_pod(variables("a9")))
    assert (
        caught.value.message
        == f'Apply failed with 1 conflict: conflict with "creator" using v1: {CONTAINER}.env[name="a"]'
    )
    forced = apply(pod, live, make_pod(variables("a9")), force=True)
    assert owned(forced, "creator") == {'[name="b"]', '[name="b"].name', '[name="b"].value'}
    assert owned(forced, "me") == {'[name="a"]', '[name="a"].name', '[name="a"].value'}


@pytest.mark.parametrize(
    ("before", "after", "creator", "editor"),
    [
        pytest.param("a1 a2", "a1 a2", {'[name="a"]'}, set(), id="nothing changes"),
        pytest.param("a1 a2", "a1 a3", set(), {'[name="a"]'}, id="one of the repeated items"),
        pytest.param(
            "a1 a2", "a1", set(), {'[name="a"]', '[name="a"].name', '[name="a"].value'}, id="repeated no more"
        ),
        pytest.param("a1", "a1 a2", set(), {'[name="a"]'}, id="repeated from now on"),
        pytest.param("a1 a2 b3", "b3", {'[name="b"]', '[name="b"].name', '[name="b"].value'}, set(), id="all gone"),
    ],
)
def test_updates_of_repeated_items(pod: Schema, before: str, after: str, creator: set[str], editor: set[str]) -> None:
    live = created(pod, make_pod(variables(before)))
    draft = {**make_pod(variables(after)), "metadata": thaw(live["metadata"])}
    track_update(pod, live, draft, manager="editor", api_version="v1", now=1)
    assert (owned(draft, "creator"), owned(draft, "editor")) == (creator, editor)


def test_an_applied_list_may_not_repeat_items(pod: Schema) -> None:
    with pytest.raises(ApiError, match='duplicate entries for key \\[name="a"\\]'):
        apply(pod, None, make_pod(variables("a1 a2")))


def test_what_an_applier_leaves_out_takes_repeated_items_along(pod: Schema) -> None:
    live = apply(pod, None, make_pod(variables("a1 b2")))
    live["spec"]["containers"][0]["env"] += variables("a3")  # by somebody whose fields are not tracked
    assert env_of(apply(pod, live, make_pod(variables("b2")))) == "b2"


@pytest.mark.parametrize(
    ("field", "stays"),
    [("containers", True), ("securityContext", True), ("nodeSelector", False), ("tolerations", False)],
    ids=["a list of keyed items", "a structure", "an atomic map", "an atomic list"],
)
def test_null_leaves_what_merges_alone(pod: Schema, field: str, *, stays: bool) -> None:
    spec = {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}], "securityContext": {"runAsUser": 1}}
    live = created(pod, make_pod(**spec))
    result = apply(pod, live, {**make_pod(), "spec": {field: None}}, force=True)
    assert result["spec"][field] == (live["spec"][field] if stays else None)


def test_null_metadata_is_none(pod: Schema) -> None:
    assert apply(pod, created(pod, make_pod()), {**make_pod(), "metadata": None})["metadata"]["name"] == "p"


@pytest.mark.parametrize(
    ("value", "readable"),
    [
        ({}, True), (None, True), ({"f:a": {".": {}, "f:b": {}}}, True), ({"z:new": {}}, True),
        ({'k:{"n":1}': {}, 'v:"x"': {}, "i:-1": {}}, True), ({"a": {}}, False), ({"fa": {}}, False),
        ({"f:a": {"b": {}}}, False), ({"k:[1]": {}}, False), ({"v:x": {}}, False), ({"i:1.5": {}}, False),
        ({"f:a": 1}, False), ([], False),
    ],
)  # fmt: skip
def test_what_is_a_field_set(value: Any, *, readable: bool) -> None:
    assert is_field_set(value) is readable


def test_keys_of_built_in_kinds_are_never_missing(pod: Schema) -> None:
    live = created(pod, make_pod([{"value": "1"}]))
    assert owned(live, "creator") == {'[name=""]', '[name=""].value'}


@pytest.mark.parametrize(
    ("items", "kind", "why"),
    [
        ([{"v": 1}], "map", 'an element that omits key field "n" (and doesn\'t have default value)'),
        ([{"n": "a"}, {"n": "a"}], "map", 'duplicate entries for key [m=1,n="a"]'),
        ([{"n": "a"}], "set", "associative list without keys has an element that's a map type"),
        ([["a"]], "set", "not supported: associative list with lists as elements"),
        ([None], "set", "associative list without keys has an element that's an explicit null"),
    ],
)
def test_items_of_custom_lists_that_cannot_be_told_apart(items: list[Any], kind: str, why: str) -> None:
    item: Object = {"type": "object", "properties": {"n": {"type": "string"}, "m": {"type": "integer", "default": 1}}}
    listed: Object = {"type": "array", "items": item, "x-kubernetes-list-type": kind}
    if kind == "map":
        listed["x-kubernetes-list-map-keys"] = ["n", "m"]
    head = {name: {"type": "string"} for name in ("apiVersion", "kind")}
    schema = custom_schema({"type": "object", "properties": {**head, "metadata": {"type": "object"}, "list": listed}})
    patch = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "k"}, "list": items}
    with pytest.raises(ApiError) as caught:
        apply(schema, None, patch)
    assert caught.value.message.startswith("failed to create typed patch object (/k; /v1, Kind=K): .list: ")
    assert caught.value.message.endswith(why)
