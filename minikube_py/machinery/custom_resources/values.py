"""Whether values fit their schemas: kube-openapi's validation with the texts that the API server makes of it.

``value_errors`` looks at a whole value; ``changed_value_errors`` forgives what an update did not touch
(ratcheting). A schema's own value is checked from the outside in, its type first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isclose
from typing import Any

import orjson

from minikube_py.machinery.cel.values import equal
from minikube_py.machinery.custom_resources.correlation import NOT_FOUND, old_items
from minikube_py.machinery.custom_resources.formats import has_format
from minikube_py.machinery.errors import FieldError, go_quote, invalid_value, required, too_many
from minikube_py.machinery.regular_expressions import PatternError, matches

Json = Mapping[str, Any]
Errors = list[FieldError]

ROOT = "<nil>"
"""The field of errors that name no field."""
_JUNCTORS = frozenset({"anyOf", "oneOf", "allOf", "not"})
_INT_OR_STRING = "x-kubernetes-int-or-string"


def value_errors(schema: Json, value: Any, path: str = "") -> Errors:
    """Errors of a value (``ValidateCustomResource``); ``path`` is prefixed to all fields."""
    found = _unique(_errors(schema, value, ""))
    if not path:
        return found
    return [FieldError(error.type, _below(path, error.field), error.value, error.detail) for error in found]


def _below(path: str, field: str) -> str:
    return path if field == ROOT else f"{path}.{field}"


def changed_value_errors(schema: Json, value: Any, old: Any) -> Errors:
    """Errors of a changed value, without those of parts that are as they were (``ValidateCustomResourceUpdate``)."""
    if not value_errors(schema, value):
        return []
    return _unique(_errors(schema, value, "", old))


def _unique(errors: Iterator[FieldError]) -> Errors:
    return list({(error.field, error.body()): error for error in errors}.values())


def _typed(path: str, wanted: str, shown: Any) -> FieldError:
    told = go_quote(shown) if isinstance(shown, str) else str(shown)
    return FieldError("FieldValueTypeInvalid", path or ROOT, shown, f"{path} in body must be of type {wanted}: {told}")


def _wrong(path: str, value: Any, text: str) -> FieldError:
    return invalid_value(path or ROOT, value, f"{path} in body {text}")


def type_name(value: Any) -> str:
    """The type of a JSON value as errors tell it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _errors(schema: Json, value: Any, path: str, old: Any = NOT_FOUND) -> Iterator[FieldError]:
    """Errors of a value at a path; nothing when it equals ``old``."""
    if old is not NOT_FOUND and path and equal(value, old):
        return
    yield from _type_errors(schema, value, path)
    if value is None:
        yield from _enum_errors(schema, value, path)
        return
    if not _JUNCTORS.isdisjoint(schema):
        yield from _combined_errors(schema, value, path)
    if isinstance(value, str):
        yield from _text_errors(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_errors(schema, value, path)
    elif isinstance(value, list):
        yield from _list_errors(schema, value, path, old)
    yield from _enum_errors(schema, value, path)
    if isinstance(value, dict):
        yield from _object_errors(schema, value, path, old)


def _type_errors(schema: Json, value: Any, path: str) -> Iterator[FieldError]:
    wanted = schema.get("type") or ""
    if schema.get(_INT_OR_STRING):
        wanted = "integer,string"
    if not wanted:
        return
    found = type_name(value)
    if found == "null":
        if not schema.get("nullable"):
            yield _typed(path, wanted, found)
        return
    if found == "number" and value.is_integer() and "integer" in wanted:
        found = "integer"
    fits = found in wanted.split(",") or (found == "integer" and wanted == "number")
    if not fits:
        yield _typed(path, wanted, found)


def _combined_errors(schema: Json, value: Any, path: str) -> Iterator[FieldError]:
    shown = go_quote(path)
    if schema.get("anyOf"):
        best = _best_of(schema["anyOf"], value, path)
        if best is not None:
            yield invalid_value(ROOT, "", f"{shown} must validate at least one schema (anyOf)")
            yield from best
    if schema.get("oneOf"):
        valid = sum(not list(_errors(part, value, path)) for part in schema["oneOf"])
        if valid != 1:
            told = "Found none valid" if not valid else f"Found {valid} valid alternatives"
            yield invalid_value(ROOT, "", f"{shown} must validate one and only one schema (oneOf). {told}")
            if not valid:
                yield from _best_of(schema["oneOf"], value, path) or ()
    all_of = schema.get("allOf") or ()
    failed = 0
    for part in all_of:
        found = list(_errors(part, value, path))
        failed += bool(found)
        yield from found
    if failed:
        told = ". None validated" if failed == len(all_of) else ""
        yield invalid_value(ROOT, "", f"{shown} must validate all the schemas (allOf){told}")
    if schema.get("not") is not None and not list(_errors(schema["not"], value, path)):
        yield invalid_value(ROOT, "", f"{shown} must not validate the schema (not)")


def _best_of(parts: list[Json], value: Any, path: str) -> Errors | None:
    """The errors of the alternative that fits best (most checks passed, the first of equals); None if one is valid."""
    best: Errors | None = None
    most = -1
    for part in parts:
        found = list(_errors(part, value, path))
        if not found:
            return None
        checks = _checks(part, value)
        if checks > most:
            best, most = found, checks
    return best


def _checks(schema: Json, value: Any) -> int:
    """How many validators looked at a value, as kube-openapi's ``MatchCount`` counts them."""
    count = 2 + sum(1 for _ in (schema.get("properties") or ())) if isinstance(value, dict) else 2
    for name, inner in (schema.get("properties") or {}).items():
        if isinstance(value, dict) and name in value:
            count += _checks(inner, value[name])
    return count


def _text_errors(schema: Json, value: str, path: str) -> Iterator[FieldError]:
    most, least, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if most is not None and len(value) > most:
        yield FieldError("FieldValueTooLong", path or ROOT, value, f"may not be more than {most} bytes")
    elif least is not None and len(value) < least:
        yield _wrong(path, value, f"should be at least {least} chars long")
    elif pattern:
        try:
            fits = matches(pattern, value)
        except PatternError:
            fits = False
        if not fits:
            yield _wrong(path, value, f"should match '{pattern}'")
    written = schema.get("format") or ""
    if written and schema.get("type") in ("string", None, "") and not has_format(written, value):
        yield _typed(path, written, value)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e21 else repr(value)


def _number_errors(schema: Json, value: float, path: str) -> Iterator[FieldError]:
    factor, most, least = schema.get("multipleOf"), schema.get("maximum"), schema.get("minimum")
    if factor and not _is_multiple(value, factor):
        yield _wrong(path, value, f"should be a multiple of {_number(factor)}")
    if most is not None:
        exclusive = schema.get("exclusiveMaximum")
        if value >= most if exclusive else value > most:
            yield _wrong(path, value, f"should be less than {'' if exclusive else 'or equal to '}{_number(most)}")
    if least is not None:
        exclusive = schema.get("exclusiveMinimum")
        if value <= least if exclusive else value < least:
            yield _wrong(path, value, f"should be greater than {'' if exclusive else 'or equal to '}{_number(least)}")


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor
    return isclose(quotient, round(quotient), rel_tol=1e-12, abs_tol=1e-12)


def _list_errors(schema: Json, value: list[Any], path: str, old: Any) -> Iterator[FieldError]:
    items = schema.get("items")
    if isinstance(items, Mapping):
        before = old_items(schema, value, old)
        for index, item in enumerate(value):
            yield from _errors(items, item, f"{path}[{index}]", before(index))
    most, least = schema.get("maxItems"), schema.get("minItems")
    if least is not None and len(value) < least:
        yield _wrong(path, len(value), f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield too_many(path or ROOT, len(value), most)
    if schema.get("uniqueItems") and len({orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value}) < len(
        value
    ):
        yield _wrong(path, value, "shouldn't contain duplicates")


def _enum_errors(schema: Json, value: Any, path: str) -> Iterator[FieldError]:
    allowed = schema.get("enum")
    if not allowed or any(equal(value, other) for other in allowed):
        return
    if value is None and schema.get("nullable"):
        return
    shown = ", ".join(go_quote(item if isinstance(item, str) else orjson.dumps(item).decode()) for item in allowed)
    yield FieldError("FieldValueNotSupported", path or ROOT, value, f"supported values: {shown}")


def _object_errors(schema: Json, value: dict[str, Any], path: str, old: Any) -> Iterator[FieldError]:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if least is not None and len(value) < least:
        yield _wrong(path, len(value), f"should have at least {least} properties")
        return
    if most is not None and len(value) > most:
        yield _wrong(path, len(value), f"should have at most {most} properties")
        return
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    before = _old_field(old)
    prefix = f"{path}." if path else ""
    if isinstance(additional, Mapping):
        for key, item in value.items():
            if key not in properties:
                yield from _errors(additional, item, f"{prefix}{key}", before(key))
    for key, inner in properties.items():
        if key in value:
            yield from _errors(inner, value[key], f"{prefix}{key}", before(key))
    for key in schema.get("required") or ():
        if key not in value:
            yield required(f"{prefix}{key}")


def _old_field(old: Any) -> Callable[[str], Any]:
    if not isinstance(old, dict):
        return lambda key: NOT_FOUND
    return lambda key: old.get(key, NOT_FOUND)
