"""One scheduling cycle: from a pod and the nodes to a decision. Synchronous, no I/O.

Source: kube-scheduler's ``schedule_one.go``: PreFilter, Filter over as many nodes as are needed to
find enough feasible ones, PreScore, Score, then the best node, ties broken at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.components.scheduler.framework import (
    SUCCESS,
    Code,
    CycleState,
    FilterPlugin,
    Status,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.components.scheduler.profile import Profile

Ahead = Callable[[PodInfo, str], Sequence[PodInfo]]
"""The pods for which a pod must leave room on a node, by the node's name (``nominations``)."""

fewest_feasible_nodes = 100
fewest_percent, most_percent = 5, 50


@dataclass(frozen=True, slots=True)
class Decision:
    """``node`` is None when the pod fits nowhere; then ``rejections`` says why, by node name.

    ``rejected_by`` names the plugins whose events the pod must wait for.
    """

    node: NodeInfo | None
    state: CycleState
    rejections: Mapping[str, Status] = field(default_factory=dict)
    rejected_by: frozenset[str] = frozenset()
    evaluated: int = 0


def enough_feasible(nodes: int) -> int:
    """How many feasible nodes to look for (``numFeasibleNodesToFind``, adaptive percentage)."""
    if nodes < fewest_feasible_nodes:
        return nodes
    percent = max(fewest_percent, most_percent - nodes // 125)
    return max(fewest_feasible_nodes, nodes * percent // 100)


def nobody(pod: PodInfo, node_name: str) -> Sequence[PodInfo]:
    """Nobody is nominated."""
    return ()


def decide(
    profile: Profile,
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    *,
    start: int,
    choose: random.Random,
    ahead: Ahead = nobody,
) -> Decision:
    """Pick a node. ``start`` rotates where the search begins, so that all nodes get their turn."""
    state: CycleState = {}
    filters, refused = pre_filter(profile, state, pod, nodes)
    if refused is not None:
        return Decision(None, state, {node.name: refused for node in nodes}, frozenset({refused.plugin}))
    feasible: list[NodeInfo] = []
    rejections: dict[str, Status] = {}
    wanted, evaluated = enough_feasible(len(nodes)), 0
    for offset in range(len(nodes)):
        node = nodes[(start + offset) % len(nodes)]
        evaluated += 1
        status = run_filters(filters, state, pod, node)
        others = ahead(pod, node.name) if status.ok else ()
        if others:
            status = filter_changed(profile, pod, node.changed(adding=others), nodes)
        if status.ok:
            feasible.append(node)
            if len(feasible) >= wanted:
                break
        else:
            rejections[node.name] = status
    if not feasible:
        by = frozenset(status.plugin for status in rejections.values())
        return Decision(None, state, rejections, by, evaluated)
    return Decision(_best(profile, state, pod, feasible, choose), state, rejections, evaluated=evaluated)


def pre_filter(
    profile: Profile, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]
) -> tuple[list[FilterPlugin], Status | None]:
    """(filters that matter to this pod, the rejection if the pod fits nowhere whatever the node)."""
    skipped: set[str] = set()
    for plugin in profile.pre_filter:
        status = plugin.pre_filter(state, pod, nodes)
        if status.code is Code.SKIP:
            skipped.add(plugin.name)
        elif not status.ok:
            return [], status
    return [plugin for plugin in profile.filter if plugin.name not in skipped], None


def run_filters(filters: Sequence[FilterPlugin], state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
    """The first rejection, or success."""
    for plugin in filters:
        status = plugin.filter(state, pod, node)
        if not status.ok:
            return status
    return SUCCESS


def filter_changed(profile: Profile, pod: PodInfo, changed: NodeInfo, nodes: Sequence[NodeInfo]) -> Status:
    """The verdict about one node, in a cluster where it is as in ``changed``."""
    state: CycleState = {}
    others = [changed if item.name == changed.name else item for item in nodes]
    filters, refused = pre_filter(profile, state, pod, others)
    return refused if refused is not None else run_filters(filters, state, pod, changed)


def _best(
    profile: Profile, state: CycleState, pod: PodInfo, feasible: Sequence[NodeInfo], choose: random.Random
) -> NodeInfo:
    if len(feasible) == 1:
        return feasible[0]
    skipped = {plugin.name for plugin in profile.pre_score if not plugin.pre_score(state, pod, feasible).ok}
    totals = [0.0] * len(feasible)
    for plugin, weight in profile.score:
        if plugin.name not in skipped:
            for index, score in enumerate(plugin.score(state, pod, feasible)):
                totals[index] += weight * score
    most = max(totals)
    return choose.choice([node for node, total in zip(feasible, totals, strict=True) if total == most])
