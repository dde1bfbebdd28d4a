"""CustomResourceDefinitions: what Kubernetes says about their schemas, columns, versions and updates."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from minikube_py.machinery.kinds.apiextensions.custom_resource_definition import KIND
from minikube_py.machinery.kinds.apiextensions.patterns import go_pattern_error
from minikube_py.machinery.kinds.apiextensions.schema_walk import field_at
from minikube_py.machinery.objects import Object, thaw

OBJECT = {"type": "object"}


def definition(schema: Any = None, **version: Any) -> Object:
    made = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or OBJECT}, **version}
    return defined([made])


def defined(versions: list[Any], **spec: Any) -> Object:
    names = {"plural": "cats", "kind": "Cat"}
    draft = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "cats.cat.example.com"},
        "spec": {"group": "cat.example.com", "scope": "Namespaced", "names": names, "versions": versions, **spec},
    }
    KIND.default(draft)
    KIND.prepare_create(draft)
    return draft


def lines(draft: Object) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in KIND.validate(draft)]


def inside(**properties: Any) -> Object:
    return definition({"type": "object", "properties": properties})


ROOT = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize(
    ("draft", "wanted"),
    [
        pytest.param(definition(), [], id="valid"),
        pytest.param(
            inside(a={}),
            [f"{ROOT}.properties[a].type: Required value: must not be empty for specified object fields"],
            id="untyped-field",
        ),
        pytest.param(
            inside(a={"type": "string", "anyOf": [{"type": "string"}]}),
            [f"{ROOT}.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
            id="type-in-junctor",
        ),
        pytest.param(
            inside(a={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            [],
            id="int-or-string",
        ),
        pytest.param(
            definition({"type": "object", "oneOf": [{"properties": {"b": {"minimum": 1}}}]}),
            [f"{ROOT}.properties[b]: Required value: because it is defined in {ROOT}.oneOf[0].properties[b]"],
            id="undeclared-in-structure",
        ),
        pytest.param(
            inside(metadata={"type": "object", "properties": {"labels": {"type": "object"}}}),
            [
                f"{ROOT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, "
                "but metadata is implicitly specified"
            ],
            id="root-metadata",
        ),
        pytest.param(
            inside(a={"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": 1}}),
            [f'{ROOT}.properties[a].default: Invalid value: {{"c":1}}: must not have unknown fields'],
            id="unpruned-default",
        ),
        pytest.param(
            inside(a={"type": "text"}),
            [
                f'{ROOT}.properties[a].type: Unsupported value: "text": supported values: "array", "boolean", '
                '"integer", "number", "object", "string"'
            ],
            id="unknown-type",
        ),
        pytest.param(
            inside(a={"$ref": "#/definitions/x", "type": "object"}),
            [f"{ROOT}.properties[a].$ref: Forbidden: $ref is not supported"],
            id="reference",
        ),
        pytest.param(
            inside(
                a={
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                }
            ),
            [
                f"{ROOT}.properties[a].items.properties[k].default: Required value: this property is in "
                "x-kubernetes-list-map-keys, so it must have a default or be a required property"
            ],
            id="optional-map-key",
        ),
        pytest.param(
            inside(a={"type": "string", "x-kubernetes-validations": [{"rule": " ", "message": "m"}]}),
            [f"{ROOT}.properties[a].x-kubernetes-validations[0].rule: Required value: rule is not specified"],
            id="empty-rule",
        ),
        pytest.param(
            inside(a={"type": "string", "pattern": "a("}),
            [
                f'{ROOT}.properties[a].pattern: Invalid value: "a(": must be a valid regular expression, but isn\'t: '
                "error parsing regexp: missing closing ): `a(`"
            ],
            id="pattern",
        ),
        pytest.param(
            definition(OBJECT, subresources={"scale": {"specReplicasPath": ".status.x"}}),
            [
                'spec.subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under '
                ".spec",
                "spec.subresources.scale.statusReplicasPath: Required value",
            ],
            id="scale",
        ),
        pytest.param(
            definition(OBJECT, selectableFields=[{"jsonPath": ".spec.a"}]),
            [
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.a": is an invalid path: does not refer to a '
                "valid field"
            ],
            id="selectable",
        ),
    ],
)
def test_schema_errors(draft: Object, wanted: list[str]) -> None:
    assert lines(draft) == wanted


def test_differing_versions_are_told_apart() -> None:
    versions = [
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "array"}}},
        {"name": "v2", "served": True, "storage": False, "schema": {"openAPIV3Schema": OBJECT}},
    ]
    path = "spec.versions[0].schema.openAPIV3Schema"
    assert lines(defined(versions)) == [
        f"{path}.items: Required value: must be specified",
        f'{path}.type: Invalid value: "array": must be object at the root',
    ]


def test_update_demands_no_more_than_the_stored_definition() -> None:
    old = inside(a={})
    changed = thaw(old)
    changed["spec"]["preserveUnknownFields"] = old["spec"]["preserveUnknownFields"] = True
    assert KIND.validate_update(changed, old) == []


def test_a_stored_version_cannot_go() -> None:
    old = definition()
    versions = [{"name": "v2", "served": True, "storage": True, "schema": {"openAPIV3Schema": OBJECT}}]
    changed = defined(versions)
    KIND.prepare_update(changed, old)
    changed["status"]["storedVersions"] = ["v1", "v2"]
    assert [error.field for error in KIND.validate_update(changed, old)] == ["status.storedVersions[0]"]


def test_unknown_formats_warn_once_and_only_when_new() -> None:
    draft = inside(a={"type": "string", "format": "odd"}, b={"type": "integer", "format": "int32"})
    assert KIND.warnings(draft, None) == ['unrecognized format "odd"']
    assert KIND.warnings(draft, draft) == []


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (".a", ("a",)),
        ("['a'].b", ("a", "b")),
        (".m.x", ("m", "x")),
        (".a.", "unexpected end of JSON path"),
        ("a", "expected [ or . but got: a"),
        (".zz", "does not refer to a valid field"),
    ],
)
def test_field_paths(path: str, wanted: Any) -> None:
    schema = {
        "properties": {
            "a": {"properties": {"b": {"type": "string"}}},
            "m": {"additionalProperties": {"type": "string"}},
        }
    }
    if isinstance(wanted, tuple):
        assert field_at(schema, path)[0] == wanted
    else:
        with pytest.raises(ValueError, match=f"^{wanted.replace('[', chr(92) + '[')}$"):
            field_at(schema, path)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("^[a-z]+$", ""),
        ("[[:alpha:]]", ""),
        ("[a", "error parsing regexp: missing closing ]: `[a`"),
        ("a(?=b)", "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
        ("*a", "error parsing regexp: missing argument to repetition operator: `*`"),
    ],
)
def test_go_patterns(pattern: str, wanted: str) -> None:
    assert go_pattern_error(pattern) == wanted


def ruled(schema: Any, *rules: Any) -> Object:
    """A definition whose ``spec`` has rules."""
    return inside(spec={**schema, "x-kubernetes-validations": list(rules)})


RULES = f"{ROOT}.properties[spec].x-kubernetes-validations"
BOUND = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)
SIZED = {"type": "object", "properties": {"size": {"type": "integer"}}}
TAGS = {"type": "array", "items": {"type": "string", "maxLength": 63}}
CONTAINS = {"rule": "self.all(x, x.contains('gpu'))"}


def go_rule(**fields: Any) -> str:
    shown: Object = {"Rule": "", "Message": "", "MessageExpression": ""}
    shown |= {"Reason": None, "FieldPath": "", "OptionalOldSelf": None}
    return orjson.dumps({**shown, **fields}).decode()


@pytest.mark.parametrize(
    ("draft", "wanted"),
    [
        pytest.param(ruled(SIZED, {"rule": "self.size > 0"}), [], id="good"),
        pytest.param(
            ruled(SIZED, {"rule": "self.size"}),
            [f"{RULES}[0].rule: Invalid value: {go_rule(Rule='self.size')}: cel expression must evaluate to a bool"],
            id="no-bool",
        ),
        pytest.param(
            ruled(SIZED, {"rule": "self.sise > 0"}),
            [
                f"{RULES}[0].rule: Invalid value: {go_rule(Rule='self.sise > 0')}: compilation failed: "
                "ERROR: <input>:1:5: undefined field 'sise'\n | self.sise > 0\n | ....^"
            ],
            id="unknown-field",
        ),
        pytest.param(
            ruled(SIZED, {"rule": "true", "messageExpression": "1"}),
            [
                f"{RULES}[0].messageExpression: Invalid value: {go_rule(Rule='true', MessageExpression='1')}: "
                "messageExpression must evaluate to a string"
            ],
            id="message-no-string",
        ),
        pytest.param(
            ruled(SIZED, {"rule": "true", "optionalOldSelf": True}),
            [f"{RULES}[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"],
            id="useless-optional-old-self",
        ),
        pytest.param(ruled({**TAGS, "maxItems": 333_333}, CONTAINS), [], id="dear-enough"),
        pytest.param(
            ruled({**TAGS, "maxItems": 400_000}, CONTAINS),
            [f"{RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 1.200000x {BOUND}"],
            id="too-dear",
        ),
        pytest.param(
            ruled(TAGS, CONTAINS),
            [f"{RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 3.1x {BOUND}"],
            id="bounded-by-the-request",
        ),
        pytest.param(
            ruled({"type": "array", "items": {"type": "string"}}, CONTAINS),
            [
                f"{RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {BOUND}",
                f"{RULES}[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire "
                "OpenAPIv3 schema",
                f"{ROOT}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema "
                f"exceeds budget by factor of more than 100x {BOUND}",
            ],
            id="nothing-bounds-it",
        ),
        pytest.param(
            inside(a={"type": "array", "items": {**SIZED, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}),
            [
                f'{ROOT}.properties[a].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": '
                f"oldSelf cannot be used on the uncorrelatable portion of the schema within {ROOT}.properties[a]"
            ],
            id="old-self-in-atomic-list",
        ),
        pytest.param(
            inside(a={"type": "integer", "default": "x"}),
            [f'{ROOT}.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"'],
            id="default-of-another-type",
        ),
        pytest.param(
            inside(a={"type": "integer", "default": 5, "x-kubernetes-validations": [{"rule": "self < 5"}]}),
            [f'{ROOT}.properties[a].default: Invalid value: "integer": failed rule: self < 5'],
            id="default-against-its-rule",
        ),
        pytest.param(
            ruled({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"rule": "self.any > 1"}),
            [
                f"{RULES}[0].rule: Invalid value: {go_rule(Rule='self.any > 1')}: compilation failed: "
                "ERROR: <input>:1:5: undefined field 'any'\n | self.any > 1\n | ....^"
            ],
            id="unknown-fields-are-not-seen",
        ),
        pytest.param(
            inside(
                a={"type": "string", "anyOf": [{"type": "string"}]},
                b={**SIZED, "x-kubernetes-validations": [{"rule": "nope"}]},
            ),
            [f"{ROOT}.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
            id="no-rules-in-wrong-schemas",
        ),
    ],
)
def test_rules_and_defaults(draft: Object, wanted: list[str]) -> None:
    assert lines(draft) == wanted


def converted(bundle: str, *, established: bool = True) -> Object:
    client = {"url": "https://h", "caBundle": bundle}
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": client}
    draft = definition()
    draft["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    draft["status"]["conditions"] = [{"type": "Established", "status": str(established)}]
    return draft


def test_authorities_of_conversions_are_judged_once_the_definition_is_established() -> None:
    no_pem, empty, odd = "eA==", "LS0tLS1CRUdJTiBYLS0tLS0KLS0tLS1FTkQgWC0tLS0tCg==", converted("eQ==")
    assert KIND.validate(converted(no_pem)) == []
    assert KIND.validate_update(converted(no_pem), converted("", established=False)) == []
    assert KIND.validate_update(converted(no_pem), odd) == []
    errors = [KIND.validate_update(converted(bundle), converted(""))[0] for bundle in (no_pem, empty)]
    path, loading = "spec.conversion.webhookClientConfig.caBundle", "unable to load root certificates"
    assert [f"{error.field}: {error.body()}" for error in errors] == [
        f'{path}: Invalid value: "{no_pem}": {loading}: unable to parse bytes as PEM block',
        f'{path}: Invalid value: "{empty}": {loading}: no valid certificate authority data seen',
    ]
