"""NodeResourcesFit and NodeResourcesBalancedAllocation: does it fit, and how evenly is the node used."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from minikube_py.components.scheduler.framework import (
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

scored_resources = ("cpu", "memory")


def insufficient(pod: PodInfo, node: NodeInfo) -> list[str]:
    """Names of the resources that the node lacks for the pod (``fitsRequest``)."""
    lacking = []
    if len(node.pods) + 1 > node.allocatable.get("pods", 0):
        lacking.append("pods")
    lacking += [
        name
        for name, wanted in pod.requests.items()
        if wanted > node.allocatable.get(name, 0) - node.requested.get(name, 0) and wanted > 0
    ]
    return lacking


def never_enough(pod: PodInfo, node: NodeInfo) -> bool:
    """Whether the empty node would be too small as well, so that preemption cannot help."""
    return any(wanted > node.allocatable.get(name, 0) for name, wanted in pod.requests.items() if wanted > 0)


class NodeResourcesFit:
    """Filter by requests; score by the share that stays free (strategy LeastAllocated)."""

    name = "NodeResourcesFit"
    events = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_ALLOCATABLE | ClusterEvent.POD_DELETED

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        lacking = insufficient(pod, node)
        if not lacking:
            return SUCCESS
        reasons = tuple("Too many pods" if name == "pods" else f"Insufficient {name}" for name in lacking)
        verdict = unresolvable if never_enough(pod, node) else unschedulable
        return verdict(self.name, *reasons)

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        return [_least_allocated(pod, node) for node in nodes]


def _least_allocated(pod: PodInfo, node: NodeInfo) -> float:
    shares = []
    for name in scored_resources:
        capacity = node.allocatable.get(name, 0)
        if capacity:
            used = node.scoring_requested.get(name, 0) + pod.scoring_requests.get(name, 0)
            shares.append(max(0, (capacity - used) * largest_node_score // capacity))
    return sum(shares) // len(shares) if shares else 0


class NodeResourcesBalancedAllocation:
    """Prefers nodes whose resources would be used in equal shares."""

    name = "NodeResourcesBalancedAllocation"
    events = NodeResourcesFit.events

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        return [_balance(pod, node) for node in nodes]


def _balance(pod: PodInfo, node: NodeInfo) -> float:
    shares = []
    for name in scored_resources:
        capacity = node.allocatable.get(name, 0)
        if capacity:
            shares.append(min(1.0, (node.requested.get(name, 0) + pod.requests.get(name, 0)) / capacity))
    if not shares:
        return 0
    mean = sum(shares) / len(shares)
    deviation = sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
    return int((1 - deviation) * largest_node_score)
