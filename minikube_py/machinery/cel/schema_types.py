"""The types of values that a schema describes (``SchemaDeclType``).

In: an OpenAPI schema of a custom resource (structural, plain JSON). Out: the ``Type`` under which CEL sees a
value, with the greatest sizes that the schema allows, or a request's size where it says nothing. What has no
known shape (preserved unknown fields) is not exposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from minikube_py.machinery.cel.tokens import KEYWORDS
from minikube_py.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Field,
    Type,
    list_of,
    map_of,
    object_type,
)

MAX_REQUEST = 3 * 1024 * 1024
"""Bytes of a request, which no value can exceed."""
_DURATION_SIZE, _MIN_DURATION, _DATE_SIZE = 32, 3, 12
_MIN_DATETIME, _MAX_DATETIME = 21, 32
_TEXT_FIELDS = ("kind", "apiVersion")


def declared_object(schema: Mapping[str, Any], name: str) -> Type:
    """The type of a resource by its schema, with the fields that every resource has; objects are named below
    ``name``. Anything is dynamic that the schema does not tell."""
    return declared_type(schema, name, root=True) or DYN


def declared_type(schema: Mapping[str, Any], name: str, *, root: bool = False) -> Type | None:
    """The type of a schema's values; None where CEL does not see them. ``root`` adds the fields of a resource."""
    if schema.get("x-kubernetes-int-or-string"):
        most = schema.get("maxLength")
        return replace(DYN, max_elements=MAX_REQUEST - 2 if most is None else 4 * max(0, most), min_serialized=1)
    sort = schema.get("type")
    if sort == "array":
        return _list_type(schema, name)
    if sort == "object" or (root and not sort):
        return _object_type(schema, name, root=root)
    if sort == "string":
        return _string_type(schema)
    return {"boolean": _BOOL, "number": _DOUBLE, "integer": _INT}.get(str(sort))


_BOOL, _INT, _DOUBLE = (
    replace(BOOL, min_serialized=4),
    replace(INT, min_serialized=1),
    replace(DOUBLE, min_serialized=1),
)


def _is_embedded(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("x-kubernetes-embedded-resource"))


def _list_type(schema: Mapping[str, Any], name: str) -> Type | None:
    items = schema.get("items")
    if not isinstance(items, Mapping):
        return None
    item = declared_type(items, f"{name}.@idx", root=_is_embedded(items))
    if item is None:
        return None
    most = schema.get("maxItems")
    return replace(
        list_of(item),
        max_elements=(MAX_REQUEST - 2) // (item.min_serialized + 1) if most is None else max(0, most),
        min_serialized=2,
        list_type=schema.get("x-kubernetes-list-type") or "",
        list_map_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
    )


def _object_type(schema: Mapping[str, Any], name: str, *, root: bool) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping) and not root:
        value = declared_type(additional, f"{name}.@elem", root=_is_embedded(additional))
        if value is None:
            return None
        most = schema.get("maxProperties")
        return replace(
            map_of(STRING, value),
            max_elements=(MAX_REQUEST - 2) // (value.min_serialized + 6) if most is None else max(0, most),
            min_serialized=2,
        )
    properties: dict[str, Any] = dict(schema.get("properties") or {})
    if root:
        properties |= {field: {"type": "string"} for field in _TEXT_FIELDS}
        properties["metadata"] = _METADATA
    required = schema.get("required") or ()
    fields: dict[str, Field] = {}
    least = 2
    for key, inner in properties.items():
        escaped = escape(key)
        found = declared_type(inner, f"{name}.{escaped}", root=_is_embedded(inner)) if escaped else None
        if found is None:
            continue
        fields[escaped] = Field(key, found)
        if key in required and inner.get("default") is None:
            least += len(key) + found.min_serialized + 4
    return replace(object_type(name, fields), min_serialized=least)


_METADATA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
}


def _string_type(schema: Mapping[str, Any]) -> Type:
    most, written = schema.get("maxLength"), schema.get("format")
    if written == "byte":
        return replace(BYTES, max_elements=MAX_REQUEST - 2 if most is None else max(0, most), min_serialized=2)
    if written == "duration":
        return replace(DURATION, max_elements=_DURATION_SIZE, min_serialized=_MIN_DURATION)
    if written == "date":
        return replace(TIMESTAMP, max_elements=_DATE_SIZE, min_serialized=_DATE_SIZE)
    if written == "date-time":
        return replace(TIMESTAMP, max_elements=_MAX_DATETIME, min_serialized=_MIN_DATETIME)
    if most is not None:
        size = 4 * max(0, most)
    elif schema.get("enum"):
        size = max((len(value.encode()) for value in schema["enum"] if isinstance(value, str)), default=0)
    else:
        size = MAX_REQUEST - 2
    return replace(STRING, max_elements=size, min_serialized=2)


def escape(name: str) -> str:
    """A property's name as an identifier (``__dash__`` for ``-``); empty when there is none."""
    if name in KEYWORDS:
        return f"__{name}__"
    if not name or name[0].isdigit():
        return ""
    result = name.replace("__", "__underscores__")
    for char, word in ((".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        result = result.replace(char, word)
    return result if result.replace("_", "a").isalnum() and result.isascii() else ""
