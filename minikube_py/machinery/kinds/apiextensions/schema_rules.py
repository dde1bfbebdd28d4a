"""What a CustomResourceDefinition's schema may say: ``ValidateCustomResourceDefinitionOpenAPISchema``.

Everything about the schema itself; CEL rules are judged by ``rule_costs``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kinds.apiextensions.go_form import go_schema
from minikube_py.machinery.kinds.apiextensions.schema_walk import Json, field_at
from minikube_py.machinery.kinds.apiextensions.structural import conversion_error
from minikube_py.machinery.kinds.common.checks import Errors, not_supported_in_order

if TYPE_CHECKING:
    from minikube_py.machinery.kinds.apiextensions.rule_costs import RuleContext

TYPES = ("array", "boolean", "integer", "number", "object", "string")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_LINE_BREAK = re.compile(r"[\n\r]+")
_META_FIELDS = frozenset({"metadata", "kind", "apiVersion"})
_LIST_TYPE, _MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-map-type"
_KEYS, _EMBEDDED = "x-kubernetes-list-map-keys", "x-kubernetes-embedded-resource"
_PRESERVE, _RULES = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"
_UNSUPPORTED = ("patternProperties", "definitions")


@dataclass(frozen=True, slots=True)
class Options:
    """What is demanded; an update demands nothing that the stored definition already breaks."""

    valid_types: bool = True
    atomic_sets: bool = True
    map_keys: bool = True
    no_defaults: str | None = None
    """Where defaults are forbidden: the reason that is told."""
    inside_meta: bool = False
    """Inside the schema of an object's metadata, kind or apiVersion."""


def schema_errors(
    path: str, schema: Json, options: Options, *, root: bool = False, context: RuleContext | None = None
) -> Errors:
    """Errors of a schema and all schemas in it; with ``context`` those of its CEL rules too, at the end."""
    rule_problems: Errors = []
    return _schema_errors(path, schema, options, root, context, rule_problems) + rule_problems


def _schema_errors(
    path: str, schema: Json, options: Options, root: bool, context: RuleContext | None, rules: Errors
) -> Errors:
    """Errors of the schema itself; those of rules go to ``rules``, the inner ones first.

    Rules are looked at where the schema is right from there on down: types of wrong schemas would mislead.
    """
    errors = _field_errors(path, schema, options)
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden_field(f"{path}.uniqueItems", text))
    errors += _object_errors(path, schema, options, root, context, rules)
    errors += _combined_errors(path, schema, options)
    items = schema.get("items")
    for at, entry in ((f"{path}.items", items),) if isinstance(items, Mapping) else _numbered(f"{path}.items", items):
        inner = context.child(entry, path, None) if context is not None else None
        errors += _schema_errors(at, entry, options, False, inner, rules)
    for name, entry in (schema.get("dependencies") or {}).items():
        if isinstance(entry, Mapping):
            errors += schema_errors(f"{path}.dependencies[{name}]", entry, options)
    if schema.get(_PRESERVE) is False:
        errors.append(invalid_value(f"{path}.{_PRESERVE}", False, "must be true or undefined"))
    errors += _map_type_errors(path, schema) + _list_type_errors(path, schema, options)
    if options.map_keys:
        errors += map_key_errors(path, schema)
    for index, rule in enumerate(schema.get(_RULES) or ()):
        errors += _rule_errors(f"{path}.{_RULES}[{index}]", rule, schema)
    if context is not None and schema.get(_RULES) and not errors:
        from minikube_py.machinery.kinds.apiextensions.rule_costs import rule_errors

        rules += rule_errors(path, context)
    return errors


def _numbered(path: str, entries: Any) -> list[tuple[str, Json]]:
    return [(f"{path}[{index}]", entry) for index, entry in enumerate(entries or ())]


def _field_errors(path: str, schema: Json, options: Options) -> Errors:
    """``specStandardValidatorV3.validate``: fields that OpenAPI v3 or Kubernetes does not have."""
    errors: Errors = []
    found = schema.get("type") or ""
    if options.valid_types and found and found not in TYPES:
        errors.append(not_supported(f"{path}.type", found, TYPES))
    if schema.get("default") is not None and options.no_defaults is not None:
        errors.append(forbidden_field(f"{path}.default", f"must not be set {options.no_defaults}".strip()))
    if schema.get("id"):
        errors.append(forbidden_field(f"{path}.id", "id is not supported"))
    if schema.get("additionalItems") is not None:
        errors.append(forbidden_field(f"{path}.additionalItems", "additionalItems is not supported"))
    errors += [forbidden_field(f"{path}.{name}", f"{name} is not supported") for name in _UNSUPPORTED if
               schema.get(name)]  # fmt: skip
    for name in ("dependencies", "$ref"):
        if schema.get(name) is not None:
            errors.append(forbidden_field(f"{path}.{name}", f"{name} is not supported"))
    if found == "null":
        text = "type cannot be set to null, use nullable as an alternative"
        errors.append(forbidden_field(f"{path}.type", text))
    if isinstance(schema.get("items"), list) and schema["items"]:
        errors.append(forbidden_field(f"{path}.items", "items must be a schema object and not an array"))
    if options.inside_meta and schema.get(_EMBEDDED):
        errors.append(forbidden_field(f"{path}.{_EMBEDDED}", "must not be used inside of resource meta"))
    return errors


def _object_errors(
    path: str, schema: Json, options: Options, root: bool, context: RuleContext | None, rules: Errors
) -> Errors:
    errors: Errors = []
    additional, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if properties and additional is not None and additional is not True:
        text = "additionalProperties and properties are mutual exclusive"
        errors.append(forbidden_field(f"{path}.additionalProperties", text))
    if isinstance(additional, Mapping):
        inner = options
        if options.inside_meta:
            inner = replace(options, no_defaults="inside additionalProperties applying to object metadata")
        below = context.child(additional, path, None) if context is not None else None
        errors += _schema_errors(f"{path}.additionalProperties", additional, inner, False, below, rules)
    for name, child in properties.items():
        inner = options
        if (root or schema.get(_EMBEDDED)) and name in _META_FIELDS:
            inner = replace(inner, inside_meta=True)
            if root:
                inner = replace(inner, no_defaults=f"in top-level {name}")
        below = context.child(child, path, name) if context is not None else None
        errors += _schema_errors(f"{path}.properties[{name}]", child, inner, False, below, rules)
    return errors


def _combined_errors(path: str, schema: Json, options: Options) -> Errors:
    parts = [(f"{path}.not", schema["not"])] if schema.get("not") is not None else []
    for name in ("allOf", "oneOf", "anyOf"):
        parts += _numbered(f"{path}.{name}", schema.get(name))
    parts += [(f"{path}.definitions[{name}]", entry) for name, entry in (schema.get("definitions") or {}).items()]
    return [error for at, entry in parts for error in schema_errors(at, entry, options)]


def _map_type_errors(path: str, schema: Json) -> Errors:
    wanted = schema.get(_MAP_TYPE)
    if wanted is None:
        return []
    errors = _must_be(path, schema, "object", f"must be object if {_MAP_TYPE} is specified")
    if wanted not in ("atomic", "granular"):
        errors.append(not_supported_in_order(f"{path}.{_MAP_TYPE}", wanted, ("atomic", "granular")))
    return errors


def _must_be(path: str, schema: Json, wanted: str, text: str) -> Errors:
    found = schema.get("type") or ""
    if found == wanted:
        return []
    return [invalid_value(f"{path}.type", found, text) if found else required(f"{path}.type", text)]


def _list_type_errors(path: str, schema: Json, options: Options) -> Errors:
    wanted, keys = schema.get(_LIST_TYPE), schema.get(_KEYS) or []
    errors: Errors = []
    if wanted is not None:
        errors += _must_be(path, schema, "array", f"must be array if {_LIST_TYPE} is specified")
        if not errors and options.atomic_sets:
            errors += set_item_errors(path, schema)
        if wanted not in ("atomic", "set", "map"):
            errors.append(not_supported_in_order(f"{path}.{_LIST_TYPE}", wanted, ("atomic", "set", "map")))
    if keys and wanted != "map":
        text, field = f"must be map if {_KEYS} is non-empty", f"{path}.{_LIST_TYPE}"
        errors.append(required(field, text) if wanted is None else invalid_value(field, wanted, text))
    return errors + _map_list_errors(path, schema, keys) if wanted == "map" else errors


def set_item_errors(path: str, schema: Json) -> Errors:
    """Items of a set are scalars or atomic."""
    items = schema.get("items")
    if schema.get(_LIST_TYPE) != "set" or not isinstance(items, Mapping):
        return []
    text, inner = "must be atomic as item of a list with x-kubernetes-list-type=set", items.get(_LIST_TYPE)
    if items.get("type") == "array" and inner not in (None, "atomic"):
        return [invalid_value(f"{path}.items.{_LIST_TYPE}", inner, text)]
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        return [invalid_value(f"{path}.items.{_MAP_TYPE}", inner, text)]
    return []


def _map_list_errors(path: str, schema: Json, keys: list[str]) -> Errors:
    errors: Errors = []
    items = schema.get("items")
    if not keys:
        errors.append(required(f"{path}.{_KEYS}", f"must not be empty if {_LIST_TYPE} is map"))
    if items is None:
        return [*errors, required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map")]
    if not isinstance(items, Mapping):
        shown = {"Schema": None, "JSONSchemas": [go_schema(entry) for entry in items]}
        text = f"must only have a single schema if {_LIST_TYPE} is map"
        return [*errors, invalid_value(f"{path}.items", shown, text)]
    if items.get("type") != "object":
        text = f"must be object if parent array's {_LIST_TYPE} is map"
        return [*errors, invalid_value(f"{path}.items.type", items.get("type") or "", text)]
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            errors.append(invalid_value(f"{path}.{_KEYS}", keys, "entries must all be names of item properties"))
        elif properties[key].get("type") in ("array", "object"):
            text = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            errors.append(invalid_value(f"{path}.items.properties[{key}].type", items["type"], text))
        if key in keys[:index]:
            errors.append(invalid_value(f"{path}.{_KEYS}", keys, "must not contain duplicate entries"))
    return errors


def map_key_errors(path: str, schema: Json) -> Errors:
    """``validateMapListKeysMapSet``: items and their keys cannot be null, and every key has a value."""
    items, wanted = schema.get("items"), schema.get(_LIST_TYPE)
    if not isinstance(items, Mapping) or wanted not in ("set", "map"):
        return []
    errors: Errors = []
    if items.get("nullable"):
        errors.append(forbidden_field(f"{path}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {wanted}"))
    properties = items.get("properties") or {}
    for key in (schema.get(_KEYS) or ()) if wanted == "map" else ():
        if key not in properties:
            continue
        field = f"{path}.items.properties[{key}]"
        if key not in (items.get("required") or ()) and properties[key].get("default") is None:
            text = f"this property is in {_KEYS}, so it must have a default or be a required property"
            errors.append(required(f"{field}.default", text))
        if properties[key].get("nullable"):
            text = f"this property is in {_KEYS}, so it cannot be nullable"
            errors.append(forbidden_field(f"{field}.nullable", text))
    return errors


def _rule_errors(path: str, rule: Json, schema: Json) -> Errors:
    """A validation rule apart from its expressions."""
    errors: Errors = []
    text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not text:
        errors.append(required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        errors.append(invalid_value(f"{path}.message", message, "message must be non-empty if specified"))
    elif _LINE_BREAK.search(message.strip()):
        errors.append(invalid_value(f"{path}.message", message, "message must not contain line breaks"))
    elif _LINE_BREAK.search(text) and not message.strip():
        errors.append(required(f"{path}.message", "message must be specified if rule contains line breaks"))
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        errors.append(required(f"{path}.messageExpression", "messageExpression must be non-empty if specified"))
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        errors.append(not_supported(f"{path}.reason", rule["reason"], _REASONS))
    return errors + _rule_path_errors(f"{path}.fieldPath", rule.get("fieldPath") or "", schema)


def _rule_path_errors(path: str, value: str, schema: Json) -> Errors:
    errors: Errors = []
    if value and not value.strip():
        errors.append(invalid_value(path, value, "fieldPath must be non-empty if specified"))
    if _LINE_BREAK.search(value):
        errors.append(invalid_value(path, value, "fieldPath must not contain line breaks"))
    if value and not conversion_error(schema):
        try:
            field_at(schema, value)
        except ValueError:
            errors.append(invalid_value(path, value, "fieldPath must be a valid path"))
    return errors
