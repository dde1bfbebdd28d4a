"""The other side of a connection, by hand: sends any frames, well-formed or not, and collects what comes back."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from hpack import Decoder, Encoder

from minikube_py.datastore.etcd.transport import frames
from minikube_py.datastore.etcd.transport.frames import Setting

HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/t/echo",
    "content-type": "application/grpc",
    "te": "trailers",
    "user-agent": "peer",
}


def message(data: bytes) -> bytes:
    return b"\0" + len(data).to_bytes(4, "big") + data


class Peer:
    """``windows``: whether received data is acknowledged by window updates of the connection and the stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = Encoder(), Decoder()
        self.headers: dict[int, list[dict[str, str]]] = defaultdict(list)
        self.data: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.goaway: tuple[int, int, str] | None = None
        self.windows = True

    @classmethod
    async def connect(cls, address: str, **settings: int) -> Peer:
        host, _, port = address.rpartition(":")
        peer = cls(*await asyncio.open_connection(host, int(port)))
        values = {Setting[name.upper()]: value for name, value in settings.items()}
        peer.send(frames.PREFACE + frames.settings_frame(values))
        return peer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.send(frames.frame(kind, flags, stream, payload))

    def block(self, **headers: str) -> bytes:
        """``path="/t/x"`` and the like; dashes of names as underscores."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {name: changed.pop(name.lstrip(":"), value) for name, value in HEADERS.items()} | changed
        return bytes(self.encoder.encode([(n, v) for n, v in fields.items() if v], huffman=True))

    def request(self, stream: int, body: bytes | None = b"", *, end: bool = True, **headers: str) -> None:
        """A call; ``body`` is one message, None sends none."""
        flags = frames.END_HEADERS | (frames.END_STREAM if body is None and end else 0)
        self.frame(frames.HEADERS, flags, stream, self.block(**headers))
        if body is not None:
            self.payload(stream, message(body), end=end)

    def payload(self, stream: int, data: bytes, *, end: bool = True) -> None:
        pieces = [data[at : at + frames.FRAME_BYTES] for at in range(0, len(data), frames.FRAME_BYTES)] or [b""]
        for piece in pieces[:-1]:
            self.frame(frames.DATA, 0, stream, piece)
        self.frame(frames.DATA, frames.END_STREAM if end else 0, stream, pieces[-1])

    async def read(self) -> bool:
        """Take one frame; False at the end of the connection."""
        try:
            head = await self.reader.readexactly(frames.HEAD_BYTES)
            high, low, kind, flags, stream = frames.HEAD.unpack(head)
            payload = await self.reader.readexactly(high << 8 | low)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.frames.append((kind, flags, stream, payload))
        if kind == frames.DATA:
            self.data[stream] += payload
            if self.windows and payload:
                self.send(frames.window_update(0, len(payload)) + frames.window_update(stream, len(payload)))
        elif kind == frames.HEADERS:
            fields: Any = self.decoder.decode(payload)
            self.headers[stream].append(dict(fields))
        elif kind == frames.RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == frames.GOAWAY:
            self.goaway = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), payload[8:].decode()
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self.frame(frames.SETTINGS, frames.ACK, 0)
        if kind in (frames.DATA, frames.HEADERS) and flags & frames.END_STREAM:
            self.ended.add(stream)
        return True

    async def until_end(self, stream: int) -> dict[str, str]:
        """Read until a response ends; its trailers."""
        async with asyncio.timeout(30):
            while stream not in self.ended and stream not in self.resets:
                assert await self.read(), f"the connection ended: {self.goaway}"
        return self.headers[stream][-1] if self.headers[stream] else {}

    async def until_closed(self) -> int | None:
        """Read until the server closes; the code of its GOAWAY."""
        async with asyncio.timeout(30):
            while await self.read():
                pass
        return self.goaway[1] if self.goaway else None

    async def round_trip(self) -> None:
        """Everything sent before has been dealt with afterwards."""
        self.frame(frames.PING, 0, 0, b"roundtri")
        async with asyncio.timeout(30):
            while (frames.PING, frames.ACK, 0, b"roundtri") not in self.frames:
                assert await self.read(), f"the connection ended: {self.goaway}"
        self.frames.clear()

    async def close(self) -> None:
        self.writer.close()
