"""Kubernetes' ``quantity`` library."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, DOUBLE, INT, STRING, Type, opaque
from minikube_py.machinery.cel.values import INT_MAX, INT_MIN
from minikube_py.machinery.quantities import parse_quantity

QUANTITY = opaque("kubernetes.Quantity")
_NANO = 10**9


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A quantity by its amount, in billionths."""

    nano: int
    type: Type = field(default=QUANTITY, compare=False, repr=False)


def declare(table: Table) -> None:
    """Add the library."""
    one, two, mixed = (QUANTITY,), (QUANTITY, QUANTITY), (QUANTITY, INT)
    call(table, "quantity", "string_to_quantity", (STRING,), QUANTITY, quantity_of)
    call(table, "isQuantity", "is_quantity_string", (STRING,), BOOL, _is_quantity)
    member(table, "sign", "quantity_sign", one, INT, lambda q: (q.nano > 0) - (q.nano < 0))
    member(table, "isGreaterThan", "quantity_is_greater_than", two, BOOL, lambda q, other: q.nano > other.nano)
    member(table, "isLessThan", "quantity_is_less_than", two, BOOL, lambda q, other: q.nano < other.nano)
    member(table, "compareTo", "quantity_compare_to", two, INT,
           lambda q, other: (q.nano > other.nano) - (q.nano < other.nano))  # fmt: skip
    member(table, "asApproximateFloat", "quantity_get_float", one, DOUBLE, lambda q: float(Fraction(q.nano, _NANO)))
    member(table, "asInteger", "quantity_get_int", one, INT, _integer)
    member(table, "isInteger", "quantity_is_integer", one, BOOL, _is_integer)
    member(table, "add", "quantity_add", two, QUANTITY, lambda q, other: QuantityValue(q.nano + other.nano))
    member(table, "add", "quantity_add_int", mixed, QUANTITY, lambda q, n: QuantityValue(q.nano + n * _NANO))
    member(table, "sub", "quantity_sub", two, QUANTITY, lambda q, other: QuantityValue(q.nano - other.nano))
    member(table, "sub", "quantity_sub_int", mixed, QUANTITY, lambda q, n: QuantityValue(q.nano - n * _NANO))


def quantity_of(text: str) -> QuantityValue:
    """A quantity; ``EvaluationError`` with Kubernetes' text when it is none."""
    try:
        return QuantityValue(parse_quantity(text).nano)
    except ValueError:
        raise EvaluationError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from None


def _is_quantity(text: str) -> bool:
    try:
        quantity_of(text)
    except EvaluationError:
        return False
    return True


def _is_integer(quantity: QuantityValue) -> bool:
    return quantity.nano % _NANO == 0 and INT_MIN <= quantity.nano // _NANO <= INT_MAX


def _integer(quantity: QuantityValue) -> int:
    if not _is_integer(quantity):
        raise EvaluationError("cannot convert value to integer")
    return quantity.nano // _NANO
