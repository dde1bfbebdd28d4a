"""Whether a schema is structural: every field and array is declared outside of value validation.

Follows ``ValidateStructural`` of the API server's ``pkg/apiserver/schema``. Pure functions of schemas as
they are in a CustomResourceDefinition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.apiextensions.patterns import go_pattern_error
from minikube_py.machinery.kinds.apiextensions.schema_walk import Json
from minikube_py.machinery.kinds.common.checks import Errors

_ROOT, _ITEM, _FIELD = "at the root", "for specified array items", "for specified object fields"
_UNSUPPORTED = (
    ("id", "id"), ("$schema", "schema"), ("$ref", "$ref"), ("patternProperties", "patternProperties"),
    ("dependencies", "dependencies"), ("additionalItems", "additionalItems"), ("definitions", "definitions"),
)  # fmt: skip
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_INT_OR_STRING, _VALIDATIONS = "x-kubernetes-int-or-string", "x-kubernetes-validations"
_FORBIDDEN = (
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    (_PRESERVE, "must be false to be structural"),
    (_EMBEDDED, "must be false to be structural"),
    (_INT_OR_STRING, "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    (_VALIDATIONS, "must be empty to be structural"),
)
_JUNCTORS = ("anyOf", "allOf", "oneOf")


def conversion_error(schema: Json) -> str:
    """Why a schema cannot be read as a structural one at all (``NewStructural``); empty when it can."""
    for name, shown in _UNSUPPORTED:
        if schema.get(name) or (name == "additionalItems" and schema.get(name) is not None):
            return f"OpenAPIV3Schema '{shown}' is not supported"
    for part in _inner(schema):
        found = conversion_error(part)
        if found:
            return found
    if schema.get(_PRESERVE) is False:
        return f"internal error: '{_PRESERVE}' must be true or undefined"
    if isinstance(schema.get("items"), list):
        return "OpenAPIV3Schema 'items' must be a schema, but is an array"
    return ""


def _inner(schema: Json) -> Iterator[Json]:
    if schema.get("not") is not None:
        yield schema["not"]
    for name in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(name) or ()
    for name in ("additionalProperties", "items"):
        if isinstance(schema.get(name), Mapping):
            yield schema[name]
    yield from (schema.get("properties") or {}).values()


def structural_errors(path: str, schema: Json) -> Errors:
    """What keeps a convertible schema from being structural, sorted by path and text."""
    errors = _invariants(path, schema, _ROOT)
    errors += _completeness(path, path, schema, schema)
    return sorted(errors, key=lambda error: f"{error.field}: {error.body()}")


def _invariants(path: str, schema: Json, level: str) -> Errors:
    errors: Errors = []
    items, properties = schema.get("items"), schema.get("properties") or {}
    if schema.get("type") == "array" and items is None:
        errors.append(required(f"{path}.items", "must be specified"))
    if items is not None:
        errors += _invariants(f"{path}.items", items, _ITEM)
    for name, child in properties.items():
        errors += _invariants(f"{path}.properties[{name}]", child, _FIELD)
    additional = schema.get("additionalProperties")
    if additional is not None and level == _ROOT:
        errors.append(forbidden_field(f"{path}.additionalProperties", "must not be used at the root"))
    if isinstance(additional, Mapping):
        errors += _invariants(f"{path}.additionalProperties", additional, _FIELD)
    errors += _extension_errors(path, schema)
    skip_all = bool(schema.get("allOf")) and _is_int_or_string(schema["allOf"][0].get("anyOf"))
    errors += _value_errors(path, schema, skip_any=_is_int_or_string(schema.get("anyOf")), skip_all=skip_all)
    return errors + _type_errors(path, schema, level) + _resource_errors(path, schema, level)


def _is_int_or_string(any_of: Any) -> bool:
    """The one value validation that may name types: integer or string."""
    return isinstance(any_of, list) and [
        {key: value for key, value in entry.items() if value not in (None, "", False, [], {})} for entry in any_of
    ] == [{"type": "integer"}, {"type": "string"}]


def _extension_errors(path: str, schema: Json) -> Errors:
    if not schema.get(_INT_OR_STRING):
        return []
    text = f"must be false if {_INT_OR_STRING} is true"
    return [invalid_value(f"{path}.{name}", True, text) for name in (_PRESERVE, _EMBEDDED) if schema.get(name)]


def _type_errors(path: str, schema: Json, level: str) -> Errors:
    found, field = schema.get("type") or "", f"{path}.type"
    errors: Errors = []
    if schema.get(_EMBEDDED) and found != "object":
        text = f"must be object if {_EMBEDDED} is true"
        errors.append(invalid_value(field, found, text) if found else required(field, text))
    elif not found and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        errors.append(required(field, f"must not be empty {level}"))
    if schema.get(_EMBEDDED) and schema.get("additionalProperties") is not None:
        errors.append(forbidden_field(f"{path}.additionalProperties", f"must not be used if {_EMBEDDED} is set"))
    if level == _ROOT and found and found != "object":
        errors.append(invalid_value(field, found, "must be object at the root"))
    return errors


def _resource_errors(path: str, schema: Json, level: str) -> Errors:
    """A resource's own fields keep their types; the root says nothing about metadata but names."""
    errors: Errors = []
    properties = schema.get("properties") or {}
    is_resource = level == _ROOT or bool(schema.get(_EMBEDDED))
    for name in ("kind", "apiVersion"):
        found = (properties.get(name) or {}).get("type") or ""
        if name in properties and is_resource and found != "string":
            errors.append(invalid_value(f"{path}.properties[{name}].type", found, "must be string"))
    if "metadata" in properties:
        errors += _metadata_errors(f"{path}.properties[metadata]", properties["metadata"], is_resource, level)
    if schema.get(_EMBEDDED) and not schema.get(_PRESERVE) and not properties:
        text = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        errors.append(required(f"{path}.properties", text))
    return errors


def _metadata_errors(path: str, schema: Json, is_resource: bool, level: str) -> Errors:
    errors: Errors = []
    found = schema.get("type") or ""
    if is_resource and found != "object":
        errors.append(invalid_value(f"{path}.type", found, "must be object"))
    if level == _ROOT:
        said = {key for key, value in schema.items() if value not in (None, "", False, [], {})}
        if set(schema.get("properties") or {}) <= {"name", "generateName"}:
            said.discard("properties")
        if said - {"type", "default", "example"}:
            text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            errors.append(forbidden_field(path, text))
    return errors


def _value_errors(path: str, schema: Json, *, skip_any: bool = False, skip_all: bool = False) -> Errors:
    """Value validation holds nothing but value validation."""
    errors: Errors = []
    for name in _JUNCTORS:
        if name == "anyOf" and skip_any:
            continue
        for index, entry in enumerate(schema.get(name) or ()):
            skip = skip_all and name == "allOf" and index == 0
            errors += _nested_errors(f"{path}.{name}[{index}]", entry, skip_any=skip)
    if schema.get("not") is not None:
        errors += _nested_errors(f"{path}.not", schema["not"])
    pattern = schema.get("pattern")
    wrong = go_pattern_error(pattern) if pattern else ""
    if wrong:
        text = f"must be a valid regular expression, but isn't: {wrong}"
        errors.append(invalid_value(f"{path}.pattern", pattern, text))
    return errors


def _nested_errors(path: str, schema: Json, *, skip_any: bool = False) -> Errors:
    errors = _value_errors(path, schema, skip_any=skip_any)
    if schema.get("items") is not None:
        errors += _nested_errors(f"{path}.items", schema["items"])
    properties = schema.get("properties") or {}
    for name, child in properties.items():
        errors += _nested_errors(f"{path}.properties[{name}]", child)
    if schema.get("type"):
        errors.append(forbidden_field(f"{path}.type", "must be empty to be structural"))
    if schema.get("additionalProperties") is not None:
        errors.append(forbidden_field(f"{path}.additionalProperties", "must be undefined to be structural"))
    for name, text in _FORBIDDEN:
        if schema.get(name) or (schema.get(name) is not None and "undefined" in text):
            errors.append(forbidden_field(f"{path}.{name}", text))
    if "metadata" in properties:
        errors.append(forbidden_field(f"{path}.properties[metadata]", "must not be specified in a nested context"))
    return errors


def _completeness(path: str, told_at: str, told: Json, schema: Json | None) -> Errors:
    """Fields of value validation (``told``) exist in the structure (``schema``)."""
    if schema is None:
        return [_undeclared(path, told_at)]
    errors: Errors = []
    if told.get("not") is not None:
        errors += _nested_completeness(path, f"{told_at}.not", told["not"], schema)
    for name in ("allOf", "anyOf", "oneOf"):
        for index, entry in enumerate(told.get(name) or ()):
            errors += _nested_completeness(path, f"{told_at}.{name}[{index}]", entry, schema)
    return errors


def _nested_completeness(path: str, told_at: str, told: Json, schema: Json | None) -> Errors:
    if schema is None:
        return [_undeclared(path, told_at)]
    errors = _completeness(path, told_at, told, schema)
    if told.get("items") is not None:
        errors += _nested_completeness(f"{path}.items", f"{told_at}.items", told["items"], schema.get("items"))
    declared = schema.get("properties") or {}
    for name, child in (told.get("properties") or {}).items():
        at, where = f"{path}.properties[{name}]", f"{told_at}.properties[{name}]"
        errors += _nested_completeness(at, where, child, declared.get(name))
    return errors


def _undeclared(path: str, told_at: str) -> FieldError:
    return required(path, f"because it is defined in {told_at}")
