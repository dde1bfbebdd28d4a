"""What the kernel must know so that pods of this node reach those of other nodes. Pure.

``vxlan``: one tunnel device, and for each other node a route to its pod range through the device, the MAC address of
the node's end of the tunnel, and under which address that end is reached. All of it is derived from Node objects alone:
the ends have the first address of their node's pod range, and a MAC address made of that address, which makes both
unique without anything being stored. Number and port are flannel's, so that firewalls set up for k3s fit.

``host-gw``: for each other node a route to its pod range by the node's address; nodes must share a link.

Routes carry a protocol number of their own, by which those that are not wanted any more are found.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.network.cni import pod_cidrs_of
from minikube_py.machinery.objects import Object, name_of

DEVICE = "pyk3s-vxlan"
VNI, PORT = 1, 8472
ROUTE_PROTOCOL = "80"
overhead_bytes = 50
"""What VXLAN puts around a packet: Ethernet, VXLAN, UDP and IPv4 headers."""

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: its pod range and the address that it is reached at."""

    name: str
    pod_cidr: str
    address: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel has of ours now: routes, neighbours and tunnel ends, each by its key."""

    routes: Mapping[str, tuple[str, str]]
    """(gateway, device) by pod range."""
    neighbours: Mapping[str, str]
    """MAC address by the address of an end."""
    ends: Mapping[str, str]
    """Node address by the MAC address of an end."""


NOTHING = Found({}, {}, {})


def peers_of(nodes: Iterable[Object], own_name: str) -> tuple[Peer, ...]:
    """The other nodes that have an IPv4 pod range and an address, by name."""
    found = []
    for node in nodes:
        ranges = [cidr for cidr in pod_cidrs_of(node) if ":" not in cidr]
        address = address_of(node)
        if name_of(node) != own_name and ranges and address:
            found.append(Peer(name_of(node), ranges[0], address))
    return tuple(sorted(found, key=lambda peer: peer.name))


def address_of(node: Mapping[str, Any]) -> str:
    """The node's first internal IPv4 address, or the empty string."""
    for entry in (node.get("status") or {}).get("addresses") or ():
        if entry.get("type") == "InternalIP" and ":" not in str(entry.get("address")):
            return str(entry.get("address"))
    return ""


def end_address(pod_cidr: str) -> str:
    """The address of a node's end of the tunnel: the first of its range, which no pod gets."""
    return str(ipaddress.ip_network(pod_cidr).network_address)


def end_mac(pod_cidr: str) -> str:
    """The MAC address of that end: locally administered, the IPv4 address in its last four bytes."""
    packed = ipaddress.IPv4Address(end_address(pod_cidr)).packed
    return ":".join(f"{byte:02x}" for byte in (0x0E, 0x6B, *packed))


def tunnel_commands(peers: Sequence[Peer], found: Found) -> tuple[list[Command], list[Command]]:
    """``ip`` and ``bridge`` commands (without their first word) that make the kernel agree, the removals first."""
    routes = {peer.pod_cidr: (end_address(peer.pod_cidr), DEVICE) for peer in peers}
    neighbours = {end_address(peer.pod_cidr): end_mac(peer.pod_cidr) for peer in peers}
    ends = {end_mac(peer.pod_cidr): peer.address for peer in peers}
    ip = _route_changes(routes, found.routes, onlink=True)
    for address in sorted(found.neighbours.keys() - neighbours.keys()):
        ip.append(("neigh", "del", address, "dev", DEVICE))
    for address, mac in sorted(neighbours.items()):
        if found.neighbours.get(address) != mac:
            ip.append(("neigh", "replace", address, "lladdr", mac, "dev", DEVICE, "nud", "permanent"))
    gone = sorted(found.ends.keys() - ends.keys())
    bridge: list[Command] = [("fdb", "del", mac, "dev", DEVICE, "dst", found.ends[mac]) for mac in gone]
    for mac, address in sorted(ends.items()):
        if found.ends.get(mac) != address:
            bridge.append(("fdb", "replace", mac, "dev", DEVICE, "dst", address, "self", "permanent"))
    return ip, bridge


def route_commands(peers: Sequence[Peer], found: Found) -> list[Command]:
    """``ip`` commands for plain routes over the nodes' own link."""
    return _route_changes({peer.pod_cidr: (peer.address, "") for peer in peers}, found.routes, onlink=False)


def _route_changes(
    wanted: Mapping[str, tuple[str, str]], found: Mapping[str, tuple[str, str]], *, onlink: bool
) -> list[Command]:
    gone = sorted(found.keys() - wanted.keys())
    commands: list[Command] = [("route", "del", cidr, "proto", ROUTE_PROTOCOL) for cidr in gone]
    for cidr, (gateway, device) in sorted(wanted.items()):
        known = found.get(cidr)
        if known is not None and known[0] == gateway and device in ("", known[1]):
            continue
        through = ("dev", device, "onlink") if onlink else ()
        commands.append(("route", "replace", cidr, "via", gateway, *through, "proto", ROUTE_PROTOCOL))
    return commands


def found_from(routes: Iterable[Any], neighbours: Iterable[Any], ends: Iterable[Any]) -> Found:
    """What ``ip -j route``, ``ip -j neigh`` and ``bridge -j fdb`` show, as ``Found``."""
    return Found(
        {_cidr(one["dst"]): (one.get("gateway", ""), one.get("dev", "")) for one in routes},
        {one["dst"]: one["lladdr"] for one in neighbours if "lladdr" in one and "PERMANENT" in one.get("state", ())},
        {one["mac"]: one["dst"] for one in ends if "dst" in one and one["mac"] != "00:00:00:00:00:00"},
    )


def _cidr(destination: str) -> str:
    """``ip`` leaves out the length of a route to a single host."""
    return destination if "/" in destination else f"{destination}/32"
