"""Kubernetes' ``lists`` library: order, sums, extremes, positions."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, member
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
    param,
)
from minikube_py.machinery.cel.values import compare, duration, equal, integer, unsigned

A = param("T")
_ORDERED: tuple[tuple[str, Type], ...] = (
    ("int", INT), ("uint", UINT), ("double", DOUBLE), ("bool", BOOL), ("duration", DURATION),
    ("timestamp", TIMESTAMP), ("string", STRING), ("bytes", BYTES),
)  # fmt: skip


def declare(table: Table) -> None:
    """Add the library."""
    for shown, sort in _ORDERED:
        items = (list_of(sort),)
        member(table, "isSorted", f"list_{shown}_is_sorted_bool", items, BOOL, _is_sorted)
        member(table, "min", f"list_{shown}_min_{shown}", items, sort, _least)
        member(table, "max", f"list_{shown}_max_{shown}", items, sort, _greatest)
    member(table, "sum", "list_int_sum_int", (list_of(INT),), INT, lambda items: integer(sum(items)))
    member(table, "sum", "list_uint_sum_uint", (list_of(UINT),), UINT, lambda items: unsigned(sum(map(int, items))))
    member(table, "sum", "list_double_sum_double", (list_of(DOUBLE),), DOUBLE, lambda items: float(sum(items)))
    member(table, "sum", "list_duration_sum_duration", (list_of(DURATION),), DURATION, _total)
    member(table, "indexOf", "list_a_index_of_int", (list_of(A), A), INT, _index)
    member(table, "lastIndexOf", "list_a_last_index_of_int", (list_of(A), A), INT, _last_index)


def _is_sorted(items: list[Any]) -> bool:
    return all(compare(one, other) <= 0 for one, other in pairwise(items))


def _least(items: list[Any]) -> Any:
    if not items:
        raise EvaluationError("min called on empty list")
    result = items[0]
    for item in items[1:]:
        if compare(item, result) < 0:
            result = item
    return result


def _greatest(items: list[Any]) -> Any:
    if not items:
        raise EvaluationError("max called on empty list")
    result = items[0]
    for item in items[1:]:
        if compare(item, result) > 0:
            result = item
    return result


def _total(items: list[timedelta]) -> timedelta:
    return duration(sum(items, timedelta()))


def _index(items: list[Any], item: Any) -> int:
    return next((index for index, other in enumerate(items) if equal(item, other)), -1)


def _last_index(items: list[Any], item: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if equal(item, items[index])), -1)
