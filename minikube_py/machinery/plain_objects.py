"""One look at a decoded object that tells whether the decoder's checks have anything to say.

The checks of ``decoding`` (types, unknown fields, nulls) walk an object one after the other, so that each can report
in its own order and words. Nearly all bodies are in order; ``plain_keys`` finds that out in one walk. It may doubt an
object that is in order, but never passes one of which a check would say, or ``drop_unknown`` change, anything. Of
custom kinds it looks at the names of fields and at metadata; their values are checked by validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minikube_py.machinery.decoding import RESOURCE_FIELDS, count_keys, is_closed
from minikube_py.machinery.quantities import parse_quantity
from minikube_py.machinery.schema import INT_OR_STRING, OBJECT_META, QUANTITY, Schema, definitions

DOUBT = -1
_SELF_READING = ("time", "micro-time", "byte")
_BITS = {"int32": 32, "int64": 64, "": 64}

_Look = Callable[[Any], int]
"""How many keys a value has, or DOUBT."""


def plain_keys(schema: Schema, obj: Any) -> int:
    """How many keys an object has, all levels together; DOUBT when it must be checked."""
    return DOUBT if schema.structural and not schema.embedded else _look(schema)(obj)


def _look(schema: Schema) -> _Look:
    found: _Look | None = schema.cache.get("plain")
    if found is None:
        found = schema.cache["plain"] = _compiled(schema)
    return found


def _compiled(schema: Schema) -> _Look:
    if schema.structural:
        return _structural(schema)
    if schema.embedded:
        return _doubt
    if schema.preserve_unknown and not schema.properties:
        return _anything
    if schema.name == QUANTITY:
        return _quantity
    if schema.name == INT_OR_STRING:
        return _int_or_string
    if schema.format in _SELF_READING:
        return _doubt
    if schema.properties:
        return _struct(schema) if schema.additional is None else _doubt
    if schema.type == "object":
        return _map(schema.additional) if schema.additional is not None else _empty
    if schema.type == "array":
        return _list(schema.items) if schema.items is not None else _doubt
    if schema.type == "integer":
        limit = 2 ** (_BITS.get(schema.format, 64) - 1)
        return lambda value: 0 if type(value) is int and -limit <= value < limit else DOUBT
    return {"string": _text, "boolean": _boolean}.get(schema.type, _doubt)


def _structural(schema: Schema) -> _Look:
    """Fields that the schema has; where it keeps unknown ones, all of them."""
    properties, items = schema.properties, schema.items
    looks: dict[str, _Look] = {}

    def look_at(name: str) -> _Look:
        if schema.embedded and name == "metadata":
            return _look(definitions().schema(OBJECT_META))
        inner = properties.get(name) or schema.additional
        if inner is not None:
            return _look(inner)
        kept = not is_closed(schema) or (schema.embedded and name in RESOURCE_FIELDS)
        return _anything if kept else _doubt

    def look(value: Any) -> int:
        if type(value) is list:
            return _sum(value, _look(items)) if items is not None else count_keys(value)
        if type(value) is not dict:
            return 0
        keys = len(value)
        for name, item in value.items():
            found = looks.get(name)
            if found is None:
                found = look_at(name)
                if name in properties:  # free names are not remembered: there is no end of them
                    looks[name] = found
            below = found(item)
            if below < 0:
                return DOUBT
            keys += below
        return keys

    return look


def _sum(values: list[Any], look: _Look) -> int:
    keys = 0
    for value in values:
        below = look(value)
        if below < 0:
            return DOUBT
        keys += below
    return keys


def _struct(schema: Schema) -> _Look:
    looks: dict[str, _Look] = {}
    properties = schema.properties

    def look(value: Any) -> int:
        if type(value) is not dict:
            return DOUBT
        keys = len(value)
        for name, item in value.items():
            if item is None:
                if name not in properties:
                    return DOUBT
                continue
            found = looks.get(name)
            if found is None:  # compiled when first met: definitions may contain themselves
                inner = properties.get(name)
                if inner is None:
                    return DOUBT
                found = looks[name] = _look(inner)
            if found is _text:  # most fields are texts
                if type(item) is not str:
                    return DOUBT
                continue
            below = found(item)
            if below < 0:
                return DOUBT
            keys += below
        return keys

    return look


def _map(inner: Schema) -> _Look:
    look_at: _Look | None = None

    def look(value: Any) -> int:
        nonlocal look_at
        if type(value) is not dict:
            return DOUBT
        look_at = look_at or _look(inner)
        below = _all(look_at, value.values())
        return below + len(value) if below >= 0 else DOUBT

    return look


def _list(inner: Schema) -> _Look:
    look_at: _Look | None = None

    def look(value: Any) -> int:
        nonlocal look_at
        if type(value) is not list:
            return DOUBT
        look_at = look_at or _look(inner)
        return _all(look_at, value)

    return look


def _all(look: _Look, values: Any) -> int:
    keys = 0
    if look is _text:
        for value in values:
            if type(value) is not str:
                return DOUBT
        return keys
    for value in values:
        below = look(value)  # nulls are doubted by every look but that at anything
        if below < 0 or value is None:
            return DOUBT
        keys += below
    return keys


def _anything(value: Any) -> int:
    return count_keys(value) if isinstance(value, dict | list) else 0


def _doubt(value: Any) -> int:
    return DOUBT


def _empty(value: Any) -> int:
    return 0 if type(value) is dict and not value else DOUBT


def _text(value: Any) -> int:
    return 0 if type(value) is str else DOUBT


def _boolean(value: Any) -> int:
    return 0 if type(value) is bool else DOUBT


def _int_or_string(value: Any) -> int:
    return 0 if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31) else DOUBT


def _quantity(value: Any) -> int:
    if type(value) is not str:
        return DOUBT
    try:
        parse_quantity(value)
    except ValueError:
        return DOUBT
    return 0
