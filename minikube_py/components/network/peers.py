"""Keeps the kernel's ways to other nodes' pods in step with the Node objects.

In: all Nodes. Out: the tunnel device with its routes and ends, or plain routes (``overlay`` says which).
Level-triggered: every change compares what is wanted with what the kernel has, so a restart changes nothing that is
right. A node that is away keeps its routes as long as its Node object exists. What fails is tried again with growing
delays; pods of this node reach each other meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import orjson

from minikube_py.client.types import EventType, Informer
from minikube_py.components.network.cni import NetworkSettings, pod_cidrs_of
from minikube_py.components.network.overlay import (
    DEVICE,
    PORT,
    ROUTE_PROTOCOL,
    VNI,
    Command,
    Found,
    Peer,
    address_of,
    end_address,
    end_mac,
    found_from,
    overhead_bytes,
    peers_of,
    route_commands,
    tunnel_commands,
)
from minikube_py.host.commands import CommandFailed, run
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object

log = logging.getLogger(__name__)

first_backoff_seconds, longest_backoff_seconds = 1.0, 60.0


class Peers:
    """The follower of one node; ``run`` is its task."""

    def __init__(self, nodes: Informer, settings: NetworkSettings, clock: Clock) -> None:
        self._nodes = nodes
        self._settings = settings
        self._clock = clock
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; what is in the kernel stays."""
        unsubscribe = self._nodes.subscribe(self._on_node)
        backoff = first_backoff_seconds
        try:
            await self._nodes.synced()
            while True:
                self._changed.clear()
                try:
                    await self._apply()
                    backoff = first_backoff_seconds
                except CommandFailed as error:
                    log.error("cannot reach other nodes' pods", extra={"error": str(error), "retry_seconds": backoff})
                    await self._clock.sleep(backoff)
                    backoff = min(backoff * 2, longest_backoff_seconds)
                    continue
                await self._changed.wait()
        finally:
            unsubscribe()

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        if type is EventType.DELETED or old is None or _place(node) != _place(old):
            self._changed.set()

    async def _apply(self) -> None:
        peers = peers_of(self._nodes.list(), self._settings.node_name)
        if self._settings.backend == "host-gw":
            await _batch("ip", route_commands(peers, await found_routes()))
            return
        own = self._nodes.get(self._settings.node_name)
        ranges = [cidr for cidr in pod_cidrs_of(own) if ":" not in cidr] if own is not None else []
        if ranges and (peers or await device_exists()):  # a node alone needs no tunnel
            await self._tunnel(peers, ranges[0])

    async def _tunnel(self, peers: Sequence[Peer], own_range: str) -> None:
        await ensure_device(own_range, self._settings.node_ip)
        ip, bridge = tunnel_commands(peers, await found_tunnel())
        await _batch("ip", ip)
        await _batch("bridge", bridge)
        if ip or bridge:
            log.info("ways to other nodes' pods", extra={"nodes": ",".join(peer.name for peer in peers)})


def _place(node: Object) -> tuple[Sequence[str], str]:
    return pod_cidrs_of(node), address_of(node)


async def pod_mtu(settings: NetworkSettings) -> int:
    """The size of pods' packets: what the node's interface takes, less what the tunnel adds; 0 leaves it alone."""
    if settings.backend != "vxlan":
        return 0
    link = await _link_of(settings.node_ip)
    return int(link["mtu"]) - overhead_bytes if link is not None else 0


async def device_exists() -> bool:
    """Whether the tunnel is there. /sys would tell of the network namespace that it was mounted in."""
    return any(link.get("ifname") == DEVICE for link in orjson.loads(await run(["ip", "-j", "link", "show"])))


async def ensure_device(own_range: str, node_ip: str) -> None:
    """Have the tunnel's own end with the right address; one of another address is made anew. Raises CommandFailed."""
    end, mac = end_address(own_range), end_mac(own_range)
    if await device_exists():
        (link,) = orjson.loads(await run(["ip", "-j", "-d", "link", "show", "dev", DEVICE]))
        data = link.get("linkinfo", {}).get("info_data", {})
        if (link.get("address"), data.get("local"), data.get("id"), data.get("port")) == (mac, node_ip, VNI, PORT):
            await _have_address(end)
            return
        await run(["ip", "link", "del", DEVICE])
    lower = await _link_of(node_ip)
    below = ["dev", str(lower["ifname"])] if lower is not None else []
    await run(
        ["ip", "link", "add", DEVICE, "address", mac, "type", "vxlan", "id", str(VNI), "local", node_ip, *below,
         "dstport", str(PORT), "nolearning"]
    )  # fmt: skip
    await _have_address(end)


async def _have_address(end: str) -> None:
    (link,) = orjson.loads(await run(["ip", "-j", "-4", "address", "show", "dev", DEVICE])) or [{}]
    have = {f"{one['local']}/{one['prefixlen']}" for one in link.get("addr_info", ())}
    if have != {f"{end}/32"}:
        await run(["ip", "address", "flush", "dev", DEVICE])
        await run(["ip", "address", "replace", f"{end}/32", "dev", DEVICE])
    await run(["ip", "link", "set", DEVICE, "up"])


async def _link_of(address: str) -> Object | None:
    """The interface that has an address, as ``ip`` shows it."""
    listed = orjson.loads(await run(["ip", "-j", "address", "show", "to", f"{address}/32"]))
    return next((one for one in listed if one.get("addr_info")), None)


async def found_routes() -> Found:
    """Our routes in the kernel. Raises CommandFailed."""
    return found_from(orjson.loads(await run(["ip", "-j", "-4", "route", "show", "proto", ROUTE_PROTOCOL])), (), ())


async def found_tunnel() -> Found:
    """Our routes, neighbours and tunnel ends in the kernel. Raises CommandFailed."""
    routes = await run(["ip", "-j", "-4", "route", "show", "proto", ROUTE_PROTOCOL])
    neighbours = await run(["ip", "-j", "-4", "neigh", "show", "dev", DEVICE])
    ends = await run(["bridge", "-j", "fdb", "show", "dev", DEVICE])
    return found_from(*(orjson.loads(text) for text in (routes, neighbours, ends)))


async def _batch(program: str, commands: Sequence[Command]) -> None:
    """Run several commands of ip or bridge; all are tried. Raises CommandFailed when one fails."""
    if commands:
        script = "".join(" ".join(command) + "\n" for command in commands)
        await run([program, "-force", "-batch", "-"], stdin=script.encode())


async def remove_peers() -> None:
    """Take the tunnel and our routes away; nothing there is fine. Raises CommandFailed."""
    if await device_exists():
        await run(["ip", "link", "del", DEVICE])
    found = await found_routes()
    await _batch("ip", [("route", "del", cidr, "proto", ROUTE_PROTOCOL) for cidr in found.routes])
