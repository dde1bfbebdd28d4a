"""From a checked tree to Python closures.

A closure takes the frame of one evaluation: a list of the cost so far, the limit, and the variables. Building is
done once for each expression; calls whose types are known need no look at their arguments at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.cel.calls import call_closure
from minikube_py.machinery.cel.checker import TYPE_NAMES
from minikube_py.machinery.cel.comprehensions import comprehension_closure
from minikube_py.machinery.cel.conversion import comparable, converter
from minikube_py.machinery.cel.errors import BudgetExceeded, EvaluationError, no_such_overload
from minikube_py.machinery.cel.library.operators import index_list, index_map, shown_key
from minikube_py.machinery.cel.runtime_costs import LIST_COST, MAP_COST, STRUCT_COST
from minikube_py.machinery.cel.syntax import (
    Call,
    Comprehension,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    StructNode,
)
from minikube_py.machinery.cel.types import Type
from minikube_py.machinery.cel.values import NONE, Optional, Struct, TypeValue, some

Frame = list[Any]
Closure = Callable[[Frame], Any]
COST, LIMIT, FIRST = 0, 1, 2
"""Places in a frame: the cost so far, what it may be, the first variable."""
UNSET = object()
"""What stands in the frame for a value that is computed when it is first needed."""


class Scope:
    """Where variables are in the frame while closures are built."""

    __slots__ = ("lazy", "names", "size")

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.names = {name: index for index, name in enumerate(variables, FIRST)}
        self.size = FIRST + len(self.names)
        self.lazy: dict[str, Closure] = {}

    def add(self, name: str) -> int:
        """A place for a variable of a comprehension."""
        self.names[name] = self.size
        self.size += 1
        return self.size - 1


def closure(node: Node, scope: Scope) -> Closure:
    """The closure that computes a node."""
    match node:
        case Literal():
            value = node.value
            return lambda frame: value
        case Ident():
            return _identifier(node, scope)
        case Select():
            return _select(node, scope)
        case Call():
            return _call(node, scope)
        case ListNode():
            return _list(node, scope)
        case MapNode():
            return _map(node, scope)
        case StructNode():
            return _struct(node, scope)
        case Comprehension():
            return comprehension_closure(node, scope, closure)


def _identifier(node: Ident, scope: Scope) -> Closure:
    name = node.name.removeprefix(".")
    lazy = scope.lazy.get(name)
    if lazy is not None:
        slot = scope.names[name]
        compute = lazy

        def bound(frame: Frame) -> Any:
            frame[COST] += 1
            value = frame[slot]
            if value is UNSET:
                value = frame[slot] = compute(frame)
            return value

        return bound
    if name in scope.names:
        return _variable(scope.names[name], converter(node.type))
    if name not in TYPE_NAMES:
        raise AssertionError(f"{name} was checked but is not known")
    named = TypeValue(name)
    return lambda frame: named


def _variable(slot: int, convert: Callable[[Any], Any] | None) -> Closure:
    def variable(frame: Frame) -> Any:
        frame[COST] += 1
        return frame[slot]

    def converted(frame: Frame) -> Any:
        frame[COST] += 1
        assert convert is not None
        return convert(frame[slot])

    return variable if convert is None else converted


def _select(node: Select, scope: Scope) -> Closure:
    if node.qualified:
        if node.qualified in scope.names:
            return _variable(scope.names[node.qualified], converter(node.type))
        named = TypeValue(node.qualified)
        return lambda frame: named
    operand, key = closure(node.operand, scope), node.key or node.field
    if node.test:
        return _presence(operand, key)
    convert = converter(node.type) if node.operand.type.kind == "object" else None
    field = node.field

    def select(frame: Frame) -> Any:
        value = operand(frame)
        frame[COST] += 1
        try:
            return value[key]
        except KeyError:
            raise EvaluationError(f"no such key: {field}") from None
        except (TypeError, IndexError, AttributeError):
            return _odd_select(value, key)

    if convert is None:
        return select
    return lambda frame: convert(select(frame))


def _odd_select(value: Any, key: str) -> Any:
    """A selection from what is no JSON object: optional values and messages."""
    if isinstance(value, Optional):
        return optional_field(value, key)
    if isinstance(value, Struct):
        if key in value.fields:
            return value.fields[key]
        raise EvaluationError(f"no such key: {key}")
    raise no_such_overload()


def optional_field(value: Any, key: Any) -> Optional:
    """``value[?key]`` of a map, an object, a list or an optional one of these."""
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if isinstance(value, dict):
        return some(value[key]) if key in value else NONE
    if isinstance(value, list):
        if isinstance(key, bool) or not isinstance(key, int):
            raise no_such_overload()
        return some(value[key]) if 0 <= key < len(value) else NONE
    raise no_such_overload()


def _presence(operand: Closure, key: str) -> Closure:
    def presence(frame: Frame) -> bool:
        value = operand(frame)
        if isinstance(value, dict):
            return bool(key in value)
        if isinstance(value, Optional):
            return optional_field(value, key).present
        if isinstance(value, Struct):
            return bool(key in value.fields)
        raise no_such_overload()

    return presence


def _call(node: Call, scope: Scope) -> Closure:
    builder = _SPECIAL.get(node.function) if node.target is None else None
    if builder is not None:
        return builder([closure(argument, scope) for argument in node.args], node)
    arguments = [node.target, *node.args] if node.target is not None else node.args
    built = [closure(argument, scope) for argument in arguments]
    if node.function in _COMPARING:
        built = [_made_comparable(part, argument.type) for part, argument in zip(built, arguments, strict=True)]
    return call_closure(node, built, [argument.type for argument in arguments])


_COMPARING = frozenset({"_==_", "_!=_", "@in"})


def _made_comparable(part: Closure, type: Type) -> Closure:
    """Values whose order of items or way of writing is no difference are brought to one form."""
    convert = comparable(type) if type.kind in ("object", "list", "map") else None
    if convert is None:
        return part
    return lambda frame: convert(part(frame))


def _and(parts: list[Closure], node: Call) -> Closure:
    return _logical(parts[0], parts[1], False)


def _or(parts: list[Closure], node: Call) -> Closure:
    return _logical(parts[0], parts[1], True)


def _logical(left: Closure, right: Closure, decisive: bool) -> Closure:
    """``&&`` and ``||``: a decisive side decides even when the other one fails."""

    def logical(frame: Frame) -> bool:
        first: object
        second: object
        try:
            first = left(frame)
        except BudgetExceeded:
            raise
        except EvaluationError as error:
            if _decides(right, frame, decisive):
                return decisive
            raise error from None
        if first is decisive:
            return decisive
        second = right(frame)
        if second is decisive:
            return decisive
        if not isinstance(first, bool) or not isinstance(second, bool):
            raise no_such_overload()
        return not decisive

    return logical


def _decides(side: Closure, frame: Frame, decisive: bool) -> bool:
    """Whether the other side decides although one failed; its own failure is not the one that is told."""
    try:
        return side(frame) is decisive
    except BudgetExceeded:
        raise
    except EvaluationError:
        return False


def _conditional(parts: list[Closure], node: Call) -> Closure:
    condition, yes, no = parts

    def conditional(frame: Frame) -> Any:
        found = condition(frame)
        if found is True:
            return yes(frame)
        if found is False:
            return no(frame)
        raise no_such_overload()

    return conditional


def _index(parts: list[Closure], node: Call) -> Closure:
    operand, index = parts

    def indexed(frame: Frame) -> Any:
        value, key = operand(frame), index(frame)
        frame[COST] += 1
        if isinstance(value, dict):
            return index_map(value, key)
        if isinstance(value, list):
            return index_list(value, key)
        if isinstance(value, Optional):
            return optional_field(value, key)
        raise no_such_overload()

    return indexed


def _optional_index(parts: list[Closure], node: Call) -> Closure:
    operand, index = parts
    of_object = node.args[0].type.kind == "object" or any(part.kind == "object" for part in node.args[0].type.params)
    convert = converter(node.type.params[0]) if of_object and node.type.params else None

    def indexed(frame: Frame) -> Any:
        value, key = operand(frame), index(frame)
        frame[COST] += 1
        found = optional_field(value, key)
        return some(convert(found.value)) if convert is not None and found.present else found

    return indexed


def _list(node: ListNode, scope: Scope) -> Closure:
    parts = [closure(element, scope) for element in node.elements]
    optional = node.optional

    def plain(frame: Frame) -> list[Any]:
        frame[COST] += LIST_COST
        return [part(frame) for part in parts]

    def sparse(frame: Frame) -> list[Any]:
        frame[COST] += LIST_COST
        result = []
        for index, part in enumerate(parts):
            value = part(frame)
            if index in optional:
                if not isinstance(value, Optional):
                    raise EvaluationError("cannot initialize optional list element from non-optional value")
                if not value.present:
                    continue
                value = value.value
            result.append(value)
        return result

    if optional:
        return sparse
    if all(isinstance(element, Literal) for element in node.elements):
        constant = [element.value for element in node.elements if isinstance(element, Literal)]
        return lambda frame: constant
    return plain


def _map(node: MapNode, scope: Scope) -> Closure:
    parts = [(closure(entry.key, scope), closure(entry.value, scope), entry.optional) for entry in node.entries]

    def mapping(frame: Frame) -> dict[Any, Any]:
        frame[COST] += MAP_COST
        result: dict[Any, Any] = {}
        for key_of, value_of, optional in parts:
            key, value = key_of(frame), value_of(frame)
            if not isinstance(key, str | int | bool):
                raise EvaluationError("unsupported key type")
            if key in result:
                raise EvaluationError(f"Failed with repeated key: {shown_key(key)}")
            if optional:
                if not isinstance(value, Optional):
                    raise EvaluationError("cannot initialize optional entry from non-optional value")
                if not value.present:
                    continue
                value = value.value
            result[key] = value
        return result

    return mapping


def _struct(node: StructNode, scope: Scope) -> Closure:
    parts = [(str(entry.key), closure(entry.value, scope), entry.optional) for entry in node.entries]
    sort = node.type

    def struct(frame: Frame) -> Struct:
        frame[COST] += STRUCT_COST
        fields: dict[str, Any] = {}
        for name, value_of, optional in parts:
            value = value_of(frame)
            if optional:
                if not value.present:
                    continue
                value = value.value
            if (
                isinstance(value, Struct)
                and sort.name.startswith("Object")
                and value.type.name != (wanted := f"{sort.name}.{name}")
            ):
                text = (
                    f'unexpected type name "{value.type.name}", expected "{wanted}", which matches field name path '
                    "from root Object type"
                )
                raise EvaluationError(text)
            fields[name] = value
        return Struct(sort, fields)

    return struct


_SPECIAL: dict[str, Callable[[list[Closure], Call], Closure]] = {
    "_&&_": _and,
    "_||_": _or,
    "_?_:_": _conditional,
    "_[_]": _index,
    "_?._": _optional_index,
    "_[?_]": _optional_index,
}
