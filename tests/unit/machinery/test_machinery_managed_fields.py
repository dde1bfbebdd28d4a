"""Managed fields: tracking of updates, server-side apply, conflicts, and the sets behind them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.field_sets import FieldSet, difference, intersection, paths, union, with_named_fields
from minikube_py.machinery.known_fields import KnownFields
from minikube_py.machinery.managed_fields import apply_patch, manager_name, same_but_times, track_update
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import Schema, definitions


@pytest.fixture(scope="module")
def config_map() -> Schema:
    return definitions().schema("io.k8s.api.core.v1.ConfigMap")


@pytest.fixture(scope="module")
def deployment() -> Schema:
    return definitions().schema("io.k8s.api.apps.v1.Deployment")


def make_config_map(data: dict[str, str], **labels: str) -> Object:
    meta: Object = {"name": "c", "namespace": "d", "uid": "1"}
    if labels:
        meta["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def update(schema: Schema, live: Object | None, draft: Object, manager: str, now: float = 0, **options: Any) -> Object:
    draft = thaw(draft)
    version = str(draft["apiVersion"])
    track_update(schema, live, draft, manager=manager, api_version=version, now=now, **options)
    return draft


def apply(
    schema: Schema, live: Object | None, patch: Object, manager: str, *, force: bool = False, now: float = 0
) -> Object:
    version = str(patch["apiVersion"])
    return apply_patch(schema, live, patch, manager=manager, force=force, api_version=version, now=now)


def owned(obj: Object) -> dict[str, list[str]]:
    entries = obj["metadata"].get("managedFields", [])
    return {f"{entry['manager']}/{entry['operation']}": sorted(paths(entry["fieldsV1"])) for entry in entries}


def test_a_create_owns_every_part_it_sets(config_map: Schema) -> None:
    created = update(config_map, None, make_config_map({"a": "1"}, app="x"), "kubectl")
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "kubectl", "operation": "Update", "apiVersion": "v1", "time": "1970-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:data": {".": {}, "f:a": {}},
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            },
        }
    ]  # fmt: skip


def test_what_go_always_writes_is_owned_by_nobody(deployment: Schema) -> None:
    draft: Object = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 1},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {},
            "template": {"metadata": {}, "spec": {"containers": [
                {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}},
        },
    }  # fmt: skip
    created = update(deployment, None, draft, "m", reset=("status",))
    assert owned(created)["m/Update"] == sorted(
        [
            ".spec.replicas", ".spec.selector", '.spec.template.spec.containers[name="c"]',
            '.spec.template.spec.containers[name="c"].image', '.spec.template.spec.containers[name="c"].name',
            '.spec.template.spec.containers[name="c"].ports',
            '.spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"]',
            '.spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort',
            '.spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].protocol',
        ]
    )  # fmt: skip


def test_an_update_takes_what_it_changes_and_drops_what_it_removes(config_map: Schema) -> None:
    live = update(config_map, None, make_config_map({"a": "1", "b": "1", "c": "1"}), "one")
    changed = update(config_map, live, {**make_config_map({"a": "2", "b": "1"})}, "two", now=5)
    assert owned(changed) == {"one/Update": [".data", ".data.b"], "two/Update": [".data.a"]}
    same = update(config_map, changed, make_config_map({"a": "2", "b": "1"}), "three", now=9)
    assert same["metadata"]["managedFields"] == changed["metadata"]["managedFields"]


def test_managed_fields_can_be_cleared_and_stay_cleared(config_map: Schema) -> None:
    live = update(config_map, None, make_config_map({"a": "1"}), "one")
    draft = make_config_map({"a": "1"})
    draft["metadata"]["managedFields"] = [{}]
    cleared = update(config_map, live, draft, "one")
    assert "managedFields" not in cleared["metadata"]
    later = update(config_map, cleared, make_config_map({"a": "2"}), "one")
    assert "managedFields" not in later["metadata"]


def test_at_most_ten_update_managers_are_kept(config_map: Schema) -> None:
    live = update(config_map, None, make_config_map({"k0": "v"}), "m0", now=0)
    for index in range(1, 12):
        data = {f"k{number}": "v" for number in range(index + 1)}
        live = update(config_map, live, make_config_map(data), f"m{index}", now=index)
    names = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(names) == 10
    assert names[0] == "ancient-changes"
    assert owned(live)["ancient-changes/Update"][:3] == [".data", ".data.k0", ".data.k1"]


def test_apply_shares_equal_values_and_refuses_others(config_map: Schema) -> None:
    base: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    live = apply(config_map, None, {**base, "data": {"a": "1", "b": "1"}}, "one")
    both = apply(config_map, live, {**base, "data": {"a": "1"}}, "two", now=3)
    assert owned(both) == {"one/Apply": [".data.a", ".data.b"], "two/Apply": [".data.a"]}
    with pytest.raises(ApiError) as caught:
        apply(config_map, both, {**base, "data": {"a": "2", "b": "2"}}, "three")
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.a\n- .data.b\nconflicts with "two":\n- .data.a'
    )
    forced = apply(config_map, both, {**base, "data": {"a": "2"}}, "three", force=True)
    assert forced["data"] == {"a": "2", "b": "1"}
    assert owned(forced) == {"one/Apply": [".data.b"], "three/Apply": [".data.a"]}


def test_one_conflict_with_an_update_names_its_version(config_map: Schema) -> None:
    live = update(config_map, None, make_config_map({"a": "1"}), "edit")
    with pytest.raises(ApiError) as caught:
        apply(config_map, live, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "2"}}, "one")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "edit" using v1: .data.a'
    assert caught.value.details == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "edit" using v1', "field": ".data.a"}]
    }


def test_known_fields_are_those_that_are_found(deployment: Schema) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    known = KnownFields()
    for spec in ({"replicas": 1, "template": template}, {"replicas": 1, "template": template}, {"replicas": 2}, {}):
        for meta in ({"name": "a"}, {"name": "b", "labels": {"a": "b"}}):
            drafts: list[Object] = [{"metadata": dict(meta), "spec": spec, "status": {"x": 1}} for _ in range(2)]
            for draft, memory in zip(drafts, (known, None), strict=True):
                settings = {"manager": "m", "api_version": "apps/v1", "now": 0.0, "reset": ("status",)}
                track_update(deployment, None, draft, known=memory, **settings)  # type: ignore[arg-type]
            assert drafts[0] == drafts[1]


def test_known_fields_are_not_those_of_another_kind(deployment: Schema, config_map: Schema) -> None:
    known = KnownFields()
    spec = {"template": {"spec": {"containers": [{"name": "c"}]}}}
    assert known.of_new(deployment, {"metadata": {}, "spec": spec}) != known.of_new(
        config_map, {"metadata": {}, "spec": spec}
    )


def test_what_an_applier_leaves_out_goes_unless_another_owns_it(deployment: Schema) -> None:
    def config(*containers: Object, **spec: Any) -> Object:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                "spec": {"template": template, **spec}}  # fmt: skip

    first, side = {"name": "c", "image": "i"}, {"name": "side", "image": "s"}
    live = apply(deployment, None, config(first, side, replicas=2), "one")
    live["spec"]["template"]["spec"]["containers"][1]["terminationMessagePath"] = "/dev/log"  # a default
    live = apply(deployment, live, config(first), "two")
    result = apply(deployment, live, config(first), "one")
    assert "replicas" not in result["spec"]
    assert [item["name"] for item in result["spec"]["template"]["spec"]["containers"]] == ["c"]
    gone = apply(deployment, result, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}, "one")
    assert [item["name"] for item in gone["spec"]["template"]["spec"]["containers"]] == ["c"]


def test_applying_the_same_again_changes_nothing(config_map: Schema) -> None:
    patch: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    live = apply(config_map, None, patch, "one", now=1)
    assert apply(config_map, live, patch, "one", now=100) == live
    assert same_but_times(live, thaw(live))


def test_fields_from_before_the_first_apply(config_map: Schema) -> None:
    live = make_config_map({"a": "1"})
    result = apply(config_map, live, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "1"}}, "one")
    assert owned(result) == {"before-first-apply/Update": [".data", ".data.a"], "one/Apply": [".data.b"]}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"replicas": "x"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"replicas": {"a": 1}}, ".spec.replicas: expected numeric (int or float), got map[string]interface {}"),
        ({"paused": "x"}, ".spec.paused: expected boolean, got &{x}"),
        ({"selector": [1]}, ".spec.selector: expected map, got &{[1]}"),
        ({"template": {"spec": {"tolerations": {"a": 1}}}},
         ".spec.template.spec.tolerations: expected list, got &{map[a:1]}"),
        ({"template": {"spec": {"hostname": {"a": ["b", None]}}}},
         ".spec.template.spec.hostname: expected string, got "
         '&value.valueUnstructured{Value:map[string]interface {}{"a":[]interface {}{"b", interface {}(nil)}}}'),
        ({"strategy": {"rollingUpdate": {"maxSurge": {}}}},
         ".spec.strategy.rollingUpdate.maxSurge: expected any scalar, got &{map[]}"),
        ({"template": {"spec": {"containers": [None, {"bogus": 1}]}}},
         ".spec.template.spec.containers: element 0: associative list with keys may not have a null element"),
        ({"template": {"spec": {"containers": [1]}}},
         ".spec.template.spec.containers: element 0: associative list with keys may not have non-map elements"),
        ({"bogus": 1, "other": 1}, ".spec.bogus: field not declared in schema"),
        ({"template": {"spec": {"containers": [{"name": "c", "bogus": 1}]}}},
         '.spec.template.spec.containers[name="c"].bogus: field not declared in schema'),
    ],
)  # fmt: skip
def test_applied_configurations_are_checked(deployment: Schema, spec: Object, why: str) -> None:
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "do"}, "spec": spec}
    with pytest.raises(ApiError) as caught:
        apply(deployment, None, patch, "one")
    assert caught.value.code == 500
    assert caught.value.message == f"failed to create typed patch object (/do; apps/v1, Kind=Deployment): {why}"


_words = st.sampled_from(["a", "b", "name", ""])
_names = st.sampled_from(["metadata", "spec", "template", "containers", "name", "labels", "ports", "replicas", "x"])
_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(allow_nan=False) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=10,
)
_deploymentlike = st.builds(
    lambda containers, rest: {"spec": {**rest, "template": {"spec": {"containers": containers}}}},
    st.lists(st.dictionaries(_names, _anything, max_size=3) | _anything, max_size=3),
    st.dictionaries(_names, _anything, max_size=2),
)


@settings(max_examples=120)
@given(st.dictionaries(_names, _anything, max_size=3) | _deploymentlike, st.booleans())
def test_any_configuration_is_applied_or_refused(patch: Object, force: bool) -> None:
    schema, patch = definitions().schema("io.k8s.api.apps.v1.Deployment"), {"apiVersion": "apps/v1", **patch}
    live: Object = {"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}
    before = orjson.dumps([live, patch])
    try:
        assert isinstance(apply(schema, live, patch, "one", force=force), dict)
    except ApiError as error:
        assert error.code in (400, 409, 500)
        assert error.message
    assert orjson.dumps([live, patch]) == before


def test_a_patch_may_not_bring_managed_fields(config_map: Schema) -> None:
    with pytest.raises(ApiError, match=r"metadata\.managedFields must be nil"):
        apply(config_map, None, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": []}}, "one")


def test_manager_names() -> None:
    assert manager_name("kubectl/v1.36 (linux)") == "kubectl"
    assert manager_name("") == "unknown"
    assert len(manager_name("x" * 300)) == 128


elements = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"n":1}'])
members = st.sets(st.lists(elements, min_size=1, max_size=3).map(tuple), max_size=6)


def trie(found: set[tuple[str, ...]]) -> FieldSet:
    root: FieldSet = {}
    for path in sorted(found, key=len):
        node = root
        for index, element in enumerate(path):
            if element not in node:
                if node is not root and not any(key != "." for key in node) and path[:index] in found:
                    node["."] = {}
                node[element] = {}
            node = node[element]
    return root


def members_of(fields: FieldSet, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for key, node in fields.items():
        if key != ".":
            if not node or "." in node:
                found.add((*prefix, key))
            found |= members_of(node, (*prefix, key))
    return found


@settings(max_examples=100)
@given(members, members)
def test_field_sets_are_sets(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> None:
    a, b = trie(left), trie(right)
    before = orjson.dumps([a, b])
    assert members_of(a) == left
    assert members_of(union(a, b)) == left | right
    assert members_of(difference(a, b)) == left - right
    assert members_of(intersection(a, b)) == left & right
    assert members_of(with_named_fields(a)) >= left
    assert orjson.dumps([a, b]) == before
