"""Node IPAM: gives every node its part of the cluster's pod range (the range allocator's behaviour).

In: Nodes. Out: ``spec.podCIDR`` and ``spec.podCIDRs`` of nodes that have none. Invariants: no two
nodes have overlapping ranges; a node keeps its range for life; the range of a deleted node can be
given out again. What is taken is known from the nodes themselves, so nothing is stored besides
them. When the range is used up the node gets the event ``CIDRNotAvailable`` and waits for a
deletion.
"""

from __future__ import annotations

import ipaddress

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import NODES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RangeAllocator:
    """The equal parts of one cluster range, and which of them are taken."""

    def __init__(self, cluster_cidr: str, node_prefix: int) -> None:
        self.cluster: Network = ipaddress.ip_network(cluster_cidr)
        self._prefix = max(node_prefix, self.cluster.prefixlen)
        self._size = 1 << (self.cluster.max_prefixlen - self._prefix)
        self._count = 1 << (self._prefix - self.cluster.prefixlen)
        self._taken: dict[int, str] = {}
        self._next = 0

    def occupy(self, cidr: str, owner: str) -> None:
        """Mark what a node already has; ranges that are not of this cluster are ignored."""
        for index in self._indexes(cidr):
            self._taken.setdefault(index, owner)

    def release(self, cidr: str, owner: str) -> None:
        """Free what a deleted node had."""
        for index in self._indexes(cidr):
            if self._taken.get(index) == owner:
                del self._taken[index]

    def take(self, owner: str) -> str | None:
        """The next free part, or None. Parts are given out in a circle, so that a freed one rests."""
        for offset in range(self._count):
            index = (self._next + offset) % self._count
            if index not in self._taken:
                self._taken[index] = owner
                self._next = (index + 1) % self._count
                first = int(self.cluster.network_address) + index * self._size
                address = ipaddress.ip_address(first) if self.cluster.version == 4 else ipaddress.IPv6Address(first)
                return f"{address}/{self._prefix}"
        return None

    def _indexes(self, cidr: str) -> range:
        network = ipaddress.ip_network(cidr)
        first = (int(network.network_address) - int(self.cluster.network_address)) // self._size
        last = (int(network.broadcast_address) - int(self.cluster.network_address)) // self._size
        if network.version != self.cluster.version or last < 0 or first >= self._count:
            return range(0)
        return range(max(0, first), min(self._count - 1, last) + 1)


def cidrs_of(node: Object) -> list[str]:
    """The ranges a node has."""
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


class NodeIpam:
    """The loop. One worker: assignment must be serial."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._allocator = RangeAllocator(kit.settings.cluster_cidr, kit.settings.node_cidr_prefix)
        self._nodes = kit.client.informer(NODES)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="node-ipam")
        self._waiting: set[str] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(self._kit, "node-ipam", self._queue, self.reconcile, (self._nodes, self._on_node), workers=1)

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        name, cidrs = name_of(node), cidrs_of(node)
        if type is EventType.DELETED:
            self._waiting.discard(name)
            for cidr in cidrs:
                self._allocator.release(cidr, name)
            for other in self._waiting:
                self._queue.add(other)
            return
        for cidr in cidrs:
            self._allocator.occupy(cidr, name)
        if not cidrs:
            self._queue.add(name)

    async def reconcile(self, name: str) -> None:
        """Give one node a range if it has none. Raises ApiError."""
        node = self._nodes.get(name)
        if node is None or cidrs_of(node):
            self._waiting.discard(name)
            return
        cidr = self._allocator.take(name)
        if cidr is None:
            self._waiting.add(name)
            text = f"Node {name} status is now: CIDRNotAvailable"
            self._kit.recorder.event(node, "Normal", "CIDRNotAvailable", text)
            return
        try:
            ranges = {"podCIDR": cidr, "podCIDRs": [cidr]}
            await self._kit.client.patch(NODES, name, {"spec": ranges}, options=WRITE)
        except BaseException:
            self._allocator.release(cidr, name)
            raise
        self._waiting.discard(name)
