"""Protobuf messages by table: a message is a dict of its set fields.

A table is text with one message a line: its name, then ``name=number:type`` for each field; ``*``
before the type marks a repeated field, ``map`` is ``map<string,string>``. Types are protobuf's
scalar names (of those the tables use), ``enum`` and names of other messages in the table.

What holds: ``decode`` gives only fields that were on the wire, so readers use ``get`` with
proto3's zero value; unknown fields are skipped; ``encode`` leaves out scalars with zero values
(as proto3 does) but keeps an empty submessage, which differs from an absent one.
Errors: ``DecodeError`` for malformed bytes, ``KeyError`` for an unknown message or field name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery import wire

Message = dict[str, Any]

_SCALARS = frozenset({"bool", "int32", "int64", "uint32", "uint64", "enum"})


class DecodeError(ValueError):
    """The bytes are no message of this table."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    number: int
    type: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of one message, by name (for encoding) and by number (for decoding)."""

    by_name: Mapping[str, Field]
    by_number: Mapping[int, Field]


class Table:
    """Encodes and decodes the messages of one table."""

    __slots__ = ("_layouts",)

    def __init__(self, text: str) -> None:
        self._layouts: dict[str, Layout] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, *fields = line.split()
                self._layouts[name] = _layout(fields)

    def encode(self, message: str, values: Mapping[str, Any]) -> bytes:
        out = bytearray()
        self._encode(self._layouts[message], values, out)
        return bytes(out)

    def decode(self, message: str, data: bytes) -> Message:
        try:
            return self._decode(self._layouts[message], data)
        except (wire.WireError, UnicodeDecodeError) as error:
            raise DecodeError(f"malformed {message}: {error}") from error

    def _encode(self, layout: Layout, values: Mapping[str, Any], out: bytearray) -> None:
        for name, value in values.items():
            field = layout.by_name[name]
            if value is None:
                continue
            if field.type == "map":
                for key, item in value.items():
                    entry = wire.delimited(1, key.encode()) + wire.delimited(2, item.encode())
                    out += wire.delimited(field.number, entry)
            elif not field.repeated:
                self._put(field, value, out)
            elif field.type in _SCALARS:
                packed = b"".join(wire.varint(int(item)) for item in value)
                if packed:
                    out += wire.delimited(field.number, packed)
            else:
                for item in value:
                    self._put(field, item, out)

    def _put(self, field: Field, value: Any, out: bytearray) -> None:
        """One value of a field; zero values of singular scalars are left out."""
        if field.type in _SCALARS:
            if value:
                out += wire.tag(field.number, wire.VARINT) + wire.varint(int(value))
        elif field.type in ("string", "bytes"):
            if value or field.repeated:
                out += wire.delimited(field.number, value.encode() if field.type == "string" else value)
        else:
            nested = bytearray()
            self._encode(self._layouts[field.type], value, nested)
            out += wire.delimited(field.number, bytes(nested))

    def _decode(self, layout: Layout, data: bytes) -> Message:
        message: Message = {}
        for number, kind, value in wire.fields(data):
            field = layout.by_number.get(number)
            if field is None:
                continue
            if isinstance(value, int):
                _take_number(field, value, message)
            elif kind == wire.LENGTH:  # no field of a table has a fixed size
                self._take_bytes(field, value, message)
        return message

    def _take_bytes(self, field: Field, chunk: bytes, message: Message) -> None:
        value: Any
        if field.type == "map":
            key, item = _map_entry(chunk)
            message.setdefault(field.name, {})[key] = item
            return
        if field.type in _SCALARS:
            position = 0
            while position < len(chunk):
                number, position = wire.read_varint(chunk, position)
                _take_number(field, number, message)
            return
        if field.type == "string":
            value = chunk.decode()
        elif field.type == "bytes":
            value = chunk
        else:
            value = self._decode(self._layouts[field.type], chunk)
        if field.repeated:
            message.setdefault(field.name, []).append(value)
        else:
            message[field.name] = value


def _layout(texts: list[str]) -> Layout:
    fields = []
    for text in texts:
        name, _, rest = text.partition("=")
        number, _, kind = rest.partition(":")
        fields.append(Field(name, int(number), kind.lstrip("*"), kind.startswith("*")))
    return Layout({field.name: field for field in fields}, {field.number: field for field in fields})


def _take_number(field: Field, number: int, message: Message) -> None:
    value: int | bool = number
    if field.type == "bool":
        value = bool(number)
    elif field.type in ("int32", "int64", "enum"):
        value = wire.signed(number)
    if field.repeated:
        message.setdefault(field.name, []).append(value)
    else:
        message[field.name] = value


def _map_entry(chunk: bytes) -> tuple[str, str]:
    parts = {number: value.decode() for number, _, value in wire.fields(chunk) if isinstance(value, bytes)}
    return parts.get(1, ""), parts.get(2, "")
