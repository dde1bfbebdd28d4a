"""Functions of the language: what they take and give, and the Python that does it.

A function has overloads with the identifiers of cel-go; costs and errors go by them. ``function`` is None for
operators that the compiler builds itself (logic, selection, comprehension). Tables are made once, at import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.cel.types import Type

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Overload:
    """One signature of a function; ``member`` when it is called on its first argument."""

    id: str
    arguments: tuple[Type, ...]
    result: Type
    function: Function | None = None
    member: bool = False


Table = dict[str, list[Overload]]


def call(
    table: Table, name: str, id: str, arguments: tuple[Type, ...], result: Type, function: Function | None
) -> None:
    """Add an overload called as ``name(...)``."""
    table.setdefault(name, []).append(Overload(id, arguments, result, function))


def member(table: Table, name: str, id: str, arguments: tuple[Type, ...], result: Type, function: Function) -> None:
    """Add an overload called as ``first.name(...)``."""
    table.setdefault(name, []).append(Overload(id, arguments, result, function, member=True))
