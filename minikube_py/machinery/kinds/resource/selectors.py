"""CEL selectors of devices (``k8s.io/dynamic-resource-allocation/cel``): their variable, compiling, cost.

``compile_selector`` is what validation uses, and a scheduler that evaluates selectors may use as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minikube_py.machinery.errors import forbidden_field, invalid_value
from minikube_py.machinery.kinds.common.checks import Errors

if TYPE_CHECKING:
    from minikube_py.machinery.cel import Program

MAX_COST = 1_000_000
"""Estimated cost that a selector may have (``CELSelectorExpressionMaxCost``)."""


def compile_selector(expression: str) -> Program:
    """The program of a selector over ``device``. Raises ``CompileError``."""
    from minikube_py.machinery.cel import (
        BOOL,
        DYN,
        QUANTITY,
        STRING,
        Field,
        compile_expression,
        map_of,
        object_type,
    )

    def by_domain(name: str, value: object) -> Field:
        return Field(name, map_of(STRING, map_of(STRING, DYN if value is DYN else QUANTITY)))

    device = object_type(
        "kubernetes.DRADevice",
        {
            "driver": Field("driver", STRING),
            "attributes": by_domain("attributes", DYN),
            "capacity": by_domain("capacity", QUANTITY),
            "allowMultipleAllocations": Field("allowMultipleAllocations", BOOL),
        },
    )
    return compile_expression(expression, {"device": device}, bind=True)


def expression_errors(path: str, expression: str) -> Errors:
    """``validateCELSelector``: it compiles to a bool that does not cost too much."""
    from minikube_py.machinery.cel import CompileError, format_type

    try:
        program = compile_selector(expression)
    except CompileError as error:
        return [invalid_value(path, expression, f"compilation failed: {error}")]
    if program.result_type.kind not in ("bool", "dyn"):
        text = f"must evaluate to bool or the unknown type, not {format_type(program.result_type)}"
        return [invalid_value(path, expression, text)]
    if program.estimated_cost[0] > MAX_COST:
        return [forbidden_field(path, "too complex, exceeds cost limit")]
    return []
