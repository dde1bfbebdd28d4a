"""The opening side of a SPDY/3.1 connection: streams over a ``Duplex``.

What holds: data of one stream arrives in order; a reader that stops reading stops the connection
(SPDY as Kubernetes uses it has no flow control of its own); when the connection ends, every stream
reads as ended. ``async with`` owns the reading task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from minikube_py.components.kubelet.streaming.duplex import Duplex
from minikube_py.components.kubelet.streaming.spdy import Decoder, Encoder, Frame, Kind, SpdyError

reply_timeout_seconds = 30.0
queued_chunks = 64


class SpdyStream:
    """One stream; ``read`` gives empty bytes at its end."""

    __slots__ = ("_changed", "_chunks", "_connection", "_ended", "_half_closed", "id", "replied")

    def __init__(self, connection: SpdyConnection, id: int) -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._half_closed = False
        self.id = id
        self.replied = asyncio.Event()

    async def read(self) -> bytes:
        while not self._chunks and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        self._changed.set()  # there is room again
        return self._chunks.popleft() if self._chunks else b""

    async def write(self, data: bytes) -> None:
        """Send data; after ``close`` it is dropped, as the peer would."""
        if data and not self._half_closed:
            await self._connection.send(Frame(Kind.DATA, self.id, data=data))

    async def close(self) -> None:
        """Half-close: nothing more will be written."""
        if not self._half_closed:
            self._half_closed = True
            await self._connection.send(Frame(Kind.DATA, self.id, fin=True))

    async def deliver(self, data: bytes) -> None:
        """Called by the connection; waits while the reader is far behind."""
        while len(self._chunks) >= queued_chunks and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        self._chunks.append(data)
        self._changed.set()

    def end(self) -> None:
        """Called by the connection: the peer sends nothing more."""
        self._ended = True
        self._changed.set()


class SpdyConnection:
    """Streams that we open. Raises SpdyError when the peer breaks the protocol or refuses a stream."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._streams: dict[int, SpdyStream] = {}
        self._next_id = 1
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SpdyConnection:
        self._reader = asyncio.create_task(self._read(), name="spdy-reader")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._duplex.close()

    async def open(self, headers: Mapping[str, str]) -> SpdyStream:
        """Open a stream and wait for the peer's consent."""
        stream = SpdyStream(self, self._next_id)
        self._next_id += 2
        self._streams[stream.id] = stream
        await self.send(Frame(Kind.SYN_STREAM, stream.id, headers=headers))
        try:
            async with asyncio.timeout(reply_timeout_seconds):
                await stream.replied.wait()
        except TimeoutError:
            raise SpdyError("the runtime does not accept a stream") from None
        if stream.id not in self._streams:
            raise SpdyError("the runtime refused a stream")
        return stream

    async def send(self, frame: Frame) -> None:
        # Encoding and handing over happen without an await between them: the order is that of the calls.
        await self._duplex.write(self._encoder.encode(frame))

    async def _read(self) -> None:
        try:
            while data := await self._duplex.read():
                for frame in self._decoder.feed(data):
                    await self._take(frame)
        finally:
            for stream in list(self._streams.values()):
                self._drop(stream)

    async def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.PING:
            if frame.number % 2 == 0:  # the peer's; odd ones would be echoes of ours
                await self.send(frame)
            return
        stream = self._streams.get(frame.stream_id)
        if stream is None or frame.kind is Kind.GOAWAY:
            return
        if frame.kind is Kind.RST_STREAM:
            self._drop(stream)
        elif frame.kind is Kind.DATA and frame.data:
            await stream.deliver(frame.data)
        elif frame.kind is Kind.SYN_REPLY:
            stream.replied.set()
        if frame.fin:
            stream.end()

    def _drop(self, stream: SpdyStream) -> None:
        """A reset stream reads as ended, after what has arrived."""
        self._streams.pop(stream.id, None)
        stream.replied.set()
        stream.end()
