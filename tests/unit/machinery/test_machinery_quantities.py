"""Quantities: canonical texts, rounding, errors, arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery.quantities import (
    FORMAT_ERROR,
    SUFFIX_ERROR,
    Quantity,
    canonical_quantity,
    parse_quantity,
    quantity_milli,
    quantity_value,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0Mi", "0"), ("1", "1"), ("0.5", "500m"), ("1000m", "1"), ("1500m", "1500m"), ("1.5", "1500m"),
        ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("512Ki", "512Ki"), ("0.5Ki", "512"), ("1000", "1k"), ("1e3", "1e3"),
        ("2000e3", "2e6"), ("1E", "1E"), ("100k", "100k"), ("-1", "-1"), ("+2", "2"), ("1n", "1n"), ("0.1n", "1n"),
        ("1.0001Ki", "1024102400u"), ("9999999999999999999", "9223372036854775807"), ("1.", "1"), (".5", "500m"),
    ],
)  # fmt: skip
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_quantity(text)) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [("", FORMAT_ERROR), ("lots", FORMAT_ERROR), ("1.2.3", FORMAT_ERROR), ("1 Mi", FORMAT_ERROR), ("1Mx", FORMAT_ERROR),
     ("1KiB", FORMAT_ERROR), ("1mm", SUFFIX_ERROR), ("1K", SUFFIX_ERROR), ("1e1e", FORMAT_ERROR)],
)  # fmt: skip
def test_malformed(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_quantity(text)
    assert str(caught.value) == why


def test_numbers_are_read_as_their_text() -> None:
    assert canonical_quantity(0.5) == "500m"
    assert canonical_quantity(2) == "2"


@pytest.mark.parametrize(
    ("text", "value", "milli"),
    [("1", 1, 1000), ("100m", 1, 100), ("1.1m", 1, 2), ("-100m", -1, -100), ("1Ki", 1024, 1024000)],
)
def test_rounding_is_away_from_zero(text: str, value: int, milli: int) -> None:
    assert (quantity_value(text), quantity_milli(text)) == (value, milli)


def test_a_missing_quantity_is_nothing() -> None:
    assert quantity_value(None) == quantity_milli(None) == 0


def test_a_sum_keeps_the_notation_of_its_left_side() -> None:
    assert str(parse_quantity("1Gi") + parse_quantity("1Gi")) == "2Gi"
    assert str(parse_quantity("0") + parse_quantity("1Gi")) == "1Gi"
    assert str(parse_quantity("1") - parse_quantity("100m")) == "900m"


quantities = st.builds(
    lambda number, suffix: f"{number}{suffix}",
    st.one_of(st.integers(-(10**9), 10**9), st.decimals(-(10**6), 10**6, places=3)),
    st.sampled_from(["", "m", "u", "k", "M", "Ki", "Mi", "Gi", "e3"]),
)


@settings(max_examples=60)
@given(quantities)
def test_the_canonical_text_means_the_same(text: str) -> None:
    first = parse_quantity(text)
    again = parse_quantity(str(first))
    assert again == first
    assert str(again) == str(first)


@settings(max_examples=60)
@given(quantities, quantities)
def test_order_and_arithmetic_are_those_of_numbers(left: str, right: str) -> None:
    a, b = parse_quantity(left), parse_quantity(right)
    assert (a < b) == (Fraction(a.nano) < Fraction(b.nano))
    assert (a + b) - b == a
    assert isinstance(a + b, Quantity)
