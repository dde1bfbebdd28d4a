"""Macros: calls that become other syntax before anything is checked.

``has``, the quantifiers and transformations over lists and maps with one and two variables, ``optMap`` and
``optFlatMap`` of optional values, and ``cel.bind`` where it is asked for. Everything that a macro makes points at
the macro's opening bracket.
"""

from __future__ import annotations

from collections.abc import Callable

from minikube_py.machinery.cel.syntax import (
    Call,
    Comprehension,
    Entry,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
)
from minikube_py.machinery.cel.types import BOOL, INT

ACCUMULATOR = "@result"
UNUSED = "#unused"


class MacroError(Exception):
    """A macro with an argument that it cannot take; ``at`` is the argument's place."""

    def __init__(self, at: int, text: str) -> None:
        super().__init__(text)
        self.at = at


def expanded(call: Call, *, bind: bool) -> Node | None:
    """What a call becomes; None when it is no macro."""
    if call.target is None:
        return _has(call) if call.function == "has" and len(call.args) == 1 else None
    if bind and call.function == "bind" and len(call.args) == 3 and _is_cel(call.target):
        return _bind(call)
    macro = _MACROS.get((call.function, len(call.args)))
    return macro(call, call.target) if macro is not None else None


def _is_cel(target: Node) -> bool:
    return isinstance(target, Ident) and target.name == "cel"


def _has(call: Call) -> Node:
    tested = call.args[0]
    if not isinstance(tested, Select) or tested.test:
        raise MacroError(tested.at, "invalid argument to has() macro")
    return Select(call.at, tested.operand, tested.field, test=True)


def _bind(call: Call) -> Node:
    named = call.args[0]
    if not isinstance(named, Ident):
        raise MacroError(named.at, "cel.bind() variable names must be simple identifiers")
    return _naming(call.at, named.name, call.args[1], call.args[2])


def _naming(at: int, name: str, value: Node, result: Node) -> Comprehension:
    """``result`` with ``name`` standing for ``value``."""
    nothing = ListNode(at, [])
    return Comprehension(
        at, nothing, UNUSED, "", name, value, Literal(at, False, BOOL), Ident(at, name), result, bind=True
    )


def _simple_name(node: Node) -> str:
    if not isinstance(node, Ident) or node.name.startswith("."):
        raise MacroError(node.at, "argument must be a simple name")
    if node.name in (ACCUMULATOR, "__result__"):
        raise MacroError(node.at, "iteration variable overwrites accumulator variable")
    return node.name


def _two_names(call: Call) -> tuple[str, str]:
    first, second = call.args[0], call.args[1]
    if not isinstance(first, Ident):
        raise MacroError(first.at, "argument must be a simple name")
    if not isinstance(second, Ident):
        raise MacroError(second.at, "argument must be a simple name")
    if first.name == second.name:
        raise MacroError(second.at, f"duplicate variable name: {second.name}")
    return _simple_name(first), _simple_name(second)


def _names(call: Call, two: bool) -> tuple[str, str]:
    return _two_names(call) if two else (_simple_name(call.args[0]), "")


def _result(at: int) -> Ident:
    return Ident(at, ACCUMULATOR)


def _all(two: bool) -> Callable[[Call, Node], Node]:
    def expand(call: Call, target: Node) -> Node:
        at, (first, second) = call.at, _names(call, two)
        condition = Call(at, "@not_strictly_false", [_result(at)])
        step = Call(at, "_&&_", [_result(at), call.args[-1]])
        start = Literal(at, True, BOOL)
        return Comprehension(at, target, first, second, ACCUMULATOR, start, condition, step, _result(at))

    return expand


def _exists(two: bool) -> Callable[[Call, Node], Node]:
    def expand(call: Call, target: Node) -> Node:
        at, (first, second) = call.at, _names(call, two)
        condition = Call(at, "@not_strictly_false", [Call(at, "!_", [_result(at)])])
        step = Call(at, "_||_", [_result(at), call.args[-1]])
        start = Literal(at, False, BOOL)
        return Comprehension(at, target, first, second, ACCUMULATOR, start, condition, step, _result(at))

    return expand


def _exists_one(two: bool) -> Callable[[Call, Node], Node]:
    def expand(call: Call, target: Node) -> Node:
        at, (first, second) = call.at, _names(call, two)
        more = Call(at, "_+_", [_result(at), Literal(at, 1, INT)])
        step = Call(at, "_?_:_", [call.args[-1], more, _result(at)])
        result = Call(at, "_==_", [_result(at), Literal(at, 1, INT)])
        start = Literal(at, 0, INT)
        return Comprehension(at, target, first, second, ACCUMULATOR, start, Literal(at, True, BOOL), step, result)

    return expand


def _gather(call: Call, target: Node, names: tuple[str, str], wanted: Node | None, item: Node) -> Node:
    """A list of ``item`` for each element that is ``wanted``."""
    at = call.at
    step: Node = Call(at, "_+_", [_result(at), ListNode(at, [item])])
    if wanted is not None:
        step = Call(at, "_?_:_", [wanted, step, _result(at)])
    first, second = names
    return Comprehension(
        at, target, first, second, ACCUMULATOR, ListNode(at, []), Literal(at, True, BOOL), step, _result(at)
    )


def _map(call: Call, target: Node) -> Node:
    wanted = call.args[1] if len(call.args) == 3 else None
    return _gather(call, target, _names(call, False), wanted, call.args[-1])


def _filter(call: Call, target: Node) -> Node:
    names = _names(call, False)
    return _gather(call, target, names, call.args[1], Ident(call.args[0].at, names[0]))


def _transform_list(call: Call, target: Node) -> Node:
    wanted = call.args[2] if len(call.args) == 4 else None
    return _gather(call, target, _two_names(call), wanted, call.args[-1])


def _transform_map(entry: bool) -> Callable[[Call, Node], Node]:
    """``transformMap`` keeps the key; ``transformMapEntry`` makes an entry of its own."""

    def expand(call: Call, target: Node) -> Node:
        at, (first, second) = call.at, _two_names(call)
        wanted = call.args[2] if len(call.args) == 4 else None
        if entry:
            step: Node = Call(at, "cel.@mapInsert", [_result(at), call.args[-1]])
        else:
            step = Call(at, "cel.@mapInsert", [_result(at), Ident(at, first), call.args[-1]])
        if wanted is not None:
            step = Call(at, "_?_:_", [wanted, step, _result(at)])
        start: list[Entry] = []
        truth = Literal(at, True, BOOL)
        return Comprehension(at, target, first, second, ACCUMULATOR, MapNode(at, start), truth, step, _result(at))

    return expand


def _opt_map(flat: bool) -> Callable[[Call, Node], Node]:
    def expand(call: Call, target: Node) -> Node:
        at, named = call.at, call.args[0]
        if not isinstance(named, Ident):
            text = "optFlatMap() variable name must be a simple identifier" if flat else (
                "optMap() variable name must be a simple identifier"
            )  # fmt: skip
            raise MacroError(named.at, text)
        inner: Node = _naming(at, named.name, Call(at, "value", [], target), call.args[1])
        if not flat:
            inner = Call(at, "optional.of", [inner])
        return Call(at, "_?_:_", [Call(at, "hasValue", [], target), inner, Call(at, "optional.none", [])])

    return expand


_MACROS: dict[tuple[str, int], Callable[[Call, Node], Node]] = {
    ("all", 2): _all(False),
    ("all", 3): _all(True),
    ("exists", 2): _exists(False),
    ("exists", 3): _exists(True),
    ("exists_one", 2): _exists_one(False),
    ("existsOne", 2): _exists_one(False),
    ("exists_one", 3): _exists_one(True),
    ("existsOne", 3): _exists_one(True),
    ("map", 2): _map,
    ("map", 3): _map,
    ("filter", 2): _filter,
    ("transformList", 3): _transform_list,
    ("transformList", 4): _transform_list,
    ("transformMap", 3): _transform_map(False),
    ("transformMap", 4): _transform_map(False),
    ("transformMapEntry", 3): _transform_map(True),
    ("transformMapEntry", 4): _transform_map(True),
    ("optMap", 2): _opt_map(False),
    ("optFlatMap", 2): _opt_map(True),
}
