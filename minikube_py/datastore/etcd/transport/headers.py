"""HPACK header blocks of gRPC: requests read, responses written.

A client repeats its headers as a few indexed bytes, so blocks that were read are remembered for as
long as the table they refer to stays the same; hpack decodes the others (here: 36 us for one of
grpc's, against 0.3 us for one that is remembered). Responses never use the dynamic table: the first
block of a connection sets its size to 0, and no setting of the peer can matter afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpack import Decoder, HPACKError

from minikube_py.datastore.etcd.transport.frames import ErrorCode, ProtocolViolation
from minikube_py.datastore.etcd.transport.status import Code

LARGEST_LIST_BYTES = 16 << 10
_REMEMBERED_BLOCKS = 64
_LONGEST_TEXT = 1024  # so that a block of a response is one frame
_FORBIDDEN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_PSEUDO = _REQUIRED | {b":authority"}
_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS = 8

_SIZE_UPDATE = 0x20
NO_TABLE = b"\x20"  # dynamic table size update: 0
_STATUS_200 = b"\x88"
_CONTENT_TYPE = b"\x0f\x10\x10application/grpc"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The headers of a request that matter.

    ``malformed``: why it is no HTTP request at all; ``http_status``: it is one, but not of gRPC.
    """

    path: str = ""
    timeout_seconds: float | None = None
    user_agent: str = ""
    encoding: str = ""
    malformed: str = ""
    http_status: int = 200


class HeaderReader:
    """Reads the header blocks of one connection, in their order."""

    __slots__ = ("_decoder", "_known", "_state", "_table")

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=LARGEST_LIST_BYTES)
        self._table = self._decoder.header_table
        self._state: tuple[object, int, int] = (None, 0, self._table.maxsize)
        self._known: dict[bytes, RequestHead] = {}

    def read(self, block: bytes) -> RequestHead:
        """Raises ProtocolViolation."""
        if not block:
            return RequestHead(malformed="empty header block")
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = list(self._decoder.decode(block, raw=True))
        except (HPACKError, UnicodeDecodeError) as failure:
            raise ProtocolViolation(ErrorCode.COMPRESSION_ERROR, f"header block: {failure}") from failure
        head = _request_head(fields)
        entries = self._table.dynamic_entries
        newest, count, size = entries[0] if entries else None, len(entries), self._table.maxsize
        if newest is not self._state[0] or (count, size) != self._state[1:]:
            # The table changed: what is remembered, this block included, means something else now.
            self._state = newest, count, size
            self._known.clear()
        elif block[0] & 0xE0 != _SIZE_UPDATE:
            if len(self._known) >= _REMEMBERED_BLOCKS:
                self._known.clear()
            self._known[block] = head
        return head


def timeout_seconds(text: str) -> float | None:
    """The value of ``grpc-timeout``; None when it is malformed.

    >>> timeout_seconds("250m"), timeout_seconds("1x")
    (0.25, None)
    """
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNIT_SECONDS or not 0 < len(digits) <= _TIMEOUT_DIGITS or not digits.isascii():
        return None
    return int(digits) * _UNIT_SECONDS[unit] if digits.isdigit() else None


def response_head() -> bytes:
    """The block that comes before the messages of a response."""
    return _STATUS_200 + _CONTENT_TYPE


def trailers(code: Code, text: str = "") -> bytes:
    """The block that ends a response."""
    fields = _literal(b"grpc-status", b"%d" % code)
    return fields + _literal(b"grpc-message", _percent_encoded(text[:_LONGEST_TEXT])) if text else fields


def only_trailers(code: Code, text: str) -> bytes:
    """A response without messages, in one block."""
    extra = _literal(b"grpc-accept-encoding", b"identity") if code is Code.UNIMPLEMENTED else b""
    return response_head() + extra + trailers(code, text)


def http_response(status: int) -> bytes:
    """An answer to a request that is not gRPC."""
    return b"\x08\x03%d" % status


def _request_head(fields: Sequence[tuple[bytes, bytes]]) -> RequestHead:
    values: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        pseudo = name.startswith(b":")
        if pseudo and (regular or name in values or name not in _PSEUDO):
            return RequestHead(malformed="pseudo-header out of place")
        if name in _FORBIDDEN or name != name.lower():
            return RequestHead(malformed="header field not allowed in HTTP/2")
        regular = regular or not pseudo
        values.setdefault(name, value)
    if not values.keys() >= _REQUIRED:
        return RequestHead(malformed="pseudo-header missing")
    return _checked(values)


def _checked(values: dict[bytes, bytes]) -> RequestHead:
    if values[b":method"] != b"POST":
        return RequestHead(http_status=405)
    if not values.get(b"content-type", b"").startswith(b"application/grpc"):
        return RequestHead(http_status=415)
    timeout: float | None = None
    if b"grpc-timeout" in values:
        timeout = timeout_seconds(values[b"grpc-timeout"].decode("latin-1"))
        if timeout is None:
            return RequestHead(malformed="grpc-timeout")
    return RequestHead(
        values[b":path"].decode("latin-1"),
        timeout,
        values.get(b"user-agent", b"").decode("utf-8", "replace"),
        values.get(b"grpc-encoding", b"identity").decode("latin-1"),
    )


def _literal(name: bytes, value: bytes) -> bytes:
    """A field as a literal that enters no table."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(size: int) -> bytes:
    """An HPACK integer with a prefix of seven bits."""
    if size < 0x7F:
        return bytes([size])
    size -= 0x7F
    octets = bytearray(b"\x7f")
    while size > 0x7F:
        octets.append(size & 0x7F | 0x80)
        size >>= 7
    octets.append(size)
    return bytes(octets)


def _percent_encoded(text: str) -> bytes:
    """``grpc-message``: printable ASCII but '%' stands for itself."""
    return b"".join(bytes([b]) if 0x20 <= b <= 0x7E and b != 0x25 else b"%%%02X" % b for b in text.encode())
