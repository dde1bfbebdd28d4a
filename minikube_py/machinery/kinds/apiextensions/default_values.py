"""Defaults inside schemas: they fit the schema they belong to, and nothing in them is unknown to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.custom_resources.embedded import embedded_errors
from minikube_py.machinery.custom_resources.places import marked_places
from minikube_py.machinery.custom_resources.rules import compile_rules
from minikube_py.machinery.custom_resources.values import value_errors
from minikube_py.machinery.errors import invalid_value
from minikube_py.machinery.kinds.apiextensions.schema_walk import Json, subschemas
from minikube_py.machinery.kinds.common.checks import Errors

_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_META_FIELDS = frozenset({"metadata", "kind", "apiVersion"})


def default_errors(
    path: str, schema: Json, *, root: bool = True, inside_meta: bool = False, pruned: bool = True
) -> Errors:
    """``ValidateDefaults``: a default keeps all its fields when it is pruned, and fits its own schema and rules."""
    embedded = root or bool(schema.get(_EMBEDDED))
    inside_meta = inside_meta and not embedded
    errors: Errors = []
    if schema.get("default") is not None:
        errors += _value_errors(f"{path}.default", schema, embedded, unpruned=inside_meta or not pruned)
    if isinstance(schema.get("items"), Mapping):
        errors += default_errors(f"{path}.items", schema["items"], root=False, inside_meta=inside_meta, pruned=pruned)
    for name, child in (schema.get("properties") or {}).items():
        inside = inside_meta or (embedded and name in _META_FIELDS)
        at = f"{path}.properties[{name}]"
        errors += default_errors(at, child, root=False, inside_meta=inside, pruned=pruned)
    if isinstance(schema.get("additionalProperties"), Mapping):
        at = f"{path}.additionalProperties"
        errors += default_errors(at, schema["additionalProperties"], root=False, inside_meta=inside_meta, pruned=pruned)
    return errors


def _value_errors(path: str, schema: Json, embedded: bool, *, unpruned: bool) -> Errors:
    default = schema["default"]
    errors: Errors = []
    if not unpruned and has_unknown_fields(default, schema, embedded=embedded):
        errors.append(invalid_value(path, default, "must not have unknown fields"))
    places = marked_places(schema)
    found = list(embedded_errors(places, default, path)) or value_errors(schema, default, path)
    if not found:
        rules = compile_rules(places, root=embedded)
        found = rules.errors(default, default, path, forgiving=False) if rules is not None else []
    return errors + found


def has_unknown_fields(value: Any, schema: Json | None, *, embedded: bool = False) -> bool:
    """Whether pruning would take something out of a value."""
    if isinstance(value, list):
        items = schema.get("items") if schema else None
        return any(has_unknown_fields(entry, items, embedded=_embedded(items)) for entry in value)
    if not isinstance(value, Mapping):
        return False
    if schema is None:
        return bool(value)
    return any(
        _is_unknown(name, entry, schema)
        for name, entry in value.items()
        if not (embedded and name in _META_FIELDS)
    )  # fmt: skip


def _is_unknown(name: str, entry: Any, schema: Json) -> bool:
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    if name in properties:
        return has_unknown_fields(entry, properties[name], embedded=_embedded(properties[name]))
    if additional is None:
        return not schema.get(_PRESERVE)
    inner = additional if isinstance(additional, Mapping) else None
    return not schema.get(_PRESERVE) and has_unknown_fields(entry, inner, embedded=_embedded(inner))


def _embedded(schema: Json | None) -> bool:
    return bool(schema and schema.get(_EMBEDDED))


def has_unpruned_defaults(schema: Json) -> bool:
    """Whether a schema holds a default that says more than the schema knows."""
    return any(part.get("default") is not None for part in subschemas(schema)) and bool(default_errors("", schema))
