"""Floating point numbers as Go writes them."""

from __future__ import annotations

import math
from decimal import Decimal

_PLAIN_POWERS = range(-4, 6)


def go_float(value: float) -> str:
    """A number under ``%v`` and ``%g`` (``strconv.FormatFloat(value, 'g', -1, 64)``): ``0.5``, ``100``, ``1e+06``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, numbers, exponent = Decimal(repr(float(value))).as_tuple()
    digits = "".join(map(str, numbers)).rstrip("0")
    power = len(numbers) + int(exponent) - 1
    if not digits:
        text = "0"
    elif power not in _PLAIN_POWERS:
        text = f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{'-' if power < 0 else '+'}{abs(power):02d}"
    elif power < 0:
        text = f"0.{'0' * (-power - 1)}{digits}"
    else:
        whole = digits[: power + 1].ljust(power + 1, "0")
        text = f"{whole}.{digits[power + 1 :]}".removesuffix(".")
    return f"-{text}" if sign else text
