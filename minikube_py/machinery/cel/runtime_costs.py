"""What a call costs at run time, as cel-go's cost tracker and Kubernetes' estimator count.

``cost_of(function, overload)`` is None for the nominal cost of 1, else a function of arguments and result.
Costs are counts of an abstract unit; about 50 ns of cel-go each.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from minikube_py.machinery.cel.values import size

Cost = Callable[[tuple[Any, ...], Any], int]
TRAVERSAL, REGEX_LENGTH = 0.1, 0.25
"""For each character of a text, for each character of a regular expression."""
LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40
"""Of making a list, a map, a message."""


def _sized(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else size(value)


def _scan(factor: float, position: int = 0) -> Cost:
    return lambda arguments, result: ceil(_sized(arguments[position]) * factor)


def _smaller(arguments: tuple[Any, ...], result: Any) -> int:
    return ceil(min(_sized(arguments[0]), _sized(arguments[1])) * TRAVERSAL)


def _both(arguments: tuple[Any, ...], result: Any) -> int:
    return ceil((_sized(arguments[0]) + _sized(arguments[1])) * TRAVERSAL)


def _regex(arguments: tuple[Any, ...], result: Any) -> int:
    return ceil((1 + _sized(arguments[0])) * TRAVERSAL) * ceil(_sized(arguments[1]) * REGEX_LENGTH)


def _product(arguments: tuple[Any, ...], result: Any) -> int:
    return ceil(_sized(arguments[0]) * TRAVERSAL) * ceil(_sized(arguments[1]) * TRAVERSAL)


def traversal(value: Any) -> int:
    """The cost of going through a value and all that is in it."""
    if isinstance(value, str | bytes):
        return int(len(value) * TRAVERSAL)
    if isinstance(value, list):
        return sum(map(traversal, value))
    if isinstance(value, dict):
        return sum(traversal(key) + traversal(item) for key, item in value.items())
    return 1


def _contains_ip(text: bool) -> Cost:
    def cost(arguments: tuple[Any, ...], result: Any) -> int:
        base = ceil(2 * _sized(arguments[0]) * TRAVERSAL)
        return base + (ceil(_sized(arguments[1]) * TRAVERSAL) if text else 0)

    return cost


def _contains_cidr(text: bool) -> Cost:
    inner = _contains_ip(text)
    return lambda arguments, result: inner(arguments, result) + ceil(_sized(arguments[0]) * TRAVERSAL) + 1


def _quadratic(arguments: tuple[Any, ...], result: Any) -> int:
    return _sized(arguments[0]) * _sized(arguments[1]) + 1


_BY_OVERLOAD: dict[str, Cost] = {
    "starts_with_string": _scan(TRAVERSAL),
    "ends_with_string": _scan(TRAVERSAL),
    "string_to_bytes": _scan(TRAVERSAL),
    "bytes_to_string": _scan(TRAVERSAL),
    "strings_quote": _scan(TRAVERSAL),
    "string_format_list_string": _scan(TRAVERSAL),
    "in_list": _scan(1, 1),
    "equals": _smaller,
    "not_equals": _smaller,
    "add_string": _both,
    "add_bytes": _both,
    "matches": _regex,
    "matches_string": _regex,
    "contains_string": _product,
    "cidr_contains_ip_string": _contains_ip(True),
    "cidr_contains_ip_ip": _contains_ip(False),
    "cidr_contains_cidr_string": _contains_cidr(True),
    "cidr_contains_cidr": _contains_cidr(False),
    "list_sets_contains_list": _quadratic,
    "list_sets_intersects_list": _quadratic,
    "list_sets_equivalent_list": lambda arguments, result: 2 * _quadratic(arguments, result) - 1,
    **{
        f"{word}_{sort}": _smaller
        for word in ("less", "less_equals", "greater", "greater_equals")
        for sort in ("string", "bytes")
    },
}
_BY_FUNCTION: dict[str, Cost] = {
    "check": lambda arguments, result: 350_000,
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), lambda a, r: traversal(a[0])),
    **dict.fromkeys(
        (
            "url", "lowerAscii", "upperAscii", "substring", "trim", "cidr", "isIP", "isCIDR", "quantity",
            "isQuantity", "semver", "isSemver", "validate",
        ),
        _scan(TRAVERSAL),
    ),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), _scan(2 * TRAVERSAL)),
    "join": lambda arguments, result: ceil(_sized(result) * 2 * TRAVERSAL),
    "find": _regex,
    "findAll": _regex,
}  # fmt: skip


def cost_of(function: str, overload: str) -> Cost | None:
    """How a call is charged; None for 1."""
    if overload == "string_to_ip":
        return _scan(TRAVERSAL)
    return _BY_FUNCTION.get(function) or _BY_OVERLOAD.get(overload)
