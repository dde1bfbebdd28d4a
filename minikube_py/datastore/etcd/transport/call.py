"""One gRPC call: what a handler reads from and writes to, and the state of its HTTP/2 stream.

Invariants: messages come out whole and in order; ``write`` returns when the client may have the message
or at most ``QUEUED_BYTES`` wait for it, so a slow reader holds its handler up and costs bounded memory; after the
client's reset or the deadline the handler is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_py.datastore.etcd.transport.headers import RequestHead
from minikube_py.datastore.etcd.transport.status import Code, StatusError

if TYPE_CHECKING:
    from minikube_py.datastore.etcd.transport.connection import Connection
    from minikube_py.datastore.etcd.transport.running import ShortReply

MESSAGE_BYTES = 2 << 20  # etcd's 1.5 MiB of a request and 512 kB of overhead
STREAM_WINDOW = 4 << 20  # a whole message goes through without a window update
QUEUED_BYTES = 1 << 20
PREFIX_BYTES = 5


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one response. The handler raises StatusError to end with another code than OK."""

    handler: Callable[[bytes, Call], Awaitable[bytes]]
    shortcut: Shortcut | None = None
    unary: bool = True


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A handler without task and future, for what is called most: a put costs a fifth less.

    ``begin`` starts the work, whose outcome goes to the reply that it is given; False: the handler is to do it.
    ``answer`` makes the response out of a result, ``refuse`` out of an exception. All raise StatusError.
    """

    begin: Callable[[bytes, Call, ShortReply], bool]
    answer: Callable[[Any], bytes]
    refuse: Callable[[Exception], StatusError]


@dataclass(frozen=True, slots=True)
class Streaming:
    """Messages in both directions, for as long as the handler runs; or after one request."""

    handler: Callable[[Call], Awaitable[None]]
    unary: bool = False


Method = Unary | Streaming


class Call:
    """``head``: the request's headers. Everything without a docstring belongs to the connection."""

    __slots__ = (
        "_connection",
        "_needed",
        "_waiter",
        "deadline",
        "ended_by_client",
        "head",
        "head_sent",
        "held",
        "id",
        "incoming",
        "messages_in",
        "method",
        "outgoing",
        "queued",
        "receive_window",
        "request",
        "send_window",
        "task",
        "trailer",
        "writable",
    )

    def __init__(
        self, connection: Connection, stream: int, head: RequestHead, method: Method, send_window: int
    ) -> None:
        self._connection = connection
        self.id = stream
        self.head = head
        self.method = method
        self.task: asyncio.Future[Any] | None = None
        self.deadline: asyncio.TimerHandle | None = None
        # In: a whole request (see `take_whole`); or bytes of a message that is not complete, and complete messages.
        self.request: bytes | None = None
        self.incoming = bytearray()
        self._needed = PREFIX_BYTES
        self.messages_in: deque[bytes] | None = None
        self.held = 0
        self.receive_window = STREAM_WINDOW
        self.ended_by_client = False
        self._waiter: asyncio.Future[None] | None = None
        # Out: payload of DATA frames that waits for the client's window, then the trailers.
        self.head_sent = False
        self.outgoing: deque[memoryview] | None = None
        self.queued = 0
        self.send_window = send_window
        self.trailer = b""
        self.writable: asyncio.Future[None] | None = None

    @property
    def client(self) -> str:
        """Who asks, for accounting: the certificate's common name, else the user agent."""
        return self._connection.common_name or self.head.user_agent

    async def messages(self) -> AsyncIterator[bytes]:
        """The client's messages, until it ends its side."""
        while True:
            while self.messages_in:
                message = self.messages_in.popleft()
                self._connection.consumed(self, len(message) + PREFIX_BYTES)
                yield message
            if self.ended_by_client:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def write(self, message: bytes) -> None:
        """Send a message; wait while too much is queued for this client."""
        self._connection.send_message(self, message)
        if self.queued > QUEUED_BYTES:
            self.writable = asyncio.get_running_loop().create_future()
            await self.writable

    def only_message(self) -> bytes:
        """The request of a unary call. Raises StatusError."""
        message = self.request
        if message is not None:
            return message
        if not self.messages_in or len(self.messages_in) > 1 or self.incoming:
            raise StatusError(Code.INTERNAL, "grpc: a request must be one message")
        message = self.request = self.messages_in.popleft()
        self._connection.consumed(self, len(message) + PREFIX_BYTES)
        return message

    def take_whole(self, payload: bytes) -> bool:
        """``take`` for the usual request: one frame that is the only message, and the end; False: it is another one."""
        if (
            len(payload) < PREFIX_BYTES
            or payload[0]
            or int.from_bytes(payload[1:5], "big") != len(payload) - PREFIX_BYTES
        ):
            return False
        self.ended_by_client = True
        self.request = payload[PREFIX_BYTES:]
        return True

    def take(self, payload: bytes) -> None:
        """Add the content of a DATA frame. Raises StatusError: too large, or compressed."""
        data = payload
        if self.messages_in is None:
            self.messages_in = deque()
        if self.incoming:
            self.incoming += payload
            if len(self.incoming) < self._needed:
                return
            data = bytes(self.incoming)
            self.incoming.clear()
        at, end = 0, len(data)
        self._needed = PREFIX_BYTES
        while end - at >= PREFIX_BYTES:
            size = int.from_bytes(data[at + 1 : at + PREFIX_BYTES], "big")
            if size > MESSAGE_BYTES:
                text = f"grpc: received message larger than max ({size} vs. {MESSAGE_BYTES})"
                raise StatusError(Code.RESOURCE_EXHAUSTED, text)
            if data[at]:
                raise StatusError(Code.UNIMPLEMENTED, f"grpc: message compressed with {self.head.encoding}")
            if end - at < PREFIX_BYTES + size:
                self._needed = PREFIX_BYTES + size
                break
            at += PREFIX_BYTES
            self.messages_in.append(data[at : at + size])
            at += size
        if at < end:
            self.incoming += data[at:]

    def taken(self) -> None:
        """The client's windows took some of what is queued."""
        waiter = self.writable
        if waiter is not None and self.queued <= QUEUED_BYTES // 2 and not waiter.done():
            waiter.set_result(None)

    def wake(self) -> None:
        """There is a message, or the client ended its side."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
