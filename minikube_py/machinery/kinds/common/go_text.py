"""JSON as Go's ``encoding/json`` writes it into texts."""

from __future__ import annotations

from typing import Any

import orjson

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def go_json(value: Any) -> str:
    """The value on one line, with the characters escaped that mean something to HTML and JavaScript."""
    text = orjson.dumps(value).decode()
    for char, escaped in _ESCAPED.items():
        text = text.replace(char, escaped)
    return text
