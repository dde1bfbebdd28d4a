"""A fast load client for ``bench/datastore``: requests prepared as HTTP/2 frames, driven over one socket.

A general gRPC client in Python costs more for a call than either server does, and would measure itself.
This one sends bytes and looks in the answers for ends of streams only (the status of each is checked), the
same way to both servers. ``Load`` is one connection; everything on it is blocking.
"""

from __future__ import annotations

import socket
from select import select
from struct import Struct

_HEAD = Struct(">HBBBI")
_NUMBER = Struct(">I")
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_NO_ERROR = b"\0\0\0\0"
_LARGEST = (1 << 31) - 1
_REFILL = 1 << 28
_COMMON = (
    (b":authority", b"bench"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"user-agent", b"pyk3s-bench"),
)


class Load:
    """A connection to a gRPC server without TLS. Raises RuntimeError when the server ends it or a call fails."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._next = 1
        self._table: list[tuple[bytes, bytes]] = []
        self._blocks: dict[str, bytes] = {}
        self._window = 65_535
        self._received = 0
        first = frame(_SETTINGS, 0, 0, b"\0\4" + _NUMBER.pack(_LARGEST)) + frame(
            _WINDOW, 0, 0, _NUMBER.pack(_LARGEST - 65_535)
        )
        self._out = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + first]
        self._bodies: dict[int, list[bytes]] = {}

    def close(self) -> None:
        self._socket.close()

    def start(self, path: str, message: bytes, *, keep: bool = False, end: bool = True) -> int:
        """Queue a call and give its stream. ``keep``: its answer is wanted; ``end``: no message follows."""
        stream, self._next = self._next, self._next + 2
        if keep:
            self._bodies[stream] = []
        self._out.append(frame(_HEADERS, _END_HEADERS, stream, self._block(path)))
        self.send(stream, message, end=end)
        return stream

    def send(self, stream: int, message: bytes, *, end: bool) -> None:
        """Queue a message of at most 16 kB on an open stream."""
        data = b"\0" + _NUMBER.pack(len(message)) + message
        while self._window < len(data):  # the server has not taken what was sent
            self.step()
        self._window -= len(data)
        self._out.append(frame(_DATA, _END_STREAM if end else 0, stream, data))

    def step(self, wait_seconds: float | None = None) -> list[int]:
        """Send what is queued, wait for something (so long at most), and give the streams that ended."""
        if self._out:
            out, self._out = self._out, []
            self._socket.sendall(b"".join(out))
        if wait_seconds is not None and not select([self._socket], (), (), wait_seconds)[0]:
            return []
        data = self._socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the server closed the connection")
        return self._take(self._rest + data if self._rest else data)

    def body(self, stream: int) -> bytes:
        """What came on a kept stream since the last time, without HTTP/2's framing."""
        parts = self._bodies[stream]
        body = b"".join(parts)
        parts.clear()
        return body

    def forget(self, stream: int) -> None:
        del self._bodies[stream]

    def call(self, path: str, message: bytes) -> bytes:
        """One call: its answer."""
        stream = self.start(path, message, keep=True)
        while stream not in self.step():
            pass
        body = self.body(stream)
        self.forget(stream)
        return body[5:]

    def _take(self, data: bytes) -> list[int]:
        ended: list[int] = []
        at, size = 0, len(data)
        while size - at >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            start = at + 9
            stop = start + (high << 8 | low)
            if stop > size:
                break
            at = stop
            if kind == _DATA:
                self._received += stop - start
                body = self._bodies.get(stream)
                if body is not None:
                    body.append(data[start:stop])
            elif kind == _HEADERS:
                if flags & _END_STREAM:
                    # Only a failure has a text; grpcio sends an empty one with successes too.
                    if b"grpc-message" in data[start:stop] and not data.endswith(b"grpc-message\0", start, stop):
                        raise RuntimeError(f"a call failed: {data[start:stop]!r}")
                    ended.append(stream)
            elif kind == _WINDOW:
                if not stream:
                    self._window += _NUMBER.unpack_from(data, start)[0]
            else:
                self._control(kind, flags, data[start:stop])
        self._rest = data[at:]
        if self._received > _REFILL:
            self._out.append(frame(_WINDOW, 0, 0, _NUMBER.pack(self._received)))
            self._received = 0
        return ended

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _RST and payload == _NO_ERROR:
            return  # RFC 9113, 8.1: it answered before it saw the end of the request, which etcd does at times
        if kind in (_RST, _GOAWAY):
            raise RuntimeError(f"the server ended it: frame of type {kind}, {payload!r}")
        if kind in (_PING, _SETTINGS) and not flags & _ACK:
            self._out.append(frame(kind, _ACK, 0, payload if kind == _PING else b""))

    def _block(self, path: str) -> bytes:
        """Headers as a grpc client repeats them: indexed after the first request."""
        known = self._blocks.get(path)
        if known is not None:
            return known
        fields = [(b":path", path.encode()), *_COMMON]
        if all(field in self._table for field in fields):
            # After the 61 static entries comes the newest; 0x83 and 0x86 are POST and http.
            block = self._blocks[path] = b"\x83\x86" + bytes(0x80 | 62 + self._table.index(field) for field in fields)
            return block
        new = [field for field in fields if field not in self._table]  # pseudo-headers come first
        old = [field for field in fields if field in self._table]
        for field in new:
            self._table.insert(0, field)
        indexed = bytes(0x80 | 62 + self._table.index(field) for field in old)
        self._blocks.clear()
        literals = b"".join(b"\x40" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in new)
        return b"\x83\x86" + literals + indexed


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload
