"""The WebSocket channel protocols of Kubernetes' streams: which exist and how messages look.

A message is one byte for the channel and then data (``*.channel.k8s.io``), or one digit and base64
text (``base64.*``, ``v4.base64.*``). Since v4 the error channel carries a Status object; since v5
the channel 255 tells that the channel named by its one byte of data is closed (end of stdin).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson
from aiohttp import WSMessage, WSMsgType, web

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
EXEC_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
PORT_FORWARD_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an agreed subprotocol means."""

    base64: bool
    status_objects: bool
    close_signal: bool


def dialect_of(protocol: str | None) -> Dialect:
    """A client that names no subprotocol speaks the first version, in binary."""
    name = protocol or ""
    return Dialect("base64" in name, name.startswith(("v4", "v5")), name.startswith("v5"))


class ChannelSocket:
    """A WebSocket that carries channels."""

    __slots__ = ("_dialect", "_socket")

    def __init__(self, socket: web.WebSocketResponse, dialect: Dialect) -> None:
        self._socket = socket
        self._dialect = dialect

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    async def send(self, channel: int, data: bytes) -> None:
        """Raises ConnectionError when the client is gone."""
        if self._dialect.base64:
            await self._socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await self._socket.send_bytes(bytes([channel]) + data)

    async def receive(self) -> tuple[int, bytes] | None:
        """The next (channel, data); None when the client is gone. Messages that make no sense are skipped."""
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return None
            parsed = _parse(message, base64_text=self._dialect.base64)
            if parsed is not None:
                return parsed


def _parse(message: WSMessage, *, base64_text: bool) -> tuple[int, bytes] | None:
    data = message.data.encode() if isinstance(message.data, str) else message.data
    if not data:
        return None
    if not base64_text:
        return data[0], bytes(data[1:])
    try:
        return data[0] - ord("0"), base64.b64decode(data[1:], validate=True)
    except binascii.Error:
        return None


def status_text(status: bytes) -> bytes:
    """What clients of the first version get instead of a Status object: its message, nothing for success."""
    if not status:
        return b""
    try:
        parsed = orjson.loads(status)
    except orjson.JSONDecodeError:
        return status
    if not isinstance(parsed, dict) or parsed.get("status") == "Success":
        return b""
    return str(parsed.get("message", "")).encode()
