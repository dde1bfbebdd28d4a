"""Pods for which room is being made: each is nominated to the node where its victims go.

Until it is bound, the node counts as if the pod were there for every pod that is not more important; otherwise
whoever replaces the victims would take the room first. Source: kube-scheduler's ``backend/queue/nominator.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.scheduler.pod_info import PodInfo


class Nominations:
    """Nominated pods by node. Invariant: a pod is nominated to at most one node."""

    def __init__(self) -> None:
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        self._node_of: dict[str, str] = {}

    def node_of(self, uid: str) -> str:
        """The node a pod is nominated to, or an empty string."""
        return self._node_of.get(uid, "")

    def put(self, pod: PodInfo, node_name: str) -> None:
        """Nominate a pod, or take in its newest revision; no node ends the nomination."""
        self.drop(pod.uid)
        if node_name:
            self._node_of[pod.uid] = node_name
            self._by_node.setdefault(node_name, {})[pod.uid] = pod

    def drop(self, uid: str) -> None:
        """The pod got a node, or is gone."""
        name = self._node_of.pop(uid, None)
        if name is not None:
            del self._by_node[name][uid]
            if not self._by_node[name]:
                del self._by_node[name]

    def ahead(self, pod: PodInfo, node_name: str) -> Sequence[PodInfo]:
        """The node's nominated pods that this pod must leave room for."""
        nominated = self._by_node.get(node_name)
        if nominated is None:
            return ()
        return [other for other in nominated.values() if other.priority >= pod.priority and other.uid != pod.uid]
