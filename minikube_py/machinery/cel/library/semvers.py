"""Kubernetes' ``semver`` library (version 1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, INT, STRING, Type, opaque

SEMVER = opaque("kubernetes.Semver")
_PART = r"(?:0|[1-9]\d*)"
_STRICT = re.compile(
    rf"({_PART})\.({_PART})\.({_PART})(?:-((?:{_PART}|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:{_PART}|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


@dataclass(frozen=True, slots=True)
class Semver:
    """A semantic version; build metadata is no part of its order."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...]
    build: str = field(default="", compare=False)
    type: Type = field(default=SEMVER, compare=False, repr=False)


def declare(table: Table) -> None:
    """Add the library."""
    call(table, "semver", "string_to_semver", (STRING,), SEMVER, semver_of)
    call(table, "semver", "string_bool_to_semver", (STRING, BOOL), SEMVER, semver_of)
    call(table, "isSemver", "is_semver_string", (STRING,), BOOL, _is_semver)
    call(table, "isSemver", "is_semver_string_bool", (STRING, BOOL), BOOL, _is_semver)
    for name in ("major", "minor", "patch"):
        member(table, name, f"semver_{name}", (SEMVER,), INT, _getter(name))
    pair = (SEMVER, SEMVER)
    member(table, "isGreaterThan", "semver_is_greater_than", pair, BOOL, lambda one, other: _order(one, other) > 0)
    member(table, "isLessThan", "semver_is_less_than", pair, BOOL, lambda one, other: _order(one, other) < 0)
    member(table, "compareTo", "semver_compare_to", pair, INT, _order)


def _getter(name: str) -> Callable[[Semver], int]:
    return lambda version: int(getattr(version, name))


def _normalized(text: str) -> str:
    """Without a leading v, with zeros for missing parts, without leading zeros."""
    text = text.removeprefix("v")
    end = next((index for index, char in enumerate(text) if char in "-+"), len(text))
    parts = [part.lstrip("0") or "0" if part.isdigit() else part for part in text[:end].split(".")]
    parts += ["0"] * (3 - len(parts))
    return ".".join(parts) + text[end:]


def semver_of(text: str, normalize: bool = False) -> Semver:
    """A version; with ``normalize`` forms such as ``v1.2`` are accepted too."""
    match = _STRICT.fullmatch(_normalized(text) if normalize else text)
    if match is None:
        raise EvaluationError(_reason(text))
    major, minor, patch, pre, build = match.groups()
    return Semver(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else (), build or "")


def _reason(text: str) -> str:
    if not text:
        return "Version string empty"
    if text.count(".") < 2:
        return "No Major.Minor.Patch elements found"
    return f'Invalid character(s) found in version "{text}"'


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        semver_of(text, normalize)
    except EvaluationError:
        return False
    return True


def _order(one: Semver, other: Semver) -> int:
    left, right = (one.major, one.minor, one.patch), (other.major, other.minor, other.patch)
    if left != right:
        return 1 if left > right else -1
    if not one.pre or not other.pre:
        return bool(other.pre) - bool(one.pre)
    for mine, theirs in zip(one.pre, other.pre, strict=False):
        if mine != theirs:
            if mine.isdigit() and theirs.isdigit():
                return 1 if int(mine) > int(theirs) else -1
            if mine.isdigit() != theirs.isdigit():
                return -1 if mine.isdigit() else 1
            return 1 if mine > theirs else -1
    return (len(one.pre) > len(other.pre)) - (len(one.pre) < len(other.pre))
