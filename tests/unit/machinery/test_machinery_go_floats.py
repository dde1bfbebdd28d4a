"""Floating point numbers as Go writes them."""

from __future__ import annotations

import pytest

from minikube_py.machinery.go_floats import go_float

TEXTS = {
    "0": 0.0, "-0": -0.0, "3": 3.0, "100000": 1e5, "999999": 999999.0, "1e+06": 1e6, "1.2345675e+06": 1234567.5,
    "0.0001": 0.0001, "1e-05": 0.00001, "1e+100": 1e100, "-12.5": -12.5, "10.05": 10.05, "0.00123": 0.00123,
    "6.088634523481149e+11": 608863452348.1149, "5e-324": 5e-324, "+Inf": float("inf"), "-Inf": float("-inf"),
    "NaN": float("nan"),
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_go_float(text: str) -> None:
    assert go_float(TEXTS[text]) == text
