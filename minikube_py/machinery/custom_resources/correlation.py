"""Which old value a new value took the place of: fields by name, items of map lists by their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.cel.values import hashable


class _NotFound:
    __slots__ = ()


NOT_FOUND: Any = _NotFound()
"""What stands for an old value when there is none that corresponds."""


def old_items(schema: Mapping[str, Any], new: list[Any], old: Any) -> Callable[[int], Any]:
    """From the index of a new item to the old one; only lists of type map have such."""
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not keys:
        return lambda index: NOT_FOUND
    defaults = (schema.get("items") or {}).get("properties") or {}
    found = {identity(item, keys, defaults): item for item in old if isinstance(item, dict)}

    def item_at(index: int) -> Any:
        item = new[index]
        return found.get(identity(item, keys, defaults), NOT_FOUND) if isinstance(item, dict) else NOT_FOUND

    return item_at


def identity(item: Mapping[str, Any], keys: Any, properties: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells an item of a map list apart: its keys' values, defaults filled in."""
    return tuple(hashable(item.get(key, (properties.get(key) or {}).get("default"))) for key in keys)
