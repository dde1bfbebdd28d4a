"""Raw JSON in objects (``runtime.RawExtension``): values that the reference keeps as the bytes the client wrote.

Objects here are data, and most raw values are nobody's business. Where the bytes show (whether the data of a
ControllerRevision changed, and what clients that speak protobuf see of it) the value is a ``RawObject``, which knows
its text; a plain value stands for the text that Go's encoder makes of it. ``RAW_FIELDS`` says where that is so.

Who changes the value of a ``RawObject`` has to put a plain one in its place: ``reencoded`` and ``rebuilt`` do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from minikube_py.machinery.objects import Object, RawObject

RAW_FIELDS: Mapping[tuple[str, str], tuple[str, ...]] = {("apps/v1", "ControllerRevision"): ("data",)}
"""By apiVersion and kind: the top-level fields whose texts are kept."""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*"|[ \t\r\n]+', re.DOTALL)
_ESCAPED = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"), ("\u2028".encode(), b"\\u2028"),
            ("\u2029".encode(), b"\\u2029"))  # fmt: skip


def text_of(value: Any) -> bytes:
    """The text of a raw value: the client's, or Go's."""
    return value.text if isinstance(value, RawObject) else _escaped(orjson.dumps(value))


def with_texts(obj: Object, data: bytes) -> Object:
    """The object, which was read from ``data`` (proper JSON), with the texts of its raw fields. Changes it."""
    for name in RAW_FIELDS.get((str(obj.get("apiVersion")), str(obj.get("kind"))), ()):
        value = obj.get(name)
        if not isinstance(value, dict):
            continue
        text = _member(data, name)
        if text is not None and text != text_of(value):
            obj[name] = RawObject(value, text)
    return obj


def reencoded(obj: Object) -> Object:
    """An object after a patch of its JSON text: raw values that the patch left alone lose their blanks. Changes it."""
    for name, value in obj.items():
        if type(value) is RawObject:
            text = _compact(value.text)
            same = orjson.loads(text) == value and text != _escaped(orjson.dumps(value))
            obj[name] = RawObject(value, text) if same else dict(value)
    return obj


def rebuilt(obj: Object) -> Object:
    """An object that was made anew from data, which has no order: the keys of raw values are sorted. Changes it."""
    for name in RAW_FIELDS.get((str(obj.get("apiVersion")), str(obj.get("kind"))), ()):
        value = obj.get(name)
        if isinstance(value, dict):
            obj[name] = orjson.loads(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    return obj


def _member(data: bytes, name: str) -> bytes | None:
    """The text of a member of the JSON object ``data``, of the last one that has this name."""
    text = data.decode(errors="replace")
    found: str | None = None
    position = _skip(text, text.index("{") + 1)
    while text[position] == '"':
        key, position = _DECODER.raw_decode(text, position)
        begin = _skip(text, _skip(text, position) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        if key == name:
            found = text[begin:end]
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return None if found is None else found.encode()


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _compact(text: bytes) -> bytes:
    """``json.Compact``: without blanks between the tokens, and with what HTML minds escaped."""
    return _escaped(_PIECE.sub(lambda found: found[0] if found[0][:1] == b'"' else b"", text))


def _escaped(text: bytes) -> bytes:
    for char, escape in _ESCAPED:
        text = text.replace(char, escape)
    return text
