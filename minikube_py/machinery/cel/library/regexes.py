"""``matches``, and Kubernetes' ``regex`` library."""

from __future__ import annotations

from itertools import islice

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, INT, STRING, list_of
from minikube_py.machinery.regular_expressions import PatternError, all_matches
from minikube_py.machinery.regular_expressions import matches as go_matches


def declare(table: Table) -> None:
    """Add the library."""
    call(table, "matches", "matches", (STRING, STRING), BOOL, matches)
    member(table, "matches", "matches_string", (STRING, STRING), BOOL, matches)
    member(table, "find", "string_find_string", (STRING, STRING), STRING, _find)
    member(table, "findAll", "string_find_all_string", (STRING, STRING), list_of(STRING), _find_all)
    member(table, "findAll", "string_find_all_string_int", (STRING, STRING, INT), list_of(STRING), _find_some)


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern occurs in the text."""
    try:
        return go_matches(pattern, text)
    except PatternError as error:
        raise EvaluationError(str(error)) from None


def _find_all(text: str, pattern: str) -> list[str]:
    try:
        return list(all_matches(pattern, text))
    except PatternError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: str, pattern: str) -> str:
    try:
        return next(all_matches(pattern, text), "")
    except PatternError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find_some(text: str, pattern: str, most: int) -> list[str]:
    found = _find_all(text, pattern)
    return found if most < 0 else list(islice(found, most))
