"""Why an applied configuration does not fit its schema, in structured-merge-diff's words.

Unlike decoding, every misfit is reported, with list items by their keys:
``.spec.containers[name="c"].bogus: field not declared in schema``.
"""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.field_paths import DEDUCED, KEYED, VALUES, child, item_element, ownership, value_element
from minikube_py.machinery.field_sets import element_text
from minikube_py.machinery.schema import ANYTHING, INT_OR_STRING, QUANTITY, Schema


def typed_errors(schema: Schema, value: Any) -> list[str]:
    """``path: problem`` for each misfit, in document order."""
    found: list[str] = []
    _check(schema, value, "", found)
    return found


def _check(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if value is None or schema.name in (QUANTITY, INT_OR_STRING) or schema.int_or_string:
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
        found.append(f"{path}: expected map, got {_called(value)}")
        return
    for key, item in value.items():
        if key not in schema.properties and schema.additional is None and not schema.preserve_unknown:
            if not (schema.embedded and key in ("apiVersion", "kind", "metadata")):
                found.append(f"{path}.{key}: field not declared in schema")
            continue
        _check(child(schema, key), item, f"{path}.{key}", found)


def _check_list(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if not isinstance(value, list):
        found.append(f"{path}: expected list, got {_called(value)}")
        return
    how = ownership(schema)
    inner = schema.items or ANYTHING
    seen: set[str] = set()
    for index, item in enumerate(value):
        element = f"i:{index}"
        if how == KEYED and isinstance(item, dict):
            element = item_element(schema, item)
        elif how == VALUES:
            element = value_element(item)
        if element in seen:
            found.append(f"{path}: duplicate entries for key {element_text(element)}")
        seen.add(element)
        _check(inner, item, path + element_text(element), found)


def _scalar_problem(schema: Schema, value: Any) -> str | None:
    if schema.type == "string" and not isinstance(value, str):
        return f"expected string, got {_called(value)}"
    if schema.type in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"expected numeric (int or float), got {_called(value)}"
    if schema.type == "boolean" and not isinstance(value, bool):
        return f"expected boolean, got {_called(value)}"
    return None


def _called(value: Any) -> str:
    if isinstance(value, dict):
        return "map"
    if isinstance(value, list):
        return "list"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return "int" if isinstance(value, int) else "float"
