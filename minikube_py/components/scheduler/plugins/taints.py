"""TaintToleration: taints keep pods away unless tolerated; PreferNoSchedule ones count against a node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from minikube_py.machinery.objects import Object


def toleration_matches(toleration: Object, taint: Object) -> bool:
    """``Toleration.ToleratesTaint`` of k8s.io/api/core/v1."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    if not toleration.get("key"):
        return False
    mine, theirs = toleration.get("value") or "", taint.get("value") or ""
    if operator == "Equal":
        return bool(mine == theirs)
    if operator in ("Lt", "Gt") and _is_integer(mine) and _is_integer(theirs):
        return int(theirs) < int(mine) if operator == "Lt" else int(theirs) > int(mine)
    return False


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def tolerates(tolerations: Iterable[Object], taint: Object) -> bool:
    return any(toleration_matches(toleration, taint) for toleration in tolerations)


def untolerated(taints: Iterable[Object], tolerations: Sequence[Object], effects: Sequence[str]) -> Object | None:
    """The first taint with one of the effects that nothing tolerates."""
    return next((t for t in taints if t.get("effect") in effects and not tolerates(tolerations, t)), None)


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
