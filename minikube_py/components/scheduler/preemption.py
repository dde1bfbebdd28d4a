"""DefaultPreemption: which pods of lower priority must go so that a pod fits. Pure decision.

Source: kube-scheduler's ``framework/preemption`` and ``defaultpreemption``: on each candidate node
all pods of lower priority are taken away, then given back one by one (those protected by a
disruption budget and the important ones first) as long as the pod still fits; the candidate with
the fewest violations, the lowest highest victim, the smallest sum of priorities and the fewest
victims wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minikube_py.components.scheduler.cycle import pre_filter, run_filters
from minikube_py.components.scheduler.framework import Code, Status
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.components.scheduler.profile import Profile
from minikube_py.machinery.objects import Object, namespace_of
from minikube_py.machinery.selectors import selector_from_label_selector


@dataclass(frozen=True, slots=True)
class Victims:
    node: str
    pods: tuple[PodInfo, ...]
    violations: int


def find_victims(
    profile: Profile,
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    rejections: Mapping[str, Status],
    budgets: Sequence[Object],
) -> Victims | None:
    """The best candidate, or None when preemption cannot help."""
    if pod.spec.get("preemptionPolicy") == "Never":
        return None
    candidates = []
    for node in nodes:
        status = rejections.get(node.name)
        if status is not None and status.code is Code.UNSCHEDULABLE:
            found = _on_node(profile, pod, node, nodes, budgets)
            if found is not None:
                candidates.append(found)
    return min(candidates, key=_cost, default=None)


def _cost(victims: Victims) -> tuple[int, int, int, int]:
    priorities = [pod.priority for pod in victims.pods]
    return victims.violations, max(priorities), sum(priority + 2**31 for priority in priorities), len(priorities)


def _on_node(
    profile: Profile, pod: PodInfo, node: NodeInfo, nodes: Sequence[NodeInfo], budgets: Sequence[Object]
) -> Victims | None:
    lower = [other for other in node.pods.values() if other.priority < pod.priority]
    if not lower:
        return None
    gone = {other.uid for other in lower}
    if not _fits(profile, pod, node, nodes, frozenset(gone)):
        return None
    protected, others = _split_by_budget(lower, budgets)
    violations = 0
    victims: list[PodInfo] = []
    for group, counts in ((protected, True), (others, False)):
        for other in sorted(group, key=lambda item: (-item.priority, _started(item))):
            gone.discard(other.uid)
            if not _fits(profile, pod, node, nodes, frozenset(gone)):
                gone.add(other.uid)
                victims.append(other)
                violations += counts
    return Victims(node.name, tuple(victims), violations) if victims else None


def _fits(profile: Profile, pod: PodInfo, node: NodeInfo, nodes: Sequence[NodeInfo], gone: frozenset[str]) -> bool:
    """Whether the pod would fit if these pods were gone from the node."""
    changed = node.without(gone)
    others = [changed if item.name == node.name else item for item in nodes]
    state: dict[str, object] = {}
    filters, refused = pre_filter(profile, state, pod, others)
    return refused is None and run_filters(filters, state, pod, changed).ok


def _started(pod: PodInfo) -> str:
    return str((pod.object.get("status") or {}).get("startTime") or "")


def _split_by_budget(pods: Sequence[PodInfo], budgets: Sequence[Object]) -> tuple[list[PodInfo], list[PodInfo]]:
    """(pods whose eviction would break a budget, the rest)."""
    left = {id(budget): int((budget.get("status") or {}).get("disruptionsAllowed") or 0) for budget in budgets}
    protected: list[PodInfo] = []
    others: list[PodInfo] = []
    for pod in sorted(pods, key=lambda item: -item.priority):
        violated = False
        for budget in budgets:
            selector = selector_from_label_selector((budget.get("spec") or {}).get("selector"))
            if namespace_of(budget) == pod.namespace and selector.matches(pod.labels):
                left[id(budget)] -= 1
                violated = violated or left[id(budget)] < 0
        (protected if violated else others).append(pod)
    return protected, others
