"""Compiling and evaluating the expressions of one webhook, policy or binding.

``Expression`` is compiled on its first use and once only; stored objects have been validated, so a failure
then is an error of evaluation like any other. Evaluation is synchronous and pure. What an expression asks
of the authorizer may need a wait (a webhook); then the evaluation stops, the answer is fetched, and it
starts again with the answer at hand (``Authorizations``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from minikube_py.machinery.kinds.admissionregistration.expressions import Scope, compile_in

if TYPE_CHECKING:
    from minikube_py.components.apiserver.admission.expressions.authorizing import Authorizations
    from minikube_py.components.apiserver.admission.expressions.composition import Composition
    from minikube_py.machinery.cel import Budget, Program

RUNTIME_BUDGET = 10_000_000
MATCH_CONDITIONS_BUDGET = RUNTIME_BUDGET // 4

_COSTLY = 5_000
"""Cost of an evaluation that takes about a millisecond here; on the event loop none may spend more."""
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class ExpressionFailed(Exception):
    """An expression gave no value; the text is Kubernetes'."""


class TooCostly(Exception):
    """An evaluation costs more than may be spent on the event loop. No error of the expression: nothing absorbs it."""


class OutOfBudget(ExpressionFailed):
    """All that was left to spend on a policy is spent."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


@dataclass(slots=True)
class Expression:
    """The text of an expression, what it may use, and what it must result in (``expressions.BOOLEAN`` and so on)."""

    text: str
    result: str
    scope: Scope
    composition: Composition | None = None
    """The policy's variables; None for expressions that see none."""
    costly: bool = False
    """Whether an evaluation took so long that the next ones go to a thread."""
    _program: Program | None = field(default=None, repr=False)
    _problem: str = field(default="", repr=False)

    @property
    def compiled(self) -> bool:
        """Whether ``program`` answers at once."""
        return self._program is not None or bool(self._problem)

    def program(self) -> Program:
        """The compiled expression. Raises ExpressionFailed when it does not compile."""
        if not self.compiled:
            self.compile()
        if self._program is None:
            raise ExpressionFailed(self._problem)
        return self._program

    def compile(self) -> None:
        """Compile it, with the variables that it sees; takes milliseconds, the first one of a process tens of them."""
        from minikube_py.machinery.cel import CompileError, WrongResult

        scope = self.scope
        if self.composition is not None and self.composition.expressions:
            scope = replace(scope, variables=self.composition.types())
        try:
            self._program = compile_in(scope, self.text, self.result)
        except WrongResult as error:
            self._problem = f"compilation error: {error}"
        except CompileError as error:
            self._problem = f"compilation error: compilation failed: {error}"


def new_budget(total: int) -> Budget:
    """What the expressions of one policy may spend together, each of them at most ``PerCallLimit``."""
    from minikube_py.machinery.cel import Budget

    return Budget(left=total)


async def evaluate(
    expression: Expression, values: Mapping[str, Any], budget: Budget, authorizations: Authorizations | None = None
) -> Any:
    """The value of an expression. Raises ExpressionFailed, OutOfBudget, and ApiError of the authorizer."""
    from minikube_py.components.apiserver.admission.expressions.authorizing import AnswerMissing
    from minikube_py.machinery.cel import BudgetExceeded, EvaluationError

    if not expression.compiled:
        await asyncio.to_thread(expression.compile)
    program, variables = expression.program(), values.get("variables")
    while True:
        left, known = budget.left, dict(variables or ())
        try:
            if expression.costly:
                return await asyncio.to_thread(program.evaluate, values, budget=budget)
            return _tried(program, values, budget)
        except TooCostly:
            expression.costly, budget.left = True, left
            if variables is not None:  # what was computed in vain is computed, and paid for, once more
                variables.clear()
                variables.update(known)
        except AnswerMissing as missing:
            budget.left = left
            if authorizations is None:
                raise ExpressionFailed("no authorizer") from None
            await authorizations.ask(missing.question)
        except BudgetExceeded as error:
            if budget.left < 0:
                raise OutOfBudget from error
            raise ExpressionFailed(f"expression '{expression.text}' resulted in error: {error}") from error
        except EvaluationError as error:
            raise ExpressionFailed(f"expression '{expression.text}' resulted in error: {error}") from error
        finally:
            expression.costly = expression.costly or left - budget.left > _COSTLY


def _tried(program: Program, values: Mapping[str, Any], budget: Budget) -> Any:
    """The value, if it costs as little as may be spent on the event loop. Raises TooCostly, EvaluationError."""
    from minikube_py.machinery.cel import BudgetExceeded

    whole, budget.per_call = budget.per_call, _COSTLY
    try:
        return program.evaluate(values, budget=budget)
    except BudgetExceeded:
        raise TooCostly from None
    finally:
        budget.per_call = whole
