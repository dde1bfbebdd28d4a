"""Label selectors: parse, print, match. (Field selectors, in ``field_selectors``, can be had from here too.)

``Selector`` has the grammar, texts and matching rules of ``k8s.io/apimachinery/pkg/labels``:
requirements are sorted by key and all of them must hold.
Whatever is malformed raises ``ApiError`` 400 with the reference's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from minikube_py.machinery.errors import ApiError, bad_request, go_quote
from minikube_py.machinery.field_selectors import EVERY_FIELD, FieldSelector, escape_field_value, parse_field_selector
from minikube_py.machinery.names import label_value_errors, qualified_name_errors

__all__ = [
    "DOES_NOT_EXIST", "DOUBLE_EQUALS", "EQUALS", "EVERYTHING", "EVERY_FIELD", "EXISTS", "GREATER", "IN", "LESS",
    "NOTHING", "NOT_EQUALS", "NOT_IN", "FieldSelector", "Requirement", "Selector", "escape_field_value",
    "make_selector", "parse_field_selector", "parse_label_selector", "selector_from_label_selector",
    "selector_from_map",
]  # fmt: skip

IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS = "in", "notin", "=", "==", "!="
EXISTS, DOES_NOT_EXIST, GREATER, LESS = "exists", "!", "gt", "lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; ``values`` are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    _known: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(self.values))

    def matches(self, labels: Mapping[str, str]) -> bool:
        operator, value = self.operator, labels.get(self.key)
        if operator in (IN, EQUALS, DOUBLE_EQUALS):
            return value is not None and value in self._known
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self._known
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        number = _integer(value)
        if number is None:
            return False
        bound = int(self.values[0])
        return number > bound if operator == GREATER else number < bound

    def __str__(self) -> str:
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        if self.operator == EXISTS:
            return self.key
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        sign = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{','.join(self.values)}"


_LONGEST_INTEGER = 63
"""No label value is longer, so no text beyond this can be one that a number is compared with."""


def _integer(text: str | None) -> int | None:
    """A 64-bit integer as Go's ParseInt reads it, or None."""
    if text is None or len(text) > _LONGEST_INTEGER or not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class Selector:
    """A conjunction of requirements on labels; ``nothing`` marks the selector that never matches."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    exact: tuple[tuple[str, str], ...] | None = field(default=None, compare=False, repr=False)
    """The same conditions as key and value pairs when all are equalities (the fast path)."""

    @property
    def empty(self) -> bool:
        """Whether every set of labels matches."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        labels = labels or {}
        if self.exact is not None:
            return all(labels.get(key) == value for key, value in self.exact)
        return all(requirement.matches(labels) for requirement in self.requirements)

    def equalities(self) -> Mapping[str, str]:
        """Labels that every match must have with one value; what an index can look up."""
        return {
            requirement.key: requirement.values[0]
            for requirement in self.requirements
            if requirement.operator in (IN, EQUALS, DOUBLE_EQUALS) and len(requirement.values) == 1
        }

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector(exact=())
NOTHING = Selector(nothing=True)


def make_selector(requirements: Sequence[Requirement]) -> Selector:
    """The selector of these requirements, sorted by key."""
    ordered = tuple(sorted(requirements, key=lambda requirement: requirement.key))
    single = all(
        requirement.operator in (IN, EQUALS, DOUBLE_EQUALS) and len(requirement.values) == 1 for requirement in ordered
    )
    pairs = tuple((requirement.key, requirement.values[0]) for requirement in ordered) if single else None
    return Selector(ordered, exact=pairs)


def selector_from_map(wanted: Mapping[str, str] | None) -> Selector:
    """The selector of a plain map (a Service's): every pair must hold; no validation. Empty matches everything."""
    if not wanted:
        return EVERYTHING
    return make_selector([Requirement(key, EQUALS, (value,)) for key, value in wanted.items()])


_LABEL_SELECTOR_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}


def selector_from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """The selector of a LabelSelector object: None matches nothing, an empty one everything."""
    if selector is None:
        return NOTHING
    requirements = [Requirement(key, EQUALS, (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _LABEL_SELECTOR_OPERATORS.get(expression.get("operator"))
        if operator is None:
            raise bad_request(f"{go_quote(str(expression.get('operator')))} is not a valid label selector operator")
        requirements.append(_checked(expression.get("key", ""), operator, expression.get("values") or ()))
    for requirement in requirements:
        _checked(requirement.key, requirement.operator, requirement.values)
    return make_selector(requirements) if requirements else EVERYTHING


def _checked(key: str, operator: str, values: Sequence[str]) -> Requirement:
    """``labels.NewRequirement``: the requirement, or ApiError 400."""
    errors = qualified_name_errors(key)
    problems = [_invalid("<nil>", key, "; ".join(errors))] if errors else []
    if operator in (IN, NOT_IN) and not values:
        problems.append("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS) and len(values) != 1:
        problems.append(f"values: Invalid value: {_list(values)}: exact-match compatibility requires one single value")
    if operator in (EXISTS, DOES_NOT_EXIST) and values:
        problems.append(
            f"values: Invalid value: {_list(values)}: values set must be empty for exists and does not exist"
        )
    if operator in (GREATER, LESS):
        problems += _number_problems(values)
    for index, value in enumerate(values):
        wrong = label_value_errors(value)
        if wrong:
            problems.append(_invalid(f"values[{index}][{key}]", value, "; ".join(wrong)))
    if problems:
        raise bad_request(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, tuple(sorted(values)))


def _number_problems(values: Sequence[str]) -> list[str]:
    if len(values) != 1:
        return [f"values: Invalid value: {_list(values)}: for 'Gt', 'Lt' operators, exactly one value is required"]
    return [
        _invalid(f"values[{index}]", value, "for 'Gt', 'Lt' operators, the value must be an integer")
        for index, value in enumerate(values)
        if _integer(value) is None
    ]


def _invalid(path: str, value: str, detail: str) -> str:
    return f"{path}: Invalid value: {go_quote(value)}: {detail}"


def _list(values: Sequence[str]) -> str:
    return "[" + ",".join(map(go_quote, values)) + "]"


# The lexer and parser follow the grammar of labels.Parse; tokens are (kind, text).
_SPECIAL = "=!(),><"
_OPERATORS = {"=": EQUALS, "==": DOUBLE_EQUALS, "!=": NOT_EQUALS, "in": IN, "notin": NOT_IN, ">": GREATER, "<": LESS}
_KNOWN = {")", ",", "!", "==", ">", "in", "=", "<", "!=", "notin", "("}
_TOKEN = re.compile(r"\s*(==|!=|[=!(),><]|[^\s=!(),><]+)")
_EXPECTED_OPERATORS = "in, notin, =, ==, !=, gt, lt"


class _Reader:
    """Tokens of a selector text, read one at a time; the end is the empty text."""

    __slots__ = ("position", "tokens")

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.position = 0

    def peek(self, *, identifiers: bool = False) -> tuple[str, str]:
        """(kind, text) of the next token; with ``identifiers``, words like "in" are plain names."""
        if self.position >= len(self.tokens):
            return "end", ""
        text = self.tokens[self.position]
        if text in _KNOWN and not (identifiers and text in ("in", "notin")):
            return text, text
        return "name", text

    def next(self, *, identifiers: bool = False) -> tuple[str, str]:
        token = self.peek(identifiers=identifiers)
        self.position += 1
        return token


@lru_cache(maxsize=1024)
def parse_label_selector(text: str) -> Selector:
    """The selector of a ``labelSelector`` parameter; ApiError 400 with the reference's text when malformed."""
    reader = _Reader(text)
    requirements: list[Requirement] = []
    while True:
        kind, token = reader.peek(identifiers=True)
        if kind == "end":
            break
        if kind not in ("name", "!"):
            raise bad_request(f"found '{token}', expected: !, identifier, or 'end of string'")
        try:
            requirements.append(_parse_requirement(reader))
        except ApiError as error:
            raise bad_request(f"unable to parse requirement: {error.message}") from error
        kind, token = reader.next()
        if kind == "end":
            break
        if kind != ",":
            raise bad_request(f"found '{token}', expected: ',' or 'end of string'")
        kind, token = reader.peek(identifiers=True)
        if kind not in ("name", "!"):
            raise bad_request(f"found '{token}', expected: identifier after ','")
    return make_selector(requirements) if requirements else EVERYTHING


def _parse_requirement(reader: _Reader) -> Requirement:
    negated = reader.peek(identifiers=True)[0] == "!"
    if negated:
        reader.next()
    kind, key = reader.next(identifiers=True)
    if kind != "name":
        raise bad_request(f"found '{key}', expected: identifier")
    errors = qualified_name_errors(key)
    if errors:
        raise bad_request(_invalid("<nil>", key, "; ".join(errors)))
    if negated:
        return _checked(key, DOES_NOT_EXIST, ())
    if reader.peek()[0] in ("end", ","):
        return _checked(key, EXISTS, ())
    kind, token = reader.next()
    if kind not in _OPERATORS:
        raise bad_request(f"found '{token}', expected: {_EXPECTED_OPERATORS}")
    operator = _OPERATORS[kind]
    values = _parse_values(reader) if operator in (IN, NOT_IN) else [_parse_exact_value(reader)]
    return _checked(key, operator, sorted(set(values)))


def _parse_exact_value(reader: _Reader) -> str:
    kind, token = reader.peek(identifiers=True)
    if kind in ("end", ","):
        return ""
    reader.next(identifiers=True)
    if kind == "name":
        return token
    raise bad_request(f"found '{token}', expected: identifier")


def _parse_values(reader: _Reader) -> list[str]:
    kind, token = reader.next(identifiers=True)
    if kind != "(":
        raise bad_request(f"found '{token}' expected: '('")
    kind, token = reader.peek(identifiers=True)
    if kind == ")":
        reader.next()
        return [""]
    if kind not in ("name", ","):
        raise bad_request(f"found '{token}', expected: ',', ')' or identifier")
    values = _parse_value_list(reader)
    kind, token = reader.next()
    if kind != ")":
        raise bad_request(f"found '{token}', expected: ')'")
    return values


def _parse_value_list(reader: _Reader) -> list[str]:
    """Names between commas; an empty place is the empty value."""
    values: list[str] = []
    while True:
        kind, token = reader.next(identifiers=True)
        if kind == "name":
            values.append(token)
            kind, token = reader.peek(identifiers=True)
            if kind == ",":
                continue
            if kind == ")":
                return values
            raise bad_request(f"found '{token}', expected: ',' or ')'")
        if kind != ",":
            raise bad_request(f"found '{token}', expected: ',', or identifier")
        if not values:
            values.append("")
        kind, _ = reader.peek(identifiers=True)
        if kind == ")":
            values.append("")
            return values
        if kind == ",":
            reader.next()
            values.append("")
