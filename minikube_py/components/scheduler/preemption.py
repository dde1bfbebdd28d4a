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

from minikube_py.components.scheduler.cycle import Ahead, filter_changed, nobody
from minikube_py.components.scheduler.framework import Code, Status
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.components.scheduler.profile import Profile
from minikube_py.machinery.objects import Object, is_deleting, namespace_of
from minikube_py.machinery.selectors import selector_from_label_selector


@dataclass(frozen=True, slots=True)
class Victims:
    node: str
    pods: tuple[PodInfo, ...]
    violations: int


def ineligible(pod: PodInfo, nominated: NodeInfo | None) -> str:
    """Why the pod may not preempt others now; empty when it may. ``nominated``: where room is being made for it."""
    if pod.spec.get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    leaving = () if nominated is None else nominated.pods.values()
    if any(is_deleting(other.object) and other.priority < pod.priority for other in leaving):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def find_victims(
    profile: Profile,
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    rejections: Mapping[str, Status],
    budgets: Sequence[Object],
    ahead: Ahead = nobody,
) -> Victims | None:
    """The best candidate, or None when preemption cannot help. The pod is eligible (``ineligible``)."""
    candidates = []
    for node in nodes:
        status = rejections.get(node.name)
        if status is not None and status.code is Code.UNSCHEDULABLE:
            found = _on_node(profile, pod, node, nodes, budgets, ahead)
            if found is not None:
                candidates.append(found)
    return min(candidates, key=_cost, default=None)


def _cost(victims: Victims) -> tuple[int, int, int, int]:
    priorities = [pod.priority for pod in victims.pods]
    return victims.violations, max(priorities), sum(priority + 2**31 for priority in priorities), len(priorities)


def _on_node(
    profile: Profile, pod: PodInfo, node: NodeInfo, nodes: Sequence[NodeInfo], budgets: Sequence[Object], ahead: Ahead
) -> Victims | None:
    lower = [other for other in node.pods.values() if other.priority < pod.priority]
    if not lower:
        return None
    gone, nominated = {other.uid for other in lower}, ahead(pod, node.name)

    def fits() -> bool:
        """Whether the pod would fit if these pods were gone from the node."""
        changed = node.changed(without=frozenset(gone), adding=nominated)
        return filter_changed(profile, pod, changed, nodes).ok

    if not fits():
        return None
    protected, others = _split_by_budget(lower, budgets)
    violations = 0
    victims: list[PodInfo] = []
    for group, counts in ((protected, True), (others, False)):
        for other in sorted(group, key=lambda item: (-item.priority, _started(item))):
            gone.discard(other.uid)
            if not fits():
                gone.add(other.uid)
                victims.append(other)
                violations += counts
    return Victims(node.name, tuple(victims), violations) if victims else None


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
