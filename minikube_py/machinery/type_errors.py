"""The first value of an object that does not fit its Go type, in the words of Go's JSON decoder.

Order and texts are the decoder's: fields in document order, the first misfit wins; the path names
fields only (no indexes, no map keys); types that read themselves (quantities, times, int-or-string)
give their own texts.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from minikube_py.machinery.go_types import go_field_type
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import parse_quantity
from minikube_py.machinery.schema import INT_OR_STRING, QUANTITY, Schema
from minikube_py.machinery.times import parse_time

_INT_BITS = {"int32": 32, "int64": 64, "": 64}


def first_type_error(schema: Schema, obj: Object) -> str | None:
    """The decoder's text for the first misfit, or None."""
    return _object(schema, obj, "", schema.short_name())


def _object(schema: Schema, obj: Object, path: str, struct: str) -> str | None:
    properties = schema.properties
    for key, value in obj.items():
        inner = properties.get(key)
        if inner is None or value is None:
            continue
        # The common case first: a text where a text belongs.
        if inner.type == "string" and type(value) is str and not inner.format and not inner.name:
            continue
        problem = _value(inner, value, f"{path}.{key}" if path else key, struct, schema.name, key)
        if problem:
            return problem
    return None


def _value(schema: Schema, value: Any, path: str, struct: str, owner: str, key: str) -> str | None:
    if value is None or (schema.preserve_unknown and not schema.properties):
        return None
    if schema.name == QUANTITY or schema.name == INT_OR_STRING or schema.format in ("time", "micro-time", "byte"):
        return _self_reading(schema, value, path, struct, owner, key)
    if schema.properties or schema.type == "object":
        if not isinstance(value, dict):
            return _misfit(value, schema, path, struct, owner, key)
        if schema.additional is not None:
            return _each(schema.additional, list(value.values()), path, struct, owner, key)
        return _object(schema, value, path, schema.short_name() or struct)
    if schema.type == "array":
        if not isinstance(value, list):
            return _misfit(value, schema, path, struct, owner, key)
        return _each(schema.items, value, path, struct, owner, key) if schema.items else None
    return _scalar(schema, value, path, struct, owner, key)


def _each(schema: Schema, values: list[Any], path: str, struct: str, owner: str, key: str) -> str | None:
    for value in values:
        problem = _value(schema, value, path, struct, owner, key)
        if problem:
            return problem
    return None


def _scalar(schema: Schema, value: Any, path: str, struct: str, owner: str, key: str) -> str | None:
    if schema.type == "string":
        fits = isinstance(value, str)
    elif schema.type == "boolean":
        fits = isinstance(value, bool)
    elif schema.type == "integer":
        bits = _INT_BITS.get(schema.format, 64)
        fits = isinstance(value, int) and not isinstance(value, bool) and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
    elif schema.type == "number":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = True
    return None if fits else _misfit(value, schema, path, struct, owner, key)


def _misfit(value: Any, schema: Schema, path: str, struct: str, owner: str, key: str) -> str:
    wanted = go_field_type(schema, owner, key)
    return f"json: cannot unmarshal {_called(value, schema)} into Go struct field {struct}.{path} of type {wanted}"


def _called(value: Any, schema: Schema) -> str:
    """The value's kind; a number that does not fit a number is quoted."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {orjson.dumps(value).decode()}" if schema.type in ("integer", "number") else "number"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "string"


def _self_reading(schema: Schema, value: Any, path: str, struct: str, owner: str, key: str) -> str | None:
    if schema.name == QUANTITY:
        return _quantity(value)
    if schema.name == INT_OR_STRING:
        return _int_or_string(value)
    if schema.format == "byte":
        return _bytes(value, schema, path, struct, owner, key)
    if not isinstance(value, str):
        return f"json: cannot unmarshal {_called(value, schema)} into Go value of type string"
    try:
        parse_time(value, micro=schema.format == "micro-time")
    except ValueError as error:
        return str(error)
    return None


def _quantity(value: Any) -> str | None:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text: Any = value.strip() if isinstance(value, str) else value
    else:
        text = orjson.dumps(value).decode()
    try:
        parse_quantity(text)
    except ValueError as error:
        return str(error)
    return None


def _int_or_string(value: Any) -> str | None:
    if isinstance(value, str):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        called = "bool" if isinstance(value, bool) else "array" if isinstance(value, list) else "object"
        return f"json: cannot unmarshal {called} into Go value of type int32"
    if not isinstance(value, int) or not -(2**31) <= value < 2**31:
        return f"json: cannot unmarshal number {orjson.dumps(value).decode()} into Go value of type int32"
    return None


def _bytes(value: Any, schema: Schema, path: str, struct: str, owner: str, key: str) -> str | None:
    if not isinstance(value, str):
        return _misfit(value, schema, path, struct, owner, key)
    return bad_base64(value) or None


def bad_base64(text: str) -> str:
    """What Go's decoder says of a text that is no base64; empty for others."""
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return f"illegal base64 data at input byte {_first_bad_byte(text)}"
    return ""


def _first_bad_byte(text: str) -> int:
    """Where Go's base64 decoder stops."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    count = 0
    for index, char in enumerate(text):
        if char in "\r\n":
            continue
        if char == "=" and count % 4 >= 2:
            break
        if char not in alphabet:
            return index
        count += 1
    return len(text) - len(text) % 4 if len(text) % 4 else len(text)
