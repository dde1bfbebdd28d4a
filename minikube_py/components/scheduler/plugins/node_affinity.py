"""NodeAffinity: nodeSelector and required node affinity decide, preferred node affinity scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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


def requirement_matches(requirement: Object, values: Mapping[str, str]) -> bool:
    """One node selector requirement against labels (or fields)."""
    key, operator = requirement["key"], requirement.get("operator")
    wanted = requirement.get("values") or []
    found = values.get(key)
    if operator == "In":
        return found is not None and found in wanted
    if operator == "NotIn":
        return found is None or found not in wanted
    if operator == "Exists":
        return found is not None
    if operator == "DoesNotExist":
        return found is None
    if operator in ("Gt", "Lt") and found is not None and len(wanted) == 1:
        try:
            left, right = int(found), int(wanted[0])
        except ValueError:
            return False
        return left > right if operator == "Gt" else left < right
    return False


def term_matches(term: Object, labels: Mapping[str, str], name: str) -> bool:
    """All requirements of a term; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(requirement_matches(item, labels) for item in expressions) and all(
        requirement_matches(item, {"metadata.name": name}) for item in fields
    )


def node_selector_matches(selector: Object, labels: Mapping[str, str], name: str) -> bool:
    """A NodeSelector: any of its terms."""
    return any(term_matches(term, labels, name) for term in selector.get("nodeSelectorTerms") or [])


def required_matches(spec: Object, labels: Mapping[str, str], name: str) -> bool:
    """``GetRequiredNodeAffinity(pod).Match``: nodeSelector and required affinity together."""
    wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return affinity is None or node_selector_matches(affinity, labels, name)


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
