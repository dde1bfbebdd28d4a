"""Type checking: every node gets its type, every call the overloads that can apply.

In: a syntax tree, the types of the variables, the functions. Out: the same tree, annotated, or a
``CompileError`` with the texts of cel-go's checker. Aggregates are homogeneous, as Kubernetes demands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minikube_py.machinery.cel.errors import CompileError, Problem
from minikube_py.machinery.cel.overloads import Table
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
    qualified_name,
)
from minikube_py.machinery.cel.tokens import KEYWORDS
from minikube_py.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Field,
    Type,
    format_call,
    format_type,
    is_optional,
    list_of,
    map_of,
    optional_of,
    param,
    type_of,
)
from minikube_py.machinery.cel.unification import agree, most_general, substitute

Structs = Callable[[str], Type | None]
"""From the name of a message to its type."""

TYPE_NAMES: dict[str, Type] = {
    "bool": BOOL, "int": INT, "uint": UINT, "double": DOUBLE, "string": STRING, "bytes": BYTES,
    "null_type": NULL, "list": list_of(DYN), "map": map_of(DYN, DYN), "type": type_of(DYN), "dyn": DYN,
    "google.protobuf.Timestamp": TIMESTAMP, "google.protobuf.Duration": DURATION,
    "optional_type": optional_of(DYN),
}  # fmt: skip
_LOGICAL = {"_&&_", "_||_"}


def check(
    source: str, node: Node, variables: Mapping[str, Type], functions: Table, structs: Structs | None = None
) -> Type:
    """Annotate the tree; the type of the whole. Raises ``CompileError`` with all findings."""
    state = _Checker(variables, functions, structs)
    state.check(node)
    if state.problems:
        raise CompileError(source, state.problems)
    settle = [node]
    while settle:
        current = settle.pop()
        current.type = substitute(state.mapping, current.type, free_is_dyn=True)
        settle += children(current)
    return node.type


def children(node: Node) -> list[Node]:
    """The nodes directly below one."""
    if isinstance(node, Select):
        return [] if node.qualified else [node.operand]
    if isinstance(node, Call):
        return [*([node.target] if node.target is not None else []), *node.args]
    if isinstance(node, ListNode):
        return node.elements
    if isinstance(node, MapNode):
        return [part for entry in node.entries for part in (entry.key, entry.value)]
    if isinstance(node, StructNode):
        return [entry.value for entry in node.entries]
    if isinstance(node, Comprehension):
        return [node.source, node.initial, node.condition, node.step, node.result]
    return []


class _Checker:
    """One pass over a tree; ``scopes`` are the variables of comprehensions, the innermost last."""

    __slots__ = ("counter", "functions", "mapping", "problems", "scopes", "structs", "variables")

    def __init__(self, variables: Mapping[str, Type], functions: Table, structs: Structs | None) -> None:
        self.variables, self.functions, self.structs = variables, functions, structs
        self.scopes: list[dict[str, Type]] = []
        self.mapping: dict[Type, Type] = {}
        self.problems: list[Problem] = []
        self.counter = 0

    def fail(self, at: int, text: str) -> None:
        problem = Problem(at, text)
        if problem not in self.problems:
            self.problems.append(problem)

    def fresh(self) -> Type:
        self.counter += 1
        return param(f"_var{self.counter - 1}")

    def assignable(self, left: Type, right: Type) -> bool:
        found = agree(self.mapping, (left,), (right,))
        if found is None:
            return False
        self.mapping = found
        return True

    def check(self, node: Node) -> Type:
        match node:
            case Literal():
                return node.type
            case Ident():
                node.type = self.identifier(node)
            case Select():
                node.type = self.select(node)
            case Call():
                node.type = self.call(node)
            case ListNode():
                node.type = self.list_literal(node)
            case MapNode():
                node.type = self.map_literal(node)
            case StructNode():
                node.type = self.struct(node)
            case Comprehension():
                node.type = self.comprehension(node)
        return node.type

    def lookup(self, name: str) -> Type | None:
        if name.startswith("."):
            name = name[1:]
        else:
            for scope in reversed(self.scopes):
                if name in scope:
                    return scope[name]
        found = self.variables.get(name)
        if found is not None:
            return found
        named = TYPE_NAMES.get(name)
        return type_of(named) if named is not None else None

    def identifier(self, node: Ident) -> Type:
        found = self.lookup(node.name)
        if found is None:
            self.undeclared(node.at, node.name)
            return ERROR
        return found

    def undeclared(self, at: int, name: str) -> None:
        self.fail(at, f"undeclared reference to '{name.lstrip('.')}' (in container '')")

    def select(self, node: Select) -> Type:
        name = qualified_name(node)
        if name and "." in name:
            root = name.split(".", 1)[0]
            found = None if any(root in scope for scope in self.scopes) else self.lookup(name)
            if found is not None:
                node.qualified = name
                return found
        operand = substitute(self.mapping, self.check(node.operand), free_is_dyn=False)
        result = self.field(node.at, operand, node.field)
        node.key = key_of(operand, node.field)
        return BOOL if node.test else result

    def field(self, at: int, operand: Type, name: str, *, optional: bool = False) -> Type:
        is_opt = is_optional(operand)
        target = operand.params[0] if is_opt else operand
        result = ERROR
        if target.kind == "map":
            result = target.params[1]
        elif target.kind == "object":
            found = object_field(target, name)
            if found is not None:
                result = found.type
            else:
                self.fail(at, f"undefined field '{name}'")
        elif target.kind == "param":
            self.assignable(DYN, target)
            result = DYN
        else:
            if target.kind not in ("dyn", "error"):
                self.fail(at, f"type '{format_type(target)}' does not support field selection")
            result = DYN
        return optional_of(result) if is_opt or optional else result

    def call(self, node: Call) -> Type:
        if node.function == "_?._":
            operand = substitute(self.mapping, self.check(node.args[0]), free_is_dyn=False)
            field = node.args[1]
            node.overloads = list(self.functions["_?._"])
            return self.field(node.at, operand, str(field.value) if isinstance(field, Literal) else "", optional=True)
        for argument in node.args:
            self.check(argument)
        if node.target is not None:
            prefix = qualified_name(node.target)
            whole = f"{prefix}.{node.function}".lstrip(".")
            if prefix and whole in self.functions:
                node.function, node.target = whole, None
            else:
                self.check(node.target)
        name = node.function.lstrip(".") if node.target is None else node.function
        if name not in self.functions:
            self.undeclared(node.at, name)
            return ERROR
        node.function = name
        return self.resolve(node)

    def resolve(self, node: Call) -> Type:
        arguments = ([node.target] if node.target is not None else []) + node.args
        types = [substitute(self.mapping, argument.type, free_is_dyn=False) for argument in arguments]
        if node.function in _LOGICAL:
            return self.logical(node, types)
        result: Type | None = None
        for overload in self.functions[node.function]:
            if overload.member != (node.target is not None):
                continue
            wanted, given = self.instance(overload.arguments, overload.result)
            mapping = agree(self.mapping, types, wanted)
            if mapping is None:
                continue
            self.mapping = mapping
            node.overloads.append(overload)
            found = substitute(mapping, given, free_is_dyn=False)
            if result is None:
                result = found
            elif result.kind != "dyn" and result != found:
                result = DYN
        if result is None:
            shown = [substitute(self.mapping, found, free_is_dyn=True) for found in types]
            applied = format_call(shown, member=node.target is not None)
            self.fail(node.at, f"found no matching overload for '{node.function}' applied to '{applied}'")
            return ERROR
        return result

    def logical(self, node: Call, types: list[Type]) -> Type:
        node.overloads = self.functions[node.function]
        result = BOOL
        for argument, found in zip(node.args, types, strict=True):
            if not self.assignable(found, BOOL):
                self.mismatch(argument.at, BOOL, found)
                result = ERROR
        return result

    def mismatch(self, at: int, wanted: Type, found: Type) -> None:
        found = substitute(self.mapping, found, free_is_dyn=True)
        wanted = substitute(self.mapping, wanted, free_is_dyn=True)
        self.fail(at, f"expected type '{format_type(wanted)}' but found '{format_type(found)}'")

    def instance(self, arguments: tuple[Type, ...], result: Type) -> tuple[tuple[Type, ...], Type]:
        """A signature with fresh type variables for its parameters."""
        names: dict[Type, Type] = {}
        for part in (*arguments, result):
            self.collect(part, names)
        if not names:
            return arguments, result
        return (
            tuple(substitute(names, part, free_is_dyn=False) for part in arguments),
            substitute(names, result, free_is_dyn=False),
        )

    def collect(self, type: Type, names: dict[Type, Type]) -> None:
        if type.kind == "param":
            if type not in names:
                names[type] = self.fresh()
            return
        for part in type.params:
            self.collect(part, names)

    def joined(self, node: Node, before: Type | None, type: Type) -> Type:
        if before is None:
            return type
        if self.assignable(before, type):
            return most_general(before, type)
        self.mismatch(node.at, before, type)
        return ERROR

    def unwrapped(self, node: Node, optional: bool) -> Type:
        found = self.check(node)
        if not optional:
            return found
        found = substitute(self.mapping, found, free_is_dyn=False)
        if is_optional(found):
            return found.params[0]
        if found.kind not in ("dyn", "error"):
            self.mismatch(node.at, optional_of(found), found)
        return found

    def list_literal(self, node: ListNode) -> Type:
        item: Type | None = None
        for index, element in enumerate(node.elements):
            item = self.joined(element, item, self.unwrapped(element, index in node.optional))
        return list_of(self.fresh() if item is None else item)

    def map_literal(self, node: MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            self.check(entry.key)
            key = self.joined(entry.key, key, entry.key.type)
            value = self.joined(entry.value, value, self.unwrapped(entry.value, entry.optional))
        return map_of(key or self.fresh(), value or self.fresh())

    def struct(self, node: StructNode) -> Type:
        found = self.structs(node.name) if self.structs is not None else None
        if found is None:
            kept = self.lookup(node.name)
            if kept is None:
                self.undeclared(node.at, node.name)
            else:
                text = "is not a message type" if kept.kind == "type" else "is not a type"
                self.fail(node.at, f"'{node.name}' {text}")
            for entry in node.entries:
                self.check(entry.value)
            return ERROR
        for entry in node.entries:
            value = self.unwrapped(entry.value, entry.optional)
            declared = object_field(found, entry.key)
            if declared is None:
                self.fail(entry.at, f"undefined field '{entry.key}'")
            elif not self.assignable(declared.type, value):
                shown = format_type(substitute(self.mapping, value, free_is_dyn=True))
                self.fail(
                    entry.at,
                    f"expected type of field '{entry.key}' is '{format_type(declared.type)}' but provided type is "
                    f"'{shown}'",
                )
        return found

    def comprehension(self, node: Comprehension) -> Type:
        self.check(node.source)
        self.check(node.initial)
        first, second = self.ranged(node)
        self.scopes.append({node.accumulator: node.initial.type})
        inner = {node.variable: first}
        if node.second:
            inner[node.second] = second
        self.scopes.append(inner)
        self.check(node.condition)
        self.expect(node.condition, BOOL)
        self.check(node.step)
        self.expect(node.step, node.initial.type)
        self.scopes.pop()
        self.check(node.result)
        self.scopes.pop()
        return substitute(self.mapping, node.result.type, free_is_dyn=False)

    def expect(self, node: Node, wanted: Type) -> None:
        if not self.assignable(wanted, node.type):
            self.mismatch(node.at, wanted, node.type)

    def ranged(self, node: Comprehension) -> tuple[Type, Type]:
        """The types of the variables of a comprehension."""
        source = substitute(self.mapping, node.source.type, free_is_dyn=False)
        if source.kind == "list":
            return (INT, source.params[0]) if node.second else (source.params[0], ERROR)
        if source.kind == "map":
            return source.params[0], source.params[1]
        if source.kind in ("dyn", "error", "param"):
            self.assignable(DYN, source)
            return DYN, DYN
        shown = format_type(source)
        text = f"expression of type '{shown}' cannot be range of a comprehension (must be list, map, or dynamic)"
        self.fail(node.source.at, text)
        return ERROR, ERROR


def object_field(type: Type, name: str) -> Field | None:
    """The field of an object's type; keywords are found under their escaped name too."""
    if type.fields is None:
        return Field(name, DYN)
    found = type.fields.get(name)
    if found is None and name in KEYWORDS:
        found = type.fields.get(f"__{name}__")
    return found


def key_of(operand: Type, name: str) -> str:
    """The key in the data that a selection reads."""
    target = operand.params[0] if is_optional(operand) else operand
    found = object_field(target, name) if target.kind == "object" else None
    return found.key if found is not None else name
