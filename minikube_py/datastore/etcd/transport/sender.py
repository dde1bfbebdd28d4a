"""The sending half of a connection: responses as frames, within the client's windows, one write a turn.

A unary answer that fits the windows leaves as three frames made in one go. What does not fit waits with
its call; ``pump`` sends of all that wait in turns, so that a large response does not keep the others back.
Nothing is sent while the transport is ``paused`` but frames that are not subject to flow control.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from struct import Struct

from minikube_py.datastore.etcd.transport import frames
from minikube_py.datastore.etcd.transport.budget import Budget
from minikube_py.datastore.etcd.transport.call import PREFIX_BYTES, Call
from minikube_py.datastore.etcd.transport.frames import ErrorCode, ProtocolViolation
from minikube_py.datastore.etcd.transport.headers import NO_TABLE, only_trailers, response_head, trailers
from minikube_py.datastore.etcd.transport.status import Code

_WRITE_BYTES = 256 << 10
_TURN_FRAMES = 4
_PREFIX = Struct(">BI")
_LAST = frames.END_HEADERS | frames.END_STREAM
_RESPONSE_HEAD = response_head()
_OK = trailers(Code.OK)
_LAYOUTS = 256


@lru_cache(_LAYOUTS)
def _layout(size: int) -> tuple[Callable[..., bytes], bytes, bytes, bytes, bytes]:
    """The frames of a unary answer of ``size`` bytes: their ``pack``, and what is in them beside stream and message.

    HEADERS frame up to its stream; its block and the DATA frame; the message's prefix; HEADERS frame with trailers.
    """
    pack = Struct(f">5sI{len(_RESPONSE_HEAD) + 5}sI5s{size}s5sI{len(_OK)}s").pack
    data_head = _RESPONSE_HEAD + _start_of(size + PREFIX_BYTES, frames.DATA, 0)
    head = _start_of(len(_RESPONSE_HEAD), frames.HEADERS, frames.END_HEADERS)
    return pack, head, data_head, _PREFIX.pack(0, size), _start_of(len(_OK), frames.HEADERS, _LAST)


def _start_of(size: int, kind: int, flags: int) -> bytes:
    """A frame's head without the stream."""
    return frames.HEAD.pack(size >> 8, size & 0xFF, kind, flags, 0)[:5]


class Sender:
    def __init__(self, loop: asyncio.AbstractEventLoop, budget: Budget, sent: Callable[[Call], None]) -> None:
        """``sent`` is called when a call's last frame is on its way."""
        self._loop = loop
        self._budget = budget
        self._sent = sent
        self._transport: asyncio.Transport | None = None
        self.paused = False
        self.closed = False
        self.initial_window = frames.DEFAULT_WINDOW
        self.queued = 0
        self._window = frames.DEFAULT_WINDOW
        self._waiting: dict[int, Call] = {}
        self._out: list[bytes | memoryview] = []
        self._unwritten = 0
        self._scheduled = False
        self._table_given_up = False

    def open(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def put(self, data: bytes) -> None:
        """Send whole frames with the next write."""
        self._out.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is to go out."""
        self._scheduled = False
        self._unwritten = 0
        out, self._out = self._out, []
        if out and self._transport is not None and not self.closed:
            self._transport.write(b"".join(out) if len(out) > 1 else out[0])

    def block(self, stream: int, block: bytes, flags: int = _LAST) -> None:
        """Send a header block; by default it ends the stream."""
        if not self._table_given_up:
            self._table_given_up = True
            block = NO_TABLE + block
        self.put(frames.frame(frames.HEADERS, flags, stream, block))

    def answer(self, call: Call, message: bytes) -> None:
        """The whole response of a unary call."""
        size = len(message) + PREFIX_BYTES
        if (
            size > frames.FRAME_BYTES
            or size > self._window
            or size > call.send_window
            or self.paused
            or not self._table_given_up
        ):
            self.message(call, message)
            self.end(call, Code.OK)
            return
        self._window -= size
        stream = call.id
        pack, head, data_head, prefix, last = _layout(len(message))
        self.put(pack(head, stream, data_head, stream, prefix, message, last, stream, _OK))
        self._sent(call)

    def message(self, call: Call, message: bytes) -> None:
        """One message of a response."""
        if not call.head_sent:
            call.head_sent = True
            self.block(call.id, _RESPONSE_HEAD, frames.END_HEADERS)
        data = _PREFIX.pack(0, len(message)) + message
        if call.outgoing is None:
            call.outgoing = deque()
        call.outgoing.append(memoryview(data))
        call.queued += len(data)
        self.queued += len(data)
        self._waiting[call.id] = call
        self.pump()

    def end(self, call: Call, code: Code, text: str = "") -> None:
        """The end of a response, after what waits of it."""
        block = trailers(code, text) if call.head_sent else only_trailers(code, text)
        if call.outgoing:
            call.trailer = block
        else:
            self.block(call.id, block)
            self._sent(call)

    def abandon(self, call: Call) -> None:
        """Forget what waits of a call."""
        self._waiting.pop(call.id, None)
        self.queued -= call.queued
        call.queued = 0
        call.outgoing = None
        call.trailer = b""

    def widen(self, octets: int) -> None:
        """The client takes more on the connection. Raises ProtocolViolation."""
        self._window += octets
        if self._window > frames.LARGEST_WINDOW:
            raise ProtocolViolation(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
        if self._waiting:
            self.pump()

    def widen_call(self, call: Call, octets: int) -> None:
        call.send_window += octets
        if call.outgoing:
            self.pump()

    def change_initial_window(self, octets: int, calls: Iterable[Call]) -> None:
        """A new SETTINGS_INITIAL_WINDOW_SIZE, for calls at work too. Raises ProtocolViolation."""
        difference, self.initial_window = octets - self.initial_window, octets
        for call in calls:
            call.send_window += difference
            if call.send_window > frames.LARGEST_WINDOW:
                raise ProtocolViolation(ErrorCode.FLOW_CONTROL_ERROR, f"the window of stream {call.id} is too large")
        if self._waiting:
            self.pump()

    def pump(self) -> None:
        """Send of what waits as much as the windows allow."""
        progress = True
        while progress and self._window > 0 and not self.paused:
            progress = False
            for call in list(self._waiting.values()):
                progress = self._turn(call) or progress
                if self._unwritten > _WRITE_BYTES:
                    self.flush()

    def _turn(self, call: Call) -> bool:
        """Some frames of one call."""
        turn = 0
        while call.outgoing and turn < _TURN_FRAMES:
            piece = call.outgoing[0]
            size = min(len(piece), frames.FRAME_BYTES, self._window, call.send_window)
            if size <= 0:
                break
            if size == len(piece):
                call.outgoing.popleft()
            else:
                call.outgoing[0] = piece[size:]
            self._data(call, piece[:size])
            turn += 1
        if not call.outgoing:
            self._waiting.pop(call.id, None)
            if call.trailer:
                self.block(call.id, call.trailer)
                self._sent(call)
        return turn > 0

    def _data(self, call: Call, piece: memoryview) -> None:
        size = len(piece)
        self._window -= size
        call.send_window -= size
        call.queued -= size
        self.queued -= size
        self._unwritten += size
        self.put(frames.HEAD.pack(size >> 8, size & 0xFF, frames.DATA, 0, call.id))
        self._out.append(piece)
        self._budget.earn()
        call.taken()
