"""The DNS as the supervisor runs it: started again after it could not listen."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import cast

import dns.message
import dns.rrset
import pytest
from prometheus_client import CollectorRegistry

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.dns import DnsSettings, run_dns
from minikube_py.components.dns.component import Resolver
from minikube_py.components.dns.forward import Forwarder
from minikube_py.components.dns.zone import Zone
from minikube_py.machinery.resources import ENDPOINT_SLICES, SERVICES


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_it_starts_again_after_its_port_was_taken(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").touch()
    registry, client, ready = CollectorRegistry(), FakeClient(FakeClock()), asyncio.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
        settings = DnsSettings("127.0.0.1", port, resolv_conf=tmp_path / "resolv.conf", manage_address=False)
        for _ in range(2):
            with pytest.raises((OSError, ExceptionGroup)) as caught:
                await run_dns(client, settings, registry, ready.set)
            assert "in use" in repr(caught.value) or "in use" in repr(getattr(caught.value, "exceptions", ""))
    assert not ready.is_set()
    settings = DnsSettings("127.0.0.1", free_port(), resolv_conf=tmp_path / "resolv.conf", manage_address=False)
    running = asyncio.ensure_future(run_dns(client, settings, registry, ready.set))
    try:
        async with asyncio.timeout(30):
            await ready.wait()
        assert registry.get_sample_value("coredns_dns_requests_total") is None, "no query yet, and no error"
    finally:
        running.cancel()
        await asyncio.wait({running})


class Upstream(asyncio.DatagramProtocol):
    """A name server that knows one address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.7"))
        self.transport.sendto(reply.to_wire(), addr)


@pytest.mark.parametrize("reachable", [True, False])
async def test_an_alias_to_a_foreign_name_brings_its_address(reachable: bool) -> None:
    """Without an upstream server the alias alone is told."""
    client, registry = FakeClient(FakeClock()), CollectorRegistry()
    spec = {"type": "ExternalName", "externalName": "example.org"}
    client.seed(SERVICES, {"metadata": {"name": "out", "namespace": "shop"}, "spec": spec})
    zone = Zone("cluster.local", client.informer(SERVICES), client.informer(ENDPOINT_SLICES))
    loop = asyncio.get_running_loop()
    upstream, _ = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    servers = [("127.0.0.1", int(upstream.get_extra_info("sockname")[1]))] if reachable else []
    resolver = Resolver(zone, Forwarder(servers), registry)
    try:
        query = dns.message.make_query("out.shop.svc.cluster.local.", "A")
        reply = dns.message.from_wire(await resolver.answer(query.to_wire(), udp=True))
    finally:
        upstream.close()
    assert [item[0].to_text() for item in reply.answer] == ["example.org.", *(["192.0.2.7"] if reachable else [])]
