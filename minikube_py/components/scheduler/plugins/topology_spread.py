"""PodTopologySpread: keeps matching pods evenly spread over the values of a node label.

Source: kube-scheduler's PodTopologySpread, with its policies (nodeAffinityPolicy Honor,
nodeTaintsPolicy Ignore by default), minDomains and matchLabelKeys. Pods without constraints of
their own get the default soft ones over host and zone when a controller owns them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

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
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.objects import Object, is_deleting
from minikube_py.machinery.owners import controller_of
from minikube_py.machinery.placement import required_matches, untolerated
from minikube_py.machinery.selectors import Selector, selector_from_label_selector, selector_from_map

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class Constraint:
    max_skew: int
    key: str
    selector: Selector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool

    def counts_node(self, pod: PodInfo, node: NodeInfo) -> bool:
        """Whether the node's domain takes part at all."""
        if self.honor_affinity and not required_matches(pod.spec, node.labels, node.name):
            return False
        return not (
            self.honor_taints
            and untolerated(node.taints, pod.spec.get("tolerations") or (), ("NoSchedule", "NoExecute"))
        )

    def matching(self, pod: PodInfo, node: NodeInfo) -> int:
        """Matching pods of the pod's namespace on the node."""
        return sum(
            1
            for other in node.pods.values()
            if other.namespace == pod.namespace
            and not is_deleting(other.object)
            and self.selector.matches(other.labels)
        )


def constraints(pod: PodInfo, when: str) -> tuple[Constraint, ...]:
    """The pod's constraints of one kind (DoNotSchedule or ScheduleAnyway)."""
    return tuple(
        _constraint(pod, item)
        for item in pod.spec.get("topologySpreadConstraints") or []
        if item.get("whenUnsatisfiable") == when
    )


def _constraint(pod: PodInfo, item: Object) -> Constraint:
    selector = item.get("labelSelector")
    extra = [
        {"key": key, "operator": "In", "values": [pod.labels[key]]}
        for key in item.get("matchLabelKeys") or []
        if key in pod.labels
    ]
    if extra:
        base = selector or {}
        selector = {**base, "matchExpressions": [*(base.get("matchExpressions") or []), *extra]}
    return Constraint(
        max_skew=int(item["maxSkew"]),
        key=str(item["topologyKey"]),
        selector=selector_from_label_selector(selector),
        min_domains=int(item.get("minDomains") or 1),
        honor_affinity=item.get("nodeAffinityPolicy", "Honor") == "Honor",
        honor_taints=item.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _default_constraints(pod: PodInfo) -> tuple[Constraint, ...]:
    """Soft spreading of pods that a controller made (``system default constraints``)."""
    if controller_of(pod.object) is None or not pod.labels:
        return ()
    selector = selector_from_map(dict(pod.labels))
    return tuple(
        Constraint(skew, key, selector, 1, honor_affinity=True, honor_taints=False)
        for skew, key in ((3, HOSTNAME), (5, ZONE))
    )


def _domains(pod: PodInfo, constraint: Constraint, nodes: Iterable[NodeInfo]) -> dict[str, int]:
    """Matching pods for each value of the constraint's label."""
    found: dict[str, int] = {}
    for node in nodes:
        value = node.labels.get(constraint.key)
        if value is not None and constraint.counts_node(pod, node):
            found[value] = found.get(value, 0) + constraint.matching(pod, node)
    return found


class PodTopologySpread:
    """See the module text."""

    name = "PodTopologySpread"
    events = (
        ClusterEvent.POD_ADDED
        | ClusterEvent.POD_DELETED
        | ClusterEvent.POD_LABELS
        | ClusterEvent.NODE_ADDED
        | ClusterEvent.NODE_LABELS
        | ClusterEvent.NODE_TAINTS
    )

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        hard = constraints(pod, "DoNotSchedule")
        if not hard:
            return SKIP
        keys = {item.key for item in hard}
        usable = [node for node in nodes if all(key in node.labels for key in keys)]
        state[self.name] = [(item, _domains(pod, item, usable)) for item in hard]
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        for constraint, domains in state[self.name]:
            value = node.labels.get(constraint.key)
            if value is None:
                return unresolvable(
                    self.name, "node(s) didn't match pod topology spread constraints (missing required label)"
                )
            fewest = 0 if len(domains) < constraint.min_domains else min(domains.values(), default=0)
            own = 1 if constraint.selector.matches(pod.labels) else 0
            if domains.get(value, 0) + own - fewest > constraint.max_skew:
                return unschedulable(self.name, "node(s) didn't match pod topology spread constraints")
        return SUCCESS

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        soft = constraints(pod, "ScheduleAnyway")
        if not soft and not pod.spec.get("topologySpreadConstraints"):
            soft = _default_constraints(pod)
        if not soft:
            return SKIP
        state[self.name + "/soft"] = [(item, _domains(pod, item, nodes)) for item in soft]
        return SUCCESS

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        raw = [sum(_cost(item, domains, node.labels) for item, domains in state[self.name + "/soft"]) for node in nodes]
        most, least = max(raw), min(raw)
        if most == 0:
            return [float(largest_node_score)] * len(raw)
        return [largest_node_score * (most + least - value) // most for value in raw]


def _cost(constraint: Constraint, domains: Mapping[str, int], labels: Mapping[str, str]) -> float:
    """``scoreForCount``: matching pods in the node's domain, weighted by the number of domains."""
    value = labels.get(constraint.key)
    if value is None:
        return 0
    return domains.get(value, 0) * log(len(domains) + 2) + constraint.max_skew - 1
