"""Operators of the language: arithmetic, comparison, membership, logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError, no_such_overload
from minikube_py.machinery.cel.overloads import Table, call
from minikube_py.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
    param,
)
from minikube_py.machinery.cel.values import KeyedList, Uint, compare, duration, equal, integer, unsigned

A, B = param("A"), param("B")
_ORDER: tuple[tuple[str, Type], ...] = (
    ("bool", BOOL), ("int64", INT), ("uint64", UINT), ("double", DOUBLE), ("string", STRING), ("bytes", BYTES),
    ("timestamp", TIMESTAMP), ("duration", DURATION),
)  # fmt: skip
_NUMBERS = (("int64", INT), ("uint64", UINT), ("double", DOUBLE))


def declare(table: Table) -> None:
    """Add the operators."""
    call(table, "_?_:_", "conditional", (BOOL, A, A), A, None)
    for name, overload in (("_&&_", "logical_and"), ("_||_", "logical_or")):
        call(table, name, overload, (BOOL, BOOL), BOOL, None)
    call(table, "!_", "logical_not", (BOOL,), BOOL, _not)
    call(table, "@not_strictly_false", "not_strictly_false", (BOOL,), BOOL, None)
    call(table, "_==_", "equals", (A, A), BOOL, equal)
    call(table, "_!=_", "not_equals", (A, A), BOOL, lambda left, right: not equal(left, right))
    _declare_order(table)
    _declare_arithmetic(table)
    call(table, "_[_]", "index_list", (list_of(A), INT), A, index_list)
    call(table, "_[_]", "index_map", (map_of(A, B), A), B, index_map)
    call(table, "_[_]", "optional_list_index_value", (optional_of(list_of(A)), INT), optional_of(A), None)
    call(table, "_[_]", "optional_map_index_value", (optional_of(map_of(A, B)), A), optional_of(B), None)
    call(table, "@in", "in_list", (A, list_of(A)), BOOL, in_list)
    call(table, "@in", "in_map", (A, map_of(A, B)), BOOL, in_map)
    call(table, "cel.@mapInsert", "@mapInsert_map_key_value", (map_of(A, B), A, B), map_of(A, B), _insert)
    call(table, "cel.@mapInsert", "@mapInsert_map_map", (map_of(A, B), map_of(A, B)), map_of(A, B), _insert_entry)


def _declare_order(table: Table) -> None:
    tests: tuple[tuple[str, str, Callable[[int], bool]], ...] = (
        ("_<_", "less", lambda order: order < 0),
        ("_<=_", "less_equals", lambda order: order <= 0),
        ("_>_", "greater", lambda order: order > 0),
        ("_>=_", "greater_equals", lambda order: order >= 0),
    )
    for name, word, test in tests:
        function = _ordered(test)
        for shown, sort in _ORDER:
            call(table, name, f"{word}_{shown}", (sort, sort), BOOL, function)
        for left, left_type in _NUMBERS:
            for right, right_type in _NUMBERS:
                if left != right:
                    call(table, name, f"{word}_{left}_{right}", (left_type, right_type), BOOL, function)


def _ordered(test: Callable[[int], bool]) -> Callable[[Any, Any], bool]:
    def function(left: Any, right: Any) -> bool:
        return test(compare(left, right))

    return function


def _declare_arithmetic(table: Table) -> None:
    call(table, "_+_", "add_bytes", (BYTES, BYTES), BYTES, lambda a, b: a + b)
    call(table, "_+_", "add_double", (DOUBLE, DOUBLE), DOUBLE, lambda a, b: float(a) + b)
    call(table, "_+_", "add_duration_duration", (DURATION, DURATION), DURATION, lambda a, b: duration(a + b))
    call(table, "_+_", "add_duration_timestamp", (DURATION, TIMESTAMP), TIMESTAMP, lambda a, b: _moved(b, a))
    call(table, "_+_", "add_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP, lambda a, b: _moved(a, b))
    call(table, "_+_", "add_int64", (INT, INT), INT, lambda a, b: integer(a + b))
    call(table, "_+_", "add_list", (list_of(A), list_of(A)), list_of(A), add_list)
    call(table, "_+_", "add_string", (STRING, STRING), STRING, lambda a, b: a + b)
    call(table, "_+_", "add_uint64", (UINT, UINT), UINT, lambda a, b: unsigned(int(a) + int(b)))
    call(table, "_-_", "subtract_double", (DOUBLE, DOUBLE), DOUBLE, lambda a, b: float(a) - b)
    call(table, "_-_", "subtract_duration_duration", (DURATION, DURATION), DURATION, lambda a, b: duration(a - b))
    call(table, "_-_", "subtract_int64", (INT, INT), INT, lambda a, b: integer(a - b))
    call(table, "_-_", "subtract_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP, lambda a, b: _moved(a, -b))
    call(table, "_-_", "subtract_timestamp_timestamp", (TIMESTAMP, TIMESTAMP), DURATION, lambda a, b: duration(a - b))
    call(table, "_-_", "subtract_uint64", (UINT, UINT), UINT, lambda a, b: unsigned(int(a) - int(b)))
    call(table, "_*_", "multiply_double", (DOUBLE, DOUBLE), DOUBLE, lambda a, b: float(a) * b)
    call(table, "_*_", "multiply_int64", (INT, INT), INT, lambda a, b: integer(a * b))
    call(table, "_*_", "multiply_uint64", (UINT, UINT), UINT, lambda a, b: unsigned(int(a) * int(b)))
    call(table, "_/_", "divide_double", (DOUBLE, DOUBLE), DOUBLE, _divide_double)
    call(table, "_/_", "divide_int64", (INT, INT), INT, lambda a, b: integer(_quotient(a, b)))
    call(table, "_/_", "divide_uint64", (UINT, UINT), UINT, lambda a, b: unsigned(_quotient(int(a), int(b))))
    call(table, "_%_", "modulo_int64", (INT, INT), INT, _modulo)
    call(table, "_%_", "modulo_uint64", (UINT, UINT), UINT, lambda a, b: unsigned(_modulo(int(a), int(b))))
    call(table, "-_", "negate_int64", (INT,), INT, lambda a: integer(-a))
    call(table, "-_", "negate_double", (DOUBLE,), DOUBLE, lambda a: -float(a))


def _not(value: Any) -> bool:
    if isinstance(value, bool):
        return not value
    raise no_such_overload()


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _divide_double(left: float, right: float) -> float:
    if right:
        return float(left) / right
    if not left or left != left:
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _quotient(left: int, right: int) -> int:
    if not right:
        raise EvaluationError("division by zero")
    found = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


def _modulo(left: int, right: int) -> int:
    if not right:
        raise EvaluationError("modulus by zero")
    found = abs(left) % abs(right)
    return -found if left < 0 else found


def add_list(left: list[Any], right: list[Any]) -> list[Any]:
    """Concatenation; lists with keys merge, as server-side apply does."""
    return left.merged(right) if isinstance(left, KeyedList) else [*left, *right]


def _position(index: Any) -> int:
    if isinstance(index, bool) or not isinstance(index, int | float):
        raise EvaluationError("unsupported index type 'string' in list")
    if isinstance(index, float) and not index.is_integer():
        raise EvaluationError(f"unsupported index value {index} in list")
    return int(index)


def index_list(items: list[Any], index: Any) -> Any:
    """``items[index]``."""
    at = _position(index)
    if 0 <= at < len(items):
        return items[at]
    raise EvaluationError(f"index out of bounds: {at}")


def index_map(values: dict[Any, Any], key: Any) -> Any:
    """``values[key]``."""
    try:
        return values[int(key) if isinstance(key, Uint) else key]
    except (KeyError, TypeError):
        raise EvaluationError(f"no such key: {shown_key(key)}") from None


def shown_key(key: Any) -> str:
    """A key as errors tell it."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def in_list(item: Any, items: list[Any]) -> bool:
    """``item in items``."""
    if type(item) is str:
        return item in items
    return any(equal(item, other) for other in items)


def in_map(key: Any, values: dict[Any, Any]) -> bool:
    """``key in values``."""
    try:
        return key in values
    except TypeError:
        return False


def _insert(values: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    if key in values:
        raise EvaluationError(f"insert failed: key {shown_key(key)} already exists")
    return {**values, key: value}


def _insert_entry(values: dict[Any, Any], entry: dict[Any, Any]) -> dict[Any, Any]:
    for key in entry:
        if key in values:
            raise EvaluationError(f"insert failed: key {shown_key(key)} already exists")
    return {**values, **entry}
