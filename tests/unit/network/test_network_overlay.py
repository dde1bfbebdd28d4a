"""Which commands make the kernel agree with the Node objects."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.network.overlay import (
    NOTHING,
    Found,
    Peer,
    end_address,
    end_mac,
    found_from,
    peers_of,
    route_commands,
    tunnel_commands,
)
from minikube_py.machinery.objects import Object

A = Peer("a", "10.42.1.0/24", "192.0.2.1")
B = Peer("b", "10.42.2.0/24", "192.0.2.2")


def node(name: str, cidrs: tuple[str, ...] = ("10.42.1.0/24",), *addresses: tuple[str, str]) -> Object:
    listed = [{"type": kind, "address": address} for kind, address in addresses or (("InternalIP", "192.0.2.1"),)]
    return {"metadata": {"name": name}, "spec": {"podCIDRs": list(cidrs)}, "status": {"addresses": listed}}


@pytest.mark.parametrize(
    ("nodes", "peers"),
    [
        pytest.param([node("own"), node("a")], (A,), id="not this node"),
        pytest.param([node("a", ())], (), id="not without a range"),
        pytest.param([{"metadata": {"name": "a"}, "spec": {"podCIDR": "10.42.1.0/24"}}], (), id="not without address"),
        pytest.param([node("a", ("fd00::/64", "10.42.1.0/24"))], (A,), id="the IPv4 range of two"),
        pytest.param(
            [node("a", ("10.42.1.0/24",), ("ExternalIP", "198.51.100.1"), ("InternalIP", "fd00::1"),
                  ("InternalIP", "192.0.2.1"))],
            (A,), id="the internal IPv4 address of several",
        ),
        pytest.param([node("b", (B.pod_cidr,), ("InternalIP", B.address)), node("a")], (A, B), id="by name"),
    ],
)  # fmt: skip
def test_peers(nodes: list[Object], peers: tuple[Peer, ...]) -> None:
    assert peers_of(nodes, "own") == peers


def test_ends_are_unique_and_local() -> None:
    assert end_address(A.pod_cidr) == "10.42.1.0"
    assert end_mac(A.pod_cidr) == "0e:6b:0a:2a:01:00"
    assert int(end_mac(A.pod_cidr)[:2], 16) & 0b11 == 0b10, "locally administered, for one receiver"
    assert end_mac(A.pod_cidr) != end_mac(B.pod_cidr)


def after(found: Found, ip: list[Any], bridge: list[Any]) -> Found:
    """What the kernel has after the commands; a model of ip and bridge."""
    routes, neighbours, ends = dict(found.routes), dict(found.neighbours), dict(found.ends)
    for command in ip:
        match command:
            case ("route", "replace", cidr, "via", gateway, "dev", device, "onlink", "proto", "80"):
                routes[cidr] = (gateway, device)
            case ("route", "replace", cidr, "via", gateway, "proto", "80"):
                routes[cidr] = (gateway, "node0")
            case ("route", "del", cidr, "proto", "80"):
                del routes[cidr]
            case ("neigh", "replace", address, "lladdr", mac, "dev", "pyk3s-vxlan", "nud", "permanent"):
                neighbours[address] = mac
            case ("neigh", "del", address, "dev", "pyk3s-vxlan"):
                del neighbours[address]
            case _:
                raise AssertionError(command)
    for command in bridge:
        match command:
            case ("fdb", "replace", mac, "dev", "pyk3s-vxlan", "dst", address, "self", "permanent"):
                ends[mac] = address
            case ("fdb", "del", mac, "dev", "pyk3s-vxlan", "dst", address):
                assert ends.pop(mac) == address
            case _:
                raise AssertionError(command)
    return Found(routes, neighbours, ends)


WANTED = Found(
    {"10.42.1.0/24": ("10.42.1.0", "pyk3s-vxlan"), "10.42.2.0/24": ("10.42.2.0", "pyk3s-vxlan")},
    {"10.42.1.0": "0e:6b:0a:2a:01:00", "10.42.2.0": "0e:6b:0a:2a:02:00"},
    {"0e:6b:0a:2a:01:00": "192.0.2.1", "0e:6b:0a:2a:02:00": "192.0.2.2"},
)
GONE = Found({"10.42.9.0/24": ("10.42.9.0", "pyk3s-vxlan")}, {"10.42.9.0": "m"}, {"m": "192.0.2.9"})
MOVED = Found(WANTED.routes, WANTED.neighbours, {**WANTED.ends, "0e:6b:0a:2a:01:00": "192.0.2.77"})
PLAIN = Found({"10.42.1.0/24": ("192.0.2.1", "node0")}, {}, {})


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(NOTHING, id="nothing is there"),
        pytest.param(WANTED, id="all is there"),
        pytest.param(GONE, id="a node is gone"),
        pytest.param(MOVED, id="a node has another address"),
        pytest.param(PLAIN, id="routes of the other backend"),
    ],
)
def test_tunnel_converges_and_then_rests(found: Found) -> None:
    made = after(found, *tunnel_commands((A, B), found))
    assert made == WANTED
    assert tunnel_commands((A, B), made) == ([], [])
    assert after(made, *tunnel_commands((), made)) == NOTHING


def test_plain_routes() -> None:
    made = after(GONE, route_commands((A, B), GONE), [])
    assert made.routes == {"10.42.1.0/24": ("192.0.2.1", "node0"), "10.42.2.0/24": ("192.0.2.2", "node0")}
    assert route_commands((A, B), made) == []
    moved = Peer("a", A.pod_cidr, "192.0.2.77")
    assert route_commands((moved,), PLAIN) == [("route", "replace", "10.42.1.0/24", "via", "192.0.2.77", "proto", "80")]


def test_what_ip_and_bridge_show() -> None:
    found = found_from(
        [
            {"dst": "10.42.1.0/24", "gateway": "10.42.1.0", "dev": "pyk3s-vxlan", "flags": ["onlink"]},
            {"dst": "10.42.2.7", "gateway": "192.0.2.2", "dev": "eth0"},
        ],
        [
            {"dst": "10.42.1.0", "lladdr": "0e:6b:0a:2a:01:00", "state": ["PERMANENT"]},
            {"dst": "10.42.1.9", "lladdr": "0e:6b:0a:2a:01:09", "state": ["STALE"]},
            {"dst": "10.42.1.8", "state": ["FAILED"]},
        ],
        [
            {"mac": "0e:6b:0a:2a:01:00", "dst": "192.0.2.1", "flags": ["self"], "state": "permanent"},
            {"mac": "33:33:00:00:00:01", "flags": ["self"], "state": "permanent"},
        ],
    )
    assert found == Found(
        {"10.42.1.0/24": ("10.42.1.0", "pyk3s-vxlan"), "10.42.2.7/32": ("192.0.2.2", "eth0")},
        {"10.42.1.0": "0e:6b:0a:2a:01:00"},
        {"0e:6b:0a:2a:01:00": "192.0.2.1"},
    )
