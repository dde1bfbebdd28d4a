"""Single values in Kubernetes' protobuf messages: the types that are written otherwise than JSON has them.

Each pair of functions turns a JSON value into the bytes of its message, and back: quantities, times,
int-or-string, base64 bytes, raw JSON, and lists that are wrapped in a message of their own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson

from minikube_py.machinery.objects import RawObject
from minikube_py.machinery.times import parse_time, rfc3339, rfc3339_micro
from minikube_py.machinery.wire import LENGTH, VARINT, delimited, fields, signed, tag, varint

Encode = Callable[[Any], bytes]
Decode = Callable[[Any], Any]


def wrapped_list() -> tuple[int, Encode, Decode]:
    return (
        LENGTH,
        lambda values: b"".join(delimited(1, value.encode()) for value in values),
        lambda data: [value.decode() for number, _, value in fields(data) if number == 1 and isinstance(value, bytes)],
    )


def bytes_out(text: str) -> bytes:
    return base64.b64decode(text)


def bytes_in(data: bytes) -> str:
    return base64.b64encode(data).decode()


def json_in(data: bytes) -> Any:
    return orjson.loads(data) if data else None


def raw_out(value: Any) -> bytes:
    return delimited(1, value.text if isinstance(value, RawObject) else orjson.dumps(value))


def raw_in(data: bytes) -> Any:
    for number, _, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            return json_in(value)
    return None


def quantity_out(value: Any) -> bytes:
    return delimited(1, str(value).encode())


def quantity_in(data: bytes) -> str:
    for number, _, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            return value.decode() or "0"
    return "0"


def int_or_string_out(value: Any) -> bytes:
    if isinstance(value, str):
        return tag(1, VARINT) + varint(1) + tag(2, VARINT) + varint(0) + delimited(3, value.encode())
    return tag(1, VARINT) + varint(0) + tag(2, VARINT) + varint(value) + delimited(3, b"")


def int_or_string_in(data: bytes) -> int | str:
    found = {number: value for number, _, value in fields(data)}
    text, number = found.get(3, b""), found.get(2, 0)
    if found.get(1) == 1:
        return text.decode() if isinstance(text, bytes) else ""
    return signed(number, 32) if isinstance(number, int) else 0


def time_out(value: str) -> bytes:
    seconds, nanos = divmod(round(parse_time(value) * 1_000_000), 1_000_000)
    return tag(1, VARINT) + varint(seconds) + tag(2, VARINT) + varint(nanos * 1000)


def _clock_in(data: bytes) -> float | None:
    """Unix seconds; None for the zero time, which is an empty message."""
    found = {number: value for number, _, value in fields(data)}
    seconds, nanos = found.get(1), found.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return None
    return signed(seconds) + nanos / 1_000_000_000


def time_in(data: bytes) -> str | None:
    seconds = _clock_in(data)
    return None if seconds is None else rfc3339(seconds)


def micro_time_in(data: bytes) -> str | None:
    seconds = _clock_in(data)
    return None if seconds is None else rfc3339_micro(seconds)
