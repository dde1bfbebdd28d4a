"""Runs the follower of other nodes in the network namespace it is started in; prints what the kernel has, step by step.

Arguments: the backend. Output: one JSON object a step.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minikube_py.client.clock import SystemClock
from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.network.cni import NetworkSettings
from minikube_py.components.network.peers import Peers, device_exists, found_routes, found_tunnel, pod_mtu, remove_peers
from minikube_py.host.commands import run
from minikube_py.machinery.resources import NODES


def node(name: str, cidr: str, address: str) -> dict[str, Any]:
    listed = [{"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "spec": {"podCIDRs": [cidr]}, "status": {"addresses": listed}}


async def seen(wanted: Callable[[Any], bool], backend: str) -> dict[str, Any]:
    """What the kernel has once it is as wanted, or after 30 s."""
    found: dict[str, Any] = {}
    for _ in range(600):
        has = await device_exists()
        kernel = await (found_tunnel() if has else found_routes())
        found = {
            "device": has, "routes": dict(kernel.routes), "neighbours": dict(kernel.neighbours),
            "ends": dict(kernel.ends), "backend": backend,
        }  # fmt: skip
        if wanted(found):
            break
        await asyncio.sleep(0.05)
    print(json.dumps(found), flush=True)
    return found


async def main(backend: str) -> None:
    settings = NetworkSettings(
        node_name="own", cluster_cidr="10.42.0.0/16", conf_dir=Path("/nowhere"), state_dir=Path("/nowhere"),
        node_ip="10.88.0.1", backend=backend,
    )  # fmt: skip
    client = FakeClient(FakeClock())
    client.seed(NODES, node("own", "10.42.0.0/24", "10.88.0.1"))
    for start in range(2):  # the second one finds what the first has left
        follower = asyncio.ensure_future(Peers(client.informer(NODES), settings, SystemClock()).run())
        if start == 0:
            await seen(lambda found: not found["routes"], backend)
            client.seed(NODES, node("a", "10.42.1.0/24", "10.88.0.2"))
            client.seed(NODES, node("b", "10.42.2.0/24", "10.88.0.3"))
        else:
            await client.delete(NODES, "b")
        await seen(lambda found, count=2 - start: len(found["routes"]) == count, backend)  # type: ignore[misc]
        follower.cancel()
        await asyncio.wait({follower})
    print(json.dumps({"mtu": await pod_mtu(settings)}), flush=True)
    await remove_peers()
    await remove_peers()
    await seen(lambda found: not found["routes"], backend)
    print(json.dumps({"links": (await run(["ip", "-brief", "link"])).decode()}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
