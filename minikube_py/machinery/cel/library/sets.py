"""``sets``: lists compared as sets."""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.cel.library.operators import in_list
from minikube_py.machinery.cel.overloads import Table, call
from minikube_py.machinery.cel.types import BOOL, list_of, param

A = param("T")


def declare(table: Table) -> None:
    """Add the library."""
    lists = (list_of(A), list_of(A))
    call(table, "sets.contains", "list_sets_contains_list", lists, BOOL, contains)
    call(table, "sets.equivalent", "list_sets_equivalent_list", lists, BOOL, _equivalent)
    call(table, "sets.intersects", "list_sets_intersects_list", lists, BOOL, _intersects)


def contains(items: list[Any], wanted: list[Any]) -> bool:
    """Whether all wanted items are among the items."""
    return all(in_list(item, items) for item in wanted)


def _equivalent(left: list[Any], right: list[Any]) -> bool:
    return contains(left, right) and contains(right, left)


def _intersects(left: list[Any], right: list[Any]) -> bool:
    return any(in_list(item, right) for item in left)
