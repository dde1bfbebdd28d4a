"""gRPC calls over a Unix socket with grpcio: unary, and streams in either direction.

In and out: encoded messages, as bytes. A channel connects on first use and again, at once and
without back-off, after its connection was lost; an idle channel does nothing. Errors: ``RpcError``
with the name of the gRPC status code; a lost connection is ``UNAVAILABLE``, an expired deadline
``DEADLINE_EXCEEDED``. Cancelling a call cancels it at the server too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from minikube_py.components.kubelet.runtime.rpc.connection import Connection, Metadata, open_connection
from minikube_py.components.kubelet.runtime.rpc.errors import RpcError

__all__ = ["Channel", "OpenCall", "RpcError"]


class OpenCall:
    """One open call: messages out, messages in. Ends with its ``async with`` block."""

    __slots__ = ("_call", "_connection")

    def __init__(self, connection: Connection, call: Any) -> None:
        self._connection = connection
        self._call = call
        connection.begin_call()

    async def __aenter__(self) -> OpenCall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()
        await self._connection.end_call()

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """Send one message; ``end`` tells that it is the last. Raises RpcError."""
        async with _translated(self._connection):
            try:
                await self._call.write(message)
                if end:
                    await self._call.done_writing()
            except asyncio.InvalidStateError:
                if not self._call.done():
                    raise
                # The server may end the call before it has read everything; its status says why.
                await self._raise_status()

    async def receive(self) -> bytes | None:
        """The next message, or None when the server has ended the call well. Raises RpcError."""
        async with _translated(self._connection):
            message = await self._call.read()
            return message if isinstance(message, bytes) else None

    async def _raise_status(self) -> None:
        code = (await self._call.code()).name
        if code != "OK":
            raise await _failure(self._connection, code, await self._call.details())


class Channel:
    """Calls to one endpoint: a path, a ``unix://`` URL, or grpcio's ``ipv4:``/``ipv6:`` and an address with port.

    ``metadata`` goes with every call. containerd accepts no other authority than a plain host name.
    """

    __slots__ = ("_authority", "_connection", "_metadata", "_opening", "_user_agent", "path")

    def __init__(
        self, path: str, metadata: Metadata = (), *, authority: str = "localhost", user_agent: str = "pyk3s"
    ) -> None:
        self.path = path.removeprefix("unix://")
        self._metadata = metadata
        self._authority = authority
        self._user_agent = user_agent
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()

    async def unary(self, method: str, request: bytes, *, timeout_seconds: float) -> bytes:
        """One request, one response. ``method`` is ``/package.Service/Method``. Raises RpcError."""
        connection = await self._connect()
        connection.begin_call()
        try:
            async with _translated(connection):
                call = connection.unary(method, request, self._metadata, timeout_seconds=timeout_seconds)
                answer: bytes = await call
                return answer
        except RpcError as error:
            if error.code == "DEADLINE_EXCEEDED":
                raise RpcError(error.code, f"no answer within {timeout_seconds:g} s") from None
            raise
        finally:
            await connection.end_call()

    async def messages(self, method: str, request: bytes) -> AsyncIterator[bytes]:
        """One request, many responses; ends when the server ends it. Raises RpcError."""
        async with await self.call(method) as call:
            await call.send(request, end=True)
            while (message := await call.receive()) is not None:
                yield message

    async def call(self, method: str, *, timeout_seconds: float | None = None) -> OpenCall:
        """Open a call for messages in both directions. Raises RpcError."""
        connection = await self._connect()
        return OpenCall(connection, connection.stream(method, self._metadata, timeout_seconds=timeout_seconds))

    async def close(self) -> None:
        """Close the connection; open calls end. A later call connects anew."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _connect(self) -> Connection:
        """The connection, or a new one: grpcio's own attempts after a failure begin a second apart."""
        async with self._opening:
            if self._connection is None or self._connection.retired:
                self._connection = await open_connection(self.path, self._authority, self._user_agent)
            return self._connection


@asynccontextmanager
async def _translated(connection: Connection) -> AsyncIterator[None]:
    """grpcio's errors as RpcError."""
    from grpc.aio import AioRpcError

    try:
        yield
    except AioRpcError as error:
        raise await _failure(connection, error.code().name, error.details()) from error
    except asyncio.CancelledError:
        # grpcio cancels who waits when the channel is closed; their tasks are not cancelled.
        task = asyncio.current_task()
        if connection.closed and task is not None and not task.cancelling():
            raise RpcError("CANCELLED", "the channel was closed") from None
        raise


async def _failure(connection: Connection, code: str, details: str | None) -> RpcError:
    if code == "UNAVAILABLE":
        await connection.retire()
    return RpcError(code, details or "")
