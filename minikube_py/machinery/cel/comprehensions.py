"""Closures of comprehensions: the macros' loops as Python loops, with the costs that cel-go's fold would count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minikube_py.machinery.cel.errors import BudgetExceeded, EvaluationError, no_such_overload
from minikube_py.machinery.cel.macros import ACCUMULATOR
from minikube_py.machinery.cel.runtime_costs import LIST_COST
from minikube_py.machinery.cel.syntax import Call, Comprehension, ListNode, Literal, Node

Frame = list[Any]
Closure = Callable[[Frame], Any]
Build = Callable[[Node, Any], Closure]


def comprehension_closure(node: Comprehension, scope: Any, build: Build) -> Closure:
    """The closure of a comprehension; ``build`` makes those of the nodes in it."""
    if node.bind:
        return _bind(node, scope, build)
    source = build(node.source, scope)
    hidden = {
        name: (scope.names.get(name), scope.lazy.pop(name, None)) for name in (node.variable, node.second) if name
    }
    first = scope.add(node.variable)
    second = scope.add(node.second) if node.second else None
    step, initial = node.step, node.initial
    if isinstance(step, Call) and step.function in ("_&&_", "_||_") and isinstance(initial, Literal):
        result = _quantifier(source, build(step.args[1], scope), first, second, step.function == "_||_")
    elif isinstance(initial, Literal) and isinstance(step, Call):
        result = _exactly_one(source, build(step.args[0], scope), first, second)
    elif isinstance(initial, ListNode) and isinstance(step, Call):
        result = _gathering(source, step, first, second, scope, build)
    else:
        result = _folding(node, source, first, second, scope, build)
    for name, (slot, lazy) in hidden.items():
        if slot is None:
            scope.names.pop(name, None)
        else:
            scope.names[name] = slot
        if lazy is not None:
            scope.lazy[name] = lazy
    return result


def _pairs(value: Any, second: int | None) -> Iterable[Any]:
    """What a loop goes over: items or keys, with two variables pairs of index and item or key and value."""
    if isinstance(value, list):
        return value if second is None else enumerate(value)
    if isinstance(value, dict):
        return list(value) if second is None else list(value.items())
    raise no_such_overload()


def _binder(first: int, second: int | None) -> Callable[[Frame, Any], None]:
    def one(frame: Frame, item: Any) -> None:
        frame[first] = item

    def two(frame: Frame, item: Any) -> None:
        frame[first], frame[second] = item  # type: ignore[index]

    return one if second is None else two


def _quantifier(source: Closure, test: Closure, first: int, second: int | None, decisive: bool) -> Closure:
    """``all`` (False decides) and ``exists`` (True decides); errors count only when nothing decides."""
    bind, overhead = _binder(first, second), 4 if decisive else 3

    def quantifier(frame: Frame) -> bool:
        failure: EvaluationError | None = None
        for item in _pairs(source(frame), second):
            bind(frame, item)
            frame[0] += overhead
            if frame[0] > frame[1]:
                raise BudgetExceeded
            try:
                found = test(frame)
            except BudgetExceeded:
                raise
            except EvaluationError as error:
                failure = failure or error
                continue
            if found is decisive:
                frame[0] += 1
                return bool(decisive)
            if found is not (not decisive):
                failure = failure or no_such_overload()
        frame[0] += 1
        if failure is not None:
            raise failure
        return not decisive

    return quantifier


def _exactly_one(source: Closure, test: Closure, first: int, second: int | None) -> Closure:
    bind = _binder(first, second)

    def exactly_one(frame: Frame) -> bool:
        count = 0
        for item in _pairs(source(frame), second):
            bind(frame, item)
            found = test(frame)
            frame[0] += 2 if found is True else 1
            if frame[0] > frame[1]:
                raise BudgetExceeded
            if found is True:
                count += 1
            elif found is not False:
                raise no_such_overload()
        frame[0] += 2
        return count == 1

    return exactly_one


def _gathering(source: Closure, step: Call, first: int, second: int | None, scope: Any, build: Build) -> Closure:
    """``map``, ``filter`` and ``transformList``."""
    wanted: Closure | None = None
    if step.function == "_?_:_":
        wanted = build(step.args[0], scope)
        adding = step.args[1]
    else:
        adding = step
    if not isinstance(adding, Call) or not isinstance(adding.args[1], ListNode):
        raise AssertionError("a gathering step adds a list")
    item_of, bind = build(adding.args[1].elements[0], scope), _binder(first, second)

    def gathering(frame: Frame) -> list[Any]:
        frame[0] += LIST_COST
        result = []
        for item in _pairs(source(frame), second):
            bind(frame, item)
            if frame[0] > frame[1]:
                raise BudgetExceeded
            if wanted is not None:
                found = wanted(frame)
                if found is False:
                    frame[0] += 1
                    continue
                if found is not True:
                    raise no_such_overload()
            frame[0] += LIST_COST + 2
            result.append(item_of(frame))
        frame[0] += 1
        return result

    return gathering


def _folding(node: Comprehension, source: Closure, first: int, second: int | None, scope: Any, build: Build) -> Closure:
    """Any other loop (``transformMap``)."""
    bind = _binder(first, second)
    initial = build(node.initial, scope)
    before = scope.names.get(ACCUMULATOR)
    accumulator = scope.add(ACCUMULATOR)
    condition, step, result = (build(part, scope) for part in (node.condition, node.step, node.result))
    if before is None:
        del scope.names[ACCUMULATOR]
    else:
        scope.names[ACCUMULATOR] = before

    def folding(frame: Frame) -> Any:
        items = source(frame)
        frame[accumulator] = initial(frame)
        for item in _pairs(items, second):
            bind(frame, item)
            if frame[0] > frame[1]:
                raise BudgetExceeded
            if condition(frame) is not True:
                break
            frame[accumulator] = step(frame)
        return result(frame)

    return folding


def _bind(node: Comprehension, scope: Any, build: Build) -> Closure:
    from minikube_py.machinery.cel.closures import UNSET

    value = build(node.initial, scope)
    name = node.accumulator
    before, lazy = scope.names.get(name), scope.lazy.get(name)
    slot = scope.add(name)
    scope.lazy[name] = value
    result = build(node.result, scope)
    if before is None:
        del scope.names[name]
    else:
        scope.names[name] = before
    if lazy is None:
        del scope.lazy[name]
    else:
        scope.lazy[name] = lazy

    def bound(frame: Frame) -> Any:
        frame[slot] = UNSET
        frame[0] += LIST_COST
        return result(frame)

    return bound
