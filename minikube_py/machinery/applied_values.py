"""What applied configurations do to values: laid over what is there, and taken away what they leave out.

The rules are those of ``structured-merge-diff``'s merge and removal; who owns which field is the affair of
``managed_fields``. Live values that are handed in are private and may become part of the result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.field_paths import KEYED, VALUES, WHOLE, by_element, child, elements, ownership
from minikube_py.machinery.field_sets import FieldSet, difference, is_member, union, with_named_fields
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import ANYTHING, Schema


def merged(schema: Schema, live: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """``wanted`` laid over ``live`` as server-side apply does, without looking at owners; a private copy."""
    result: Object = merge(schema, thaw(dict(live)), wanted)
    return result


def merge(schema: Schema, live: Any, wanted: Any) -> Any:
    """The live value with what is applied laid over it; ``live`` is private and may become part of the result."""
    how = ownership(schema)
    mergeable = (isinstance(live, dict) and how != WHOLE) or (isinstance(live, list) and how in (KEYED, VALUES))
    if wanted is None and live and mergeable:
        return live  # null names nothing of it
    if isinstance(live, dict) and isinstance(wanted, dict) and how != WHOLE:
        for key, value in wanted.items():
            live[key] = merge(child(schema, key), live[key], value) if key in live else thaw(value)
        return live
    if isinstance(live, list) and isinstance(wanted, list) and how in (KEYED, VALUES):
        return _merge_items(schema, how, live, wanted)
    return thaw(wanted)


def _merge_items(schema: Schema, how: int, live: list[Any], wanted: list[Any]) -> list[Any]:
    """Shared items in the applied order, live ones that are not named where they were, new ones after them.

    A live item that is applied, but whose turn has not come, is passed over; it appears where the applied list has it.
    What is applied replaces all live items that repeat each other.
    """
    inner = schema.items or ANYTHING
    left, right = elements(schema, how, live), elements(schema, how, wanted)
    known, named = by_element(schema, how, live), frozenset(right)
    shared = deque(element for element in right if element in known)
    result: list[Any] = []
    done: set[str] = set()
    at, taken = 0, 0
    while at < len(left) or taken < len(right):
        here = left[at] if at < len(left) else None
        if here is not None and here not in named:
            result.append(live[at])
            at += 1
            continue
        if here is not None and (taken == len(right) or (here != right[taken] and shared and here != shared[0])):
            at += 1
            continue
        element, item = right[taken], wanted[taken]
        before = known.get(element, [])
        result.append(merge(inner, before[0], item) if len(before) == 1 else thaw(item))
        if shared and shared[0] == element:
            shared.popleft()
        at += here == element or here in done
        done.add(element)
        taken += 1
    return result


def prune(schema: Schema, merged: Object, last: FieldSet, owned: list[FieldSet]) -> Object:
    """Remove what the manager applied last time and nobody owns any more."""
    still: FieldSet = {}
    for fields in owned:
        still = union(still, fields)
    doomed = difference(with_named_fields(last), with_named_fields(still))
    return _removed(schema, merged, doomed) if doomed else merged


def _removed(schema: Schema, value: Any, doomed: FieldSet) -> Any:
    """A private value without the members of a set and what lies below them."""
    how = ownership(schema)
    if isinstance(value, dict) and how != WHOLE:
        for key in list(value):
            node = doomed.get(f"f:{key}")
            if node is None:
                continue
            if is_member(node):
                del value[key]
            else:
                value[key] = _removed(child(schema, key), value[key], node)
        return value
    if isinstance(value, list) and how in (KEYED, VALUES):
        inner = schema.items or ANYTHING
        kept: list[Any] = []
        for element, item in zip(elements(schema, how, value), value, strict=True):
            node = doomed.get(element)
            if node is None:
                kept.append(item)
            elif not is_member(node):
                kept.append(_removed(inner, item, node))
        return kept
    return value
