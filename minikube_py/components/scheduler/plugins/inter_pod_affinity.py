"""InterPodAffinity: pods that want to be near, or away from, other pods.

Source: kube-scheduler's InterPodAffinity. ``pre_filter`` counts, for each (label key, value) of the
nodes, the existing pods that the incoming pod's terms select, and those whose required
anti-affinity selects the incoming pod; ``filter`` then only looks values up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.components.scheduler.framework import (
    SKIP,
    SUCCESS,
    ClusterEvent,
    CycleState,
    Status,
    largest_node_score,
    unresolvable,
    unschedulable,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import AffinityTerm, PodInfo

hard_pod_affinity_weight = 1
Topology = tuple[str, str]


@dataclass(slots=True)
class _Counts:
    """Per cycle: how many existing pods each topology value holds, by what they mean for the pod."""

    affinity: list[dict[Topology, int]] = field(default_factory=list)
    anti_affinity: dict[Topology, int] = field(default_factory=dict)
    existing_anti_affinity: set[Topology] = field(default_factory=set)


class InterPodAffinity:
    """``namespace_labels`` gives the labels of a namespace (empty when unknown)."""

    name = "InterPodAffinity"
    events = (
        ClusterEvent.POD_ADDED
        | ClusterEvent.POD_DELETED
        | ClusterEvent.POD_LABELS
        | ClusterEvent.NODE_ADDED
        | ClusterEvent.NODE_LABELS
        | ClusterEvent.NAMESPACE_LABELS
    )

    def __init__(self, namespace_labels: Callable[[str], Mapping[str, str]]) -> None:
        self._namespace_labels = namespace_labels

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        repelling = [node for node in nodes if node.anti_affinity_pods]
        if not (pod.required_affinity or pod.required_anti_affinity or repelling):
            return SKIP
        counts = _Counts(affinity=[{} for _ in pod.required_affinity])
        if pod.required_affinity or pod.required_anti_affinity:
            for node in nodes:
                self._count_own(counts, pod, node)
        own_labels = self._namespace_labels(pod.namespace)
        for node in repelling:
            for existing in node.anti_affinity_pods.values():
                for term in existing.required_anti_affinity:
                    value = node.labels.get(term.topology_key)
                    if value is not None and term.covers(pod, own_labels):
                        counts.existing_anti_affinity.add((term.topology_key, value))
        state[self.name] = counts
        return SUCCESS

    def _count_own(self, counts: _Counts, pod: PodInfo, node: NodeInfo) -> None:
        for existing in node.pods.values():
            labels = self._namespace_labels(existing.namespace)
            for index, term in enumerate(pod.required_affinity):
                _count(counts.affinity[index], term, existing, node, labels)
            for term in pod.required_anti_affinity:
                _count(counts.anti_affinity, term, existing, node, labels)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        counts: _Counts = state[self.name]
        if not self._affinity_holds(counts, pod, node):
            return unresolvable(self.name, "node(s) didn't match pod affinity rules")
        for term in pod.required_anti_affinity:
            value = node.labels.get(term.topology_key)
            if value is not None and counts.anti_affinity.get((term.topology_key, value)):
                return unschedulable(self.name, "node(s) didn't match pod anti-affinity rules")
        if any(item in counts.existing_anti_affinity for item in node.labels.items()):
            return unschedulable(self.name, "node(s) didn't satisfy existing pods anti-affinity rules")
        return SUCCESS

    def _affinity_holds(self, counts: _Counts, pod: PodInfo, node: NodeInfo) -> bool:
        present = True
        for index, term in enumerate(pod.required_affinity):
            value = node.labels.get(term.topology_key)
            if value is None:
                return False
            present = present and bool(counts.affinity[index].get((term.topology_key, value)))
        if present:
            return True
        # The first pod of a group that wants to be near itself may go anywhere.
        own = self._namespace_labels(pod.namespace)
        return not any(counts.affinity) and all(term.covers(pod, own) for term in pod.required_affinity)

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        weights: dict[Topology, int] = {}
        own = self._namespace_labels(pod.namespace)
        for node in nodes:
            for existing in node.pods.values():
                if pod.preferred_affinity:
                    labels = self._namespace_labels(existing.namespace)
                    for term in pod.preferred_affinity:
                        _weigh(weights, term, existing, node, labels, term.weight)
                for term in existing.preferred_affinity:
                    _weigh(weights, term, pod, node, own, term.weight)
                for term in existing.required_affinity:
                    _weigh(weights, term, pod, node, own, hard_pod_affinity_weight)
        if not weights:
            return SKIP
        state[self.name + "/weights"] = weights
        return SUCCESS

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        weights: Mapping[Topology, int] = state[self.name + "/weights"]
        raw = [sum(weights.get(item, 0) for item in node.labels.items()) for node in nodes]
        most, least = max(raw), min(raw)
        if most == least:
            return [0.0] * len(raw)
        return [largest_node_score * (value - least) / (most - least) for value in raw]


def _count(
    counts: dict[Topology, int], term: AffinityTerm, existing: PodInfo, node: NodeInfo, labels: Mapping[str, str]
) -> None:
    value = node.labels.get(term.topology_key)
    if value is not None and term.covers(existing, labels):
        key = (term.topology_key, value)
        counts[key] = counts.get(key, 0) + 1


def _weigh(
    weights: dict[Topology, int],
    term: AffinityTerm,
    selected: PodInfo,
    node: NodeInfo,
    labels: Mapping[str, str],
    weight: int,
) -> None:
    value = node.labels.get(term.topology_key)
    if value is not None and term.covers(selected, labels):
        key = (term.topology_key, value)
        weights[key] = weights.get(key, 0) + weight
