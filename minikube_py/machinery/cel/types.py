"""Types of CEL as Kubernetes uses them, and how they are told in errors.

A ``Type`` is immutable and shared. Objects have named fields (``declared_object`` makes them from schemas);
they are equal by name, like cel-go's struct types. ``max_elements`` is the greatest size (characters, items,
entries) that the schema allows; the cost estimate uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """A type. ``kind`` is one of: bool, int, uint, double, string, bytes, dyn, null_type, timestamp, duration,
    list, map, object, opaque, type, param, error."""

    kind: str
    name: str = ""
    params: tuple[Type, ...] = ()
    fields: Mapping[str, Field] | None = field(default=None, compare=False, repr=False)
    """Fields of an object by their CEL name; None where any field is accepted (``Object`` of mutations)."""
    max_elements: int | None = field(default=None, compare=False, repr=False)
    min_serialized: int = field(default=1, compare=False, repr=False)
    """The least bytes that a value takes in JSON."""
    list_type: str = field(default="", compare=False, repr=False)
    list_map_keys: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return format_type(self)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object: its key in the data, and its type."""

    key: str
    type: Type


BOOL, INT, UINT, DOUBLE = Type("bool"), Type("int"), Type("uint"), Type("double")
STRING, BYTES = Type("string"), Type("bytes")
DYN, NULL, ERROR = Type("dyn"), Type("null_type"), Type("error")
TIMESTAMP, DURATION = Type("timestamp"), Type("duration")

_SHOWN = {
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
    "null_type": "null",
    "error": "!error!",
}
_NULLABLE = frozenset({"object", "opaque", "timestamp", "duration", "null_type"})


def list_of(item: Type) -> Type:
    """``list(item)``."""
    return Type("list", params=(item,))


def map_of(key: Type, value: Type) -> Type:
    """``map(key, value)``."""
    return Type("map", params=(key, value))


def optional_of(value: Type) -> Type:
    """``optional_type(value)``."""
    return Type("opaque", "optional_type", (value,))


def type_of(value: Type) -> Type:
    """The type of a type."""
    return Type("type", params=(value,))


def opaque(name: str) -> Type:
    """A type whose values only functions understand, such as ``kubernetes.Quantity``."""
    return Type("opaque", name)


def object_type(name: str, fields: Mapping[str, Field] | None) -> Type:
    """An object with known fields; with None any field is taken, and is dynamic."""
    return Type("object", name, fields=fields, min_serialized=2)


def param(name: str) -> Type:
    """A type parameter of an overload, or a free type variable of the checker."""
    return Type("param", name)


def is_optional(type: Type) -> bool:
    """Whether values may be absent."""
    return type.kind == "opaque" and type.name == "optional_type"


def accepts_null(type: Type) -> bool:
    """Whether null can stand for a value (``isAssignable`` of a null type)."""
    return type.kind in _NULLABLE


def format_type(type: Type) -> str:
    """The type as errors tell it (``FormatCELType``)."""
    kind = type.kind
    if kind in ("list", "map", "type"):
        return f"{kind}({', '.join(map(format_type, type.params))})" if type.params else kind
    if kind == "opaque" and type.params:
        return f"{type.name}({', '.join(map(format_type, type.params))})"
    if kind in ("object", "opaque", "param"):
        return type.name
    return _SHOWN.get(kind, kind)


def format_call(arguments: tuple[Type, ...] | list[Type], *, member: bool) -> str:
    """The arguments of a call as errors tell them: ``(int, string)``, ``string.(int)`` of a member call."""
    if member and arguments:
        return f"{format_type(arguments[0])}.({', '.join(map(format_type, arguments[1:]))})"
    return f"({', '.join(map(format_type, arguments))})"
