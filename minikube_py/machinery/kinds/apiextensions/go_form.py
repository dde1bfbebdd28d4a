"""Versions and schemas of a CustomResourceDefinition as Go prints its internal types inside error texts.

All fields are there, in the order of the Go struct, under their Go names; unset ones show their zero value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

_TEXT, _FALSE, _NULL = "", False, None

_SCHEMA: tuple[tuple[str, str, Any], ...] = (
    ("ID", "id", _TEXT), ("Schema", "$schema", _TEXT), ("Ref", "$ref", _NULL), ("Description", "description", _TEXT),
    ("Type", "type", _TEXT), ("Nullable", "nullable", _FALSE), ("Format", "format", _TEXT), ("Title", "title", _TEXT),
    ("Default", "default", _NULL), ("Maximum", "maximum", _NULL), ("ExclusiveMaximum", "exclusiveMaximum", _FALSE),
    ("Minimum", "minimum", _NULL), ("ExclusiveMinimum", "exclusiveMinimum", _FALSE), ("MaxLength", "maxLength", _NULL),
    ("MinLength", "minLength", _NULL), ("Pattern", "pattern", _TEXT), ("MaxItems", "maxItems", _NULL),
    ("MinItems", "minItems", _NULL), ("UniqueItems", "uniqueItems", _FALSE), ("MultipleOf", "multipleOf", _NULL),
    ("Enum", "enum", _NULL), ("MaxProperties", "maxProperties", _NULL), ("MinProperties", "minProperties", _NULL),
    ("Required", "required", _NULL), ("Items", "items", _NULL), ("AllOf", "allOf", _NULL), ("OneOf", "oneOf", _NULL),
    ("AnyOf", "anyOf", _NULL), ("Not", "not", _NULL), ("Properties", "properties", _NULL),
    ("AdditionalProperties", "additionalProperties", _NULL), ("PatternProperties", "patternProperties", _NULL),
    ("Dependencies", "dependencies", _NULL), ("AdditionalItems", "additionalItems", _NULL),
    ("Definitions", "definitions", _NULL), ("ExternalDocs", "externalDocs", _NULL), ("Example", "example", _NULL),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", _NULL),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", _FALSE),
    ("XIntOrString", "x-kubernetes-int-or-string", _FALSE), ("XListMapKeys", "x-kubernetes-list-map-keys", _NULL),
    ("XListType", "x-kubernetes-list-type", _NULL), ("XMapType", "x-kubernetes-map-type", _NULL),
    ("XValidations", "x-kubernetes-validations", _NULL),
)  # fmt: skip

_RULE: tuple[tuple[str, str, Any], ...] = (
    ("Rule", "rule", _TEXT), ("Message", "message", _TEXT), ("MessageExpression", "messageExpression", _TEXT),
    ("Reason", "reason", _NULL), ("FieldPath", "fieldPath", _TEXT), ("OptionalOldSelf", "optionalOldSelf", _NULL),
)  # fmt: skip

_COLUMN: tuple[tuple[str, str, Any], ...] = (
    ("Name", "name", _TEXT), ("Type", "type", _TEXT), ("Format", "format", _TEXT),
    ("Description", "description", _TEXT), ("Priority", "priority", 0), ("JSONPath", "jsonPath", _TEXT),
)  # fmt: skip


def set_fields(schema: Json) -> list[str]:
    """The Go names of the fields that are not at their zero value, in the order of the struct."""
    return [go_name for go_name, name, zero in _SCHEMA if not _is_zero(schema.get(name), zero)]


def _is_zero(value: Any, zero: Any) -> bool:
    return value is None or (zero is not None and value == zero) or (isinstance(value, list | dict) and not value)


def go_rule(rule: Json) -> Any:
    """A ``ValidationRule``."""
    return _struct(_RULE, rule)


def go_versions(versions: Sequence[Json]) -> list[Any]:
    """``spec.versions`` after hoisting."""
    return [_version(version) for version in versions]


def _version(version: Json) -> Any:
    schema, parts = version.get("schema"), version.get("subresources")
    columns, selectable = version.get("additionalPrinterColumns"), version.get("selectableFields")
    return {
        "Name": version.get("name") or "",
        "Served": bool(version.get("served")),
        "Storage": bool(version.get("storage")),
        "Deprecated": bool(version.get("deprecated")),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None if schema is None else {"OpenAPIV3Schema": go_schema(schema.get("openAPIV3Schema"))},
        "Subresources": None if parts is None else _subresources(parts),
        "AdditionalPrinterColumns": [_struct(_COLUMN, column) for column in columns] if columns else None,
        "SelectableFields": [{"JSONPath": one.get("jsonPath") or ""} for one in selectable] if selectable else None,
    }


def _subresources(parts: Json) -> Any:
    scale = parts.get("scale")
    shown = scale and {
        "SpecReplicasPath": scale.get("specReplicasPath") or "",
        "StatusReplicasPath": scale.get("statusReplicasPath") or "",
        "LabelSelectorPath": scale.get("labelSelectorPath"),
    }
    return {"Status": None if parts.get("status") is None else {}, "Scale": shown}


def _struct(fields: tuple[tuple[str, str, Any], ...], value: Json) -> Any:
    return {go_name: zero if value.get(name) is None else value[name] for go_name, name, zero in fields}


def go_schema(schema: Json | None) -> Any:
    """A ``JSONSchemaProps``."""
    if schema is None:
        return None
    shown = _struct(_SCHEMA, schema)
    for name in ("Properties", "PatternProperties", "Definitions"):
        if shown[name] is not None:
            shown[name] = {key: go_schema(shown[name][key]) for key in sorted(shown[name])}
    for name in ("AllOf", "OneOf", "AnyOf"):
        if shown[name] is not None:
            shown[name] = [go_schema(entry) for entry in shown[name]]
    shown["Not"] = go_schema(shown["Not"])
    shown["Items"] = _schema_or_list(shown["Items"])
    for name in ("AdditionalProperties", "AdditionalItems"):
        shown[name] = _schema_or_boolean(shown[name])
    if shown["Dependencies"] is not None:
        found = shown["Dependencies"]
        shown["Dependencies"] = {key: _schema_or_names(found[key]) for key in sorted(found)}
    docs = shown["ExternalDocs"]
    if docs is not None:
        shown["ExternalDocs"] = {"Description": docs.get("description") or "", "URL": docs.get("url") or ""}
    if shown["XValidations"] is not None:
        shown["XValidations"] = [go_rule(rule) for rule in shown["XValidations"]]
    return shown


def _schema_or_list(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {"Schema": go_schema(value), "JSONSchemas": None}
    return {"Schema": None, "JSONSchemas": [go_schema(entry) for entry in value]}


def _schema_or_boolean(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {"Allows": True, "Schema": go_schema(value)}
    return {"Allows": value, "Schema": None}


def _schema_or_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {"Schema": go_schema(value), "Property": None}
    return {"Schema": None, "Property": value}
