"""The DNS component: binds the address, serves UDP and TCP, feeds queries to zone and forwarder."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dns.exception
import dns.message
import dns.name
import dns.rcode
from prometheus_client import CollectorRegistry, Counter

from minikube_py.client.types import Client
from minikube_py.components.dns import messages
from minikube_py.components.dns.forward import Forwarder, NoUpstream, upstream_servers
from minikube_py.components.dns.local_address import local_address
from minikube_py.components.dns.zone import Zone
from minikube_py.machinery import resources

log = logging.getLogger(__name__)

tcp_idle_seconds = 10.0
most_tcp_connections = 256


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Where to listen and what for; ``resolv_conf`` names the servers for foreign names."""

    address: str
    port: int = 53
    domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    manage_address: bool = True
    """Whether the address is added to the loopback interface (and removed at the end)."""


class Resolver:
    """Answers one query after the other; the counters are CoreDNS's."""

    def __init__(self, zone: Zone, forwarder: Forwarder, registry: CollectorRegistry) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._requests = Counter("coredns_dns_requests_total", "DNS queries", ["proto", "type"], registry=registry)
        self._responses = Counter("coredns_dns_responses_total", "DNS answers", ["rcode"], registry=registry)

    def forget_metrics(self, registry: CollectorRegistry) -> None:
        """Give the names free: the component may be started again in this process."""
        for metric in (self._requests, self._responses):
            registry.unregister(metric)

    async def answer(self, data: bytes, *, udp: bool) -> bytes:
        """The reply to a query's bytes; empty when nothing must be sent. Raises nothing of its own."""
        try:
            query = messages.parse(data)
        except messages.BadQuery as error:
            return error.reply
        self._requests.labels("udp" if udp else "tcp", _type_name(query)).inc()
        reply = messages.answer(query, self._zone)
        if reply is not None:
            outside = messages.follow_alias(reply, self._zone)
            if outside is not None:
                await self._add_foreign(reply, outside, udp=udp)
            self._responses.labels(dns.rcode.to_text(reply.rcode())).inc()
            return messages.to_wire(reply, query, udp=udp)
        try:
            forwarded = await self._forwarder.resolve(data, udp=udp)
        except NoUpstream as error:
            log.debug("cannot forward", extra={"name": str(query.question[0].name), "error": str(error)})
            self._responses.labels("SERVFAIL").inc()
            return messages.failure(query, dns.rcode.SERVFAIL)
        self._responses.labels(dns.rcode.to_text(dns.rcode.from_flags(forwarded[3], 0))).inc()
        return forwarded

    async def _add_foreign(self, reply: dns.message.Message, name: dns.name.Name, *, udp: bool) -> None:
        """Add what the upstream servers say of the name that an alias leads to; nothing when they cannot be asked."""
        question = dns.message.make_query(name, reply.question[0].rdtype)
        try:
            found = dns.message.from_wire(await self._forwarder.resolve(question.to_wire(), udp=udp))
        except (NoUpstream, dns.exception.DNSException, ValueError) as error:
            log.debug("cannot follow an alias", extra={"name": str(name), "error": str(error)})
            return
        reply.answer.extend(found.answer)


def _type_name(query: dns.message.Message) -> str:
    """The query type as a label; rare ones are counted together so that the label stays bounded."""
    name = dns.rdatatype.to_text(query.question[0].rdtype)
    return name if name in ("A", "AAAA", "SRV", "PTR", "TXT", "CNAME", "MX", "NS", "SOA") else "other"


class _Udp(asyncio.DatagramProtocol):
    """Hands each datagram to the resolver in a task of the component's group."""

    def __init__(self, resolver: Resolver, spawn: Callable[[bytes, tuple[str, int], _Udp], None]) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self.resolver = resolver
        self._spawn = spawn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._spawn(data, addr, self)

    async def respond(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = await self.resolver.answer(data, udp=True)
        if reply and self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(reply, addr)


async def serve_tcp(resolver: Resolver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Length-prefixed queries until the client closes or is idle (RFC 7766)."""
    try:
        while True:
            async with asyncio.timeout(tcp_idle_seconds):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(size)
            reply = await resolver.answer(data, udp=False)
            if not reply:
                return
            writer.write(struct.pack("!H", len(reply)) + reply)
            async with asyncio.timeout(tcp_idle_seconds):
                await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def run_dns(
    client: Client, settings: DnsSettings, registry: CollectorRegistry, ready: Callable[[], None]
) -> None:
    """Serve until cancelled. Raises OSError when the address or port cannot be had."""
    services = client.informer(resources.SERVICES)
    slices = client.informer(resources.ENDPOINT_SLICES)
    zone = Zone(settings.domain, services, slices)
    servers = await asyncio.to_thread(upstream_servers, settings.resolv_conf, settings.address)
    resolver = Resolver(zone, Forwarder(servers), registry)
    try:
        await services.synced()
        await slices.synced()
        async with local_address(settings.address, enabled=settings.manage_address), asyncio.TaskGroup() as tasks:
            await _listen(resolver, settings, tasks)
            ready()
            await asyncio.get_running_loop().create_future()
    finally:
        resolver.forget_metrics(registry)


async def _listen(resolver: Resolver, settings: DnsSettings, tasks: asyncio.TaskGroup) -> None:
    """Open both sockets; they are closed by the tasks that hold them."""
    loop = asyncio.get_running_loop()

    def spawn(data: bytes, addr: tuple[str, int], protocol: _Udp) -> None:
        tasks.create_task(protocol.respond(data, addr))

    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Udp(resolver, spawn), local_addr=(settings.address, settings.port), family=socket.AF_INET
    )
    connections = asyncio.Semaphore(most_tcp_connections)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with connections:
            await serve_tcp(resolver, reader, writer)

    try:
        server = await asyncio.start_server(connected, settings.address, settings.port)
    except OSError:
        transport.close()
        raise
    tasks.create_task(_hold(transport, server))


async def _hold(transport: asyncio.DatagramTransport, server: asyncio.Server) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        transport.close()
        server.close()
