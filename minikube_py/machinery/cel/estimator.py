"""The cost that an expression can have, by the sizes that the types allow.

In: a checked tree and the types of the variables. Out: the least and the greatest cost, as cel-go's estimator
with Kubernetes' estimator for its libraries and for the sizes of schemas. Sums and products stop at 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from minikube_py.machinery.cel.checker import object_field
from minikube_py.machinery.cel.macros import ACCUMULATOR
from minikube_py.machinery.cel.runtime_costs import LIST_COST, MAP_COST, STRUCT_COST, TRAVERSAL
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
from minikube_py.machinery.cel.types import Type, is_optional

MOST = (1 << 64) - 1
_SCALARS = frozenset({"bool", "double", "duration", "int", "timestamp", "uint"})
_ITEMS, _KEYS, _VALUES, _INDICES = "@items", "@keys", "@values", "@indices"


@dataclass(frozen=True, slots=True)
class Range:
    """A least and a greatest amount, of cost or of size."""

    least: int
    most: int

    def __add__(self, other: Range) -> Range:
        return Range(min(MOST, self.least + other.least), min(MOST, self.most + other.most))

    def __mul__(self, other: Range) -> Range:
        return Range(min(MOST, self.least * other.least), min(MOST, self.most * other.most))

    def __or__(self, other: Range) -> Range:
        return Range(min(self.least, other.least), max(self.most, other.most))

    def times(self, factor: float) -> Range:
        """The cost of a size, rounded up."""
        return Range(_scaled(self.least, factor), _scaled(self.most, factor))


def _scaled(amount: int, factor: float) -> int:
    return min(MOST, ceil(float(amount) * factor))


NOTHING, ONE, UNKNOWN = Range(0, 0), Range(1, 1), Range(0, MOST)


def fixed(amount: int) -> Range:
    """Exactly this amount."""
    return Range(amount, amount)


@dataclass(frozen=True, slots=True)
class Entries:
    """Sizes of the keys and values of a container that the expression makes."""

    is_list: bool
    key: Range
    value: Range


@dataclass(frozen=True, slots=True)
class Local:
    """A variable of a comprehension: where its value comes from and its sizes, as far as known."""

    path: tuple[str, ...]
    size: Range | None
    entries: Entries | None


def estimate(node: Node, variables: Mapping[str, Type]) -> tuple[int, int]:
    """The least and greatest cost."""
    found = Estimator(variables).cost(node)
    return found.least, found.most


class Estimator:
    """One estimate. Sizes and paths are remembered for each node, as costs are asked from the leaves up."""

    __slots__ = ("entries", "locals", "paths", "sizes", "variables")

    def __init__(self, variables: Mapping[str, Type]) -> None:
        self.variables = variables
        self.paths: dict[int, tuple[str, ...]] = {}
        self.sizes: dict[int, Range] = {}
        self.entries: dict[int, Entries] = {}
        self.locals: dict[str, list[Local]] = {}

    def cost(self, node: Node) -> Range:
        match node:
            case Literal():
                return NOTHING
            case Ident():
                found = self.local(node)
                self.paths[id(node)] = found.path if found is not None else (node.name.removeprefix("."),)
                return ONE
            case Select():
                return self.select(node)
            case Call():
                from minikube_py.machinery.cel.estimated_calls import call_cost

                return call_cost(self, node)
            case ListNode():
                return self.list_cost(node)
            case MapNode():
                return self.map_cost(node)
            case StructNode():
                return sum((self.cost(entry.value) for entry in node.entries), NOTHING) + fixed(STRUCT_COST)
            case Comprehension():
                return self.bind_cost(node) if node.bind else self.loop_cost(node)

    def local(self, node: Node) -> Local | None:
        if not isinstance(node, Ident):
            return None
        stack = self.locals.get(node.name)
        return stack[-1] if stack else None

    def path(self, node: Node) -> tuple[str, ...]:
        """Where a node's value stands in the variables; empty when it is computed."""
        found = self.local(node)
        return found.path if found is not None else self.paths.get(id(node), ())

    def select(self, node: Select) -> Range:
        if node.qualified:
            self.paths[id(node)] = (node.qualified,)
            return ONE
        cost = self.cost(node.operand)
        if node.test:
            return cost
        if node.operand.type.kind in ("map", "object", "param"):
            cost = cost + ONE
        path = self.path(node.operand)
        self.paths[id(node)] = (*path, node.field) if path else ()
        return cost

    def list_cost(self, node: ListNode) -> Range:
        cost, item = NOTHING, None
        for element in node.elements:
            cost = cost + self.cost(element)
            size = self.size_or_unknown(element)
            item = size if item is None else item | size
        self.entries[id(node)] = Entries(True, ONE, item or NOTHING)
        return cost + fixed(LIST_COST)

    def map_cost(self, node: MapNode) -> Range:
        cost, key, value = NOTHING, None, None
        for entry in node.entries:
            cost = cost + self.cost(entry.key) + self.cost(entry.value)
            one, other = self.size_or_unknown(entry.key), self.size_or_unknown(entry.value)
            key = one if key is None else key | one
            value = other if value is None else value | other
        self.entries[id(node)] = Entries(False, key or NOTHING, value or NOTHING)
        return cost + fixed(MAP_COST)

    def push(self, name: str, local: Local) -> None:
        self.locals.setdefault(name, []).append(local)

    def bind_cost(self, node: Comprehension) -> Range:
        cost = self.cost(node.source) + self.cost(node.initial)
        self.push(node.accumulator, self.named(node.initial))
        cost = cost + self.cost(node.result)
        self.locals[node.accumulator].pop()
        size, entries = self.size(node.result), self.entry_sizes(node.result)
        if size is not None:
            self.sizes[id(node)] = size
        if entries is not None:
            self.entries[id(node)] = entries
        return cost

    def named(self, node: Node) -> Local:
        return Local(self.path(node), self.size(node), self.entry_sizes(node))

    def loop_cost(self, node: Comprehension) -> Range:
        cost = self.cost(node.source) + self.cost(node.initial)
        self.push(node.accumulator, self.named(node.initial))
        names = self.push_variables(node)
        each = self.cost(node.condition) + self.cost(node.step)
        for name in names:
            self.locals[name].pop()
        cost = cost + self.cost(node.result)
        self.locals[node.accumulator].pop()
        count = self.size_or_unknown(node.source)
        if isinstance(node.initial, Literal):
            size = self.size(node.initial)
            if size is not None:
                self.sizes[id(node)] = size
        elif isinstance(node.initial, ListNode | MapNode):
            self.sizes[id(node)] = count
            entries = self.entry_sizes(node.step)
            if entries is not None:
                self.entries[id(node)] = entries
        return cost + count * each

    def push_variables(self, node: Comprehension) -> list[str]:
        source = node.source
        entries, path = self.entry_sizes(source), self.path(source)
        is_list = entries.is_list if entries is not None else source.type.kind == "list"
        key = entries.key if entries is not None else None
        value = entries.value if entries is not None else None
        if node.second:
            self.push(node.variable, Local((*path, _INDICES if is_list else _KEYS), key, None))
            self.push(node.second, Local((*path, _ITEMS if is_list else _VALUES), value, None))
            return [node.variable, node.second]
        single = value if is_list else key
        self.push(node.variable, Local((*path, _ITEMS if is_list else _KEYS), single, None))
        return [node.variable]

    def entry_sizes(self, node: Node) -> Entries | None:
        """The sizes of what is in a container that the expression makes."""
        found = self.entries.get(id(node))
        if found is None and (local := self.local(node)) is not None:
            return local.entries
        return found

    def size_or_unknown(self, node: Node) -> Range:
        return self.size(node) or UNKNOWN

    def size(self, node: Node) -> Range | None:
        """The size that a value can have; None when nothing is known of it."""
        found = self.sizes.get(id(node)) or _literal_size(node)
        if found is not None:
            return found
        path = self.path(node)
        if path and path[0] not in (ACCUMULATOR, "__result__"):
            declared = self.declared_size(path)
            if declared is not None:
                self.sizes[id(node)] = declared
                return declared
        if _is_scalar(node.type):
            return ONE
        local = self.local(node)
        return local.size if local is not None else None

    def declared_size(self, path: tuple[str, ...]) -> Range | None:
        """The size that the schema allows at a path.

        Kubernetes' estimator does not look at the path's first name: that of a type (``type(self) == string``) counts
        as the whole value.
        """
        here = self.variables.get(path[0]) or self.variables.get("self")
        if here is not None and is_optional(here):
            here = here.params[0]
        for name in path[1:]:
            if here is None:
                return None
            here = _step(here, name)
        if here is None or (here.kind == "dyn" and here.max_elements is None):
            return None
        return Range(0, here.max_elements or 0)


def _step(here: Type, name: str) -> Type | None:
    if name in (_ITEMS, _VALUES):
        return here.params[-1] if here.kind in ("list", "map") else None
    if name == _KEYS:
        return here.params[0] if here.kind == "map" else None
    found = object_field(here, name) if here.kind == "object" and here.fields is not None else None
    return found.type if found is not None else None


def _literal_size(node: Node) -> Range | None:
    if isinstance(node, Literal):
        return fixed(len(node.value)) if isinstance(node.value, str | bytes) else ONE
    if isinstance(node, ListNode):
        return fixed(len(node.elements))
    if isinstance(node, MapNode):
        return fixed(len(node.entries))
    return None


def _is_scalar(type: Type) -> bool:
    return type.kind in _SCALARS or (is_optional(type) and _is_scalar(type.params[0]))


def scan(size: Range) -> Range:
    """The cost of going through a text once."""
    return size.times(TRAVERSAL)
