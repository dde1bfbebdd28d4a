"""Optional values: making, testing and unpacking them."""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, DYN, INT, STRING, list_of, map_of, optional_of, param
from minikube_py.machinery.cel.values import NONE, Optional, some

A, B = param("A"), param("B")


def declare(table: Table) -> None:
    """Add the functions of optional values."""
    call(table, "optional.of", "optional_of", (A,), optional_of(A), some)
    call(table, "optional.ofNonZeroValue", "optional_ofNonZeroValue", (A,), optional_of(A), _non_zero)
    call(table, "optional.none", "optional_none", (), optional_of(A), lambda: NONE)
    member(table, "value", "optional_value", (optional_of(A),), A, _value)
    member(table, "hasValue", "optional_hasValue", (optional_of(A),), BOOL, lambda found: found.present)
    member(table, "or", "optional_or_optional", (optional_of(A), optional_of(A)), optional_of(A), _first)
    member(table, "orValue", "optional_orValue_value", (optional_of(A), A), A, _or_value)
    call(table, "_?._", "select_optional_field", (DYN, STRING), optional_of(DYN), None)
    call(table, "_[?_]", "list_optindex_optional_int", (list_of(A), INT), optional_of(A), None)
    call(table, "_[?_]", "optional_list_optindex_optional_int", (optional_of(list_of(A)), INT), optional_of(A), None)
    call(table, "_[?_]", "map_optindex_optional_value", (map_of(A, B), A), optional_of(B), None)
    call(table, "_[?_]", "optional_map_optindex_optional_value", (optional_of(map_of(A, B)), A), optional_of(B), None)


def _non_zero(value: Any) -> Optional:
    return some(value) if value else NONE


def _value(found: Optional) -> Any:
    if not found.present:
        raise EvaluationError("optional.none() dereference")
    return found.value


def _first(left: Optional, right: Optional) -> Optional:
    return left if left.present else right


def _or_value(found: Optional, otherwise: Any) -> Any:
    return found.value if found.present else otherwise
