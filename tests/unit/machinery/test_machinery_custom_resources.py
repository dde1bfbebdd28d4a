"""Objects of custom kinds: defaults, value validation, rules, ratcheting, lists, embedded resources."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.custom_resources.defaults import fill_defaults
from minikube_py.machinery.custom_resources.places import DEFAULTS, marked_places
from minikube_py.machinery.custom_resources.resources import ResourceValidator
from minikube_py.machinery.custom_resources.rules import compile_rules
from minikube_py.machinery.custom_resources.values import changed_value_errors, value_errors
from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import TakesLong
from minikube_py.machinery.regular_expressions import PatternError, compile_pattern

Json = dict[str, Any]


def told(errors: list[FieldError]) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def spec(schema: Json) -> Json:
    return {"type": "object", "properties": {"spec": schema}}


BLOCKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
    "existing errors to complete validation"
)
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
VALUES: list[tuple[Json, Any, list[str]]] = [
    (NUMBER, 3, []),
    (NUMBER, 3.0, []),
    (NUMBER, "3", ['spec: Invalid value: "string": spec in body must be of type integer: "string"']),
    (NUMBER, 1.5, ['spec: Invalid value: "number": spec in body must be of type integer: "number"']),
    (NUMBER, True, ['spec: Invalid value: "boolean": spec in body must be of type integer: "boolean"']),
    (NUMBER, None, ['spec: Invalid value: "null": spec in body must be of type integer: "null"']),
    ({**NUMBER, "nullable": True}, None, []),
    ({"type": "number"}, 3, []),
    ({**NUMBER, "maximum": 10}, 11, ["spec: Invalid value: 11: spec in body should be less than or equal to 10"]),
    ({**NUMBER, "maximum": 10, "exclusiveMaximum": True}, 10,
     ["spec: Invalid value: 10: spec in body should be less than 10"]),
    ({**NUMBER, "minimum": 1}, 0, ["spec: Invalid value: 0: spec in body should be greater than or equal to 1"]),
    ({**NUMBER, "multipleOf": 5}, 7, ["spec: Invalid value: 7: spec in body should be a multiple of 5"]),
    ({**TEXT, "maxLength": 2}, "abc", ["spec: Too long: may not be more than 2 bytes"]),
    ({**TEXT, "minLength": 2}, "a", ['spec: Invalid value: "a": spec in body should be at least 2 chars long']),
    ({**TEXT, "pattern": "^[a-z]+$"}, "A", ['spec: Invalid value: "A": spec in body should match \'^[a-z]+$\'']),
    ({**TEXT, "enum": ["red", "blue"]}, "green",
     ['spec: Unsupported value: "green": supported values: "red", "blue"']),
    ({**TEXT, "format": "date-time"}, "x", ['spec: Invalid value: "x": spec in body must be of type date-time: "x"']),
    ({**TEXT, "format": "date-time"}, "2020-01-02T03:04:05.1Z", []),
    ({**TEXT, "format": "duration"}, "1h", []),
    ({**TEXT, "format": "ipv4"}, "1.2.3", ['spec: Invalid value: "1.2.3": spec in body must be of type ipv4: "1.2.3"']),
    ({**TEXT, "format": "unheard-of"}, "x", []),
    ({"x-kubernetes-int-or-string": True}, "80%", []),
    ({"x-kubernetes-int-or-string": True}, True,
     ['spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean"']),
    ({"type": "array", "maxItems": 1, "items": TEXT}, ["a", 1], [
        'spec[1]: Invalid value: "integer": spec[1] in body must be of type string: "integer"',
        "spec: Too many: 2: must have at most 1 items",
    ]),
    ({"type": "array", "minItems": 1, "items": TEXT}, [],
     ["spec: Invalid value: 0: spec in body should have at least 1 items"]),
    ({"type": "object", "additionalProperties": NUMBER}, {"a": 1, "b": "x"},
     ['spec.b: Invalid value: "string": spec.b in body must be of type integer: "string"']),
    ({"type": "object", "minProperties": 2, "additionalProperties": TEXT}, {"a": "x"},
     ["spec: Invalid value: 1: spec in body should have at least 2 properties"]),
    ({"type": "object", "required": ["a"], "properties": {"a": TEXT}}, {}, ["spec.a: Required value"]),
    ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 2},
     ['<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives']),
    ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, [
        '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid',
        "spec.a: Required value",
    ]),
    ({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]}, 3, [
        '<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)',
        "spec: Invalid value: 3: spec in body should be greater than or equal to 5",
    ]),
    ({"type": "integer", "allOf": [{"minimum": 5}, {"maximum": 9}]}, 3, [
        "spec: Invalid value: 3: spec in body should be greater than or equal to 5",
        '<nil>: Invalid value: "": "spec" must validate all the schemas (allOf)',
    ]),
    ({"type": "integer", "not": {"minimum": 5}}, 7,
     ['<nil>: Invalid value: "": "spec" must not validate the schema (not)']),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(VALUES)))
def test_values(index: int) -> None:
    schema, value, errors = VALUES[index]
    assert told(value_errors(spec(schema), {"spec": value})) == errors


def test_what_did_not_change_is_forgiven() -> None:
    item = {"type": "object", "properties": {"k": TEXT, "v": {"type": "integer", "maximum": 1}}}
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    schema = spec(
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "maximum": 1},
                "keyed": {"type": "array", "items": item, **keyed},
                "plain": {"type": "array", "items": item},
            },
        }
    )
    bad = {"k": "x", "v": 2}
    old = {"spec": {"a": 5, "keyed": [bad], "plain": [bad]}}
    assert len(value_errors(schema, old)) == 3
    new = {"spec": {"a": 5, "keyed": [{"k": "new"}, bad], "plain": [{"k": "new"}, bad]}}
    assert [error.field for error in changed_value_errors(schema, new, old)] == ["spec.plain[1].v"]
    assert [error.field for error in changed_value_errors(schema, {"spec": {**old["spec"], "a": 6}}, old)] == ["spec.a"]


def test_defaults() -> None:
    nested = {"type": "object", "default": {}, "properties": {"flag": {"type": "boolean", "default": True}}}
    schema = spec(
        {
            "type": "object",
            "properties": {
                "color": {"type": "string", "default": "red"},
                "null": {"type": "string", "nullable": True, "default": "x"},
                "nested": nested,
                "list": {"type": "array", "items": nested},
                "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
            },
        }
    )
    places = marked_places(schema)
    assert places.below & DEFAULTS
    assert not marked_places(spec({"type": "object", "properties": {"a": TEXT}})).below & DEFAULTS
    value: Json = {"spec": {"color": None, "null": None, "list": [{}, None], "map": {"a": None, "b": 1}}}
    fill_defaults(places, value)
    assert value["spec"] == {
        "color": "red",
        "null": None,
        "nested": {"flag": True},
        "list": [{"flag": True}, {"flag": True}],
        "map": {"a": 7, "b": 1},
    }
    assert schema["properties"]["spec"]["properties"]["nested"]["default"] == {}


RULES = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": NUMBER,
                "frozen": {
                    **TEXT,
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}],
                },
                "once": {
                    **TEXT,
                    "x-kubernetes-validations": [
                        {"rule": "oldSelf.hasValue() || self == 'new'", "optionalOldSelf": True}
                    ],
                },
                "list": {"type": "array", "items": TEXT},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "properties": {"name": TEXT, "port": NUMBER},
                        "x-kubernetes-validations": [{"rule": "self.port >= oldSelf.port"}],
                    },
                },
                "limits": {
                    "type": "object",
                    "additionalProperties": {**NUMBER, "x-kubernetes-validations": [{"rule": "self < 10"}]},
                },
                "port": {
                    "x-kubernetes-int-or-string": True,
                    "x-kubernetes-validations": [{"rule": "self + 1 > 0"}],
                },
            },
            "x-kubernetes-validations": [
                {"rule": "!has(self.size) || self.size < 9", "message": "too big", "fieldPath": ".size"},
                {
                    "rule": "!has(self.list) || self.list.all(x, size(x) < 4)",
                    "messageExpression": "'long: ' + self.list.filter(x, size(x) >= 4).join(',')",
                    "reason": "FieldValueForbidden",
                },
                {"rule": "!has(self.size) || 10 / self.size > 0", "messageExpression": "string(1 / 0)"},
            ],
        }
    },
}


def rule_errors(new: Json, old: Json | None = None) -> list[str]:
    tree = compile_rules(marked_places(RULES))
    assert tree is not None
    return told(tree.errors({"spec": new}) if old is None else tree.errors({"spec": new}, {"spec": old}))


def test_rules_of_new_objects() -> None:
    assert rule_errors({"size": 3, "list": ["abc"], "frozen": "x", "once": "new"}) == []
    assert rule_errors({"size": 9}) == ['spec.size: Invalid value: "object": too big']
    assert rule_errors({"list": ["abcde", "x", "fghij"]}) == ["spec: Forbidden: long: abcde,fghij"]
    assert rule_errors({"size": 0}) == [
        'spec: Invalid value: "object": division by zero evaluating rule: !has(self.size) || 10 / self.size > 0'
    ]
    assert rule_errors({"limits": {"a": 11}}) == ['spec.limits[a]: Invalid value: "integer": failed rule: self < 10']
    assert rule_errors({"port": "x"}) == [
        "spec.port: Invalid value: \"\": 'no such overload': call arguments did not match a supported operator, "
        "function or macro signature for rule: self + 1 > 0"
    ]


def test_transition_rules() -> None:
    assert rule_errors({"frozen": "a"}, {}) == []
    assert rule_errors({"frozen": "b"}, {"frozen": "a"}) == ['spec.frozen: Invalid value: "string": is immutable']
    assert rule_errors({"once": "other"}) == [
        "spec.once: Invalid value: \"string\": failed rule: oldSelf.hasValue() || self == 'new'"
    ]
    assert rule_errors({"once": "other"}, {"once": "new"}) == []
    old = {"ports": [{"name": "a", "port": 5}, {"name": "b", "port": 1}]}
    new = {"ports": [{"name": "c", "port": 0}, {"name": "b", "port": 2}, {"name": "a", "port": 4}]}
    assert rule_errors(new, old) == ['spec.ports[2]: Invalid value: "object": failed rule: self.port >= oldSelf.port']


def test_broken_rules_of_unchanged_parts_warn() -> None:
    tree = compile_rules(marked_places(RULES))
    assert tree is not None
    old = {"spec": {"limits": {"a": 11, "b": 1}}}
    warnings: list[str] = []
    assert tree.errors({"spec": {"limits": {"a": 11, "b": 2}}}, old, warnings=warnings) == []
    assert warnings == ['spec.limits[a]: Invalid value: "integer": failed rule: self < 10']
    assert len(tree.errors({"spec": {"limits": {"a": 12, "b": 1}}}, old)) == 1


def test_rules_stop_when_the_budget_is_spent() -> None:
    rule = {"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"}
    tree = compile_rules(
        marked_places(spec({"type": "array", "items": NUMBER, "x-kubernetes-validations": [rule, rule]}))
    )
    assert tree is not None
    assert told(tree.errors({"spec": list(range(90))})) == [
        "spec: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation "
        f"rules will be run due to call cost exceeds limit for rule: {rule['rule']}"
    ]
    cheap = {"rule": "self.all(a, self.all(b, a + b >= 0))"}
    tree = compile_rules(
        marked_places(spec({"type": "array", "items": NUMBER, "x-kubernetes-validations": [cheap] * 30}))
    )
    assert tree is not None
    assert told(tree.errors({"spec": list(range(300))}))[-1].endswith(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )


def test_whole_objects() -> None:
    validator = ResourceValidator(
        marked_places(RULES), {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.n"}
    )
    assert told(validator.new_errors({"spec": {"size": "x"}}))[-1] == BLOCKED
    assert told(validator.new_errors({"spec": {"size": -1}})) == [
        ".spec.size: Invalid value: -1: should be a non-negative integer",
        'spec: Invalid value: "object": failed rule: !has(self.size) || 10 / self.size > 0',
    ]
    repeated = {"spec": {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}}
    assert told(validator.new_errors(repeated)) == ['spec.ports[1]: Duplicate value: {"name":"a"}']
    ports = RULES["properties"]["spec"]["properties"]["ports"]
    keyed = ResourceValidator(
        marked_places(spec({"type": "object", "properties": {"ports": {**ports, "items": {"type": "object"}}}}))
    )
    assert keyed.changed_errors({**repeated, "x": 1}, repeated) == []
    assert len(keyed.changed_errors(repeated, {"spec": {}})) == 1
    unruled = ResourceValidator(marked_places(spec({"type": "array", "x-kubernetes-list-type": "set", "items": TEXT})))
    assert told(unruled.new_errors({"spec": ["a", "b", "a"]})) == ['spec[2]: Duplicate value: "a"']


def test_costly_rules_are_put_off() -> None:
    rule = {"rule": "self.all(a, self.all(b, a + b > 0))"}
    validator = ResourceValidator(
        marked_places(spec({"type": "array", "items": NUMBER, "x-kubernetes-validations": [rule]}))
    )
    assert validator.new_errors({"spec": [1] * 10}) == []
    with pytest.raises(TakesLong) as caught:
        validator.new_errors({"spec": [1] * 150})
    assert caught.value.work() == []
    with pytest.raises(TakesLong) as caught:
        validator.changed_errors({"spec": [2] * 150}, {"spec": [1]})
    assert caught.value.work() == []
    refused = [f'spec: Invalid value: "array": failed rule: {rule["rule"]}']
    assert told(validator.changed_errors({"spec": [-1] * 150}, {"spec": [1]})) == refused


def test_embedded_resources() -> None:
    embedded = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    validator = ResourceValidator(marked_places(spec(embedded)))
    assert told(validator.new_errors({"spec": {"x": 1}})) == [
        "spec.apiVersion: Required value",
        "spec.kind: Required value",
    ]
    bad = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"a b": "x"}}}
    assert [error.field for error in validator.new_errors({"spec": bad})] == ["spec.metadata.labels"]
    assert validator.new_errors({"spec": {"apiVersion": "v1", "kind": "Pod"}}) == []


PATTERNS = {
    "[a": "error parsing regexp: missing closing ]: `[a`",
    "(a": "error parsing regexp: missing closing ): `(a`",
    "a)": "error parsing regexp: unexpected ): `a)`",
    "*a": "error parsing regexp: missing argument to repetition operator: `*`",
    "a**": "error parsing regexp: invalid nested repetition operator: `**`",
    "\\": "error parsing regexp: trailing backslash at end of expression: ``",
    "\\q": "error parsing regexp: invalid escape sequence: `\\q`",
    "[b-a]": "error parsing regexp: invalid character class range: `b-a`",
    "a(?=b)": "error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
    "a{2,1}": "error parsing regexp: invalid repeat count: `{2,1}`",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_that_go_refuses(pattern: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern(pattern)
    assert str(caught.value) == PATTERNS[pattern]
