"""Lists that merge, for strategic patches: which items are whose, and the order of the result.

Items are told apart by their merge key, or by their value where the list has none. Items that the patch names come in
the patch's order, those it does not name keep their place among themselves; where the live order says nothing, named
items come first. Lists may be long, so items are found by tables and not by search.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import orjson

from minikube_py.machinery.patching.go_texts import bad_type, go_map, no_merge_key, not_processable, plain_error

DIRECTIVE = "$patch"
Mark = Hashable
"""What an item is known by: equal marks are equal values of one type (in Go, 1 is neither true nor 1.0)."""
Marked = Callable[[Any], Mark]


def mark_of(value: Any) -> Mark:
    return (type(value), orjson.dumps(value)) if isinstance(value, dict | list) else (type(value), value)


def marks_by(key: str) -> Marked:
    """What marks the items of a list with this merge key; "" for lists without one."""
    return (lambda item: mark_of(item.get(key))) if key else mark_of


def holds_maps(live: list[Any], patch: list[Any]) -> bool:
    """Whether the items are maps; all must be of one type, and no lists. ApiError 422 or 500."""
    items = [*live, *patch]
    if not items:
        raise plain_error("no elements in any of the given slices")
    kind = type(items[0])
    if kind is list:
        raise not_processable()
    if kind is type(None) or any(type(item) is not kind for item in items):
        raise plain_error(f"list element types are not identical: [{go_map(live)} {go_map(patch)}]")
    return kind is dict


def check_keys(key: str, *lists: list[Any]) -> None:
    """Every item must be a map with the merge key. ApiError 500."""
    for items in lists:
        for item in items:
            if not isinstance(item, dict):
                raise bad_type(dict, item)
            if key not in item:
                raise no_merge_key(item, key)


def in_order(merged: list[Any], order: list[Any], live: list[Any], marked: Marked) -> list[Any]:
    """The merged items: those that ``order`` names in its order, woven with the others by their places in ``live``."""
    wanted, places = _places(order, marked), _places(live, marked)
    marks = [(marked(item), item) for item in merged]
    right = sorted((pair for pair in marks if pair[0] in wanted), key=lambda pair: wanted[pair[0]])
    left = sorted((pair for pair in marks if pair[0] not in wanted), key=lambda pair: places.get(pair[0], -1))
    woven: list[Any] = []
    first, second = 0, 0
    while first < len(left) and second < len(right):
        left_place, right_place = places.get(left[first][0], -1), places.get(right[second][0], -1)
        if 0 <= left_place < right_place:
            woven.append(left[first][1])
            first += 1
        else:
            woven.append(right[second][1])
            second += 1
    return woven + [item for _, item in left[first:]] + [item for _, item in right[second:]]


def _places(items: list[Any], marked: Marked) -> dict[Mark, int]:
    """The first place of each item."""
    found: dict[Mark, int] = {}
    for index, item in enumerate(items):
        found.setdefault(marked(item), index)
    return found


def check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """The patched items must be named by ``$setElementOrder``, in its order. ApiError 500."""
    if not order or not patch:
        return
    if key:
        for item in patch:
            if not isinstance(item, dict):
                raise bad_type(dict, item)
    named = [item for item in patch if not (key and item.get(DIRECTIVE) == "delete")]
    marked, position = marks_by(key), 0
    for item in named:
        if isinstance(item, dict) and DIRECTIVE in item:
            continue
        while position < len(order):
            if key:
                check_keys(key, [item], [order[position]])
            position += 1
            if marked(item) == marked(order[position - 1]):
                break
        else:
            raise plain_error(
                f"The order in patch list:\n{go_map(patch)}\n doesn't match $setElementOrder list:\n{go_map(order)}\n"
            )


def without(live: list[Any], doomed: list[Any]) -> list[Any]:
    """A list of scalars without some of them."""
    marks = {mark_of(item) for item in doomed}
    return [item for item in live if mark_of(item) not in marks]


def once(items: list[Any]) -> list[Any]:
    """Each scalar once."""
    return list({mark_of(item): item for item in items}.values())
