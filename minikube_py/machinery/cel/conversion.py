"""Between JSON data and the values of typed fields.

Data of a schema's fields is plain JSON; where the schema says date-time, duration or byte, the text becomes a
timestamp, duration or bytes when the field is read, and a list with keys becomes a ``KeyedList``. Already
converted values pass through. ``plain`` is the way back, for results.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.library.times import duration_of, timestamp_of
from minikube_py.machinery.cel.types import Type
from minikube_py.machinery.cel.values import KeyedList, Optional, Struct, Uint

Convert = Callable[[Any], Any]


def converter(type: Type) -> Convert | None:
    """What turns data into values of a type; None where data stands for itself."""
    simple = _SIMPLE.get(type.kind)
    if simple is not None:
        return simple
    if type.kind == "list":
        return _list(type, converter(type.params[0]))
    if type.kind == "map":
        inner = converter(type.params[1])
        if inner is None:
            return None
        convert = inner
        return lambda value: (
            {key: convert(item) for key, item in value.items()} if isinstance(value, dict) else value
        )  # fmt: skip
    return None


def comparable(type: Type) -> Convert | None:
    """What makes values of a type comparable down to the fields of objects; None where they are already."""
    if type.kind == "object":
        fields = {field.key: convert for field in (type.fields or {}).values() if (convert := comparable(field.type))}
        return partial(_with_fields, fields) if fields else None
    if type.kind == "list":
        return _list(type, comparable(type.params[0]))
    if type.kind == "map":
        inner = comparable(type.params[1])
        return None if inner is None else partial(_with_values, inner)
    return converter(type)


def _with_fields(fields: Mapping[str, Convert], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: fields[key](item) if key in fields else item for key, item in value.items()}


def _with_values(convert: Convert, value: Any) -> Any:
    return {key: convert(item) for key, item in value.items()} if isinstance(value, dict) else value


def _list(type: Type, inner: Convert | None) -> Convert | None:
    keyed = type.list_type in ("set", "map")
    if inner is None and not keyed:
        return None
    keys = type.list_map_keys

    def convert(value: Any) -> Any:
        if not isinstance(value, list) or isinstance(value, KeyedList):
            return value
        items = value if inner is None else [inner(item) for item in value]
        return KeyedList(items, keys) if keyed else items

    return convert


def _double(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _timestamp(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) == 10:
        try:
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        except ValueError:
            raise EvaluationError(f"Invalid date formatted string {value}") from None
    return timestamp_of(value)


def _duration(value: Any) -> Any:
    return duration_of(value) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise EvaluationError(f"Invalid byte formatted string {value}") from None


_SIMPLE: dict[str, Convert] = {
    "double": _double,
    "timestamp": _timestamp,
    "duration": _duration,
    "bytes": _bytes,
}


def plain(value: Any) -> Any:
    """A result as plain data: messages and optionals become what they hold; times stay Python's."""
    if isinstance(value, Struct):
        return {name: plain(item) for name, item in value.fields.items()}
    if isinstance(value, Optional):
        return plain(value.value) if value.present else None
    if isinstance(value, Uint):
        return int(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
