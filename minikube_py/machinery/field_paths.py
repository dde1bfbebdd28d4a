"""What a schema says about ownership: which parts of an object are owned one by one, and by which path.

The view of ``sigs.k8s.io/structured-merge-diff`` on a schema: scalars and atomic maps and lists are owned
as a whole; fields of structures and maps by name; items of ``map`` and ``set`` lists by key or value. What
has no schema is deduced: maps by name, lists as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from minikube_py.machinery.field_sets import MEMBER, FieldSet
from minikube_py.machinery.schema import ANYTHING, INT_OR_STRING, RAW_EXTENSION, Schema

WHOLE, FIELDS, KEYED, VALUES, DEDUCED = range(5)
_ATOMIC_DEFINITIONS = frozenset(
    {
        RAW_EXTENSION,
        INT_OR_STRING,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
    }
)


def ownership(schema: Schema) -> int:
    """How values of this schema are owned."""
    found: int | None = schema.cache.get("ownership")
    if found is None:
        found = schema.cache["ownership"] = _ownership(schema)
    return found


def _ownership(schema: Schema) -> int:
    if schema.name in _ATOMIC_DEFINITIONS or schema.int_or_string:
        return WHOLE
    if schema.type == "array" or schema.items is not None:
        return {"map": KEYED, "set": VALUES}.get(schema.list_type, WHOLE)
    if schema.map_type == "atomic":
        return WHOLE
    if schema.properties or schema.additional is not None:
        return FIELDS
    if schema.type in ("object", ""):
        return DEDUCED if schema.preserve_unknown or schema.structural or not schema.type else FIELDS
    return WHOLE


def child(schema: Schema, name: str) -> Schema:
    """The schema of a field or map value; ``ANYTHING`` where nothing is known."""
    return schema.properties.get(name) or schema.additional or ANYTHING


_ZEROS: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}


def item_element(schema: Schema, item: Any) -> str:
    """The path element of an item of a ``map`` list: its keys in order, with their defaults; null where missing."""
    inner = schema.items or ANYTHING
    keys: dict[str, Any] = {}
    for key in _sorted_keys(schema):
        value = item.get(key) if isinstance(item, dict) else None
        keys[key] = _default_key(inner, key) if value is None else value
    return "k:" + orjson.dumps(keys).decode()


def missing_key(schema: Schema, item: Mapping[str, Any]) -> str:
    """The first key of a ``map`` list that an item does not have, and that has no default; empty when there is none."""
    inner = schema.items or ANYTHING
    return next((key for key in schema.list_map_keys if key not in item and _default_key(inner, key) is None), "")


def _sorted_keys(schema: Schema) -> list[str]:
    names: list[str] | None = schema.cache.get("sorted keys")
    if names is None:
        names = schema.cache["sorted keys"] = sorted(schema.list_map_keys)
    return names


def _default_key(inner: Schema, key: str) -> Any:
    """The value of a key that an item omits; keys of built-in kinds are Go fields, which always have one."""
    found = inner.properties.get(key)
    if found is None or found.default is not None or inner.structural:
        return found.default if found is not None else None
    return _ZEROS.get(found.type)


def value_element(value: Any) -> str:
    """The path element of an item of a ``set`` list."""
    return "v:" + orjson.dumps(value).decode()


def elements(schema: Schema, how: int, items: list[Any]) -> list[str]:
    """The path elements of an associative list's items, in their order."""
    return [item_element(schema, item) if how == KEYED else value_element(item) for item in items]


def by_element(schema: Schema, how: int, items: list[Any]) -> dict[str, list[Any]]:
    """Items of an associative list by their path elements.

    Go's types let items repeat each other (a variable that is set twice). Repeated items are owned and compared as
    one, the element itself, without what is in them.
    """
    result: dict[str, list[Any]] = {}
    for element, item in zip(elements(schema, how, items), items, strict=True):
        result.setdefault(element, []).append(item)
    return result


def everything(schema: Schema, value: Any) -> FieldSet:
    """The node of a value of which all is new: each part is a member, containers included."""
    how = ownership(schema)
    if how == WHOLE or not value or (how == DEDUCED and not isinstance(value, dict)):
        return {}
    node: FieldSet = {MEMBER: {}}
    if isinstance(value, dict):
        if how not in (FIELDS, DEDUCED):
            return {}
        written, properties = schema.always_written, schema.properties
        for key, item in value.items():
            if isinstance(item, dict | list):
                node[f"f:{key}"] = everything(properties.get(key) or schema.additional or ANYTHING, item)
            elif item is not None or key in written:
                node[f"f:{key}"] = {}
    elif isinstance(value, list) and how in (KEYED, VALUES):
        inner = schema.items or ANYTHING
        for element, found in by_element(schema, how, value).items():
            node[element] = _new_items(inner, how, found)
    else:
        return {}
    return node if len(node) > 1 else {}


def _new_items(inner: Schema, how: int, items: list[Any]) -> FieldSet:
    """The node of an element that is new, or gone, with all its items."""
    return everything(inner, items[0]) if how == KEYED and len(items) == 1 else {}


def field_set(schema: Schema, value: Any) -> FieldSet | None:
    """The node of a configuration that someone applies: leaves and list items, not what contains them.

    None where the configuration owns nothing (an empty list that merges).
    """
    how = ownership(schema)
    if how == WHOLE or not isinstance(value, dict | list) or (how == DEDUCED and isinstance(value, list)):
        return {}
    if isinstance(value, dict):
        return _map_set(schema, value)
    if how not in (KEYED, VALUES):
        return {}
    node: FieldSet = {}
    inner = schema.items or ANYTHING
    for element, items in by_element(schema, how, value).items():
        below = field_set(inner, items[0]) if how == KEYED and len(items) == 1 else None
        node[element] = {MEMBER: {}, **below} if below else {}
    return node or None


def _map_set(schema: Schema, value: Mapping[str, Any]) -> FieldSet | None:
    """Fields of a structure by what they hold; keys of a map are owned themselves."""
    node: FieldSet = {}
    for key, item in value.items():
        below = field_set(child(schema, key), item)
        if key in schema.properties:
            if item is None or item == {}:
                node[f"f:{key}"] = {}
            elif below is not None:
                node[f"f:{key}"] = below
        else:
            node[f"f:{key}"] = {MEMBER: {}, **below} if below else {}
    return node or None


def compare(schema: Schema, old: Any, new: Any) -> tuple[FieldSet | None, FieldSet | None]:
    """(what of ``new`` is added or changed, what of ``old`` is gone) as nodes; None where nothing is.

    Both values are present. What the reference always writes counts as present in both.
    """
    how = ownership(schema)
    if how == DEDUCED and isinstance(old, dict) and isinstance(new, dict):
        how = FIELDS
    if how == FIELDS and isinstance(new, dict):
        return _compare_fields(schema, old if isinstance(old, dict) else {}, new)
    if how in (KEYED, VALUES) and isinstance(new, list) and (new or old):
        return _compare_items(schema, how, old if isinstance(old, list) else [], new)
    return ({}, None) if old != new or type(old) is not type(new) else (None, None)


def _compare_fields(
    schema: Schema, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[FieldSet | None, FieldSet | None]:
    taken: FieldSet = {}
    gone: FieldSet = {}
    written = schema.always_written
    for key, value in new.items():
        if value is None:
            continue
        before = old.get(key)
        if before is None and key not in written:
            taken[f"f:{key}"] = everything(child(schema, key), value) if isinstance(value, dict | list) else {}
            continue
        if before is None:
            before = written[key]
        if before is value or (before == value and type(before) is type(value)):
            continue
        added, removed = compare(child(schema, key), before, value)
        if added is not None:
            taken[f"f:{key}"] = added
        if removed is not None:
            gone[f"f:{key}"] = removed
    for key, value in old.items():
        if value is not None and new.get(key) is None:
            gone[f"f:{key}"] = everything(child(schema, key), value)
    return taken or None, gone or None


def _compare_items(schema: Schema, how: int, old: list[Any], new: list[Any]) -> tuple[FieldSet | None, FieldSet | None]:
    taken: FieldSet = {}
    gone: FieldSet = {}
    inner = schema.items or ANYTHING
    before, after = by_element(schema, how, old), by_element(schema, how, new)
    for element in before | after:
        added, removed = _compare_element(inner, how, before.get(element, []), after.get(element, []))
        if added is not None:
            taken[element] = added
        if removed is not None:
            gone[element] = removed
    return taken or None, gone or None


def _compare_element(
    inner: Schema, how: int, old: list[Any], new: list[Any]
) -> tuple[FieldSet | None, FieldSet | None]:
    """One element of two lists: its items before and after, of which there may be none, one, or repeated ones."""
    if len(old) == 1 and len(new) == 1:
        return compare(inner, old[0], new[0]) if how == KEYED else (None, None)
    if len(old) > 1 and len(new) > 1:
        return ({} if old != new else None), None
    return (_new_items(inner, how, new) if new else None), (_new_items(inner, how, old) if old else None)
