"""Decoding: syntax errors, type errors, strict errors and pruning, in Go's words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery import json_errors
from minikube_py.machinery.decoding import (
    check_types,
    drop_unknown,
    duplicate_fields,
    duplicate_yaml_keys,
    parse_json,
    parse_yaml,
    strict_error,
    unknown_fields,
    unrecognized,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.schema import Schema, custom_schema, definitions
from minikube_py.machinery.yaml_text import to_yaml


def kind_schema(name: str) -> Schema:
    return definitions().schema(f"io.k8s.api.{name}")


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "unexpected end of JSON input"),
        (b"", "unexpected end of JSON input"),
        (b"apiVersion: v1", "invalid character 'a' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
        (b'{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        (b'{"a":"\n"}', "invalid character '\\n' in string literal"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
        (b"{} x", "invalid character 'x' after top-level value"),
    ],
)
def test_syntax_errors(text: bytes, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(text)
    assert caught.value.message == f"couldn't get version/kind; json parse error: {why}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(json_values, st.data())
def test_the_slow_scanner_agrees_with_the_fast_parser(value: Any, data: st.DataObject) -> None:
    text = orjson.dumps(value)
    assert json_errors.explain(text) is None
    cut = text[: data.draw(st.integers(0, len(text)))]
    try:
        orjson.loads(cut)
    except orjson.JSONDecodeError:
        assert json_errors.explain(cut) is not None
    else:
        assert json_errors.explain(cut) is None


GO = "json: cannot unmarshal "


@pytest.mark.parametrize(
    ("definition", "obj", "why"),
    [
        (
            "core.v1.Pod",
            pod(containers="x"),
            GO + "string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "core.v1.Pod",
            pod(containers=[{"image": 1}]),
            GO + "number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            "core.v1.Pod",
            pod(terminationGracePeriodSeconds=1.5),
            GO + "number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            "core.v1.Pod",
            {"kind": "Pod", "apiVersion": "v1", "spec": "x"},
            GO + "string into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            "core.v1.Pod",
            pod(restartPolicy=1),
            GO + "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (
            "core.v1.ConfigMap",
            {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": 1}},
            GO + "number into Go struct field ConfigMap.data of type string",
        ),
        (
            "core.v1.ConfigMap",
            {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"labels": []}},
            GO + "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            "core.v1.Secret",
            {"kind": "Secret", "apiVersion": "v1", "data": {"a": "%"}},
            "illegal base64 data at input byte 0",
        ),
    ],
)
def test_type_errors(definition: str, obj: dict[str, Any], why: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_types(kind_schema(definition), obj)
    kind = obj["kind"]
    assert caught.value.message == f'{kind} in version "v1" cannot be handled as a {kind}: {why}'


def test_a_quantity_explains_itself() -> None:
    with pytest.raises(ApiError, match="quantities must match the regular expression"):
        check_types(kind_schema("core.v1.Pod"), pod(containers=[{"resources": {"limits": {"cpu": "lots"}}}]))


def test_unknown_fields_are_named_in_document_order() -> None:
    obj = {"metadata": {"nada": 1}, "spec": {"containers": [{"name": "c", "bogus": 1}]}, "nope": 1}
    found = unknown_fields(kind_schema("core.v1.Pod"), obj)
    assert found == [
        'unknown field "metadata.nada"', 'unknown field "spec.containers[0].bogus"', 'unknown field "nope"',
    ]  # fmt: skip
    error = strict_error({"kind": "Pod", "apiVersion": "v1"}, "Pod", found)
    assert error.message.startswith('Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown')
    drop_unknown(kind_schema("core.v1.Pod"), obj)
    assert obj == {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}


def test_duplicate_fields() -> None:
    assert duplicate_fields(b'{"a":{"b":1, "b" : 2},"a":1,"c":[{"d":1,"d":2}]}') == [
        'duplicate field "a.b"', 'duplicate field "a"', 'duplicate field "c[0].d"',
    ]  # fmt: skip
    assert duplicate_fields(b'{"a":"\\"b\\":1","c":1}') == []


def test_unreadable_bodies_show_their_beginning() -> None:
    data = b"apiVersion: v1\nkind: ConfigMap\nmore"
    assert unrecognized(data, "ConfigMap", "why").message == (
        "the object provided is unrecognized (must be of type ConfigMap): why "
        "(61706956657273696f6e3a2076310a6b696e643a20436f6e6669674d6170 ...)"
    )


def test_yaml_scalars_are_read_as_the_reference_reads_them() -> None:
    text = b"a: yes\nb: 0777\nc: 2026-11-21\nd: 1e3\ne: ~\nf: 1:30\n1: x\ntrue: y\ng: '1'\nh: 0x10\n"
    assert parse_yaml(text) == {
        "a": True, "b": 511, "c": "2026-11-21", "d": 1000.0, "e": None, "f": "1:30", "1": "x", "true": "y",
        "g": "1", "h": 16,
    }  # fmt: skip


def test_repeated_yaml_keys_are_reported_with_their_line() -> None:
    assert duplicate_yaml_keys(b"a: 1\nb:\n  c: 1\n  c: 2\n") == [
        'yaml: unmarshal errors:\n  line 4: key "c" already set in map'
    ]


def test_yaml_errors_are_400() -> None:
    with pytest.raises(ApiError) as caught:
        parse_yaml(b"a: [b\n")
    assert caught.value.code == 400
    assert caught.value.message == "yaml: line 1: did not find expected ',' or ']'"


@settings(max_examples=60)
@given(st.dictionaries(st.text("ab1:-~ ", max_size=4), json_values, max_size=3))
def test_written_yaml_is_read_back(value: dict[str, Any]) -> None:
    assert parse_yaml(to_yaml(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"f:metadata": {".": {}, "f:x": {}}}, "f:metadata:\n  .: {}\n  f:x: {}\n"),
        ({"verbs": ["*", "get"]}, "verbs:\n- '*'\n- get\n"),
        (
            {"a": "", "b": "1", "c": "yes", "d": "1:30", "e": "2026-11-21", "f": "~"},
            'a: ""\nb: "1"\nc: "yes"\nd: "1:30"\ne: "2026-11-21"\nf: "~"\n',
        ),
        ({"b": "one\ntwo\n", "a": "one\ntwo"}, "a: |-\n  one\n  two\nb: |\n  one\n  two\n"),
        ({"a": "w " * 40 + "w"}, "a:" + " w" * 40 + "\n  w\n"),
        ({"a": None, "b": 1.5, "c": True, "d": [], "e": "ä"}, "a: null\nb: 1.5\nc: true\nd: []\ne: ä\n"),
    ],
)
def test_yaml_is_written_as_the_reference_writes_it(value: dict[str, Any], text: str) -> None:
    assert to_yaml(value).decode() == text


def test_metadata_of_embedded_resources_has_only_the_fields_of_metadata() -> None:
    """Even where everything else is preserved."""
    raw = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    schema = custom_schema({"type": "object", "properties": {"pod": raw}})
    draft = {"pod": {"kind": "Pod", "any": 1, "metadata": {"name": "p", "labels": {"a": "b"}, "other": 1}}}
    assert unknown_fields(schema, draft) == ['unknown field "pod.metadata.other"']
    drop_unknown(schema, draft)
    assert draft == {"pod": {"kind": "Pod", "any": 1, "metadata": {"name": "p", "labels": {"a": "b"}}}}


def test_custom_schemas_prune_but_do_not_check_types() -> None:
    schema = custom_schema(
        {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}},
         "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    )  # fmt: skip
    obj = {"spec": {"n": "text", "m": 1}, "any": {"x": 1}, "z": 1}
    check_types(schema, obj)
    assert unknown_fields(schema, obj) == ['unknown field "spec.m"', 'unknown field "z"']
    drop_unknown(schema, obj)
    assert obj == {"spec": {"n": "text"}, "any": {"x": 1}}


@pytest.mark.parametrize("depth", [310, 1010, 9_000, 20_000])
def test_texts_that_nest_too_deep_are_refused(depth: int) -> None:
    text = b'{"a":' * depth + b"1" + b"}" * depth
    with pytest.raises(ApiError) as caught:
        parse_json(text)
    assert caught.value.code == 400
    assert caught.value.message.endswith("exceeded max depth")


def test_wide_texts_are_not_deep() -> None:
    assert len(parse_json(b'{"a":[' + b",".join([b'{"b":[]}'] * 1000) + b"]}")["a"]) == 1000


def test_yaml_aliases_become_separate_data_and_cannot_explode() -> None:
    found = parse_yaml(b"a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n")
    assert found == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}
    assert found["a"] is not found["c"]
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    with pytest.raises(ApiError, match="excessive aliasing"):
        parse_yaml("\n".join(levels).encode())
    with pytest.raises(ApiError):
        parse_yaml(b"a: &x [*x]")
    with pytest.raises(ApiError):
        parse_yaml(b"[" * 5000 + b"]" * 5000)
