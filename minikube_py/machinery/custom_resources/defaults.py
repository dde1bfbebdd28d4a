"""Defaults of structural schemas: what is missing is filled in, nulls that nothing allows are dropped."""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.custom_resources.places import DEFAULTS, Place
from minikube_py.machinery.objects import thaw


def fill_defaults(place: Place, value: Any) -> None:
    """Fill in a private value from the outside in (``PruneNonNullableNullsWithoutDefaults`` and ``Default``)."""
    if isinstance(value, dict):
        for name, inner in place.properties.items():
            if inner.below & DEFAULTS:
                _fill_property(inner, value, name)
        additional = place.additional
        if additional is not None and additional.below & DEFAULTS:
            declared, replace = place.declared, _replaces_null(additional)
            for name, item in value.items():
                if name not in declared:
                    if item is None and replace:
                        value[name] = item = thaw(additional.schema["default"])
                    fill_defaults(additional, item)
    elif isinstance(value, list) and place.items is not None and place.items.below & DEFAULTS:
        items, replace = place.items, _replaces_null(place.items)
        for index, item in enumerate(value):
            if item is None and replace:
                value[index] = thaw(items.schema["default"])
            fill_defaults(items, value[index])


def _fill_property(inner: Place, value: dict[str, Any], name: str) -> None:
    if inner.here & DEFAULTS and (name not in value or (value[name] is None and not inner.schema.get("nullable"))):
        value.pop(name, None)  # a default in the place of a null comes last, as any new field
        value[name] = thaw(inner.schema["default"])
    if name in value:
        fill_defaults(inner, value[name])


def _replaces_null(place: Place) -> bool:
    return bool(place.here & DEFAULTS) and not place.schema.get("nullable")
