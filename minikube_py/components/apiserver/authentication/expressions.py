"""Expressions of the authentication configuration: over the claims of a token, or over the mapped user.

Thin: types and variables of ``k8s.io/apiserver/pkg/authentication/cel``; the language is in ``machinery.cel``,
which is imported when the first expression is compiled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_py.machinery.errors import FieldError, invalid_value

if TYPE_CHECKING:
    from minikube_py.machinery.cel import Program, Type


class ExpressionFailed(Exception):
    """An expression could not be evaluated for these claims; the text is the language's."""


@dataclass(frozen=True, slots=True)
class ClaimsExpression:
    """A compiled expression over ``claims``."""

    text: str
    program: Program

    def evaluate(self, claims: Mapping[str, Any]) -> object:
        """Its value as plain data. Raises ExpressionFailed."""
        return _evaluate(self.program, {"claims": claims})

    def reads(self, claim: str) -> bool:
        """Whether the expression looks at ``claims.<claim>`` (or ``claims.?<claim>``)."""
        from minikube_py.machinery.cel.parser import parse
        from minikube_py.machinery.cel.syntax import Call, Ident, Literal, Select

        for node in _nodes(parse(self.text)):
            match node:
                case Select(operand=Ident(name="claims"), field=name) if name == claim:
                    return True
                case Call(function="_?._", args=[Ident(name="claims"), Literal(value=name)]) if name == claim:
                    return True
        return False


@dataclass(frozen=True, slots=True)
class UserExpression:
    """A compiled expression over ``user``."""

    text: str
    program: Program

    def evaluate(self, user: Mapping[str, Any]) -> object:
        """Its value as plain data. Raises ExpressionFailed."""
        return _evaluate(self.program, {"user": user})


def _evaluate(program: Program, variables: Mapping[str, object]) -> object:
    from minikube_py.machinery.cel import EvaluationError

    try:
        return program.evaluate(variables)
    except EvaluationError as error:
        raise ExpressionFailed(str(error)) from error


def compile_claims_expression(
    text: str, field: str, errors: list[FieldError], *, boolean: bool = False
) -> ClaimsExpression | None:
    """The expression, or None and an error of ``field``."""
    from minikube_py.machinery.cel import DYN, STRING, map_of

    program = _compile(text, {"claims": map_of(STRING, DYN)}, field, errors, boolean=boolean)
    return None if program is None else ClaimsExpression(text, program)


def compile_user_expression(text: str, field: str, errors: list[FieldError]) -> UserExpression | None:
    """The expression, or None and an error of ``field``."""
    program = _compile(text, {"user": _user_type()}, field, errors, boolean=True)
    return None if program is None else UserExpression(text, program)


def _user_type() -> Type:
    from minikube_py.machinery.cel import STRING, Field, list_of, map_of, object_type

    types = {
        "username": STRING,
        "uid": STRING,
        "groups": list_of(STRING),
        "extra": map_of(STRING, list_of(STRING)),
    }
    return object_type("kubernetes.UserInfo", {name: Field(name, kind) for name, kind in types.items()})


def _nodes(node: object) -> Iterator[object]:
    """The node of a syntax tree and all below it."""
    if isinstance(node, list | tuple):
        for item in node:
            yield from _nodes(item)
    elif dataclasses.is_dataclass(node):
        yield node
        for field in dataclasses.fields(node):
            if field.name not in ("type", "overloads"):
                yield from _nodes(getattr(node, field.name))


def _compile(
    text: str, variables: Mapping[str, Type], field: str, errors: list[FieldError], *, boolean: bool
) -> Program | None:
    from minikube_py.machinery.cel import BOOL, CompileError, WrongResult, compile_expression

    try:
        return compile_expression(text, variables, result=BOOL if boolean else None)
    except WrongResult as error:
        errors.append(invalid_value(field, text, str(error)))
    except CompileError as error:
        errors.append(invalid_value(field, text, f"compilation failed: {error}"))
    return None
