"""HTTP/2 frames (RFC 9113, sections 4 to 6) as bytes: the parts that need no state.

``HEAD`` unpacks a frame's nine bytes to (length >> 8, length & 255, type, flags, stream). What a peer
does wrong for the whole connection is a ``ProtocolViolation``; it ends with a GOAWAY of its code.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, error

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = Struct(">HBBBI")
HEAD_BYTES = 9
FRAME_BYTES = 16_384  # the largest payload both sides may send; this side never asks for more
LARGEST_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65_535
STREAM_MASK = 0x7FFFFFFF

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

_NUMBER = Struct(">I")
_SETTING = Struct(">HI")


class ErrorCode(IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ProtocolViolation(Exception):
    """The peer broke the protocol: nothing it sends can be trusted any more."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """
    >>> frame(PING, ACK, 0, b"12345678").hex()
    '0000080601000000003132333435363738'
    """
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings_frame(values: dict[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream: int, octets: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(octets))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last_stream: int, code: ErrorCode, text: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last_stream) + _NUMBER.pack(code) + text.encode())


def number(payload: bytes, name: str) -> int:
    """The payload of a frame that is one 32-bit number."""
    try:
        return int(_NUMBER.unpack(payload)[0])
    except error:
        raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, f"{name} frame of {len(payload)} bytes") from None


def settings(payload: bytes) -> list[tuple[int, int]]:
    """Settings in their order, checked as section 6.5.2 demands; unknown ones too."""
    if len(payload) % _SETTING.size:
        raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS frame of {len(payload)} bytes")
    values = list(_SETTING.iter_unpack(payload))
    for name, value in values:
        if name == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ProtocolViolation(ErrorCode.FLOW_CONTROL_ERROR, f"initial window of {value} bytes")
        if name == Setting.ENABLE_PUSH and value > 1:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
        if name == Setting.MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE of {value}")
    return values


def content(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame carries, without padding and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its padding length")
        start, end = 1, end - payload[0]
    if flags & WITH_PRIORITY:
        start += 5
    if start > end:
        raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[start:end]
