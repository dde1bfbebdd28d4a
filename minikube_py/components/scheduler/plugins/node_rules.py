"""Plugins that look at one field each: NodeName, NodeUnschedulable, NodePorts, SchedulingGates, ImageLocality."""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.scheduler.framework import (
    NODE_CHANGED,
    SUCCESS,
    ClusterEvent,
    CycleState,
    Status,
    largest_node_score,
    unresolvable,
    unschedulable,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.placement import tolerates

mebibyte = 1024 * 1024
smallest_image_bytes = 23 * mebibyte
largest_image_bytes_each = 1000 * mebibyte


class NodeName:
    """A pod that names its node fits that node only."""

    name = "NodeName"
    events = ClusterEvent.NODE_ADDED

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        if pod.node_name and pod.node_name != node.name:
            return unresolvable(self.name, "node(s) didn't match the requested node name")
        return SUCCESS


class NodeUnschedulable:
    """A cordoned node takes only pods that tolerate it."""

    name = "NodeUnschedulable"
    events = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_UNSCHEDULABLE

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        if node.unschedulable and not tolerates(pod.spec.get("tolerations") or (), taint):
            return unresolvable(self.name, "node(s) were unschedulable")
        return SUCCESS


class NodePorts:
    """Host ports are given out once for each node address and protocol."""

    name = "NodePorts"
    events = ClusterEvent.NODE_ADDED | ClusterEvent.POD_DELETED

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        if any(node.port_conflict(port) for port in pod.host_ports):
            return unschedulable(self.name, "node(s) didn't have free ports for the requested pod ports")
        return SUCCESS


class SchedulingGates:
    """A pod with scheduling gates does not enter the queue."""

    name = "SchedulingGates"
    events = ClusterEvent.POD_GATES

    def pre_enqueue(self, pod: PodInfo) -> Status:
        gates = [gate["name"] for gate in pod.spec.get("schedulingGates") or []]
        if gates:
            return unresolvable(self.name, f"waiting for scheduling gates: [{' '.join(gates)}]")
        return SUCCESS


class ImageLocality:
    """Prefers nodes that have the images, weighted by how many nodes have them."""

    name = "ImageLocality"
    events = NODE_CHANGED

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        containers = pod.spec.get("containers") or []
        images = [_normalised(str(container.get("image", ""))) for container in containers]
        spread = {image: sum(image in node.image_sizes for node in nodes) / len(nodes) for image in images}
        most = largest_image_bytes_each * max(1, len(containers))
        return [
            _scaled(sum(node.image_sizes.get(image, 0) * spread[image] for image in images), most) for node in nodes
        ]


def _normalised(image: str) -> str:
    """An image name with its default tag, as node status lists it."""
    return image if ":" in image.rsplit("/", 1)[-1] or "@" in image else f"{image}:latest"


def _scaled(size: float, most: float) -> float:
    within = min(max(size, smallest_image_bytes), most)
    return largest_node_score * (within - smallest_image_bytes) // (most - smallest_image_bytes)
