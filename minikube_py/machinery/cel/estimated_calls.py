"""Estimated costs and result sizes of calls: cel-go's for its own functions, Kubernetes' for its libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from minikube_py.machinery.cel.estimator import MOST, NOTHING, ONE, UNKNOWN, Entries, Estimator, Range, fixed, scan
from minikube_py.machinery.cel.overloads import Overload
from minikube_py.machinery.cel.runtime_costs import REGEX_LENGTH, TRAVERSAL
from minikube_py.machinery.cel.syntax import Call, Literal, Node

_TextKinds = ("string", "bytes")


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a call without its arguments (with them when ``whole``), and the size of its result."""

    cost: Range
    size: Range | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A call whose cost is asked."""

    state: Estimator
    node: Call
    overload: Overload
    costs: list[Range]

    def size(self, node: Node) -> Range:
        return self.state.size_or_unknown(node)

    @property
    def target(self) -> Node | None:
        return self.node.target

    @property
    def args(self) -> list[Node]:
        return self.node.args


def call_cost(state: Estimator, node: Call) -> Range:
    """The cost of a call and its arguments; remembers the result's size."""
    if node.function == "dyn" and node.target is None:
        cost = state.cost(node.args[0]) + ONE
        _copy_sizes(state, node.args[0], node)
        return cost
    costs = [state.cost(argument) for argument in node.args]
    if not node.overloads:
        return NOTHING
    own = state.cost(node.target) if node.target is not None else NOTHING
    total = Range(MOST, 0)
    size: Range | None = None
    for overload in node.overloads:
        found = _estimate(Asked(state, node, overload, costs))
        total = total | (found.cost if found.whole else found.cost + sum(costs, NOTHING))
        if found.size is not None:
            size = found.size if size is None else size | found.size
        if overload.id in ("index_list", "index_map"):
            entries = state.entry_sizes(node.args[0])
            size = entries.value if entries is not None else None
            path = state.path(node.args[0])
            if path:
                state.paths[id(node)] = (*path, "@items" if overload.id == "index_list" else "@values")
        if size is None:
            size = state.size(node)
    if size is not None:
        state.sizes[id(node)] = size
    return own + total


def _copy_sizes(state: Estimator, source: Node, node: Node) -> None:
    size, entries = state.size(source), state.entry_sizes(source)
    if size is not None:
        state.sizes[id(node)] = size
    if entries is not None:
        state.entries[id(node)] = entries


def _estimate(asked: Asked) -> Estimate:
    by_function = _BY_FUNCTION.get(asked.node.function)
    if by_function is not None:
        found = by_function(asked)
        if found is not None:
            return found
    by_overload = _BY_OVERLOAD.get(asked.overload.id)
    return by_overload(asked) if by_overload is not None else Estimate(ONE)


def _nominal(asked: Asked) -> Estimate | None:
    return Estimate(ONE)


def _item_size(asked: Asked, target: Node) -> Range:
    """The size of a list's items, from the schema; what the expression made is not looked at (as Kubernetes)."""
    path = asked.state.path(target)
    if path and not path[0].startswith("@"):
        return asked.state.declared_size((*path, "@items")) or UNKNOWN
    return UNKNOWN


def _list_walk(asked: Asked) -> Estimate | None:
    target = asked.target
    if target is None:
        return None
    if target.type.params:
        each, item = ONE, target.type.params[0]
        if item.kind in _TextKinds:
            each = each + scan(_item_size(asked, target))
        return Estimate(asked.size(target) * each)
    return Estimate(scan(asked.size(target)))


def _argument_scan(asked: Asked) -> Estimate | None:
    return Estimate(scan(asked.size(asked.args[0]))) if len(asked.args) == 1 else None


def _target_scan(asked: Asked) -> Estimate | None:
    if asked.target is None:
        return None
    size = asked.size(asked.target)
    return Estimate(scan(size), size)


def _replace(asked: Asked) -> Estimate | None:
    if asked.target is None or len(asked.args) < 2:
        return None
    size, old, new = asked.size(asked.target), asked.size(asked.args[0]), asked.size(asked.args[1])
    count_most = retained_most = count_least = retained_least = 0
    if old.least == 0:
        count_most, retained_most = min(MOST, size.most + 1), size.most
    elif new.most <= old.least:
        retained_most = size.most
    else:
        count_most = ceil(float(size.most) / float(old.least))
    if old.most == 0:
        count_least, retained_least = min(MOST, size.least + 1), size.least
    elif old.most <= new.least:
        retained_least = size.least
    else:
        count_least = ceil(float(size.least) / float(old.most))
    result = Range(count_least, min(MOST, count_most)) * new + Range(retained_least, retained_most)
    return Estimate(size.times(2 * TRAVERSAL), result)


def _split(asked: Asked) -> Estimate | None:
    if asked.target is None:
        return None
    size = asked.size(asked.target)
    most = size.most
    limit = asked.args[1] if len(asked.args) > 1 else None
    if isinstance(limit, Literal) and isinstance(limit.value, int) and limit.value >= 0:
        most = limit.value
    return Estimate(size.times(2 * TRAVERSAL), Range(0, most))


def _join(asked: Asked) -> Estimate | None:
    target = asked.target
    if target is None:
        return None
    count = asked.size(target)
    size = count * _item_size(asked, target) if target.type.params else NOTHING
    if asked.args:
        separators = Range(max(0, count.least - 1), max(0, count.most - 1))
        size = size + asked.size(asked.args[0]) * separators
    return Estimate(scan(size), size)


def _find(asked: Asked) -> Estimate | None:
    if asked.target is None or not asked.args:
        return None
    size = asked.size(asked.target)
    cost = scan(size + ONE) * asked.size(asked.args[0]).times(REGEX_LENGTH)
    return Estimate(cost, Range(0, size.most))


def _contains_address(asked: Asked) -> Estimate | None:
    if asked.target is None or not asked.args:
        return None
    width = Range(4, 16)
    cost = scan(width + width)
    if asked.node.function == "containsCIDR":
        cost = cost + scan(width) + ONE
    if asked.overload.id in ("cidr_contains_ip_string", "cidr_contains_cidr_string"):
        cost = cost + scan(asked.size(asked.args[0]))
    return Estimate(cost)


def _ip(asked: Asked) -> Estimate | None:
    if asked.target is not None:
        return Estimate(ONE)
    return Estimate(ONE) if asked.overload.id == "cidr_ip" else None


def _validate(asked: Asked) -> Estimate | None:
    if asked.target is None or not asked.args:
        return None
    return Estimate(scan(asked.size(asked.args[0])) * fixed(10))


def _bytes_of_string(asked: Asked) -> Estimate:
    size = asked.size(asked.args[0])
    return Estimate(scan(size), Range(size.least, min(MOST, size.most * 4)))


def _string_of_bytes(asked: Asked) -> Estimate:
    size = asked.size(asked.args[0])
    return Estimate(scan(size), Range(size.least // 4, size.most))


def _quoted(asked: Asked) -> Estimate:
    size = asked.size(asked.args[0])
    return Estimate(scan(size), Range(size.least + 2, min(MOST, size.most * 2 + 2)))


def _formatted(asked: Asked) -> Estimate:
    return Estimate(scan(asked.size(asked.target))) if asked.target is not None else Estimate(ONE)


def _affix(asked: Asked) -> Estimate:
    return Estimate(scan(asked.size(asked.args[0])))


def _in_list(asked: Asked) -> Estimate:
    return Estimate(asked.size(asked.args[1]).times(1))


def _matches(asked: Asked) -> Estimate:
    if asked.target is None:
        return Estimate(ONE)
    regex = asked.size(asked.args[0]).times(REGEX_LENGTH)
    return Estimate(scan(asked.size(asked.target) + ONE) * regex)


def _contains(asked: Asked) -> Estimate:
    if asked.target is None:
        return Estimate(ONE)
    return Estimate(scan(asked.size(asked.target)) * scan(asked.size(asked.args[0])))


def _logical(asked: Asked) -> Estimate:
    left, right = asked.costs
    return Estimate(Range(left.least, (left + right).most), whole=True)


def _conditional(asked: Asked) -> Estimate:
    yes, no = asked.args[1], asked.args[2]
    one, other = asked.state.entry_sizes(yes), asked.state.entry_sizes(no)
    if one is not None and other is not None:
        asked.state.entries[id(asked.node)] = _union(one, other)
    cost = asked.costs[0] + (asked.costs[1] | asked.costs[2])
    return Estimate(cost, asked.size(yes) | asked.size(no), whole=True)


def _union(one: Entries, other: Entries) -> Entries:
    return Entries(one.is_list, one.key | other.key, one.value | other.value)


def _add(asked: Asked) -> Estimate:
    left, right = asked.args
    size = asked.size(left) + asked.size(right)
    one, other = asked.state.entry_sizes(left), asked.state.entry_sizes(right)
    if one is not None and other is not None:
        asked.state.entries[id(asked.node)] = _union(one, other)
    return Estimate(ONE if asked.overload.id == "add_list" else scan(size), size)


def _comparison(asked: Asked) -> Estimate:
    most = min(asked.size(asked.args[0]).most, asked.size(asked.args[1]).most)
    return Estimate(scan(Range(1 if most > 0 else 0, most)))


_BY_FUNCTION: dict[str, Callable[[Asked], Estimate | None]] = {
    "check": lambda asked: Estimate(fixed(350_000)),
    **dict.fromkeys(
        (
            "serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason",
            "error", "errored", "fieldSelector", "labelSelector", "masked", "prefixLength", "family",
            "isUnspecified", "isLoopback", "isLinkLocalMulticast", "isLinkLocalUnicast", "sign", "asInteger",
            "isInteger", "asApproximateFloat", "isGreaterThan", "isLessThan", "compareTo", "add", "sub",
            "major", "minor", "patch",
        ),
        _nominal,
    ),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _list_walk),
    "url": _argument_scan,
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _target_scan),
    "replace": _replace,
    "split": _split,
    "join": _join,
    "find": _find,
    "findAll": _find,
    "containsIP": _contains_address,
    "containsCIDR": _contains_address,
    "ip": _ip,
    "validate": _validate,
}  # fmt: skip
_BY_OVERLOAD: dict[str, Callable[[Asked], Estimate]] = {
    "string_format_list_string": _formatted,
    "string_to_bytes": _bytes_of_string,
    "bytes_to_string": _string_of_bytes,
    "strings_quote": _quoted,
    "starts_with_string": _affix,
    "ends_with_string": _affix,
    "in_list": _in_list,
    "matches_string": _matches,
    "contains_string": _contains,
    "logical_or": _logical,
    "logical_and": _logical,
    "conditional": _conditional,
    "add_string": _add,
    "add_bytes": _add,
    "add_list": _add,
    "equals": _comparison,
    "not_equals": _comparison,
    **{
        f"{word}_{sort}": _comparison
        for word in ("less", "less_equals", "greater", "greater_equals")
        for sort in _TextKinds
    },
}
