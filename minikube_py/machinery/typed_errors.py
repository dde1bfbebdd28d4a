"""Why an applied configuration does not fit its schema, in structured-merge-diff's words.

Unlike decoding, every misfit is reported, with list items by their keys:
``.spec.containers[name="c"].bogus: field not declared in schema``.
"""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.field_paths import (
    DEDUCED,
    KEYED,
    VALUES,
    child,
    item_element,
    missing_key,
    ownership,
    value_element,
)
from minikube_py.machinery.field_sets import element_text
from minikube_py.machinery.patching.go_texts import go_map
from minikube_py.machinery.schema import ANYTHING, INT_OR_STRING, QUANTITY, Schema


def typed_errors(schema: Schema, value: Any) -> list[str]:
    """``path: problem`` for each misfit, in document order."""
    found: list[str] = []
    _check(schema, value, "", found)
    return found


def _check(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if value is None:
        return
    if schema.name in (QUANTITY, INT_OR_STRING) or schema.int_or_string:
        if isinstance(value, dict | list):
            found.append(f"{path}: expected any scalar, got {_printed(value)}")
        return
    if ownership(schema) == DEDUCED or (schema.preserve_unknown and not schema.properties):
        return
    if schema.type == "array":
        _check_list(schema, value, path, found)
    elif schema.properties or schema.additional is not None or schema.type == "object":
        _check_map(schema, value, path, found)
    else:
        problem = _scalar_problem(schema, value)
        if problem:
            found.append(f"{path}: {problem}")


def _check_map(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if not isinstance(value, dict):
        found.append(f"{path}: expected map, got {_printed(value)}")
        return
    for key, item in value.items():
        if key not in schema.properties and schema.additional is None and not schema.preserve_unknown:
            if schema.embedded and key in ("apiVersion", "kind", "metadata"):
                continue
            found.append(f"{path}.{key}: field not declared in schema")
            return  # nothing else of this map is looked at
        _check(child(schema, key), item, f"{path}.{key}", found)


def _check_list(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if not isinstance(value, list):
        found.append(f"{path}: expected list, got {_printed(value)}")
        return
    how = ownership(schema)
    inner = schema.items or ANYTHING
    seen: set[str] = set()
    for index, item in enumerate(value):
        problem = _element_problem(schema, how, item)
        if problem:
            found.append(f"{path}: element {index}: {problem}")
            return
        element = f"i:{index}"
        if how == KEYED:
            element = item_element(schema, item)
        elif how == VALUES:
            element = value_element(item)
        if element in seen:
            found.append(f"{path}: duplicate entries for key {element_text(element)}")
        seen.add(element)
        _check(inner, item, path + element_text(element), found)


def _element_problem(schema: Schema, how: int, item: Any) -> str:
    """Why an item of an associative list cannot be told from the others; empty when it can."""
    if how == KEYED:
        if not isinstance(item, dict):
            return f"associative list with keys may not have {'a null element' if item is None else 'non-map elements'}"
        missing = missing_key(schema, item)
        if missing:
            why = "(and doesn't have default value)"
            return f'associative list with keys has an element that omits key field "{missing}" {why}'
    elif how == VALUES:
        if isinstance(item, dict):
            return "associative list without keys has an element that's a map type"
        if isinstance(item, list):
            return "not supported: associative list with lists as elements"
        if item is None:
            return "associative list without keys has an element that's an explicit null"
    return ""


def _scalar_problem(schema: Schema, value: Any) -> str | None:
    if schema.type == "string" and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{_syntax(value)}}}"
    if schema.type in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"expected numeric (int or float), got {_type(value)}"
    if schema.type == "boolean" and not isinstance(value, bool):
        return f"expected boolean, got {_printed(value)}"
    return None


def _printed(value: Any) -> str:
    """How Go prints its wrapper of a value (``%v``)."""
    return f"&{{{go_map(value)}}}"


def _type(value: Any) -> str:
    """The Go type of JSON data that is no number."""
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return "bool" if isinstance(value, bool) else "string"


def _syntax(value: Any) -> str:
    """JSON data in Go's syntax (``%#v``)."""
    if isinstance(value, dict):
        members = ", ".join(f"{go_quote(key)}:{_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{members}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(_syntax, value))}}}"
    if value is None:
        return "interface {}(nil)"
    return go_quote(value) if isinstance(value, str) else go_map(value)
