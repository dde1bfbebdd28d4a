"""The DNS as the supervisor runs it: started again after it could not listen."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.dns import DnsSettings, run_dns


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
