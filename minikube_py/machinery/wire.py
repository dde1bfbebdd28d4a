"""Protocol buffers' wire format: varints, tags, length-delimited parts. No schema, no objects."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)


class WireError(ValueError):
    """Bytes that are no protobuf message; the text is that of Go's decoder."""


def varint(number: int) -> bytes:
    """An unsigned number, or a negative one as the 64-bit two's complement that protobuf prescribes."""
    if 0 <= number < 0x80:
        return bytes((number,))
    number &= 0xFFFFFFFFFFFFFFFF
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def delimited(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return tag(number, LENGTH) + varint(len(data)) + data


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """(unsigned number, position after it)."""
    result = shift = 0
    while True:
        if position >= len(data):
            raise WireError("unexpected EOF")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift >= 70:
            raise WireError("proto: integer overflow")


def signed(number: int, bits: int = 64) -> int:
    """An unsigned varint as the signed number of this width."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field number, wire type, value) in order; length-delimited and fixed values as bytes."""
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise WireError(f"proto: illegal tag {number} (wire type {wire_type})")
        if wire_type == VARINT:
            value, position = read_varint(data, position)
            yield number, wire_type, value
            continue
        if wire_type == LENGTH:
            length, position = read_varint(data, position)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise WireError(f"proto: illegal wireType {wire_type}")
        if position + length > len(data):
            raise WireError("unexpected EOF")
        yield number, wire_type, data[position : position + length]
        position += length
