"""JSON data and its types as Go's ``fmt`` prints them, and the errors that the reference makes of such texts."""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.go_floats import go_float

_TYPES = {
    dict: "map[string]interface {}",
    list: "[]interface {}",
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
}
_NO_VALUE = "%!s(<nil>)"


def go_map(value: Any) -> str:
    """A value under ``%v``: ``map[a:1 b:[x y]]``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_map, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return go_float(value) if isinstance(value, float) else str(value)


def go_string(value: Any) -> str:
    """A value under ``%s``, which complains of what is no text."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_string(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_string, value)) + "]"
    if value is None:
        return _NO_VALUE
    return value if isinstance(value, str) else f"%!s({go_type(value)}={go_map(value)})"


def go_type(value: Any) -> str:
    """The type of a decoded value, as ``%s`` prints it."""
    return _TYPES.get(type(value), _NO_VALUE)


def plain_error(message: str) -> ApiError:
    """An error that the reference does not classify: 500 without a reason."""
    return ApiError(500, "", message)


def bad_type(wanted: type, found: Any) -> ApiError:
    return plain_error(f"expected a {_TYPES[wanted]}, but received a {go_type(found)}")


def no_merge_key(item: Any, key: str) -> ApiError:
    return plain_error(f"map: {go_map(item)} does not contain declared merge key: {key}")


def bad_directive(directive: Any, patch: Any) -> ApiError:
    return plain_error(f"unknown patch type: {go_string(directive)} in map: {go_map(patch)}")


def not_processable() -> ApiError:
    """422 with the one text that clients see of it."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, details={})
