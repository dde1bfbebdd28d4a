"""Values of the language in Python, and the operations that need to know their types.

JSON data stands for itself: dict, list, str, int, float, bool, None. Beyond it there are ``bytes``, ``Uint``,
aware ``datetime`` and ``timedelta`` (to the microsecond), ``Optional``, ``TypeValue`` and host objects. An int is
never equal to a bool, numbers of different types are compared by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from minikube_py.machinery.cel.errors import EvaluationError, no_such_overload
from minikube_py.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    type_of,
)

INT_MIN, INT_MAX, UINT_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1


class Uint(int):
    """An unsigned integer; arithmetic of the language wraps its results again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Optional:
    """``optional.of(value)``, or ``NONE``."""

    present: bool
    value: Any = None


NONE = Optional(False)


def some(value: Any) -> Optional:
    """``optional.of(value)``."""
    return Optional(True, value)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: ``type(x)``, ``int``."""

    name: str


class KeyedList(list[Any]):
    """A list whose items are told apart by value (``keys`` empty: a set) or by keys (a map): order is no difference."""

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def identity(self, item: Any) -> Any:
        """What tells an item apart, hashable."""
        if not self.keys:
            return hashable(item)
        return tuple(hashable(item.get(key)) for key in self.keys) if isinstance(item, dict) else hashable(item)

    def merged(self, other: Iterable[Any]) -> KeyedList:
        """``self + other``: items of ``other`` take the place of items of the same identity."""
        result = {self.identity(item): item for item in self}
        for item in other:
            result[self.identity(item)] = item
        return KeyedList(result.values(), self.keys)


@dataclass(frozen=True, slots=True)
class HostObject:
    """A value of an opaque type that the host answers for (``authorizer``): methods by their CEL names.

    A method takes the arguments and returns a value; it may raise ``EvaluationError``.
    """

    type: Type
    methods: Mapping[str, Callable[..., Any]] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Struct:
    """A message made in an expression: ``JSONPatch{...}``, ``Object{...}``."""

    type: Type
    fields: Mapping[str, Any]


_KINDS: dict[type, Type] = {
    bool: BOOL, int: INT, Uint: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL,
    datetime: TIMESTAMP, timedelta: DURATION, list: list_of(DYN), KeyedList: list_of(DYN), tuple: list_of(DYN),
    dict: map_of(DYN, DYN), TypeValue: type_of(DYN),
}  # fmt: skip


def kind_of(value: Any) -> str:
    """The kind of a value's type; opaque types give their name."""
    found = _KINDS.get(type(value))
    if found is not None:
        return found.kind
    if isinstance(value, Optional):
        return "optional_type"
    named = getattr(value, "type", None)
    if isinstance(named, Type):
        return named.name
    raise TypeError(f"{type(value).__name__} is not a value of CEL")


def runtime_type(value: Any) -> TypeValue:
    """``type(value)``."""
    kind = kind_of(value)
    shown = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}
    return TypeValue(shown.get(kind, kind))


def hashable(value: Any) -> Any:
    """A hashable stand-in: equal values have equal ones."""
    if isinstance(value, dict):
        return frozenset((hashable(key), hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(hashable(item) for item in value)
    return ("bool", value) if isinstance(value, bool) else value


_PLAIN = frozenset({str, int, bool, float, bytes})


def equal(left: Any, right: Any) -> bool:
    """``left == right``; values of different types are not equal, numbers are compared across types."""
    sort = type(left)
    if sort is type(right) and sort in _PLAIN:
        return bool(left == right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and len(left) == len(right)
            and all(key in right and equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, KeyedList) and isinstance(right, list):
        return _equal_keyed(left, right)
    if isinstance(left, list | tuple):
        return (
            isinstance(right, list | tuple)
            and len(left) == len(right)
            and all(equal(one, other) for one, other in zip(left, right, strict=True))
        )
    if isinstance(left, Optional) and isinstance(right, Optional):
        return left.present == right.present and equal(left.value, right.value)
    return bool(left == right)


def _equal_keyed(left: KeyedList, right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    found = {left.identity(item): item for item in right}
    return len(found) == len(right) and all(
        (key := left.identity(item)) in found and equal(item, found[key]) for item in left
    )


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1; "no such overload" where there is no order, and "NaN" never has one."""
    if isinstance(left, int | float) and isinstance(right, int | float):
        if isinstance(left, bool) != isinstance(right, bool):
            raise no_such_overload()
        if left != left or right != right:
            raise EvaluationError("NaN values cannot be ordered")
    elif type(left) is not type(right) or not isinstance(left, str | bytes | datetime | timedelta):
        raise no_such_overload()
    one, other = cast(Any, left), cast(Any, right)
    return int(one > other) - int(one < other)


def size(value: Any) -> int:
    """``size(value)``; 1 for what has no size, as costs count it."""
    return len(value) if isinstance(value, str | bytes | list | dict | tuple) else 1


def integer(value: int) -> int:
    """A result that fits an int; "integer overflow" otherwise."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow")


def unsigned(value: int) -> Uint:
    """A result that fits a uint; "unsigned integer overflow" otherwise."""
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvaluationError("unsigned integer overflow")


def duration(value: timedelta) -> timedelta:
    """A duration in Go's range; "duration overflow" otherwise."""
    if abs(value) > _LONGEST:
        raise EvaluationError("duration overflow")
    return value


_LONGEST = timedelta(microseconds=INT_MAX // 1000)
