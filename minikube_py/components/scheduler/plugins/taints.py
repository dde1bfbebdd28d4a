"""TaintToleration: taints keep pods away unless tolerated; PreferNoSchedule ones count against a node."""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.scheduler.framework import (
    SUCCESS,
    ClusterEvent,
    CycleState,
    Status,
    normalise,
    unresolvable,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.placement import tolerates, untolerated


class TaintToleration:
    """Filter on NoSchedule and NoExecute, score on PreferNoSchedule."""

    name = "TaintToleration"
    events = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_TAINTS

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        taint = untolerated(node.taints, pod.spec.get("tolerations") or (), ("NoSchedule", "NoExecute"))
        if taint is None:
            return SUCCESS
        value = taint.get("value") or ""
        return unresolvable(self.name, f"node(s) had untolerated taint {{{taint['key']}: {value}}}")

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        tolerations = [
            item for item in pod.spec.get("tolerations") or () if item.get("effect") in (None, "", "PreferNoSchedule")
        ]
        counts = [
            sum(
                1
                for taint in node.taints
                if taint.get("effect") == "PreferNoSchedule" and not tolerates(tolerations, taint)
            )
            for node in nodes
        ]
        return normalise(counts, reverse=True)
