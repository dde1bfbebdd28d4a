"""Why a text is no JSON, in the words of Go's ``encoding/json``.

The fast parser says only that it failed; ``explain`` reads the text again, slowly, and gives the error
that the reference's decoder reports: the first byte that its scanner does not accept.
"""

from __future__ import annotations

import re

UNEXPECTED_END = "unexpected end of JSON input"
TOO_DEEP = "exceeded max depth"
MAX_DEPTH = 10_000
_SPACE = b" \t\r\n"
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_STRING_RUN = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX = frozenset(bytes([digit]) for digit in b"0123456789abcdefABCDEF")
_DIGITS = re.compile(rb"[0-9]*")


class _Stop(Exception):
    """The scan ended at an error; its text is the only argument."""


def explain(data: bytes) -> str | None:
    """The error of Go's decoder for this text; None when the text is well formed."""
    try:
        position = _skip(data, _value(data, _skip(data, 0), 0))
        if position < len(data):
            raise _unexpected(data, position, "after top-level value")
    except _Stop as stop:
        return str(stop)
    except RecursionError:
        return TOO_DEEP
    return None


def _quote(byte: int) -> str:
    """A byte as Go's scanner quotes it."""
    if byte == ord("'"):
        return r"'\''"
    if byte == ord('"'):
        return "'\"'"
    char = chr(byte)
    named = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\v": r"\v"}
    if char in named:
        return f"'{named[char]}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    return f"'{char}'" if char.isprintable() else f"'\\u{byte:04x}'"


def _unexpected(data: bytes, position: int, context: str) -> _Stop:
    if position >= len(data):
        return _Stop(UNEXPECTED_END)
    return _Stop(f"invalid character {_quote(data[position])} {context}")


def _skip(data: bytes, position: int) -> int:
    while position < len(data) and data[position] in _SPACE:
        position += 1
    return position


def _value(data: bytes, position: int, depth: int) -> int:
    """The position after the value that starts here."""
    if depth > MAX_DEPTH:
        raise _Stop(TOO_DEEP)
    if position >= len(data):
        raise _Stop(UNEXPECTED_END)
    byte = data[position]
    if byte == ord("{"):
        return _object(data, position + 1, depth + 1)
    if byte == ord("["):
        return _array(data, position + 1, depth + 1)
    if byte == ord('"'):
        return _string(data, position + 1)
    if byte in _LITERALS:
        return _literal(data, position, _LITERALS[byte])
    if byte == ord("-") or chr(byte).isdigit():
        return _number(data, position)
    raise _unexpected(data, position, "looking for beginning of value")


def _object(data: bytes, position: int, depth: int) -> int:
    position = _skip(data, position)
    if data[position : position + 1] == b"}":
        return position + 1
    while True:
        if data[position : position + 1] != b'"':
            raise _unexpected(data, position, "looking for beginning of object key string")
        position = _skip(data, _string(data, position + 1))
        if data[position : position + 1] != b":":
            raise _unexpected(data, position, "after object key")
        position = _skip(data, _value(data, _skip(data, position + 1), depth))
        follower = data[position : position + 1]
        if follower == b"}":
            return position + 1
        if follower != b",":
            raise _unexpected(data, position, "after object key:value pair")
        position = _skip(data, position + 1)


def _array(data: bytes, position: int, depth: int) -> int:
    position = _skip(data, position)
    if data[position : position + 1] == b"]":
        return position + 1
    while True:
        position = _skip(data, _value(data, _skip(data, position), depth))
        follower = data[position : position + 1]
        if follower == b"]":
            return position + 1
        if follower != b",":
            raise _unexpected(data, position, "after array element")
        position += 1


def _string(data: bytes, position: int) -> int:
    while True:
        found = _STRING_RUN.match(data, position)
        position = found.end() if found else position
        if position >= len(data):
            raise _Stop(UNEXPECTED_END)
        byte = data[position]
        if byte == ord('"'):
            return position + 1
        if byte != ord("\\"):
            raise _unexpected(data, position, "in string literal")
        position += 1
        escape = data[position : position + 1]
        if escape == b"u":
            for offset in range(1, 5):
                if data[position + offset : position + offset + 1] not in _HEX:
                    raise _unexpected(data, position + offset, "in \\u hexadecimal character escape")
            position += 5
        elif not escape or escape not in (b"b", b"f", b"n", b"r", b"t", b"\\", b"/", b'"'):
            raise _unexpected(data, position, "in string escape code")
        else:
            position += 1


def _literal(data: bytes, position: int, word: bytes) -> int:
    for offset, expected in enumerate(word):
        if data[position + offset : position + offset + 1] != bytes([expected]):
            context = f"in literal {word.decode()} (expecting '{chr(expected)}')"
            raise _unexpected(data, position + offset, context)
    return position + len(word)


def _number(data: bytes, position: int) -> int:
    if data[position] == ord("-"):
        position += 1
        if not data[position : position + 1].isdigit():
            raise _unexpected(data, position, "in numeric literal")
    position = position + 1 if data[position] == ord("0") else _digits(data, position)
    if data[position : position + 1] == b".":
        if not data[position + 1 : position + 2].isdigit():
            raise _unexpected(data, position + 1, "after decimal point in numeric literal")
        position = _digits(data, position + 1)
    if data[position : position + 1] in (b"e", b"E"):
        position += 1
        if data[position : position + 1] in (b"+", b"-"):
            position += 1
        if not data[position : position + 1].isdigit():
            raise _unexpected(data, position, "in exponent of numeric literal")
        position = _digits(data, position)
    return position


def _digits(data: bytes, position: int) -> int:
    found = _DIGITS.match(data, position)
    return found.end() if found else position
