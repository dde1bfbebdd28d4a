"""``variables``: named expressions of a policy that its other expressions use, computed when first needed.

A variable sees the variables before it. One that does not compile or gives no value spoils only the
expressions that use it. Follows ``plugin/cel/composition.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_py.components.apiserver.admission.expressions.evaluation import (
    Expression,
    ExpressionFailed,
    TooCostly,
)
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.kinds.admissionregistration.expressions import ANY, Scope

if TYPE_CHECKING:
    from minikube_py.machinery.cel import Budget, Type


@dataclass(frozen=True, slots=True)
class Composition:
    """The variables of one policy in their order."""

    expressions: Mapping[str, Expression]

    def types(self) -> Mapping[str, Type]:
        """Their types; a variable that does not compile is dynamic."""
        from minikube_py.machinery.cel import DYN

        types: dict[str, Type] = {}
        for name, expression in self.expressions.items():
            try:
                types[name] = expression.program().result_type
            except ExpressionFailed:
                types[name] = DYN
        return types


def read_composition(raw: Iterable[Mapping[str, Any]], scope: Scope) -> Composition:
    """The variables of a stored object."""
    found: dict[str, Expression] = {}
    for item in raw:
        text = str(item.get("expression") or "")
        found[str(item.get("name") or "")] = Expression(text, ANY, scope, Composition(dict(found)))
    return Composition(found)


class LazyVariables(dict[str, Any]):
    """The value of ``variables``: computes a variable when it is read, and keeps it."""

    def __init__(self, composition: Composition, values: Mapping[str, Any], budget: Budget) -> None:
        super().__init__()
        self._expressions = composition.expressions
        self._values = {**values, "variables": self}
        self._budget = budget

    def __contains__(self, name: object) -> bool:
        return name in self._expressions

    def __missing__(self, name: str) -> Any:
        from minikube_py.machinery.cel import PER_CALL, BudgetExceeded, EvaluationError

        expression = self._expressions[name]
        try:
            program = expression.program()
        except ExpressionFailed as error:
            raise EvaluationError(f"composited variable {go_quote(name)} fails to compile: {error}") from error
        try:
            value, _ = program.run(self._values, self._budget)
        except EvaluationError as error:
            if isinstance(error, BudgetExceeded) and self._budget.per_call < PER_CALL:
                raise TooCostly from None
            raise EvaluationError(f"composited variable {go_quote(name)} fails to evaluate: {error}") from error
        self[name] = value
        return value
