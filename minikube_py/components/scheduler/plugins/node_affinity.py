"""NodeAffinity: nodeSelector and required node affinity decide, preferred node affinity scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minikube_py.components.scheduler.framework import (
    SKIP,
    SUCCESS,
    ClusterEvent,
    CycleState,
    Status,
    normalise,
    unresolvable,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.objects import Object
from minikube_py.machinery.placement import node_selector_matches, required_matches, term_matches

__all__ = ["NodeAffinity", "node_selector_matches"]


class NodeAffinity:
    """See the module text."""

    name = "NodeAffinity"
    events = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_LABELS

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        return SUCCESS if required or pod.spec.get("nodeSelector") else SKIP

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        if required_matches(pod.spec, node.labels, node.name):
            return SUCCESS
        return unresolvable(self.name, "node(s) didn't match Pod's node affinity/selector")

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS if _preferred(pod) else SKIP

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        return normalise([_weight(_preferred(pod), node) for node in nodes])


def _preferred(pod: PodInfo) -> Sequence[Object]:
    affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
    found: Sequence[Object] = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return found


def _weight(preferred: Iterable[Object], node: NodeInfo) -> int:
    return sum(
        int(item["weight"]) for item in preferred if term_matches(item.get("preference") or {}, node.labels, node.name)
    )
