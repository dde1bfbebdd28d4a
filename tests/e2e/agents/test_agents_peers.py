"""The ways to other nodes' pods in a real kernel, in a network namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents_hosts import ip, new_namespace

SCRIPT = Path(__file__).parent / "agents_peers_script.py"


@pytest.fixture
def namespace() -> Iterator[str]:
    name = new_namespace("pk3n")
    ip("-n", name, "link", "add", "node0", "type", "veth", "peer", "name", "node1")
    ip("-n", name, "address", "add", "10.88.0.1/24", "dev", "node0")
    for link in ("node0", "node1"):
        ip("-n", name, "link", "set", link, "up")
    yield name
    ip("netns", "del", name)


@pytest.mark.parametrize("backend", ["vxlan", "host-gw"])
def test_kernel_follows_the_nodes(namespace: str, backend: str) -> None:
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, str(SCRIPT), backend],
        capture_output=True, text=True, timeout=200, check=False, cwd=SCRIPT.parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone, two, one, mtu, none, links = map(json.loads, done.stdout.splitlines())
    tunnel = backend == "vxlan"
    gateways = ("10.42.1.0", "10.42.2.0") if tunnel else ("10.88.0.2", "10.88.0.3")
    device = "pyk3s-vxlan" if tunnel else "node0"
    assert (alone["device"], alone["routes"]) == (False, {}), "a node alone needs nothing"
    assert two["routes"] == {
        "10.42.1.0/24": [gateways[0], device],
        "10.42.2.0/24": [gateways[1], device],
    }
    assert one["routes"] == {"10.42.1.0/24": [gateways[0], device]}, done.stderr
    assert one["ends"] == ({"0e:6b:0a:2a:01:00": "10.88.0.2"} if tunnel else {})
    assert one["neighbours"] == ({"10.42.1.0": "0e:6b:0a:2a:01:00"} if tunnel else {})
    assert mtu == {"mtu": 1450 if tunnel else 0}
    assert (none["device"], none["routes"]) == (False, {})
    assert len(links["links"].splitlines()) == 3
