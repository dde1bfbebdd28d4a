"""Resource quantities ("100m", "1.5Gi", "2e3"): exact arithmetic and Kubernetes' canonical text.

In: the text or number of an API object. Out: a ``Quantity``, an exact number of nano units with the
notation it was written in. The rules are those of ``k8s.io/apimachinery/pkg/api/resource``:

* nothing is finer than a nano unit; what is, is rounded away from zero;
* what does not fit the fast path of the reference is capped at 2**63 - 1;
* the canonical text has no fraction and the largest exponent that keeps the value exact; binary
  notation is given up for values below 1024 or with a fraction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_ERROR = "unable to parse quantity's suffix"

DECIMAL_SI = "DecimalSI"
DECIMAL_EXPONENT = "DecimalExponent"
BINARY_SI = "BinarySI"

_NANO = 10**9
_MAX_NANO = (2**63 - 1) * _NANO
_MAX_INT64 = 2**63 - 1
_PATTERN = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*(?:[-+]?[0-9]*))")
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()} | {0: ""}


@dataclass(frozen=True, slots=True, order=False)
class Quantity:
    """An exact amount. Equality and order are by amount alone; the notation only shapes the text."""

    nano: int
    notation: str = DECIMAL_SI

    def value(self) -> int:
        """The amount in whole units, rounded away from zero, capped to 64 bits."""
        return _capped(_divide_up(self.nano, _NANO))

    def milli(self) -> int:
        """The amount in thousandths, rounded away from zero, capped to 64 bits."""
        return _capped(_divide_up(self.nano, 10**6))

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.nano)

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __le__(self, other: Quantity) -> bool:
        return self.nano <= other.nano

    def __gt__(self, other: Quantity) -> bool:
        return self.nano > other.nano

    def __ge__(self, other: Quantity) -> bool:
        return self.nano >= other.nano

    def __bool__(self) -> bool:
        return self.nano != 0

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.notation)

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in the notation of the left side (of the right one when the left is zero)."""
        return Quantity(self.nano + other.nano, self.notation if self.nano else other.notation)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.notation if self.nano else other.notation)

    def __str__(self) -> str:
        """The canonical text."""
        if not self.nano:
            return "0"
        if self.notation == BINARY_SI and abs(self.nano) >= 1024 * _NANO and not self.nano % _NANO:
            return _binary_text(self.nano // _NANO)
        return _decimal_text(self.nano, self.notation)


ZERO = Quantity(0)


def parse_quantity(text: str | int | float) -> Quantity:
    """The quantity of a text or JSON number.

    Raises ValueError with Kubernetes' text when it is not one.
    """
    return _parse(text if isinstance(text, str) else _number_text(text))


def quantity_value(text: Any) -> int:
    """Whole units, rounded up; 0 for None."""
    return 0 if text is None else _value(text)


def quantity_milli(text: Any) -> int:
    """Thousandths, rounded up; 0 for None."""
    return 0 if text is None else _milli(text)


def canonical_quantity(text: str | int | float) -> str:
    """The canonical text of a quantity; ValueError as ``parse_quantity``."""
    return _canonical(text if isinstance(text, str) else _number_text(text))


def _number_text(number: int | float) -> str:
    if isinstance(number, bool):
        raise ValueError(FORMAT_ERROR)
    text = repr(number)
    return text[:-2] if text.endswith(".0") else text


@lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    if not text:
        raise ValueError(FORMAT_ERROR)
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(FORMAT_ERROR)
    sign, whole, fraction, suffix = found.groups()
    fraction = fraction or ""
    digits = whole.lstrip("0")
    if suffix in _BINARY:
        notation, scale, factor = BINARY_SI, 0, 1 << _BINARY[suffix]
        fast = not fraction and 15 - len(digits or "0") - _BINARY[suffix] * 3 // 10 - 1 >= 0
    else:
        notation, scale = _decimal_suffix(suffix)
        factor = 1
        fast = len(digits or "0") + len(fraction) <= 18 and scale - len(fraction) >= -9
    number = int((whole + fraction) or "0") * factor
    nano = _scaled(number, scale - len(fraction) + 9)
    if not fast:
        nano = min(nano, _MAX_NANO)
        if notation == BINARY_SI and 0 < nano < _NANO:
            notation = DECIMAL_SI
    return Quantity(-nano if sign == "-" else nano, notation)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return str(_parse(text))


@lru_cache(maxsize=4096)
def _value(text: str | int | float) -> int:
    return parse_quantity(text).value()


@lru_cache(maxsize=4096)
def _milli(text: str | int | float) -> int:
    return parse_quantity(text).milli()


def _decimal_suffix(suffix: str) -> tuple[str, int]:
    if suffix in _DECIMAL:
        return DECIMAL_SI, _DECIMAL[suffix]
    found = _EXPONENT.fullmatch(suffix)
    if found is None or len(found[1]) > 10:
        raise ValueError(SUFFIX_ERROR)
    # A guard against numbers of a billion digits: beyond this every amount is 0, a nano or the cap.
    return DECIMAL_EXPONENT, max(-1000, min(1000, int(found[1])))


def _scaled(number: int, exponent: int) -> int:
    """number * 10**exponent, rounded up (the number is not negative)."""
    if exponent >= 0:
        factor: int = 10**exponent
        return number * factor
    divisor: int = 10**-exponent
    return -(-number // divisor)


def _divide_up(number: int, divisor: int) -> int:
    """The quotient, rounded away from zero."""
    return -(-number // divisor) if number >= 0 else number // divisor


def _capped(number: int) -> int:
    return max(-_MAX_INT64, min(_MAX_INT64, number))


def _binary_text(number: int) -> str:
    exponent = 0
    while exponent < 60 and not number % 1024:
        number //= 1024
        exponent += 10
    return f"{number}{_BINARY_SUFFIX[exponent]}"


def _decimal_text(nano: int, notation: str) -> str:
    exponent = -9
    while not nano % 1000 and (exponent < 18 or notation == DECIMAL_EXPONENT):
        nano //= 1000
        exponent += 3
    if notation == DECIMAL_EXPONENT:
        return f"{nano}e{exponent}" if exponent else str(nano)
    return f"{nano}{_DECIMAL_SUFFIX[exponent]}"
