"""Strings: the standard functions and version 2 of the strings extension."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.library.times import go_duration, rfc3339
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, DYN, INT, STRING, list_of
from minikube_py.machinery.cel.values import TypeValue, kind_of
from minikube_py.machinery.go_floats import go_float

_SPACE = (
    " \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_QUOTED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
           '"': '\\"'}  # fmt: skip
_CLAUSE = re.compile(r"%(?:(%)|(?:\.(\d+))?(.))?", re.DOTALL)


def declare(table: Table) -> None:
    """Add the functions."""
    pair = (STRING, STRING)
    member(table, "contains", "contains_string", pair, BOOL, lambda text, part: part in text)
    member(table, "startsWith", "starts_with_string", pair, BOOL, str.startswith)
    member(table, "endsWith", "ends_with_string", pair, BOOL, str.endswith)
    member(table, "charAt", "string_char_at_int", (STRING, INT), STRING, _char_at)
    member(table, "indexOf", "string_index_of_string", pair, INT, str.find)
    member(table, "indexOf", "string_index_of_string_int", (STRING, STRING, INT), INT, _index_from)
    member(table, "lastIndexOf", "string_last_index_of_string", pair, INT, str.rfind)
    member(table, "lastIndexOf", "string_last_index_of_string_int", (STRING, STRING, INT), INT, _last_index_from)
    member(table, "lowerAscii", "string_lower_ascii", (STRING,), STRING, lambda text: text.translate(_LOWER))
    member(table, "upperAscii", "string_upper_ascii", (STRING,), STRING, lambda text: text.translate(_UPPER))
    member(table, "replace", "string_replace_string_string", (STRING, STRING, STRING), STRING, str.replace)
    member(table, "replace", "string_replace_string_string_int", (STRING, STRING, STRING, INT), STRING, str.replace)
    member(table, "split", "string_split_string", pair, list_of(STRING), _split)
    member(table, "split", "string_split_string_int", (STRING, STRING, INT), list_of(STRING), _split)
    member(table, "substring", "string_substring_int", (STRING, INT), STRING, _substring)
    member(table, "substring", "string_substring_int_int", (STRING, INT, INT), STRING, _substring)
    member(table, "trim", "string_trim", (STRING,), STRING, lambda text: text.strip(_SPACE))
    member(table, "join", "list_join", (list_of(STRING),), STRING, _join)
    member(table, "join", "list_join_string", (list_of(STRING), STRING), STRING, _join)
    member(table, "format", "string_format_list_string", (STRING, list_of(DYN)), STRING, _format)
    call(table, "strings.quote", "strings_quote", (STRING,), STRING, _quote)


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise EvaluationError(f"index out of range: {index}")
    return text[index : index + 1]


def _index_from(text: str, part: str, start: int) -> int:
    if not part:
        return start
    if not 0 <= start < len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_from(text: str, part: str, start: int) -> int:
    if not part:
        return start
    if not 0 <= start < len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


def _split(text: str, separator: str, most: int = -1) -> list[str]:
    if most == 0:
        return []
    if not separator:
        characters = list(text)
        return characters if most < 0 or len(characters) <= most else [*characters[: most - 1], text[most - 1 :]]
    return text.split(separator, most - 1 if most > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    length = len(text)
    if not 0 <= start <= length:
        raise EvaluationError(f"index out of range: {start}")
    if end is None:
        return text[start:]
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    if not 0 <= end <= length:
        raise EvaluationError(f"index out of range: {end}")
    return text[start:end]


def _join(items: list[str], separator: str = "") -> str:
    if not all(isinstance(item, str) for item in items):
        raise EvaluationError("join: invalid input: non-string element")
    return separator.join(items)


def _quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(char, char) for char in text) + '"'


def _format(text: str, arguments: list[Any]) -> str:
    position = 0

    def clause(match: re.Match[str]) -> str:
        nonlocal position
        if match[1]:
            return "%"
        if not match[3]:
            raise EvaluationError("unexpected end of string")
        if match[3] not in _VERBS:
            raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{match[3]}"')
        if position >= len(arguments):
            raise EvaluationError(f"index {position} out of range")
        value = arguments[position]
        position += 1
        return _VERBS[match[3]](value, int(match[2]) if match[2] else None)

    return _CLAUSE.sub(clause, text)


def _refused(verb: str, wanted: str, value: Any) -> EvaluationError:
    return EvaluationError(
        f"error during formatting: {verb} clause can only be used on {wanted}, was given {kind_of(value)}"
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_string(value: Any, precision: int | None) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return go_duration(value)
    if isinstance(value, TypeValue):
        return value.name
    if isinstance(value, list):
        return "[" + ", ".join(_as_string(item, None) for item in value) + "]"
    if isinstance(value, dict):
        shown = sorted((_as_string(key, None), _as_string(item, None)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in shown) + "}"
    if isinstance(value, int):
        return str(int(value))
    raise _refused("string", "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
                   value)  # fmt: skip


def _decimal(value: Any, precision: int | None) -> str:
    if not _number(value):
        raise _refused("decimal", "integers and doubles", value)
    return str(int(value)) if isinstance(value, int) else go_float(value)


def _fixed(value: Any, precision: int | None) -> str:
    if not _number(value):
        raise _refused("fixed-point", "doubles", value)
    return f"{float(value):.{6 if precision is None else precision}f}"


def _scientific(value: Any, precision: int | None) -> str:
    if not _number(value):
        raise _refused("scientific", "doubles", value)
    return f"{float(value):.{6 if precision is None else precision}e}"


def _binary(value: Any, precision: int | None) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, int):
        raise _refused("binary", "integers and bools", value)
    return f"{int(value):b}"


def _octal(value: Any, precision: int | None) -> str:
    if not _number(value) or not isinstance(value, int):
        raise _refused("octal", "integers", value)
    return f"{int(value):o}"


def _hexadecimal(upper: bool) -> Callable[[Any, int | None], str]:
    def shown(value: Any, precision: int | None) -> str:
        if isinstance(value, str):
            text = value.encode().hex()
        elif isinstance(value, bytes):
            text = value.hex()
        elif _number(value) and isinstance(value, int):
            text = f"{int(value):x}"
        else:
            raise _refused("hex", "integers, byte buffers, and strings", value)
        return text.upper() if upper else text

    return shown


_VERBS: dict[str, Callable[[Any, int | None], str]] = {
    "s": _as_string, "d": _decimal, "f": _fixed, "e": _scientific, "b": _binary, "o": _octal,
    "x": _hexadecimal(False), "X": _hexadecimal(True),
}  # fmt: skip
