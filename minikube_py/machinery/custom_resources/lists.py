"""Lists that are sets or maps: no value, no combination of keys stands in them twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.machinery.cel.values import hashable
from minikube_py.machinery.custom_resources.correlation import identity
from minikube_py.machinery.custom_resources.places import LISTS, Place
from minikube_py.machinery.errors import FieldError, duplicate, invalid_value

Json = Mapping[str, Any]


def list_errors(place: Place, value: Any, path: str = "") -> Iterator[FieldError]:
    """``ValidateListSetsAndMaps``."""
    if not place.below & LISTS:
        return
    if isinstance(value, list):
        if place.here & LISTS:
            yield from _repeated(place.schema, value, path)
        if place.items is not None and place.items.below & LISTS:
            for index, item in enumerate(value):
                yield from list_errors(place.items, item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, inner in place.properties.items():
            if key in value and inner.below & LISTS:
                yield from list_errors(inner, value[key], f"{path}.{key}" if path else key)
        if place.additional is not None and place.additional.below & LISTS:
            declared = place.declared
            for key, item in value.items():
                if key not in declared:
                    yield from list_errors(place.additional, item, f"{path}[{key}]")


def _repeated(schema: Json, value: list[Any], path: str) -> Iterator[FieldError]:
    sort = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    properties = (schema.get("items") or {}).get("properties") or {}
    seen: set[Any] = set()
    told: set[Any] = set()
    for index, item in enumerate(value):
        if sort == "set":
            mark = hashable(item)
        elif sort == "map":
            if item is None:
                continue
            if not isinstance(item, dict):
                yield invalid_value(f"{path}[{index}]", item, "must be an object for an array of list-type map")
                continue
            mark = identity(item, keys, properties)
        else:
            return
        if mark in seen and mark not in told:
            told.add(mark)
            shown = item if sort == "set" else {key: item[key] for key in keys if key in item}
            yield duplicate(f"{path}[{index}]", shown)
        seen.add(mark)
