"""The syntax tree. Nodes are made by the parser and the macros; the checker writes ``type`` and ``overloads``.

``at`` is the offset in the source that errors point at: the operator of an operation, the bracket of a
call, the first character of anything else (as cel-go's source information has it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from minikube_py.machinery.cel.types import DYN, Type

if TYPE_CHECKING:
    from minikube_py.machinery.cel.overloads import Overload


@dataclass(slots=True, eq=False)
class Literal:
    """A constant; its Python value is that of the language (``Uint`` for unsigned)."""

    at: int
    value: Any
    type: Type = DYN


@dataclass(slots=True, eq=False)
class Ident:
    """A variable, or the name of a type."""

    at: int
    name: str
    type: Type = DYN


@dataclass(slots=True, eq=False)
class Select:
    """``operand.field``; with ``test`` it is ``has(operand.field)``. ``qualified`` is set by the checker when
    the whole names a variable; ``key`` is the field's key in the data."""

    at: int
    operand: Node
    field: str
    test: bool = False
    type: Type = DYN
    qualified: str = ""
    key: str = ""


@dataclass(slots=True, eq=False)
class Call:
    """A function or operator (``_+_``); ``target`` of a member call is None when it turned out to be a namespace."""

    at: int
    function: str
    args: list[Node]
    target: Node | None = None
    type: Type = DYN
    overloads: list[Overload] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ListNode:
    """``[a, ?b]``; ``optional`` holds the indexes of optional elements."""

    at: int
    elements: list[Node]
    optional: frozenset[int] = frozenset()
    type: Type = DYN


@dataclass(slots=True, eq=False)
class Entry:
    """An entry of a map (``key`` is a node) or of a message (``key`` is a field's name)."""

    at: int
    key: Any
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class MapNode:
    """``{k: v}``."""

    at: int
    entries: list[Entry]
    type: Type = DYN


@dataclass(slots=True, eq=False)
class StructNode:
    """``Name{field: value}``."""

    at: int
    name: str
    entries: list[Entry]
    type: Type = DYN


@dataclass(slots=True, eq=False)
class Comprehension:
    """What macros over lists and maps become. ``second`` is the second variable or empty.

    ``bind`` is one that runs over nothing and only names a value (``cel.bind``, ``optMap``).
    """

    at: int
    source: Node
    variable: str
    second: str
    accumulator: str
    initial: Node
    condition: Node
    step: Node
    result: Node
    bind: bool = False
    type: Type = DYN


Node = Union[Literal, Ident, Select, Call, ListNode, MapNode, StructNode, Comprehension]  # noqa: UP007


def qualified_name(node: Node) -> str:
    """``a.b.c`` of a chain of selections; empty for anything else."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test:
        prefix = qualified_name(node.operand)
        return f"{prefix}.{node.field}" if prefix else ""
    return ""
