"""Encoders of gnostic's messages for OpenAPI documents: what versions 2 and 3 have in common.

A table (``Fields``) names the JSON keys of one message with their field numbers and encoders. Keys that begin with
``x-`` become vendor extensions, whose values travel as YAML text (JSON is YAML). Keys without a number are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from minikube_py.machinery.wire import delimited, tag, varint

Encoder = Callable[[int, Any], bytes]
Fields = Mapping[str, tuple[int, Encoder]]
_FIXED64 = 1


def message(table: Fields, value: Mapping[str, Any], *, extensions: int) -> bytes:
    parts = [table[key][1](table[key][0], item) for key, item in value.items() if key in table and item is not None]
    parts += [delimited(extensions, named(key, anything(item))) for key, item in value.items() if key.startswith("x-")]
    return b"".join(parts)


def text(number: int, value: str) -> bytes:
    return delimited(number, value.encode())


def texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(text(number, value) for value in values)


def truth(number: int, value: bool) -> bytes:
    return tag(number, 0) + varint(int(value))


def integer(number: int, value: int) -> bytes:
    return tag(number, 0) + varint(value)


def double(number: int, value: float) -> bytes:
    return tag(number, _FIXED64) + struct.pack("<d", value)


def anything(value: Any) -> bytes:
    """``Any`` with its YAML text."""
    return text(2, orjson.dumps(value).decode() + "\n")


def free(number: int, value: Any) -> bytes:
    return delimited(number, anything(value))


def frees(number: int, values: Iterable[Any]) -> bytes:
    return b"".join(free(number, value) for value in values)


def named(name: str, encoded: bytes) -> bytes:
    """A (name, value) pair, gnostic's form of a map entry."""
    return text(1, name) + delimited(2, encoded)


def mapping(encode: Callable[[Any], bytes], inner: int = 1) -> Encoder:
    """A message whose repeated field ``inner`` holds (name, value) pairs."""
    return lambda number, value: delimited(
        number, b"".join(delimited(inner, named(name, encode(item))) for name, item in value.items())
    )


def one(encode: Callable[[Any], bytes]) -> Encoder:
    return lambda number, value: delimited(number, encode(value))


def many(encode: Callable[[Any], bytes]) -> Encoder:
    return lambda number, values: b"".join(delimited(number, encode(value)) for value in values)
