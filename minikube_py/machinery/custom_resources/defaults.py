"""Defaults of structural schemas: what is missing is filled in, nulls that nothing allows are dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.objects import thaw

Json = Mapping[str, Any]


def has_defaults(schema: Json) -> bool:
    """Whether a schema fills in anything."""
    if "default" in schema or any(has_defaults(inner) for inner in (schema.get("properties") or {}).values()):
        return True
    parts = (schema.get("additionalProperties"), schema.get("items"))
    return any(isinstance(part, Mapping) and has_defaults(part) for part in parts)


def fill_defaults(schema: Json, value: Any) -> None:
    """Fill in a private value from the outside in (``PruneNonNullableNullsWithoutDefaults`` and ``Default``)."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name, inner in properties.items():
            if name in value and value[name] is None and not inner.get("nullable") and "default" in inner:
                del value[name]
            if name not in value and "default" in inner:
                value[name] = thaw(inner["default"])
            if name in value:
                fill_defaults(inner, value[name])
        additional = schema.get("additionalProperties")
        if isinstance(additional, Mapping):
            replace = "default" in additional and not additional.get("nullable")
            for name, item in value.items():
                if name not in properties:
                    if item is None and replace:
                        value[name] = item = thaw(additional["default"])
                    fill_defaults(additional, item)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            replace = "default" in items and not items.get("nullable")
            for index, item in enumerate(value):
                if item is None and replace:
                    value[index] = thaw(items["default"])
                fill_defaults(items, value[index])
