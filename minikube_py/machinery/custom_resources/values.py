"""Whether values fit their schemas: kube-openapi's validation with the texts that the API server makes of it.

``value_errors`` looks at a whole value; ``changed_value_errors`` forgives what an update did not touch
(ratcheting). A schema's own value is checked from the outside in, its type first. ``compile_values`` makes a tree of
checks of a schema, each place when it is first met; a place that allows every value of a type costs a look at the type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
Check = Callable[[Any, str, Any, Errors], None]
"""(value, its path, its old value or NOT_FOUND, the list that errors are added to)."""

ROOT = "<nil>"
"""The field of errors that name no field."""
_JUNCTORS = frozenset({"anyOf", "oneOf", "allOf", "not"})
_INT_OR_STRING = "x-kubernetes-int-or-string"
_TEXT_LIMITS = frozenset({"maxLength", "minLength", "pattern", "format"})
_NUMBER_LIMITS = frozenset({"multipleOf", "maximum", "minimum"})
_LIST_LIMITS = frozenset({"items", "maxItems", "minItems", "uniqueItems"})
_OBJECT_LIMITS = frozenset({"properties", "additionalProperties", "required", "maxProperties", "minProperties"})
_TYPES: Mapping[str, frozenset[type]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
    "integer,string": frozenset({int, str}),
}
_NULL: frozenset[type] = frozenset({type(None)})
_ALL_TYPES = frozenset({str, int, float, bool, list, dict}) | _NULL


@dataclass(frozen=True, slots=True)
class ValueCheck:
    """What one place of a schema asks: every value of a type in ``free`` is right, the others go to ``check``."""

    free: frozenset[type]
    check: Check


def compile_values(schema: Json) -> ValueCheck:
    """The checks of a schema."""
    types = _types(schema)
    return ValueCheck(_free(schema, types), _check(schema, types))


def value_errors(schema: Json | ValueCheck, value: Any, path: str = "") -> Errors:
    """Errors of a value (``ValidateCustomResource``); ``path`` is prefixed to all fields."""
    found = _found(schema, value, NOT_FOUND)
    if not path:
        return found
    return [FieldError(error.type, _below(path, error.field), error.value, error.detail) for error in found]


def _below(path: str, field: str) -> str:
    return path if field == ROOT else f"{path}.{field}"


def changed_value_errors(schema: Json | ValueCheck, value: Any, old: Any) -> Errors:
    """Errors of a changed value, without those of parts that are as they were (``ValidateCustomResourceUpdate``)."""
    return _found(schema, value, old) if _found(schema, value, NOT_FOUND) else []


def _found(schema: Json | ValueCheck, value: Any, old: Any) -> Errors:
    place = schema if isinstance(schema, ValueCheck) else compile_values(schema)
    found: Errors = []
    place.check(value, "", old, found)
    return list({(error.field, error.body()): error for error in found}.values()) if found else found


def _types(schema: Json) -> frozenset[type]:
    """The Python types of values that need no closer look at their type."""
    wanted = "integer,string" if schema.get(_INT_OR_STRING) else schema.get("type") or ""
    found = _TYPES.get(wanted, frozenset()) if wanted else _ALL_TYPES
    return found | _NULL if schema.get("nullable") else found


def _free(schema: Json, types: frozenset[type]) -> frozenset[type]:
    if not _JUNCTORS.isdisjoint(schema) or schema.get("enum"):
        return frozenset()
    bound: set[type] = set()
    for limits, limited in (
        (_TEXT_LIMITS, (str,)), (_NUMBER_LIMITS, (int, float)), (_LIST_LIMITS, (list,)), (_OBJECT_LIMITS, (dict,)),
    ):  # fmt: skip
        if not limits.isdisjoint(schema):
            bound.update(limited)
    return types - bound


def _check(schema: Json, types: frozenset[type]) -> Check:
    combined = _combined(schema) if not _JUNCTORS.isdisjoint(schema) else None
    checks: dict[type, Check] = {str: _text(schema), list: _list(schema), dict: _object(schema)}
    checks[int] = checks[float] = _number(schema)
    allowed = schema.get("enum")
    texts = frozenset(item for item in allowed or () if isinstance(item, str))

    def check(value: Any, path: str, old: Any, found: Errors) -> None:
        if old is not NOT_FOUND and path and equal(value, old):
            return
        sort = type(value)
        if sort not in types:
            _type_errors(schema, value, path, found)
        if combined is not None and value is not None:
            combined(value, path, old, found)
        inner = checks.get(sort)
        if allowed and sort is dict:
            _enum_errors(schema, value, path, found)
        if inner is not None:
            inner(value, path, old, found)
        if allowed and sort is not dict and (sort is not str or value not in texts):
            _enum_errors(schema, value, path, found)

    return check


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


def _type_errors(schema: Json, value: Any, path: str, found: Errors) -> None:
    wanted = "integer,string" if schema.get(_INT_OR_STRING) else schema.get("type") or ""
    if not wanted:
        return
    name = type_name(value)
    if name == "null":
        if not schema.get("nullable"):
            found.append(_typed(path, wanted, name))
        return
    if name == "number" and value.is_integer() and "integer" in wanted:
        name = "integer"
    if name not in wanted.split(",") and (name != "integer" or wanted != "number"):
        found.append(_typed(path, wanted, name))


def _combined(schema: Json) -> Check:
    """anyOf, oneOf, allOf and not; the parts have no old values."""
    any_of = [_part(part) for part in schema.get("anyOf") or ()]
    one_of = [_part(part) for part in schema.get("oneOf") or ()]
    all_of = [_part(part) for part in schema.get("allOf") or ()]
    none_of = _part(schema["not"]) if schema.get("not") is not None else None

    def check(value: Any, path: str, old: Any, found: Errors) -> None:
        shown = go_quote(path)
        best = _best_of(any_of, value, path)
        if best:
            found.append(invalid_value(ROOT, "", f"{shown} must validate at least one schema (anyOf)"))
            found.extend(best)
        valid = sum(not part.errors(value, path) for part in one_of)
        if one_of and valid != 1:
            told = "Found none valid" if not valid else f"Found {valid} valid alternatives"
            found.append(invalid_value(ROOT, "", f"{shown} must validate one and only one schema (oneOf). {told}"))
            if not valid:
                found.extend(_best_of(one_of, value, path))
        wrong = [errors for part in all_of if (errors := part.errors(value, path))]
        for errors in wrong:
            found.extend(errors)
        if wrong:
            told = ". None validated" if len(wrong) == len(all_of) else ""
            found.append(invalid_value(ROOT, "", f"{shown} must validate all the schemas (allOf){told}"))
        if none_of is not None and not none_of.errors(value, path):
            found.append(invalid_value(ROOT, "", f"{shown} must not validate the schema (not)"))

    return check


@dataclass(frozen=True, slots=True)
class _Part:
    """One of several schemas for the same value."""

    schema: Json
    place: ValueCheck

    def errors(self, value: Any, path: str) -> Errors:
        found: Errors = []
        if type(value) not in self.place.free:
            self.place.check(value, path, NOT_FOUND, found)
        return found


def _part(schema: Json) -> _Part:
    return _Part(schema, compile_values(schema))


def _best_of(parts: list[_Part], value: Any, path: str) -> Errors:
    """The errors of the alternative that fits best (most checks passed, the first of equals); none if one is valid."""
    best: Errors = []
    most = -1
    for part in parts:
        found = part.errors(value, path)
        if not found:
            return []
        checks = _checks(part.schema, value)
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


def _text(schema: Json) -> Check:
    most, least, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    written = (schema.get("format") or "") if schema.get("type") in ("string", None, "") else ""

    def check(value: str, path: str, old: Any, found: Errors) -> None:
        if most is not None and len(value) > most:
            found.append(FieldError("FieldValueTooLong", path or ROOT, value, f"may not be more than {most} bytes"))
        elif least is not None and len(value) < least:
            found.append(_wrong(path, value, f"should be at least {least} chars long"))
        elif pattern and not _matches(pattern, value):
            found.append(_wrong(path, value, f"should match '{pattern}'"))
        if written and not has_format(written, value):
            found.append(_typed(path, written, value))

    return check


def _matches(pattern: str, value: str) -> bool:
    try:
        return matches(pattern, value)
    except PatternError:
        return False


def _shown(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e21 else repr(value)


def _number(schema: Json) -> Check:
    factor, most, least = schema.get("multipleOf"), schema.get("maximum"), schema.get("minimum")
    below, above = schema.get("exclusiveMaximum"), schema.get("exclusiveMinimum")

    def check(value: float, path: str, old: Any, found: Errors) -> None:
        if factor and not _is_multiple(value, factor):
            found.append(_wrong(path, value, f"should be a multiple of {_shown(factor)}"))
        if most is not None and (value >= most if below else value > most):
            found.append(_wrong(path, value, f"should be less than {'' if below else 'or equal to '}{_shown(most)}"))
        if least is not None and (value <= least if above else value < least):
            found.append(
                _wrong(path, value, f"should be greater than {'' if above else 'or equal to '}{_shown(least)}")
            )

    return check


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor
    return isclose(quotient, round(quotient), rel_tol=1e-12, abs_tol=1e-12)


def _list(schema: Json) -> Check:
    items, most, least = schema.get("items"), schema.get("maxItems"), schema.get("minItems")
    unique = schema.get("uniqueItems")
    places: list[ValueCheck] = []

    def check(value: list[Any], path: str, old: Any, found: Errors) -> None:
        if isinstance(items, Mapping) and value:
            if not places:
                places.append(compile_values(items))
            place, before = places[0], old_items(schema, value, old)
            for index, item in enumerate(value):
                if type(item) not in place.free:
                    place.check(item, f"{path}[{index}]", before(index), found)
        if least is not None and len(value) < least:
            found.append(_wrong(path, len(value), f"should have at least {least} items"))
        if most is not None and len(value) > most:
            found.append(too_many(path or ROOT, len(value), most))
        if unique and len({orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value}) < len(value):
            found.append(_wrong(path, value, "shouldn't contain duplicates"))

    return check


def _enum_errors(schema: Json, value: Any, path: str, found: Errors) -> None:
    allowed = schema["enum"]
    if any(equal(value, other) for other in allowed) or (value is None and schema.get("nullable")):
        return
    shown = ", ".join(go_quote(item if isinstance(item, str) else orjson.dumps(item).decode()) for item in allowed)
    found.append(FieldError("FieldValueNotSupported", path or ROOT, value, f"supported values: {shown}"))


def _object(schema: Json) -> Check:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    properties: Json = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    needed = tuple(schema.get("required") or ())
    places: dict[str, ValueCheck] = {}
    others: list[ValueCheck] = []

    def check(value: dict[str, Any], path: str, old: Any, found: Errors) -> None:
        if least is not None and len(value) < least:
            found.append(_wrong(path, len(value), f"should have at least {least} properties"))
            return
        if most is not None and len(value) > most:
            found.append(_wrong(path, len(value), f"should have at most {most} properties"))
            return
        prefix = f"{path}." if path else ""
        before: Json = old if isinstance(old, dict) else {}
        if isinstance(additional, Mapping):
            if not others:
                others.append(compile_values(additional))
            place = others[0]
            for key, item in value.items():
                if type(item) not in place.free and key not in properties:
                    place.check(item, f"{prefix}{key}", before.get(key, NOT_FOUND), found)
        for key, inner in properties.items():
            if key in value:
                item, place = value[key], places.get(key) or places.setdefault(key, compile_values(inner))
                if type(item) not in place.free:
                    place.check(item, f"{prefix}{key}", before.get(key, NOT_FOUND), found)
        for key in needed:
            if key not in value:
                found.append(required(f"{prefix}{key}"))

    return check
