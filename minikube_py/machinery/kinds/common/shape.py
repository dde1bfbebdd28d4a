"""The wire form of a draft: what a Go server stores after decoding JSON into structs and encoding it.

``to_wire_form`` drops nulls, zero values of optional plain fields and empty lists and maps, adds
embedded structs and required zero values, and leaves everything else alone. It is derived from the
OpenAPI definitions and the few facts of ``go_tags``, compiled once for each definition that occurs.
Canonical forms of quantities are written, as their decoder does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from threading import RLock
from typing import Any

from minikube_py.machinery.kinds.common import go_tags
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import canonical_quantity
from minikube_py.machinery.schema import definitions

_OPAQUE = frozenset(
    [
        "FieldsV1",
        "RawExtension",
        "JSON",
        "IntOrString",
        "JSONSchemaPropsOrBool",
        "JSONSchemaPropsOrArray",
        "JSONSchemaPropsOrStringArray",
    ]
)


@dataclass(slots=True)
class _Struct:
    """How one definition is written. ``children`` maps fields to (container, struct or None for quantities)."""

    zero: dict[str, Any] = field(default_factory=dict)  # required fields and the zero value that Go writes
    nullable: frozenset[str] = frozenset()  # required lists: null when empty, as protobuf brings them back
    plain: frozenset[str] = frozenset()  # scalars dropped when zero
    lists: frozenset[str] = frozenset()  # lists and maps dropped when empty
    structs: tuple[str, ...] = ()  # structs written even when unset
    children: dict[str, tuple[str, _Struct | None]] = field(default_factory=dict)


def to_wire_form(definition: str, draft: Object) -> None:
    """Bring a draft of this OpenAPI definition into the form in which it is stored."""
    _apply(_struct(definition), draft)


def _apply(struct: _Struct, value: Object) -> None:
    plain, lists, children = struct.plain, struct.lists, struct.children
    doomed: list[str] = []
    for name, item in value.items():  # objects have few of the fields that their structs have: go by what is there
        if not item and _dropped(plain, lists, name, item):
            doomed.append(name)
        elif name in children:
            container, child = children[name]
            if container:
                _convert_entries(container, child, item)
            elif child is None:
                value[name] = canonical_quantity(item)
            elif isinstance(item, dict):
                _apply(child, item)
    for name in doomed:
        del value[name]
    for name, zero in struct.zero.items():
        if name not in value or (name in struct.nullable and not value[name]):
            value[name] = zero
    for name in struct.structs:
        if name not in value:
            made = value[name] = {}
            below = children.get(name)
            if below is not None and below[1] is not None:
                _apply(below[1], made)


def _dropped(plain: frozenset[str], lists: frozenset[str], name: str, item: Any) -> bool:
    """Whether a value that is null, zero or empty is left out."""
    if item is None:
        return True
    if name in plain:
        return item == "" or item is False or item == 0
    return name in lists


def _convert_entries(container: str, child: _Struct | None, item: Any) -> None:
    if container == "[]" and isinstance(item, list):
        for index, entry in enumerate(item):
            if child is not None and isinstance(entry, dict):
                _apply(child, entry)
            else:
                item[index] = _convert(child, entry)
    elif isinstance(item, dict):
        for key, entry in item.items():
            item[key] = _convert(child, entry)


def _convert(child: _Struct | None, item: Any) -> Any:
    if child is None:
        return "0" if item is None else canonical_quantity(item)
    if item is None:
        item = {}
    if isinstance(item, dict):
        _apply(child, item)
    return item


@cache
def _struct(definition: str) -> _Struct:
    with _builds:
        found = _Struct()
        _building[definition] = found
        _fill(found, definition)
        del _building[definition]
        return found


_building: dict[str, _Struct] = {}
_builds = RLock()
"""Large objects are worked on in threads: nobody may see what is half built."""


def _fill(found: _Struct, definition: str) -> None:
    raw = definitions().structure(definition)
    required = frozenset(raw.get("required") or ())
    tags = _Tags(definition)
    plain, lists, structs, nullable = set(), set(), [], set()
    in_json = definition.startswith(_STORED_AS_JSON)
    for name, schema in (raw.get("properties") or {}).items():
        if name in ("apiVersion", "kind") and "x-kubernetes-group-version-kind" in raw:
            continue
        kind, child = _classify(schema)
        if child is not None:
            found.children[name] = child
        if name in tags.null_times:
            found.zero[name] = None
        elif kind == "time":
            continue
        elif kind == "struct":
            if (name in required and name not in tags.pointer_structs) or name in tags.structs:
                structs.append(name)
        elif name in required and name in tags.pointers:
            continue
        elif name in required or name in tags.always:
            found.zero[name] = None if schema.get("format") == "byte" else _ZERO.get(kind)
            if kind in ("list", "map") and not in_json:
                nullable.add(name)
        elif kind in ("list", "map"):
            lists.add(name)
        elif kind in ("string", "number", "boolean") and name not in tags.pointers:
            plain.add(name)
    found.plain, found.lists, found.structs = frozenset(plain), frozenset(lists), tuple(structs)
    found.nullable = frozenset(nullable)


_STORED_AS_JSON = ("io.k8s.apiextensions-apiserver.", "io.k8s.kube-aggregator.")
_ZERO: dict[str, Any] = {"string": "", "number": 0, "boolean": False, "quantity": "0"}


class _Tags:
    """The rows of ``go_tags`` for one definition."""

    __slots__ = ("always", "null_times", "pointer_structs", "pointers", "structs")

    def __init__(self, definition: str) -> None:
        *_, group, version, name = definition.split(".")
        self.pointers = _row(go_tags.POINTERS, group, version, name)
        self.pointer_structs = _row(go_tags.POINTER_STRUCTS, group, version, name)
        self.null_times = _row(go_tags.NULL_TIMES, group, version, name)
        self.always = _row(go_tags.ALWAYS, group, version, name)
        self.structs = _row(go_tags.VALUE_STRUCTS, group, version, name)
        if name in _WHOLE_OBJECTS or "x-kubernetes-group-version-kind" in definitions().structure(definition):
            self.structs |= {"spec", "status"}


_WHOLE_OBJECTS = frozenset({"PersistentVolumeClaim"})


def _row(table: dict[str, frozenset[str]], group: str, version: str, name: str) -> frozenset[str]:
    for key in (f"{group}.{name}", f"{version}.{name}", name):
        if key in table:
            return table[key]
    return frozenset()


def _classify(schema: Object) -> tuple[str, tuple[str, _Struct | None] | None]:
    """(sort of the field, how to go down into it)."""
    reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), "")
    if reference:
        sort, struct = _referred(reference)
        return sort, ("", struct) if sort in ("struct", "quantity") else None
    declared = schema.get("type")
    if declared == "array":
        return "list", _below("[]", schema["items"])
    if declared == "object":
        inner = schema.get("additionalProperties")
        return "map", _below("{}", inner) if isinstance(inner, dict) else None
    if declared in ("integer", "number"):
        return "number", None
    return str(declared), None


def _below(container: str, schema: Object) -> tuple[str, _Struct | None] | None:
    """How to go down into the entries of a list or map; None where there is nothing to do."""
    _, child = _classify(schema)
    return (container, child[1]) if child is not None and child[0] == "" else None


def _referred(reference: str) -> tuple[str, _Struct | None]:
    definition, name = reference, reference.rpartition(".")[2]
    if name in ("Time", "MicroTime"):
        return "time", None
    if name == "Quantity":
        return "quantity", None
    if name in _OPAQUE:
        return "opaque", None
    return "struct", _building.get(definition) or _struct(definition)
