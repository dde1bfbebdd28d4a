"""One grpcio channel: its options, and when it is closed.

What holds: grpcio is imported when the first connection is opened, in a thread; an idle connection
has no timer (no keepalive, no idle timeout, no name to resolve, no bandwidth probe); connections
share nothing, so that one that failed delays no other; a retired connection takes no new calls and
closes with its last open one, because closing a grpcio channel cancels what runs on it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import quote

from minikube_py.components.kubelet.runtime.rpc.errors import RpcError

largest_message_bytes = 64 << 20
longest_socket_path_bytes = 107
_never_milliseconds = (1 << 31) - 1
_OPTIONS = (
    ("grpc.max_receive_message_length", largest_message_bytes),
    ("grpc.max_send_message_length", largest_message_bytes),
    # grpcio keeps failed subchannels, with their back-off, for all channels of the process.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.client_idle_timeout_ms", _never_milliseconds),
    ("grpc.keepalive_time_ms", _never_milliseconds),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.enable_retries", 0),
    ("grpc.enable_channelz", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
)
Metadata = tuple[tuple[str, str], ...]


class Connection:
    """A grpcio channel, and how many calls are open on it."""

    __slots__ = ("_channel", "_open_calls", "closed", "retired")

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._open_calls = 0
        self.retired = False
        self.closed = False

    def unary(self, method: str, request: bytes, metadata: Metadata, *, timeout_seconds: float) -> Any:
        """grpcio's call of one request and one response; to be awaited."""
        return self._channel.unary_unary(method)(request, timeout=timeout_seconds, metadata=metadata)

    def stream(self, method: str, metadata: Metadata, *, timeout_seconds: float | None) -> Any:
        """grpcio's call with messages in both directions."""
        return self._channel.stream_stream(method)(timeout=timeout_seconds, metadata=metadata)

    def begin_call(self) -> None:
        self._open_calls += 1

    async def end_call(self) -> None:
        self._open_calls -= 1
        if self.retired and self._open_calls == 0:
            await self.close()

    async def retire(self) -> None:
        """Take no new calls; close now or with the last open one. May be called twice."""
        if not self.retired:
            self.retired = True
            if self._open_calls == 0:
                await self.close()

    async def close(self) -> None:
        """Close now; open calls end with ``CANCELLED``."""
        self.retired = self.closed = True
        await self._channel.close()


async def open_connection(endpoint: str, authority: str, user_agent: str) -> Connection:
    """A connection that grpcio makes with its first call.

    ``endpoint`` is a path, or ``ipv4:`` or ``ipv6:`` and an address with port. Raises RpcError for a
    path that the kernel cannot take.
    """
    target = endpoint
    if not endpoint.startswith(("ipv4:", "ipv6:")):
        if len(os.fsencode(endpoint)) > longest_socket_path_bytes:
            raise RpcError("UNAVAILABLE", f"cannot connect to {endpoint}: too long for a socket")
        target = f"unix:{quote(endpoint)}"
    aio = await asyncio.to_thread(_library)
    names = (("grpc.default_authority", authority), ("grpc.primary_user_agent", user_agent))
    return Connection(aio.insecure_channel(target, options=(*_OPTIONS, *names)))


def _library() -> Any:
    """``grpc.aio``, without its fork handlers.

    They are on unless told otherwise before the import, and a child forked while a call runs then
    often dies of them before it has run its program. pyk3s never forks without running one.
    """
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    import grpc.aio

    return grpc.aio
