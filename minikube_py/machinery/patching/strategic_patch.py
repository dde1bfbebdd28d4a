"""Strategic merge patch: Kubernetes' patch that knows which lists merge and by which key.

The rules are those of ``k8s.io/apimachinery/pkg/util/strategicpatch``. Directives in a patch:

* ``$patch: replace`` or ``delete`` in a map, or in an item of a merging list;
* ``$retainKeys: [...]`` keeps only these keys of the live map;
* ``$deleteFromPrimitiveList/x: [...]`` takes values out of the list x;
* ``$setElementOrder/x: [...]`` gives the order of the patched items of list x.

Items of a merging list that the patch names come in the patch's order, those it does not name keep
their place among themselves; where the live order says nothing, named items come first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.errors import ApiError, bad_request
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import ANYTHING, Schema

_NO_OBJECT = "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
_DIRECTIVE, _RETAIN = "$patch", "$retainKeys"
_DELETE_LIST, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def apply_strategic_patch(schema: Schema, live: Mapping[str, Any], patch: Any) -> Object:
    """The patched copy. ApiError 400 for a malformed patch, 500 as the reference for a missing merge key.

    Neither argument is changed or shared with the result.
    """
    if not isinstance(patch, Mapping):
        raise bad_request(_NO_OBJECT)
    return _merge_map(schema, thaw(dict(live)), thaw(dict(patch)))


def _merge_map(schema: Schema, live: Object, patch: Object) -> Object:
    """Merge into ``live``; both are private."""
    directive = patch.get(_DIRECTIVE)
    if _DIRECTIVE in patch:
        if directive == "replace":
            del patch[_DIRECTIVE]
            return patch
        if directive == "delete":
            return {}
        raise _plain(f"unknown patch type {directive} in map: {go_map(patch)}")
    _retain_keys(live, patch)
    _order_lists(schema, live, patch)
    for key, wanted in patch.items():
        removal = key.startswith(_DELETE_LIST)
        name = key[len(_DELETE_LIST) :] if removal else key
        if wanted is None:
            live.pop(name, None)
            continue
        if removal:
            if isinstance(live.get(name), list):
                live[name] = _merge_list(_field(schema, name), live[name], wanted, removal=True)
            continue
        if name not in live or not _same_type(live[name], wanted):
            live[name] = _without_directives(wanted)
        elif isinstance(wanted, dict):
            live[name] = _merge_field_map(_field(schema, name), live[name], wanted)
        elif isinstance(wanted, list):
            live[name] = _merge_list(_field(schema, name), live[name], wanted)
        else:
            live[name] = wanted
    return live


def _field(schema: Schema, name: str) -> Schema:
    return schema.properties.get(name) or schema.additional or ANYTHING


def _same_type(left: Any, right: Any) -> bool:
    for kind in (dict, list):
        if isinstance(left, kind) or isinstance(right, kind):
            return isinstance(left, kind) and isinstance(right, kind)
    return True


def _merge_field_map(schema: Schema, live: Object, wanted: Object) -> Object:
    if "replace" in schema.patch_strategy.split(","):
        return wanted
    return _merge_map(schema, live, wanted)


def _merge_list(schema: Schema, live: list[Any], patch: list[Any], *, removal: bool = False) -> list[Any]:
    """A list after its patch; replaced unless its strategy is to merge."""
    if "merge" not in schema.patch_strategy.split(",") and not removal:
        return _without_directives(patch)  # type: ignore[no-any-return]
    if not live and not patch:
        return live
    if not _holds_maps(live, patch):
        if removal:
            return [item for item in live if item not in patch]
        merged = list(dict.fromkeys([*live, *patch]))
        named, others = _partition(merged, patch, _identity)
        return _ordered(named, others, patch, live, _identity)
    key = schema.patch_merge_key
    if not key:
        raise _plain(f"cannot merge lists without merge key for {schema.name or schema.type}")
    live, patch = _special_items(live, patch, key)
    merged = _merge_items(schema.items or ANYTHING, live, patch, key)
    value_of = _merge_value(key)
    named, others = _partition(merged, patch, value_of)
    return _ordered(named, others, patch, live, value_of)


def _holds_maps(*lists: list[Any]) -> bool:
    """Whether the items are maps; all must be of one type, and no lists."""
    kinds = {
        dict if isinstance(item, dict) else list if isinstance(item, list) else str for each in lists for item in each
    }
    if list in kinds:
        raise bad_request("lists of lists are not supported")
    if len(kinds) > 1:
        raise _plain("list element types are not identical")
    return dict in kinds


def _special_items(live: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out ``$patch`` items; return what is left of the live list and of the patch."""
    rest: list[Any] = []
    replace = False
    for item in patch:
        if _DIRECTIVE not in item:
            rest.append(item)
            continue
        directive = item[_DIRECTIVE]
        if directive == "delete":
            if key not in item:
                raise _no_merge_key(item, key)
            live = [entry for entry in live if entry.get(key) != item[key]]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _plain("merging lists cannot yet be specified in the patch")
        else:
            raise _plain(f"unknown patch type {directive} in map: {go_map(item)}")
    return (rest, []) if replace else (live, rest)


def _merge_items(schema: Schema, live: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = list(live)
    for item in patch:
        if key not in item:
            raise _no_merge_key(item, key)
        place = next((index for index, entry in enumerate(merged) if entry.get(key) == item[key]), None)
        if place is None:
            merged.append(_without_directives(item))
        else:
            merged[place] = _merge_map(schema, merged[place], item)
    return merged


Identity = Callable[[Any], Any]


def _identity(item: Any) -> Any:
    return item


def _merge_value(key: str) -> Identity:
    def value_of(item: Any) -> Any:
        return item.get(key) if isinstance(item, dict) else item

    return value_of


def _partition(merged: list[Any], order: list[Any], value_of: Identity) -> tuple[list[Any], list[Any]]:
    """(items that the order names, the others)."""
    wanted = [value_of(item) for item in order]
    named = [item for item in merged if value_of(item) in wanted]
    return named, [item for item in merged if value_of(item) not in wanted]


def _ordered(
    named: list[Any], others: list[Any], patch_order: list[Any], live_order: list[Any], value_of: Identity
) -> list[Any]:
    """Named items in the patch's order, woven with the others by their places in the live list."""
    patch_places = _places(patch_order, value_of)
    live_places = _places(live_order, value_of)
    right = sorted(named, key=lambda item: _place(patch_places, value_of(item)))
    left = sorted(others, key=lambda item: _place(live_places, value_of(item)))
    woven: list[Any] = []
    while left and right:
        left_place = _place(live_places, value_of(left[0]))
        right_place = _place(live_places, value_of(right[0]))
        woven.append(left.pop(0) if 0 <= left_place < right_place else right.pop(0))
    return woven + left + right


def _places(items: list[Any], value_of: Identity) -> list[tuple[Any, int]]:
    return [(value_of(item), index) for index, item in enumerate(items)]


def _place(places: list[tuple[Any, int]], value: Any) -> int:
    return next((index for known, index in places if known == value), -1)


def _retain_keys(live: Object, patch: Object) -> None:
    retained = patch.pop(_RETAIN, None)
    if retained is None:
        return
    if not isinstance(retained, list) or any(not isinstance(item, str) for item in retained):
        raise bad_request("invalid patch format of retainKeys")
    if any(key not in retained for key, value in patch.items() if value is not None and not key.startswith("$")):
        raise bad_request("invalid patch format of retainKeys")
    for key in [key for key in live if key not in retained]:
        del live[key]


def _order_lists(schema: Schema, live: Object, patch: Object) -> None:
    """Carry out every ``$setElementOrder``; the lists they speak of leave the patch."""
    for directive in [key for key in patch if key.startswith(_ORDER)]:
        order = patch.pop(directive)
        name = directive[len(_ORDER) :]
        if not isinstance(order, list):
            raise bad_request("invalid patch format of setElementOrder list")
        field = _field(schema, name)
        wanted, current = patch.get(name), live.get(name)
        value_of = _merge_value(field.patch_merge_key) if field.patch_merge_key else _identity
        _check_order(wanted, order, value_of)
        if isinstance(wanted, list) and isinstance(current, list):
            before = list(current)
            merged = _merge_list(field, current, wanted)
        elif isinstance(wanted, list):
            before, merged = [], _without_directives(wanted)
        elif isinstance(current, list):
            before, merged = current, current
        else:
            continue
        named, others = _partition(merged, order, value_of)
        live[name] = _ordered(named, others, order, before, value_of)
        patch.pop(name, None)


def _check_order(wanted: Any, order: list[Any], value_of: Identity) -> None:
    """The patched items must be named by the order, in its order."""
    if not isinstance(wanted, list):
        return
    names = [value_of(item) for item in order]
    position = 0
    for item in wanted:
        if isinstance(item, dict) and item.get(_DIRECTIVE):
            continue
        while position < len(names) and names[position] != value_of(item):
            position += 1
        if position == len(names):
            raise _plain(
                f"The order in patch list:\n{go_map(wanted)}\n doesn't match setElementOrder list:\n{go_map(order)}\n"
            )


def _without_directives(value: Any) -> Any:
    """A value that is taken from the patch as it is: nulls in maps, directives and deleted items are dropped."""
    if isinstance(value, dict):
        return {
            key: _without_directives(item)
            for key, item in value.items()
            if item is not None and key not in (_DIRECTIVE, _RETAIN) and not key.startswith((_DELETE_LIST, _ORDER))
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value if not (isinstance(item, dict) and item.get(_DIRECTIVE))]
    return value


def _no_merge_key(item: Object, key: str) -> ApiError:
    return _plain(f"map: {go_map(item)} does not contain declared merge key: {key}")


def _plain(message: str) -> ApiError:
    """An error that the reference does not classify: 500 without a reason."""
    return ApiError(500, "", message)


def go_map(value: Any) -> str:
    """JSON data as Go's ``%v`` prints it: ``map[a:1 b:[x y]]``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_map, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
