"""Integers that may be percentages (``intstr.GetScaledValueFromIntOrPercent``)."""

from __future__ import annotations

import math


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """The number, or the percentage of ``total``; None counts as 0. Raises ValueError on other text."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: invalid type: string is not a percentage: {value!r}")
    exact = int(value[:-1]) * total / 100
    return math.ceil(exact) if round_up else math.floor(exact)
