"""Closures of function calls: direct where the types are known, by the arguments' types where they are dynamic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError, no_such_overload
from minikube_py.machinery.cel.overloads import Function, Overload
from minikube_py.machinery.cel.runtime_costs import Cost, cost_of
from minikube_py.machinery.cel.syntax import Call, Literal
from minikube_py.machinery.cel.types import Type
from minikube_py.machinery.cel.values import HostObject, Optional, kind_of

Closure = Callable[[list[Any]], Any]
Pick = Callable[[tuple[Any, ...]], tuple[Function, Cost | None]]


def call_closure(node: Call, arguments: list[Closure], types: list[Type]) -> Closure:
    """The closure of a checked call."""
    dynamic = any(
        argument.kind not in ("dyn", "param") and given.kind in ("dyn", "param", "error")
        for overload in node.overloads
        for argument, given in zip(overload.arguments, types, strict=True)
    )
    if dynamic or len(node.overloads) != 1:
        return _dispatched(arguments, _picker(node.function, node.overloads))
    overload = node.overloads[0]
    if overload.function is None:
        raise AssertionError(f"{overload.id} has no function")
    cost = cost_of(node.function, overload.id)
    given = [node.target, *node.args] if node.target is not None else node.args
    constants = tuple([part.value for part in given if isinstance(part, Literal)])
    if constants and len(constants) == len(given):
        folded = _folded(constants, overload.function, cost)
        if folded is not None:
            return folded
    if len(arguments) == 1:
        return _unary(arguments[0], overload.function, cost)
    if len(arguments) == 2:
        return _binary(arguments[0], arguments[1], overload.function, cost)
    return _any(arguments, overload.function, cost)


def _folded(values: tuple[Any, ...], function: Function, cost: Cost | None) -> Closure | None:
    """A call of constants, made once; it costs what it costs every time. None where it fails, or makes a list."""
    try:
        result = function(*values)
    except (EvaluationError, TypeError, AttributeError, ValueError, OverflowError):
        return None
    if isinstance(result, list | dict):
        return None
    spent = 1 if cost is None else cost(values, result)

    def constant(frame: list[Any]) -> Any:
        frame[0] += spent
        return result

    return constant


def _unary(argument: Closure, function: Function, cost: Cost | None) -> Closure:
    def unary(frame: list[Any]) -> Any:
        value = argument(frame)
        try:
            result = function(value)
        except (TypeError, AttributeError):
            raise no_such_overload() from None
        frame[0] += 1 if cost is None else cost((value,), result)
        return result

    return unary


def _binary(left: Closure, right: Closure, function: Function, cost: Cost | None) -> Closure:
    def nominal(frame: list[Any]) -> Any:
        one, other = left(frame), right(frame)
        frame[0] += 1
        try:
            return function(one, other)
        except (TypeError, AttributeError):
            raise no_such_overload() from None

    def charged(frame: list[Any]) -> Any:
        values = left(frame), right(frame)
        try:
            result = function(*values)
        except (TypeError, AttributeError):
            raise no_such_overload() from None
        frame[0] += cost(values, result)  # type: ignore[misc]
        return result

    return nominal if cost is None else charged


def _any(arguments: list[Closure], function: Function, cost: Cost | None) -> Closure:
    def general(frame: list[Any]) -> Any:
        values = tuple([argument(frame) for argument in arguments])
        try:
            result = function(*values)
        except (TypeError, AttributeError):
            raise no_such_overload() from None
        frame[0] += 1 if cost is None else cost(values, result)
        return result

    return general


def _dispatched(arguments: list[Closure], pick: Pick) -> Closure:
    def dispatched(frame: list[Any]) -> Any:
        values = tuple([argument(frame) for argument in arguments])
        function, cost = pick(values)
        try:
            result = function(*values)
        except (TypeError, AttributeError):
            raise no_such_overload() from None
        frame[0] += 1 if cost is None else cost(values, result)
        return result

    return dispatched


def _picker(name: str, overloads: list[Overload]) -> Pick:
    """What finds the overload for arguments; remembered by the Python types of the arguments."""
    known: dict[tuple[type, ...], tuple[Function, Cost | None]] = {}

    def pick(values: tuple[Any, ...]) -> tuple[Function, Cost | None]:
        key = tuple([type(value) for value in values])
        found = known.get(key)
        if found is not None:
            return found
        for overload in overloads:
            if overload.function is not None and all(map(_is, values, overload.arguments)):
                found = overload.function, cost_of(name, overload.id)
                if HostObject not in key and Optional not in key:
                    known[key] = found
                return found
        raise no_such_overload()

    return pick


def _is(value: Any, type: Type) -> bool:
    """Whether a value is of an overload's type, as far as the kind tells."""
    if type.kind in ("dyn", "param"):
        return True
    try:
        kind = kind_of(value)
    except TypeError as error:
        raise EvaluationError(str(error)) from None
    return kind == (type.name if type.kind in ("opaque", "object") else type.kind)
