"""The pod network with real plugins: addresses, pods reaching each other, host ports, and taking it all back."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import network_settings
from runtime_suite import Bench

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.kubelet.runtime.containerd_config import ContainerdSettings
from minikube_py.components.kubelet.runtime.types import PortMapping
from minikube_py.components.network.component import remove_network, run_network
from minikube_py.machinery.resources import NODES


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


async def serving(bench: Bench, *mappings: PortMapping) -> tuple[str, str]:
    """A pod that answers on port 8080; returns its address and its container."""
    pod = bench.pod(port_mappings=mappings)
    sandbox_id = await bench.sandbox(pod)
    answer = "while true; do echo answer | nc -l -p 8080; done"
    config = replace(bench.container(pod), command=("sh", "-c", answer))
    container_id = await bench.runtime.create_container(sandbox_id, config, pod)
    await bench.runtime.start_container(container_id)
    wait = "until cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1F90 '; do sleep 0.01; done"
    await bench.runtime.exec_sync(container_id, ["sh", "-c", wait], timeout_seconds=30)
    return (await bench.runtime.sandbox_status(sandbox_id)).ips[0], container_id


async def ask(address: str, port: int) -> bytes:
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            return await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()


async def test_pods_are_reached_from_the_node_and_from_each_other(bench: Bench) -> None:
    address, _ = await serving(bench)
    _, other = await serving(bench)
    assert await ask(address, 8080) == b"answer\n"
    command = ["sh", "-c", f"nc {address} 8080 </dev/null"]
    assert (await bench.runtime.exec_sync(other, command, timeout_seconds=30)).stdout == b"answer\n"


async def test_a_host_port_leads_to_the_pod_until_it_ends(bench: Bench) -> None:
    ip("address", "add", "198.51.100.7/32", "dev", "lo")
    try:
        await serving(bench, PortMapping(container_port=8080, host_port=18080))
        assert await ask("198.51.100.7", 18080) == b"answer\n"
        await bench.cleanup()
        bench.sandboxes.clear()
        with pytest.raises(OSError):
            await ask("198.51.100.7", 18080)
    finally:
        ip("address", "del", "198.51.100.7/32", "dev", "lo")


async def test_the_component_follows_the_node_and_everything_is_taken_back(settings: ContainerdSettings) -> None:
    network = replace(network_settings(settings), conf_dir=Path(settings.state, "other.d"), bridge="p3other0")
    client, ready = FakeClient(FakeClock()), asyncio.Event()
    client.seed(NODES, {"metadata": {"name": "node"}, "spec": {}})
    task = asyncio.create_task(run_network(client, network, FakeClock(), ready.set))
    while "unreachable 10.199.0.0/16" not in await asyncio.to_thread(ip, "route"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not ready.is_set()
    await client.patch(NODES, "node", {"spec": {"podCIDR": "10.199.7.0/24"}})
    async with asyncio.timeout(30):
        await ready.wait()
    assert '"10.199.7.0/24"' in await asyncio.to_thread(network.conf_file.read_text)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ip("link", "add", "p3other0", "type", "bridge")
    await remove_network(network)
    assert "unreachable" not in ip("route") and "p3other0" not in ip("link")
    assert not network.conf_file.exists() and not network.state_dir.exists()
