"""Field selectors: conjunctions of equalities on a few fields of a kind, with the rules of ``pkg/fields``.

Whatever is malformed raises ``ApiError`` 400 with the reference's text. Which fields a kind can be selected
by is the caller's affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from minikube_py.machinery.errors import bad_request


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of (path, "=" or "!=", value)."""

    requirements: tuple[tuple[str, str, str], ...] = ()

    @property
    def empty(self) -> bool:
        return not self.requirements

    def matches(self, value_of: Callable[[str], str]) -> bool:
        """Whether all requirements hold for an object whose field texts ``value_of`` gives."""
        return all((value_of(path) == value) == (operator == "=") for path, operator, value in self.requirements)

    def exact(self, path: str) -> str | None:
        """The one value that ``path`` must have, or None."""
        return next((value for name, operator, value in self.requirements if name == path and operator == "="), None)

    def __str__(self) -> str:
        return ",".join(f"{path}{operator}{escape_field_value(value)}" for path, operator, value in self.requirements)


EVERY_FIELD = FieldSelector()


def escape_field_value(value: str) -> str:
    """A value with backslashes before what separates selectors (``fields.EscapeValue``)."""
    return re.sub(r"[\\,=]", lambda found: "\\" + found[0], value)


@lru_cache(maxsize=1024)
def parse_field_selector(text: str) -> FieldSelector:
    """The selector of a ``fieldSelector`` parameter; ApiError 400 when malformed. Paths are not checked here."""
    requirements: list[tuple[str, str, str]] = []
    for term in sorted(_split_terms(text)):
        if not term:
            continue
        found = re.search(r"!=|==|=", term)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        value = _unescape(term[found.end() :])
        requirements.append((term[: found.start()], "!=" if found[0] == "!=" else "=", value))
    return FieldSelector(tuple(requirements)) if requirements else EVERY_FIELD


def _split_terms(text: str) -> list[str]:
    """The parts between commas that no backslash hides."""
    return re.findall(r"(?:[^,\\]|\\.?)+", text, re.DOTALL)


def _unescape(value: str) -> str:
    parts: list[str] = []
    position = 0
    while position < len(value):
        char = value[position]
        if char == "\\":
            position += 1
            follower = value[position : position + 1]
            if follower not in ("\\", ",", "="):
                sequence = f"\\{follower}"
                raise bad_request(f"invalid field selector: invalid escape sequence: {sequence}")
            parts.append(follower)
        elif char in ",=":
            raise bad_request(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            parts.append(char)
        position += 1
    return "".join(parts)
