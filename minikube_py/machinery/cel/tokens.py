"""Splitting an expression into tokens, as CEL's lexical grammar says.

In: the text. Out: tokens with their offsets (in characters), the last one ``EOF``, and the characters that
belong to no token. Literals are decoded by ``literal_value``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minikube_py.machinery.cel.values import Uint

_STRING_BODY = (
    r'"""(?:\\.|[^\\])*?"""|' r"'''(?:\\.|[^\\])*?'''|" r'"(?:\\.|[^\\"\n\r])*"|' r"'(?:\\.|[^\\'\n\r])*'"
)  # fmt: skip
_RAW_BODY = r'"""(?:.|\n)*?"""|' r"'''(?:.|\n)*?'''|" r'"[^"\n\r]*"|' r"'[^'\n\r]*'"
_ESCAPE = r"""\\(?:[abfnrtv"'`\\?]|x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"""
_TOKEN = re.compile(
    rf"""
    (?P<SPACE>[\t \r\n\f]+|//[^\n]*)
  | (?P<NUM_FLOAT>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<NUM_UINT>0x[0-9a-fA-F]+[uU]|\d+[uU])
  | (?P<NUM_INT>0x[0-9a-fA-F]+|\d+)
  | (?P<BYTES>[bB](?:[rR](?:{_RAW_BODY})|(?:{_STRING_BODY})))
  | (?P<STRING>[rR](?:{_RAW_BODY})|(?:{_STRING_BODY}))
  | (?P<IDENTIFIER>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<ESC_IDENTIFIER>`[A-Za-z0-9_.\-/\ ]+`)
  | (?P<OPERATOR>==|!=|<=|>=|&&|\|\||[<>\[\]{{}}().,\-!?:+*/%])
    """,
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {"in": "'in'", "true": "'true'", "false": "'false'", "null": "'null'"}
KEYWORDS = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip
"""Words that no variable can be named, and that are escaped as names of fields."""
_ESCAPES = re.compile(_ESCAPE)
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    '"': '"', "'": "'", "`": "`", "\\": "\\", "?": "?",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is the name of the token's class, or the quoted text of a symbol or keyword."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Characters that no token starts with."""

    text: str
    at: int


def tokens_of(text: str) -> tuple[list[Token], list[Unknown]]:
    """All tokens, ``EOF`` at the end, and what was not understood."""
    found: list[Token] = []
    unknown: list[Unknown] = []
    at, length = 0, len(text)
    match_at = _TOKEN.match
    while at < length:
        match = match_at(text, at)
        if match is None or not _escapes_are_known(match):
            end = _end_of_unknown(text, at)
            unknown.append(Unknown(text[at:end], at))
            at = end
            continue
        kind, value = match.lastgroup or "", match.group()
        if kind == "OPERATOR":
            found.append(Token(f"'{value}'", value, at))
        elif kind == "IDENTIFIER":
            found.append(Token(_KEYWORDS.get(value, kind), value, at))
        elif kind != "SPACE":
            found.append(Token(kind, value, at))
        at = match.end()
    found.append(Token("EOF", "<EOF>", length))
    return found, unknown


def _escapes_are_known(match: re.Match[str]) -> bool:
    """Whether a string holds only escapes of the language; another one is not a token at all."""
    if match.lastgroup not in ("STRING", "BYTES"):
        return True
    prefix, body = _split(match.group())
    return "r" in prefix or "\\" not in _ESCAPES.sub("", body)


def _end_of_unknown(text: str, at: int) -> int:
    """Where the lexer goes on: an unfinished string is one piece, anything else one character."""
    rest = text[at:].lstrip("rRbB") if text[at] in "rRbB" else text[at:]
    if rest[:1] in ("'", '"'):
        quote = rest[0]
        end = at + (len(text) - at - len(rest)) + 1
        while end < len(text) and text[end] not in f"\n\r{quote}":
            end += 2 if text[end] == "\\" and _ESCAPES.match(text, end) else 1
            if end <= len(text) and text[end - 1] == "\\":
                return min(end + 1, len(text))
        return min(end, len(text))
    return at + 1 if text[at] not in "=&|`" else min(at + 1 + (at + 1 < len(text)), len(text))


def _split(literal: str) -> tuple[str, str]:
    """A string token's prefix (lower case) and its body between the quotes."""
    start = 0
    while literal[start] in "rRbB":
        start += 1
    width = 3 if literal[start : start + 3] in ('"""', "'''") and len(literal) - start >= 6 else 1
    return literal[:start].lower(), literal[start + width : len(literal) - width]


def literal_value(token: Token) -> object:
    """The value of a number, string or bytes token; ValueError with cel-go's text when it has none."""
    kind, text = token.kind, token.text
    if kind == "STRING":
        prefix, body = _split(text)
        body = body.replace("\r\n", "\n")
        return body if "r" in prefix else _ESCAPES.sub(_character, body)
    if kind == "BYTES":
        prefix, body = _split(text)
        return body.encode() if "r" in prefix else _byte_string(body)
    if kind == "NUM_FLOAT":
        return float(text)
    number = int(text.rstrip("uU"), 16) if text.startswith("0x") else int(text.rstrip("uU"))
    if kind == "NUM_UINT":
        if number >= 1 << 64:
            raise ValueError("invalid uint literal")
        return Uint(number)
    return number


def _character(match: re.Match[str]) -> str:
    text = match.group()[1:]
    if text in _SIMPLE:
        return _SIMPLE[text]
    return chr(int(text[1:], 16)) if text[0] in "xXuU" else chr(int(text, 8))


def _byte_string(body: str) -> bytes:
    result = bytearray()
    at = 0
    for match in _ESCAPES.finditer(body):
        result += body[at : match.start()].encode()
        text = match.group()[1:]
        if text[0] in "xX":
            result.append(int(text[1:], 16))
        elif text[0] in "01234567":
            result.append(int(text, 8))
        else:
            result += _character(match).encode()
        at = match.end()
    return bytes(result + body[at:].encode())
