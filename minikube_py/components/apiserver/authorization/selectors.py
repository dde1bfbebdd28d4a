"""Field and label selectors of a request as requirements, for reviews, webhooks and expressions.

A selector that cannot be read, or a requirement that reviews cannot say, is left out: that asks for more
than the request does, so nothing is allowed by it. Same rules as ``authorizer.AttributesRecord`` and
``pkg/apis/authorization`` helpers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.field_selectors import escape_field_value, parse_field_selector
from minikube_py.machinery.objects import Object
from minikube_py.machinery.selectors import (
    DOES_NOT_EXIST,
    DOUBLE_EQUALS,
    EQUALS,
    EXISTS,
    IN,
    NOT_EQUALS,
    NOT_IN,
    parse_label_selector,
)

_LABEL_OPERATORS = {
    IN: "In",
    EQUALS: "In",
    DOUBLE_EQUALS: "In",
    NOT_IN: "NotIn",
    NOT_EQUALS: "NotIn",
    EXISTS: "Exists",
    DOES_NOT_EXIST: "DoesNotExist",
}
_FIELD_OPERATORS = {"=": "In", "!=": "NotIn"}


@lru_cache(maxsize=1024)
def field_requirements(text: str) -> tuple[Mapping[str, Any], ...]:
    """``FieldSelectorRequirement`` objects of a field selector; shared, read-only."""
    try:
        parsed = parse_field_selector(text).requirements
    except ApiError:
        return ()
    return tuple(
        {"key": path, "operator": _FIELD_OPERATORS[operator], "values": [value]} for path, operator, value in parsed
    )


@lru_cache(maxsize=1024)
def label_requirements(text: str) -> tuple[Mapping[str, Any], ...]:
    """``LabelSelectorRequirement`` objects of a label selector; shared, read-only."""
    try:
        parsed = parse_label_selector(text).requirements
    except ApiError:
        return ()
    requirements = []
    for item in parsed:
        operator = _LABEL_OPERATORS.get(item.operator)
        if operator is None:
            continue  # greater and less cannot be said in a review
        requirement: Object = {"key": item.key, "operator": operator}
        if item.values:
            requirement["values"] = list(item.values)
        requirements.append(requirement)
    return tuple(requirements)


def field_selector_text(requirements: Sequence[Mapping[str, Any]]) -> str:
    """The field selector of a review's requirements; those with other than one value cannot be said."""
    signs = {name: sign for sign, name in _FIELD_OPERATORS.items()}
    terms = []
    for item in requirements:
        sign = signs.get(item.get("operator") or "")
        values: Sequence[str] = item.get("values") or ()
        if sign and len(values) == 1:
            terms.append(f"{item.get('key') or ''}{sign}{escape_field_value(values[0])}")
    return ",".join(terms)


def label_selector_text(requirements: Sequence[Mapping[str, Any]]) -> str:
    """The label selector of a review's requirements; malformed ones are left out."""
    terms = []
    for item in requirements:
        term = _label_term(str(item.get("key") or ""), item.get("operator"), item.get("values") or ())
        try:
            parse_label_selector(term)
        except ApiError:
            continue
        if term:
            terms.append(term)
    return ",".join(terms)


def _label_term(key: str, operator: Any, values: Sequence[str]) -> str:
    if operator in ("In", "NotIn") and values:
        return f"{key} {operator.lower()} ({','.join(values)})"
    if operator == "Exists" and not values:
        return key
    return f"!{key}" if operator == "DoesNotExist" and not values else ""
