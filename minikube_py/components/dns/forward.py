"""Sends queries for foreign names to the host's name servers and relays the answers.

Servers are tried in order, each for ``attempt_seconds``; UDP first, TCP when the answer is
truncated. One fresh socket for each query gives a random source port and id. Failure is told by
``NoUpstream``; nothing is retried beyond one round.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path

attempt_seconds = 2.0
most_outstanding = 512


class NoUpstream(Exception):
    """No name server answered."""


class Forwarder:
    """Forwards to ``servers`` (host, port); ``NoUpstream`` when the list is empty or silent."""

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        self.servers = tuple(servers)
        self._slots = asyncio.Semaphore(most_outstanding)

    async def resolve(self, query: bytes, *, udp: bool) -> bytes:
        """The answer's bytes. Raises NoUpstream."""
        if not self.servers:
            raise NoUpstream("no upstream name server is configured")
        async with self._slots:
            for host, port in self.servers:
                try:
                    async with asyncio.timeout(attempt_seconds):
                        if udp:
                            return await _over_udp(host, port, query)
                        return await _over_tcp(host, port, query)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    continue
        raise NoUpstream(f"none of {len(self.servers)} upstream name servers answered")


class _OneAnswer(asyncio.DatagramProtocol):
    """Takes the first datagram whose id is the query's."""

    def __init__(self, id_bytes: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._id = id_bytes

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._id and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _over_udp(host: str, port: int, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _OneAnswer(query[:2]), remote_addr=(host, port))
    try:
        transport.sendto(query)
        return await protocol.answer
    finally:
        transport.close()


async def _over_tcp(host: str, port: int, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        await writer.drain()
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(size)
    finally:
        writer.close()


def upstream_servers(resolv_conf: Path, own_address: str) -> tuple[tuple[str, int], ...]:
    """Name servers of a resolv.conf, leaving out ourselves; a missing file means none."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    hosts = [parts[1] for parts in words if len(parts) > 1 and parts[0] == "nameserver"]
    return tuple((host, 53) for host in hosts if host != own_address)
