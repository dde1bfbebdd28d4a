"""Sets of field paths, in the shape of ``FieldsV1``: nested dicts, so that no translation is needed.

A set is a trie. Keys are path elements: ``f:name`` (field or map key), ``k:{...}`` (item of a list by its
keys), ``v:...`` (item of a set), ``i:n`` (position). An element is a member when its node is empty or
holds ``"."``; a node without children that is no member does not exist. The empty set is ``None`` where
a node is meant, ``{}`` at the root. All functions return new sets; inputs are shared and read-only, and
results may share parts with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

FieldSet = dict[str, Any]
MEMBER = "."
_LEAF: FieldSet = {}


def is_member(node: Mapping[str, Any]) -> bool:
    """Whether the node's own path is in the set."""
    return not node or MEMBER in node


def is_field_set(value: Any) -> bool:
    """Whether JSON data that somebody hands in as ``fieldsV1`` can be read as a set; unknown kinds of elements can."""
    if value is None:
        return True
    if not isinstance(value, dict):
        return False
    return all(key == MEMBER or (_is_element(key) and is_field_set(node)) for key, node in value.items())


def _is_element(key: str) -> bool:
    kind, rest = key[:1], key[2:]
    if key[1:2] != ":":
        return False
    try:
        if kind == "k":
            return isinstance(orjson.loads(rest), dict)
        if kind == "v":
            orjson.loads(rest)
    except orjson.JSONDecodeError:
        return False
    return kind != "i" or rest.lstrip("-").isdecimal()


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Paths of either root set."""
    return _union_children(left, right)


def _union_children(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left:
        return right
    if not right:
        return left
    result = dict(left)
    for key, node in right.items():
        mine = result.get(key)
        result[key] = node if mine is None else _union_nodes(mine, node) if key != MEMBER else _LEAF
    return result


def _union_nodes(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right:
        return left
    if not left:
        return right if not right or MEMBER in right else {MEMBER: {}, **right}
    if not right:
        return left if MEMBER in left else {MEMBER: {}, **left}
    return _union_children(left, right)


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Paths of the left root set that are not in the right one."""
    if not right:
        return left
    result: FieldSet = {}
    for key, node in left.items():
        other = right.get(key)
        rest = node if other is None else _node_difference(node, other)
        if rest is not None:
            result[key] = rest
    return result


def _node_difference(left: FieldSet, right: FieldSet) -> FieldSet | None:
    member = is_member(left) and not is_member(right)
    result: FieldSet = {}
    for key, node in left.items():
        if key == MEMBER:
            continue
        other = right.get(key)
        rest = node if other is None else _node_difference(node, other)
        if rest is not None:
            result[key] = rest
    return _node(member, result)


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """Paths that are in both root sets."""
    result: FieldSet = {}
    for key, node in left.items():
        other = right.get(key)
        if other is not None:
            both = _node_intersection(node, other)
            if both is not None:
                result[key] = both
    return result


def _node_intersection(left: FieldSet, right: FieldSet) -> FieldSet | None:
    return _node(is_member(left) and is_member(right), intersection(_children(left), _children(right)))


def _children(node: FieldSet) -> FieldSet:
    return {key: child for key, child in node.items() if key != MEMBER} if MEMBER in node else node


def _node(member: bool, children: FieldSet) -> FieldSet | None:
    """A node of these children, or None when nothing is left of it."""
    if not children:
        return {} if member else None
    return {MEMBER: {}, **children} if member else children


def with_named_fields(node: FieldSet) -> FieldSet:
    """The set with every named field on the way to a member made a member itself."""
    result: FieldSet = {}
    for key, child in node.items():
        if key == MEMBER or not child:
            result[key] = child
            continue
        below = with_named_fields(child)
        result[key] = {MEMBER: {}, **below} if key.startswith("f:") and MEMBER not in below else below
    return result


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Every member as the reference prints it, members of a level before what lies below it, both sorted."""
    elements = sorted(((key, node) for key, node in fields.items() if key != MEMBER), key=_order)
    for key, node in elements:
        if is_member(node):
            yield prefix + element_text(key)
    for key, node in elements:
        if node:
            yield from paths(node, prefix + element_text(key))


def _order(entry: tuple[str, FieldSet]) -> tuple[int, str]:
    key = entry[0]
    return ("f", "k", "v", "i").index(key[0]), key[2:]


def element_text(element: str) -> str:
    """``.name``, ``[name="c"]``, ``[="value"]`` or ``[0]``."""
    kind, rest = element[0], element[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys: dict[str, Any] = orjson.loads(rest)
        return "[" + ",".join(f"{name}={orjson.dumps(keys[name]).decode()}" for name in sorted(keys)) + "]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"
