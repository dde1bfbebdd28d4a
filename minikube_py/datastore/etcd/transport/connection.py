"""A client's HTTP/2 connection: frames in, calls started, responses out (RFC 9113 and gRPC over HTTP/2).

Why own code: a call whose handler does nothing costs this server 9 us of CPU with 64 callers and 40 us with one;
grpcio's threaded server 153 and 273 us, its asyncio server 276 and 309 us (same client, same run), and etcd
about 50 us for a whole put. The frames of one read are taken in one go, the answers of one turn of the loop
leave in one write, and headers are compared instead of decoded (``headers``).

Invariants: what a peer can make this side keep is bounded (``HELD_BYTES`` of requests, ``SENDING_BYTES``
of responses beyond which no new call starts, the windows, ``Budget``); a violation ends the connection
with a GOAWAY that names it; a connection that does not take its answers is not read either.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from minikube_py.datastore.etcd.transport import frames
from minikube_py.datastore.etcd.transport.budget import Budget
from minikube_py.datastore.etcd.transport.call import STREAM_WINDOW, Call, Method
from minikube_py.datastore.etcd.transport.frames import ErrorCode, ProtocolViolation, Setting
from minikube_py.datastore.etcd.transport.headers import HeaderReader, RequestHead, http_response, only_trailers
from minikube_py.datastore.etcd.transport.running import start
from minikube_py.datastore.etcd.transport.sender import Sender
from minikube_py.datastore.etcd.transport.status import Code, StatusError
from minikube_py.datastore.etcd.transport.tls import common_name

_log = logging.getLogger(__name__)

MAX_CONCURRENT_STREAMS = 4096
CONNECTION_WINDOW = 16 << 20
HELD_BYTES = 64 << 20
SENDING_BYTES = 32 << 20
_BLOCK_BYTES = 32 << 10
_BLOCK_FRAMES = 16
_WRITE_BUFFER_BYTES = 1 << 20
# Half of them begin calls. Not many more: after each turn the store's writer gets what has come, so that the disk is at
# work while the next are read, and answers leave. Not fewer: each batch has its price. 64 writers of `bench/datastore`
# took 19 us of CPU for a put, with 64 frames 27 us.
_TURN_FRAMES = 128
_NOT_PLAIN = frames.END_HEADERS | frames.PADDED | frames.WITH_PRIORITY
_BEHIND_BYTES = 128 << 10
_PREFACE_SECONDS = 10.0
_FAREWELL_SECONDS = 2.0
_STOPPED = "etcdserver: server stopped"


class Connection(asyncio.Protocol):
    """``connections`` has this one while it lasts, ``tasks`` its running handlers."""

    def __init__(
        self, methods: Mapping[str, Method], connections: set[Connection], tasks: set[asyncio.Future[Any]]
    ) -> None:
        """``methods``: what is served, by the path of the request."""
        self._methods = methods
        self._open_connections = connections
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._budget = Budget(self._loop.time)
        self._headers = HeaderReader()
        self.calls: dict[int, Call] = {}
        self.common_name = ""
        self.peer = ""
        self.finished: asyncio.Future[None] = self._loop.create_future()
        """Done when it was left and no call is at work any more, or when it was lost."""
        self._rest = b""
        self._greeted = self._settled = self._behind = False
        self._reading = True
        self._last_stream = 0
        self._block: list[bytes] | None = None
        self._block_head = (0, 0)
        self._receive_window = frames.DEFAULT_WINDOW
        self._unreported = 0
        self._held = 0
        self._full: deque[Call] = deque()
        self._leaving = False
        self._sender = Sender(self._loop, self._budget, self._sent)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self.common_name = common_name(self._transport.get_extra_info("peercert"))
        self.peer = str(self._transport.get_extra_info("peername"))
        self._open_connections.add(self)
        self._sender.open(self._transport)
        values = {
            Setting.MAX_CONCURRENT_STREAMS: MAX_CONCURRENT_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: _BLOCK_BYTES // 2,
        }
        self._sender.put(frames.settings_frame(values))
        self._widen(CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        self._preface_timer = self._loop.call_later(_PREFACE_SECONDS, self._transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._preface_timer.cancel()
        self._open_connections.discard(self)
        self._finish()
        self._sender.closed = True
        for call in list(self.calls.values()):
            self._drop(call)

    def pause_writing(self) -> None:
        self._sender.paused = True
        self._steer_reading()

    def resume_writing(self) -> None:
        self._sender.paused = False
        self._steer_reading()
        self._sender.pump()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._rest = self._rest + data if self._rest else data
        if not self._behind:
            self._work()
        else:
            self._steer_reading()

    def _work(self) -> None:
        """Take what was read; of much a part in each turn of the loop, reading not much more meanwhile."""
        if self._transport.is_closing():
            return
        try:
            self._behind = self._take(self._rest)
        except ProtocolViolation as violation:
            self._fail(violation)
            return
        if self._behind:
            self._loop.call_soon(self._work)
        self._steer_reading()

    def _steer_reading(self) -> None:
        reading = not (self._sender.paused or (self._behind and len(self._rest) > _BEHIND_BYTES))
        if reading == self._reading or self._transport.is_closing():
            return
        self._reading = reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # -- frames in

    def _take(self, data: bytes) -> bool:
        """Take whole frames of ``data``, which the rest of it replaces; whether there are more."""
        at, end, left = 0, len(data), _TURN_FRAMES
        if not self._greeted:
            if end < len(frames.PREFACE) and frames.PREFACE.startswith(data):
                return False
            if not data.startswith(frames.PREFACE):
                raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 connection preface")
            self._greeted, at = True, len(frames.PREFACE)
            self._preface_timer.cancel()
        unpack = frames.HEAD.unpack_from
        while left and end - at >= frames.HEAD_BYTES:
            left -= 1
            high, low, kind, flags, stream = unpack(data, at)
            size = high << 8 | low
            if size > frames.FRAME_BYTES:
                raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = at + frames.HEAD_BYTES
            if end - start < size:
                break
            at = start + size
            stream &= frames.STREAM_MASK
            usual = self._settled and self._block is None
            if usual and kind == frames.DATA:
                self._data(flags, stream, data[start:at])
            elif usual and kind == frames.HEADERS and flags & _NOT_PLAIN == frames.END_HEADERS:
                self._headers_complete(stream, flags, data[start:at])
            else:
                self._frame(kind, flags, stream, data[start:at])
            if self._leaving and self._transport.is_closing():
                return False
        self._rest = data[at:]
        return not left and end - at >= frames.HEAD_BYTES

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """A frame that is not one of the two usual ones."""
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._block_head[0]):
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "a frame between those of a header block")
        if not self._settled and kind != frames.SETTINGS:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == frames.HEADERS:
            self._header_block(flags, stream, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._spend()
            self._window_update(stream, frames.number(payload, "WINDOW_UPDATE"))
        elif kind == frames.CONTINUATION:
            self._continuation(flags, payload)
        else:
            self._spend()
            self._rare(kind, flags, stream, payload)

    def _rare(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (frames.SETTINGS, frames.PING, frames.GOAWAY) and stream:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"frame of type {kind} on a stream")
        if kind in (frames.RST_STREAM, frames.PRIORITY) and not stream:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"frame of type {kind} without a stream")
        if kind == frames.PING:
            if len(payload) != 8:
                raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, f"PING frame of {len(payload)} bytes")
            if not flags & frames.ACK:
                self._sender.put(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.SETTINGS:
            self._settings(flags, payload)
        elif kind == frames.RST_STREAM:
            frames.number(payload, "RST_STREAM")
            self._check_not_idle(stream)
            if stream in self.calls:
                self._drop(self.calls[stream])
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE of a client")
        elif kind == frames.PRIORITY and len(payload) != 5:
            raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY frame of {len(payload)} bytes")
        # A GOAWAY of the client changes nothing: this side starts no streams.

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise ProtocolViolation(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with content")
            return
        self._settled = True
        values = frames.settings(payload)
        # Before the data that a larger window lets out: until then the peer holds this side to the old one.
        self._sender.put(frames.frame(frames.SETTINGS, frames.ACK, 0))
        for name, value in values:
            if name == Setting.INITIAL_WINDOW_SIZE:
                self._sender.change_initial_window(value, self.calls.values())

    def _window_update(self, stream: int, value: int) -> None:
        octets = value & frames.STREAM_MASK
        if not stream:
            if not octets:
                raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "window update of 0 bytes")
            self._sender.widen(octets)
            return
        self._check_not_idle(stream)
        call = self.calls.get(stream)
        if call is None:
            return
        if not octets or call.send_window + octets > frames.LARGEST_WINDOW:
            code = ErrorCode.FLOW_CONTROL_ERROR if octets else ErrorCode.PROTOCOL_ERROR
            self._sender.put(frames.rst_stream(stream, code))
            self._drop(call)
            return
        self._sender.widen_call(call, octets)

    def _header_block(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = frames.content(flags, payload)
        if flags & frames.END_HEADERS:
            self._headers_complete(stream, flags, payload)
        else:
            self._block = [payload]
            self._block_head = stream, flags

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block")
        self._block.append(payload)
        if len(self._block) > _BLOCK_FRAMES or sum(map(len, self._block)) > _BLOCK_BYTES:
            raise ProtocolViolation(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.END_HEADERS:
            block, self._block = b"".join(self._block), None
            self._headers_complete(*self._block_head, block)

    def _headers_complete(self, stream: int, flags: int, block: bytes) -> None:
        head = self._headers.read(block)
        if stream <= self._last_stream:
            self._request_trailers(stream, flags)
            return
        if not stream & 1:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"a request on stream {stream}")
        self._last_stream = stream
        if self._leaving:
            return  # announced by GOAWAY: the client tries it elsewhere
        if len(self.calls) >= MAX_CONCURRENT_STREAMS:
            self._spend()
            self._sender.put(frames.rst_stream(stream, ErrorCode.REFUSED_STREAM))
            return
        self._begin(stream, head, ended=bool(flags & frames.END_STREAM))

    def _begin(self, stream: int, head: RequestHead, *, ended: bool) -> None:
        if head.malformed:
            self._spend()
            self._sender.put(frames.rst_stream(stream, ErrorCode.PROTOCOL_ERROR))
            return
        method = self._methods.get(head.path)
        if method is None or head.http_status != 200:
            self._spend()
            refusal = only_trailers(Code.UNIMPLEMENTED, f"unknown method {head.path}")
            self._sender.block(stream, refusal if head.http_status == 200 else http_response(head.http_status))
            if not ended:
                self._sender.put(frames.rst_stream(stream, ErrorCode.NO_ERROR))
            return
        call = self.calls[stream] = Call(self, stream, head, method, self._sender.initial_window)
        call.ended_by_client = ended
        if head.timeout_seconds is not None:
            call.deadline = self._loop.call_later(head.timeout_seconds, self._expire, call)
        if ended or not method.unary:
            self._start(call)

    def _start(self, call: Call) -> None:
        """Start the handler, or keep it back until the client has taken more of its answers."""
        if self._sender.queued > SENDING_BYTES:
            self._full.append(call)
            return
        start(self, call, self._tasks)

    def _request_trailers(self, stream: int, flags: int) -> None:
        self._spend()
        call = self.calls.get(stream)
        if call is None:
            return  # it ended meanwhile
        if call.ended_by_client or not flags & frames.END_STREAM:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"headers amid stream {stream}")
        call.ended_by_client = True
        call.wake()

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._receive_window -= size
        self._unreported += size
        if self._receive_window < 0:
            raise ProtocolViolation(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._unreported > CONNECTION_WINDOW // 2:
            self._widen(self._unreported)
        call = self.calls.get(stream)
        if call is None:
            self._check_not_idle(stream)
            self._spend()
            return
        if call.ended_by_client:
            raise ProtocolViolation(ErrorCode.STREAM_CLOSED, f"data after the end of stream {stream}")
        # The usual request goes a shorter way. It is not counted as held, so it must not have to wait for its start.
        starts = flags == frames.END_STREAM and call.method.unary and self._sender.queued <= SENDING_BYTES
        if starts and not call.held and call.take_whole(payload):
            start(self, call, self._tasks)
            return
        call.receive_window -= size
        if call.receive_window < 0:
            raise ProtocolViolation(ErrorCode.FLOW_CONTROL_ERROR, f"more data than the window of stream {stream}")
        if flags & frames.PADDED:
            payload = frames.content(flags & frames.PADDED, payload)
        ended = flags & frames.END_STREAM
        if not payload and not ended:
            self._spend()
        self._deliver(call, payload, ended=bool(ended))

    def _deliver(self, call: Call, payload: bytes, *, ended: bool) -> None:
        self._held += len(payload)
        call.held += len(payload)
        if self._held > HELD_BYTES:
            self._refuse(call, Code.RESOURCE_EXHAUSTED, "too much data of unfinished requests on this connection")
            return
        call.ended_by_client = ended
        try:
            call.take(payload)
        except StatusError as refusal:
            self._refuse(call, refusal.code, refusal.text)
            return
        if ended and call.method.unary:
            self._start(call)
        else:
            call.wake()

    def _check_not_idle(self, stream: int) -> None:
        if not stream or stream > self._last_stream or not stream & 1:
            raise ProtocolViolation(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {stream}, which is idle")

    def _spend(self) -> None:
        if not self._budget.spend():
            raise ProtocolViolation(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry no call on")

    def _widen(self, octets: int) -> None:
        self._receive_window += octets
        self._unreported = 0
        self._sender.put(frames.window_update(0, octets))

    # -- for calls and their handlers

    def consumed(self, call: Call, octets: int) -> None:
        """A handler took a message of so many bytes on the wire."""
        self._release(call, octets)
        missing = STREAM_WINDOW - call.receive_window - call.held
        if missing > STREAM_WINDOW // 2 and not call.ended_by_client:
            call.receive_window += missing
            self._sender.put(frames.window_update(call.id, missing))

    def send_message(self, call: Call, message: bytes) -> None:
        """Queue a message of a call that has not ended."""
        if self.calls.get(call.id) is call:
            self._sender.message(call, message)

    def answer(self, call: Call, message: bytes) -> None:
        """End a call with its only message."""
        if self.calls.get(call.id) is call:
            self._sender.answer(call, message)

    def end(self, call: Call, code: Code, text: str = "") -> None:
        """End a call after the messages that were written."""
        if self.calls.get(call.id) is call:
            self._sender.end(call, code, text)

    # -- ends

    def _sent(self, call: Call) -> None:
        """The last byte of a response is on its way."""
        if not call.ended_by_client:
            self._sender.put(frames.rst_stream(call.id, ErrorCode.NO_ERROR))
        if call.deadline is not None or call.held or self._full:
            self._forget(call)
        else:
            self.calls.pop(call.id, None)
        self._budget.earn()
        while self._full and self._sender.queued <= SENDING_BYTES:
            self._start(self._full.popleft())
        if not self.calls:
            self._sender.flush()  # nobody else's answer could go along
            if self._leaving:
                self._transport.close()
                self._finish()

    def _refuse(self, call: Call, code: Code, text: str) -> None:
        """End a call from outside its handler."""
        task = call.task
        self._sender.abandon(call)
        self._sender.end(call, code, text)
        if task is not None:
            task.cancel()

    def _expire(self, call: Call) -> None:
        self._refuse(call, Code.DEADLINE_EXCEEDED, "context deadline exceeded")

    def _drop(self, call: Call) -> None:
        """The client is not interested any more."""
        self._sender.abandon(call)
        self._forget(call)
        if call.task is not None:
            call.task.cancel()

    def _forget(self, call: Call) -> None:
        self.calls.pop(call.id, None)
        if call.deadline is not None:
            call.deadline.cancel()
        if call in self._full:
            self._full.remove(call)
        self._release(call, call.held)

    def _release(self, call: Call, octets: int) -> None:
        octets = min(octets, call.held)
        call.held -= octets
        self._held -= octets

    def _fail(self, violation: ProtocolViolation) -> None:
        _log.info("etcd interface: connection of %s closed: %s", self.peer, violation)
        self._leaving = True
        self._rest = b""
        if self._greeted:
            self._sender.put(frames.goaway(self._last_stream, violation.code, str(violation)))
        self._sender.flush()
        self._transport.close()
        self._loop.call_later(_FAREWELL_SECONDS, self._transport.abort)  # the peer may never read it
        for call in list(self.calls.values()):
            self._drop(call)

    def leave(self) -> None:
        """Take no new calls and end streams, which would not end by themselves; close when the others are done."""
        self._leaving = True
        self._sender.put(frames.goaway(self._last_stream, ErrorCode.NO_ERROR))
        for call in [call for call in self.calls.values() if not call.method.unary]:
            self._refuse(call, Code.UNAVAILABLE, _STOPPED)
        if not self.calls:
            self._sender.flush()
            self._transport.close()
            self._finish()

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    def close(self) -> None:
        """End what is at work with UNAVAILABLE, and the connection."""
        for call in list(self.calls.values()):
            self._refuse(call, Code.UNAVAILABLE, _STOPPED)
        self._sender.flush()
        self._transport.close()
