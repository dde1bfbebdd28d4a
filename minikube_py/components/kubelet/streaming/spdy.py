"""SPDY/3.1 framing, as far as Kubernetes' streams use it. Pure: bytes to frames and back.

Header blocks are compressed with one zlib context for each direction of a connection, primed with
the protocol's dictionary; frames must therefore be encoded in the order in which they are sent.
There is no flow control: Kubernetes' implementations have none and ignore WINDOW_UPDATE.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

_FIN = 0x01
_control_bit = 0x8000
_version = 3
_stream_mask = 0x7FFFFFFF

_WORDS = """options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age
allow authorization cache-control connection content-base content-encoding content-language content-length
content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since
if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning
www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"""
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """Section 2.6.10.1: words with their lengths, then common text."""
    words = [word.replace("_", " ").encode() for word in _WORDS.split()]
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _TAIL.encode()


DICTIONARY = _dictionary()


class Kind(IntEnum):
    DATA = 0
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class SpdyError(Exception):
    """Bytes that are not SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``number`` is the status of RST_STREAM and GOAWAY, and the id of PING."""

    kind: Kind
    stream_id: int = 0
    fin: bool = False
    data: bytes = b""
    headers: Mapping[str, str] | None = None
    number: int = 0


class Encoder:
    """Frames to bytes, for one direction of one connection."""

    __slots__ = ("_zlib",)

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(level=9, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        flags = _FIN if frame.fin else 0
        if frame.kind is Kind.DATA:
            return struct.pack(">II", frame.stream_id, flags << 24 | len(frame.data)) + frame.data
        if frame.kind is Kind.SYN_STREAM:
            body = struct.pack(">IIH", frame.stream_id, 0, 0) + self._block(frame.headers or {})
        elif frame.kind in (Kind.SYN_REPLY, Kind.HEADERS):
            body = struct.pack(">I", frame.stream_id) + self._block(frame.headers or {})
        elif frame.kind is Kind.PING:
            body = struct.pack(">I", frame.number)
        elif frame.kind in (Kind.RST_STREAM, Kind.GOAWAY):
            body = struct.pack(">II", frame.stream_id, frame.number)
        else:
            raise SpdyError(f"{frame.kind.name} frames are not sent")
        return struct.pack(">HHI", _control_bit | _version, frame.kind, flags << 24 | len(body)) + body

    def _block(self, headers: Mapping[str, str]) -> bytes:
        plain = bytearray(struct.pack(">I", len(headers)))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                plain += struct.pack(">I", len(text)) + text
        return self._zlib.compress(bytes(plain)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Bytes to frames, for one direction of one connection."""

    __slots__ = ("_buffer", "_zlib")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete by now. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, size = second >> 24, second & 0xFFFFFF
            if len(self._buffer) < 8 + size:
                return
            body = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            if not first & 0x80000000:
                yield Frame(Kind.DATA, first, bool(flags & _FIN), body)
                continue
            try:
                frame = self._control(first & 0xFFFF, flags, body)
            except (struct.error, zlib.error) as error:
                raise SpdyError(f"malformed control frame: {error}") from error
            if frame is not None:
                yield frame

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        fin = bool(flags & _FIN)
        if kind == Kind.SYN_STREAM:
            stream_id = struct.unpack_from(">I", body)[0] & _stream_mask
            return Frame(Kind.SYN_STREAM, stream_id, fin, headers=self._headers(body[10:]))
        if kind in (Kind.SYN_REPLY, Kind.HEADERS):
            stream_id = struct.unpack_from(">I", body)[0] & _stream_mask
            return Frame(Kind(kind), stream_id, fin, headers=self._headers(body[4:]))
        if kind in (Kind.RST_STREAM, Kind.GOAWAY):
            stream_id, status = struct.unpack_from(">II", body)
            return Frame(Kind(kind), stream_id & _stream_mask, number=status)
        if kind == Kind.PING:
            return Frame(Kind.PING, number=struct.unpack_from(">I", body)[0])
        return None  # SETTINGS, WINDOW_UPDATE and unknown kinds ask for nothing here

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._zlib.decompress(block)
        count, position = struct.unpack_from(">I", plain)[0], 4
        headers: dict[str, str] = {}
        for _ in range(count):
            parts = []
            for _ in range(2):
                size = struct.unpack_from(">I", plain, position)[0]
                parts.append(plain[position + 4 : position + 4 + size].decode("utf-8", "replace"))
                position += 4 + size
            headers[parts[0]] = parts[1]
        return headers
