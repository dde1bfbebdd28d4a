"""Compiled expressions: ``compile_expression`` and what it gives.

Compiling parses, checks, validates constant arguments and builds closures; a ``Program`` is immutable, shared and
evaluated any number of times. Costs are counted as cel-go counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from time import monotonic
from typing import Any

from minikube_py.machinery.cel.checker import Structs, check, children
from minikube_py.machinery.cel.closures import COST, FIRST, LIMIT, Closure, Scope, closure
from minikube_py.machinery.cel.conversion import plain
from minikube_py.machinery.cel.errors import (
    BudgetExceeded,
    CompileError,
    EvaluationError,
    Problem,
    WrongResult,
    no_such_overload,
)
from minikube_py.machinery.cel.library import functions
from minikube_py.machinery.cel.library.times import duration_of, timestamp_of
from minikube_py.machinery.cel.overloads import Table
from minikube_py.machinery.cel.parser import parse, too_deep
from minikube_py.machinery.cel.syntax import Call, Ident, Literal, Node, Select
from minikube_py.machinery.cel.types import Type, format_type
from minikube_py.machinery.cel_timing import cel_observer
from minikube_py.machinery.regular_expressions import PatternError, compile_pattern

PER_CALL = 1_000_000
"""Cost that one evaluation may have (apiserver's ``PerCallLimit``)."""
RUNTIME_TOTAL = 10_000_000
"""Cost that all rules of one object may have (``RuntimeCELCostBudget``)."""
MATCH_CONDITIONS_TOTAL = 2_500_000
"""Cost that all match conditions of one object may have (``RuntimeCELCostBudgetMatchConditions``)."""


@dataclass(slots=True)
class Budget:
    """What evaluations may cost: each one, and all that share this budget. ``left`` goes down with each."""

    per_call: int = PER_CALL
    left: int = RUNTIME_TOTAL


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. ``names`` are the declared variables that the expression uses."""

    text: str
    result_type: Type
    names: frozenset[str]
    _node: Node = field(repr=False)
    _closure: Closure = field(repr=False)
    _variables: Mapping[str, Type] = field(repr=False)
    _inner: tuple[None, ...] = field(repr=False)
    """Places in the frame for the variables of comprehensions."""

    @property
    def estimated_cost(self) -> tuple[int, int]:
        """The least and greatest cost that an evaluation can have by the sizes that the types allow."""
        from minikube_py.machinery.cel.estimator import estimate

        return estimate(self._node, self._variables)

    def evaluate(self, variables: Mapping[str, object], *, budget: Budget | None = None) -> Any:
        """The value for these variables, as plain data; a missing variable fails where it is used.

        Raises ``EvaluationError``, and ``BudgetExceeded`` when it costs more than the budget's call or rest.
        """
        return plain(self.run(variables, budget)[0])

    def run(self, variables: Mapping[str, object], budget: Budget | None = None) -> tuple[Any, int]:
        """The value as the language has it, and what it cost. Raises as ``evaluate`` does."""
        observer = cel_observer.get()
        if observer is None:
            return self.compute(variables, budget)
        begin = monotonic()
        try:
            return self.compute(variables, budget)
        finally:
            observer.evaluated(monotonic() - begin)

    def compute(self, variables: Mapping[str, object], budget: Budget | None = None) -> tuple[Any, int]:
        """As ``run``, for who tells the observer himself how long it took."""
        limit = PER_CALL if budget is None else budget.per_call
        frame: list[Any] = [0, limit, *map(variables.get, self._variables), *self._inner]
        try:
            value = self._closure(frame)
        except RecursionError:
            raise EvaluationError("evaluation is nested too deeply") from None
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            raise no_such_overload() from error
        finally:
            if budget is not None:
                budget.left -= frame[COST]
        if frame[COST] > frame[LIMIT] or (budget is not None and budget.left < 0):
            raise BudgetExceeded
        return value, frame[COST]


@cache
def _mutation_functions() -> Table:
    from minikube_py.machinery.cel.library import mutations

    table: Table = {name: list(overloads) for name, overloads in functions().items()}
    mutations.declare(table)
    return table


def compile_expression(
    text: str,
    variables: Mapping[str, Type],
    *,
    result: Type | tuple[Type, ...] | None = None,
    mutation: bool = False,
    bind: bool = False,
) -> Program:
    """Compile an expression over typed variables.

    ``result`` is the type, or one of the types, that it must have (``WrongResult`` otherwise); ``mutation`` adds
    ``Object{}``, ``JSONPatch{}`` and ``jsonpatch`` of MutatingAdmissionPolicies, ``bind`` adds ``cel.bind`` (device
    selectors have it). Raises ``CompileError`` with the texts of cel-go.
    """
    observer, begin = cel_observer.get(), monotonic()
    try:
        return _compiled(text, variables, result, mutation=mutation, bind=bind)
    finally:
        if observer is not None:
            observer.compiled(monotonic() - begin)


def _compiled(
    text: str, variables: Mapping[str, Type], result: Type | tuple[Type, ...] | None, *, mutation: bool, bind: bool
) -> Program:
    node = parse(text, bind=bind)
    structs: Structs | None = None
    table = functions()
    if mutation:
        from minikube_py.machinery.cel.library.mutations import mutation_structs

        structs, table = mutation_structs, _mutation_functions()
    scope = Scope(variables)
    problems: list[Problem] = []
    names: set[str] = set()
    try:
        found = check(text, node, variables, table, structs)
        built = closure(node, scope)
    except RecursionError:
        raise too_deep(text) from None
    _inspect(node, variables, names, problems)
    if problems:
        raise CompileError(text, problems)
    wanted = (result,) if isinstance(result, Type) else result
    if wanted is not None and found not in wanted:
        shown = [_result_name(one) for one in wanted]
        demanded = shown[0] if len(shown) == 1 else f"one of [{' '.join(shown)}]"
        raise WrongResult(f"must evaluate to {demanded} but got {_result_name(found)}")
    return Program(
        text, found, frozenset(names), node, built, variables, (None,) * (scope.size - FIRST - len(variables))
    )


def _result_name(type: Type) -> str:
    """A type's own name, as Go prints it."""
    return type.kind if type.kind == "null_type" else format_type(type)


def _inspect(node: Node, variables: Mapping[str, Type], names: set[str], problems: list[Problem]) -> None:
    """Collect the variables in use, and constant arguments that cannot work (cel-go's AST validators)."""
    todo = [node]
    while todo:
        current = todo.pop()
        if isinstance(current, Ident):
            name = current.name.removeprefix(".")
            if name in variables:
                names.add(name)
        elif isinstance(current, Select) and current.qualified in variables:
            names.add(current.qualified)
        elif isinstance(current, Call):
            validate = _VALIDATORS.get(current.function)
            constant = current.args[-1] if current.args else None
            if validate is not None and isinstance(constant, Literal) and isinstance(constant.value, str):
                try:
                    validate(constant.value)
                except (EvaluationError, PatternError):
                    problems.append(Problem(constant.at, f"invalid {current.function} argument"))
        todo += children(current)


_VALIDATORS: dict[str, Callable[[str], Any]] = {
    "duration": duration_of,
    "timestamp": timestamp_of,
    "matches": compile_pattern,
}
