"""Strategic merge patch: Kubernetes' patch that knows which lists merge and by which key.

The rules, and the texts of what is refused, are those of ``k8s.io/apimachinery/pkg/util/strategicpatch``; most errors
have no status code there and are answered as 500. Directives in a patch:

* ``$patch: replace`` or ``delete`` in a map, or in an item of a merging list;
* ``$retainKeys: [...]`` keeps only these keys of the live map;
* ``$deleteFromPrimitiveList/x: [...]`` takes values out of the list x;
* ``$setElementOrder/x: [...]`` gives the order of the patched items of list x.

A map with ``$patch`` where nothing is to be patched is left out; other directives there are unknown fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import bad_request
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.patching.go_texts import bad_directive, bad_type, go_type, no_merge_key, plain_error
from minikube_py.machinery.patching.merging_lists import (
    DIRECTIVE,
    check_keys,
    check_order,
    holds_maps,
    in_order,
    mark_of,
    marks_by,
    once,
    without,
)
from minikube_py.machinery.raw_texts import rebuilt
from minikube_py.machinery.schema import ANYTHING, Schema

_RETAIN = "$retainKeys"
_REMOVE, _ORDER = "$deleteFromPrimitiveList", "$setElementOrder"
_KINDS = {"object": "struct", "array": "slice", "boolean": "bool", "integer": "int64", "number": "float64"}
"""Kinds of Go's types by OpenAPI's."""


def apply_strategic_patch(schema: Schema, live: Mapping[str, Any], patch: Any) -> Object:
    """The patched copy. ApiError 400 for a malformed patch, 422 for lists of lists, 500 for what else cannot be.

    Neither argument is changed or shared with the result.
    """
    if patch is None:
        return rebuilt(thaw(dict(live)))
    if not isinstance(patch, Mapping):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(patch), "number")
        raise bad_request(f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
    return rebuilt(_merge_map(schema, thaw(dict(live)), thaw(dict(patch))))


def _merge_map(schema: Schema, live: Object, patch: Object) -> Object:
    """Merge into ``live``; both are private."""
    if DIRECTIVE in patch:
        directive = patch[DIRECTIVE]
        if directive == "replace":
            del patch[DIRECTIVE]
            return patch
        if directive == "delete":
            return {}
        raise bad_directive(directive, patch)
    _retain_keys(live, patch)
    _order_lists(schema, live, patch)
    for key, wanted in patch.items():
        removal = key.startswith(_REMOVE)
        name = _named_by(key, _REMOVE, "primitive list") if removal else key
        if wanted is None:
            live.pop(name, None)
        elif name in live and go_type(live[name]) == go_type(wanted):
            _merge_value(schema, live, name, wanted, removal=removal)
        elif not removal:
            _put(live, name, wanted)
    return live


def _merge_value(schema: Schema, live: Object, name: str, wanted: Any, *, removal: bool) -> None:
    """Merge one field, whose values are of one type."""
    if isinstance(wanted, dict):
        field = _field(schema, name)
        replaced = "replace" in field.patch_strategy.split(",")
        live[name] = wanted if replaced else _merge_map(field, live[name], wanted)
    elif isinstance(wanted, list):
        live[name] = _merge_list(_field(schema, name), live[name], wanted, removal=removal)
    else:
        live[name] = wanted


def _put(live: Object, name: str, wanted: Any) -> None:
    """Take a value as it is, where there is nothing to merge it into."""
    kept = _without_directives(wanted)
    if kept is _NOTHING:
        live.pop(name, None)
    else:
        live[name] = kept


_NOTHING = object()


def _without_directives(value: Any) -> Any:
    """The value without nulls in maps, and without maps that hold ``$patch``; ``_NOTHING`` when it is one itself."""
    if isinstance(value, dict):
        if DIRECTIVE in value:
            return _NOTHING
        kept = {key: _without_directives(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in kept.items() if item is not _NOTHING}
    if isinstance(value, list):
        return [item for item in map(_without_directives, value) if item is not _NOTHING]
    return value


def _named_by(directive: str, prefix: str, shown: str) -> str:
    """The field that a directive such as ``$setElementOrder/x`` speaks of. ApiError 400."""
    start, slash, name = directive.partition("/")
    if start != prefix or not slash:
        raise bad_request(f"invalid patch format of {shown}")
    return name


def _field(schema: Schema, name: str) -> Schema:
    """The schema of a map or list in a structure. ApiError 500 where Go's types do not lead on."""
    found = schema.properties.get(name)
    if found is not None:
        return found
    if schema.additional is not None:
        raise plain_error("merging an object in json but data type is not struct, instead is: map")
    if schema.properties or (schema.name and schema is not ANYTHING):
        raise plain_error(f'unable to find api field in struct {schema.short_name()} for the json field "{name}"')
    return ANYTHING


def _merge_list(schema: Schema, live: list[Any], patch: list[Any], *, removal: bool = False) -> list[Any]:
    """A list after its patch; replaced unless its strategy is to merge."""
    if "merge" not in schema.patch_strategy.split(","):
        return patch
    if not live and not patch:
        return live
    key = schema.patch_merge_key
    if holds_maps(live, patch):
        if not key:
            raise plain_error(f"cannot merge lists without merge key for {_kind_of_items(schema)}")
        live, patch = _special_items(live, patch, key)
        merged = _merge_items(schema.items or ANYTHING, live, patch, key)
        check_keys(key, merged)
    elif removal:
        return without(live, patch)
    else:
        if key:
            check_keys(key, live, patch)
        merged = once([*live, *patch])
    return in_order(merged, patch, live, marks_by(key))


def _kind_of_items(schema: Schema) -> str:
    declared = schema.items.type if schema.items is not None else ""
    return _KINDS.get(declared, declared or "interface")


def _special_items(live: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out ``$patch`` items; return what is left of the live list and of the patch. ApiError 500."""
    rest: list[Any] = []
    doomed = set()
    replace = False
    for item in patch:
        directive = item.get(DIRECTIVE)
        if DIRECTIVE not in item:
            rest.append(item)
        elif directive == "delete":
            if key not in item:
                raise no_merge_key(item, key)
            doomed.add(mark_of(item[key]))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise plain_error("merging lists cannot yet be specified in the patch")
        else:
            raise bad_directive(directive, item)
    if replace:
        return rest, []
    return [item for item in live if key not in item or mark_of(item[key]) not in doomed], rest


def _merge_items(schema: Schema, live: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = list(live)
    places = {mark_of(item[key]): index for index, item in reversed(list(enumerate(merged))) if key in item}
    for item in patch:
        if key not in item:
            raise no_merge_key(item, key)
        mark = mark_of(item[key])
        place = places.get(mark)
        if place is None:
            places[mark] = len(merged)
            merged.append(item)
        else:
            merged[place] = _merge_map(schema, merged[place], item)
    return merged


def _retain_keys(live: Object, patch: Object) -> None:
    """Carry out ``$retainKeys``, which must name whatever else the patch sets. ApiError 400."""
    if _RETAIN not in patch:
        return
    retained = patch.pop(_RETAIN)
    set_by_patch = [key for key, value in patch.items() if value is not None and not key.startswith((_REMOVE, _ORDER))]
    if not isinstance(retained, list) or any(key not in retained for key in set_by_patch):
        raise bad_request("invalid patch format of retainKeys")
    for key in [key for key in live if key not in retained]:
        del live[key]


def _order_lists(schema: Schema, live: Object, patch: Object) -> None:
    """Carry out every ``$setElementOrder``; the lists they speak of leave the patch. ApiError 400, 422 or 500."""
    for directive in [key for key in patch if key.startswith(_ORDER)]:
        order = patch.pop(directive)
        if not isinstance(order, list):
            raise bad_type(list, order)
        name = _named_by(directive, _ORDER, "setElementOrder list")
        for holder in (live, patch):
            if name in holder and not isinstance(holder[name], list):
                raise bad_type(list, holder[name])
        field = _field(schema, name)
        wanted, current = patch.get(name), live.get(name)
        check_order(wanted or [], order, field.patch_merge_key)
        if wanted is None and current is None:
            continue
        live[name] = _ordered(field, current, wanted, order)
        patch.pop(name, None)


def _ordered(field: Schema, current: list[Any] | None, wanted: list[Any] | None, order: list[Any]) -> list[Any]:
    """The list after its patch, in the order that the patch asks for."""
    key, before = field.patch_merge_key, list(current or ())
    if current is None or wanted is None:
        merged = before or list(wanted or ())
    else:
        merged = _merge_list(field, current, wanted)
    if key:
        check_keys(key, merged, order, before)
    holds_maps(before, wanted or [])
    return in_order(merged, order, before, marks_by(key))
