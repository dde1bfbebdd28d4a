"""The first value of a strategically patched object that its Go type cannot take up.

Strategic patches are made on decoded objects, so misfits are named by ``DefaultUnstructuredConverter``
(``k8s.io/apimachinery/pkg/runtime/converter.go``) and not by the JSON decoder.
"""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.schema import INT_OR_STRING, QUANTITY, Schema

_KINDS: dict[type, str] = {
    dict: "map", list: "slice", str: "string", bool: "bool", int: "int64", float: "float64",
}  # fmt: skip
_SCALARS = {"string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)}


def first_misfit(schema: Schema, value: Any) -> str:
    """The converter's text for the first misfit below ``value``; empty when there is none.

    Types that read themselves (quantities, times, int-or-string) are left to the decoder's check.
    """
    if value is None or schema.preserve_unknown or _reads_itself(schema):
        return ""
    found = _KINDS.get(type(value), "")
    if schema.properties or schema.type == "object":
        if not isinstance(value, dict):
            return f"cannot restore struct from: {found}" if schema.properties else f"cannot restore map from {found}"
        return _first_member(schema, value)
    if schema.type == "array":
        if not isinstance(value, list):
            return f"cannot restore slice from {found}"
        return next(filter(None, (first_misfit(schema.items, item) for item in value)), "") if schema.items else ""
    return _scalar_misfit(schema, value, found)


def _first_member(schema: Schema, value: dict[str, Any]) -> str:
    for key, inner in value.items():
        below = schema.properties.get(key) if schema.properties else schema.additional
        problem = first_misfit(below, inner) if below is not None else ""
        if problem:
            return problem
    return ""


def _reads_itself(schema: Schema) -> bool:
    return schema.name in (QUANTITY, INT_OR_STRING) or schema.format in ("time", "date-time", "micro-time", "byte")


def _scalar_misfit(schema: Schema, value: Any, found: str) -> str:
    allowed = _SCALARS.get(schema.type or "")
    if allowed is None or type(value) in allowed:
        return ""
    wanted = {"boolean": "bool", "number": "float64", "integer": schema.format or "int64"}.get(schema.type, schema.type)
    if (found, schema.type) in (("int64", "string"), ("float64", "integer")):
        return f"cannot convert {found} to {wanted}"
    return f"unrecognized type: {wanted}"
