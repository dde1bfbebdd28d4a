"""Conversions between types, ``size``, ``type`` and ``dyn``."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.library.times import duration_of, go_duration, rfc3339, timestamp_of
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    list_of,
    map_of,
    param,
    type_of,
)
from minikube_py.machinery.cel.values import INT_MAX, INT_MIN, UINT_MAX, Uint, runtime_type
from minikube_py.machinery.go_floats import go_float

A, B = param("A"), param("B")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_INTEGER, _UNSIGNED = re.compile(r"[+-]?\d+"), re.compile(r"\d+")
_FLOAT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?|nan))")


def declare(table: Table) -> None:
    """Add the conversions."""
    for shown, sort in (("string", STRING), ("bytes", BYTES), ("list", list_of(A)), ("map", map_of(A, B))):
        call(table, "size", f"size_{shown}", (sort,), INT, len)
        member(table, "size", f"{shown}_size", (sort,), INT, len)
    call(table, "type", "type", (A,), type_of(A), runtime_type)
    call(table, "dyn", "to_dyn", (A,), DYN, lambda value: value)
    call(table, "bool", "bool_to_bool", (BOOL,), BOOL, lambda value: value)
    call(table, "bool", "string_to_bool", (STRING,), BOOL, _boolean)
    call(table, "bytes", "bytes_to_bytes", (BYTES,), BYTES, lambda value: value)
    call(table, "bytes", "string_to_bytes", (STRING,), BYTES, str.encode)
    call(table, "double", "double_to_double", (DOUBLE,), DOUBLE, float)
    call(table, "double", "int64_to_double", (INT,), DOUBLE, float)
    call(table, "double", "string_to_double", (STRING,), DOUBLE, _double)
    call(table, "double", "uint64_to_double", (UINT,), DOUBLE, float)
    call(table, "duration", "duration_to_duration", (DURATION,), DURATION, lambda value: value)
    call(table, "duration", "int64_to_duration", (INT,), DURATION, lambda value: timedelta(microseconds=value / 1000))
    call(table, "duration", "string_to_duration", (STRING,), DURATION, duration_of)
    call(table, "int", "int64_to_int64", (INT,), INT, lambda value: value)
    call(table, "int", "double_to_int64", (DOUBLE,), INT, _int_of_double)
    call(table, "int", "duration_to_int64", (DURATION,), INT, lambda value: value // timedelta(microseconds=1) * 1000)
    call(table, "int", "string_to_int64", (STRING,), INT, _int_of_string)
    call(table, "int", "timestamp_to_int64", (TIMESTAMP,), INT, _seconds)
    call(table, "int", "uint64_to_int64", (UINT,), INT, _int_of_uint)
    call(table, "uint", "uint64_to_uint64", (UINT,), UINT, lambda value: value)
    call(table, "uint", "double_to_uint64", (DOUBLE,), UINT, _uint_of_double)
    call(table, "uint", "int64_to_uint64", (INT,), UINT, _uint_of_int)
    call(table, "uint", "string_to_uint64", (STRING,), UINT, _uint_of_string)
    call(table, "timestamp", "timestamp_to_timestamp", (TIMESTAMP,), TIMESTAMP, lambda value: value)
    call(table, "timestamp", "int64_to_timestamp", (INT,), TIMESTAMP, _moment)
    call(table, "timestamp", "string_to_timestamp", (STRING,), TIMESTAMP, timestamp_of)
    call(table, "string", "string_to_string", (STRING,), STRING, lambda value: value)
    call(table, "string", "bool_to_string", (BOOL,), STRING, lambda value: "true" if value else "false")
    call(table, "string", "bytes_to_string", (BYTES,), STRING, _text)
    call(table, "string", "double_to_string", (DOUBLE,), STRING, lambda value: go_float(float(value)))
    call(table, "string", "duration_to_string", (DURATION,), STRING, go_duration)
    call(table, "string", "int64_to_string", (INT,), STRING, lambda value: f"{int(value)}")
    call(table, "string", "timestamp_to_string", (TIMESTAMP,), STRING, rfc3339)
    call(table, "string", "uint64_to_string", (UINT,), STRING, lambda value: f"{int(value)}")


def _boolean(value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise EvaluationError("type conversion error from 'string' to 'bool'")


def _double(value: str) -> float:
    if not _FLOAT.fullmatch(value):
        raise EvaluationError(f'strconv.ParseFloat: parsing "{value}": invalid syntax')
    found = float(value)
    if math.isinf(found) and "inf" not in value.lower():
        raise EvaluationError(f'strconv.ParseFloat: parsing "{value}": value out of range')
    return found


def _int_of_string(value: str) -> int:
    if not _INTEGER.fullmatch(value):
        raise EvaluationError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    found = int(value)
    if not INT_MIN <= found <= INT_MAX:
        raise EvaluationError(f'strconv.ParseInt: parsing "{value}": value out of range')
    return found


def _uint_of_string(value: str) -> Uint:
    if not _UNSIGNED.fullmatch(value):
        raise EvaluationError(f'strconv.ParseUint: parsing "{value}": invalid syntax')
    found = int(value)
    if found > UINT_MAX:
        raise EvaluationError(f'strconv.ParseUint: parsing "{value}": value out of range')
    return Uint(found)


def _int_of_double(value: float) -> int:
    if isinstance(value, int):
        return int(value)
    if not (math.isfinite(value) and -(2.0**63) < value < 2.0**63):
        raise EvaluationError("integer overflow")
    return int(value)


def _uint_of_double(value: float) -> Uint:
    if not (math.isfinite(value) and -1 < value < 2.0**64):
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)


def _int_of_uint(value: Uint) -> int:
    if value > INT_MAX:
        raise EvaluationError("integer overflow")
    return int(value)


def _uint_of_int(value: int) -> Uint:
    if value < 0:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)


def _seconds(value: datetime) -> int:
    return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def _moment(value: int) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _text(value: Any) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
