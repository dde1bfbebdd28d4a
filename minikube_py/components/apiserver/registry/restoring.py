"""What becomes of a strategically patched object, which is data, when it is put back into its Go type.

Strategic patches are made on decoded objects, so misfits are named by ``DefaultUnstructuredConverter``
(``k8s.io/apimachinery/pkg/runtime/converter.go``) and not by the JSON decoder, and numbers are converted as Go
converts them: whole floats become integers, and integers that are too large are cut.
"""

from __future__ import annotations

import base64
from typing import Any

from minikube_py.machinery.go_types import go_field_type
from minikube_py.machinery.schema import INT_OR_STRING, QUANTITY, Schema
from minikube_py.machinery.type_errors import bad_base64

_KINDS: dict[type, str] = {
    dict: "map", list: "slice", str: "string", bool: "bool", int: "int64", float: "float64",
}  # fmt: skip
_PLAIN: dict[str, tuple[type, ...]] = {"string": (str,), "boolean": (bool,), "number": (int, float)}
_BASIC = {"boolean": "bool", "number": "float64"}
_BYTE = Schema({"type": "integer", "format": "uint8"})


def restore(schema: Schema, value: Any) -> str:
    """The converter's text for the first misfit below ``value``; empty when there is none. Changes the numbers in it.

    Types that read themselves (quantities, times, int-or-string) are left to the decoder's check.
    """
    return _restored(schema, value, "", "")[1]


def _restored(schema: Schema, value: Any, owner: str, field: str) -> tuple[Any, str]:
    """The value as its type holds it, and what is wrong with it."""
    if value is None or schema.preserve_unknown or _reads_itself(schema):
        return value, ""
    found = _KINDS.get(type(value)) or ("map" if isinstance(value, dict) else "")
    if schema.properties or schema.type == "object":
        if isinstance(value, dict):
            return value, _members(schema, value, owner, field)
        return (
            value,
            f"cannot restore struct from: {found}" if schema.properties else f"cannot restore map from {found}",
        )
    if schema.format == "byte":
        return _bytes(value, found)
    if schema.type == "array":
        if not isinstance(value, list):
            return value, f"cannot restore slice from {found}"
        return value, _items(schema.items, value, owner, field) if schema.items else ""
    return _scalar(schema, value, found, owner, field)


def _members(schema: Schema, value: dict[str, Any], owner: str, field: str) -> str:
    for key, inner in value.items():
        below = schema.properties.get(key) if schema.properties else schema.additional
        if below is None:
            continue
        if schema.properties:
            owner, field = schema.name, key
        restored, problem = _restored(below, inner, owner, field)
        if problem:
            return problem
        if restored is not inner:
            value[key] = restored
    return ""


def _items(schema: Schema, values: list[Any], owner: str, field: str) -> str:
    for index, inner in enumerate(values):
        restored, problem = _restored(schema, inner, owner, field)
        if problem:
            return problem
        if restored is not inner:
            values[index] = restored
    return ""


def _reads_itself(schema: Schema) -> bool:
    return schema.name in (QUANTITY, INT_OR_STRING) or schema.format in ("time", "date-time", "micro-time")


def _bytes(value: Any, found: str) -> tuple[Any, str]:
    if isinstance(value, str):
        problem = bad_base64(value)
        return value, f"error decoding from json: {problem}" if problem else ""
    if not isinstance(value, list):
        return value, f"cannot restore slice from {found}"
    numbers = list(value)
    problem = _items(_BYTE, numbers, "", "")
    return value if problem else base64.b64encode(bytes(number or 0 for number in numbers)).decode(), problem


def _scalar(schema: Schema, value: Any, found: str, owner: str, field: str) -> tuple[Any, str]:
    if schema.type == "integer":
        return _integer(value, schema.format or "int64", found)
    allowed = _PLAIN.get(schema.type)
    if allowed is None or type(value) in allowed:
        return value, ""
    if (found, schema.type) == ("int64", "string"):  # Go can convert these, and the converter does not want to
        return value, f"cannot convert int64 to {go_field_type(schema, owner, field)}"
    return value, f"unrecognized type: {_BASIC.get(schema.type, schema.type)}"


def _integer(value: Any, wanted: str, found: str) -> tuple[Any, str]:
    if found == "int64" and wanted != "uint8" and -(2**31) <= value < 2**31:
        return value, ""
    if found == "float64":
        if not value.is_integer():
            return value, f"cannot convert float64 to {wanted}"
        value = int(value) if -(2.0**63) <= value < 2.0**63 else -(2**63)  # as amd64 does
    elif found != "int64":
        return value, f"unrecognized type: {wanted}"
    unsigned, bits = wanted.startswith("u"), int(wanted.lstrip("uint") or 64)
    cut = value & (2**bits - 1)
    cut = cut if unsigned or cut < 2 ** (bits - 1) else cut - 2**bits
    return value if cut == value else cut, ""
