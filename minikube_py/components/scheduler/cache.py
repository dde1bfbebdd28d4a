"""The scheduler's view of the cluster: nodes with their pods, including *assumed* pods.

An assumed pod is one that was decided but whose binding is not seen yet; it counts on its node
until the binding shows up (``confirm``) or fails (``forget``). Invariant: a pod counts on at most
one node.
"""

from __future__ import annotations

from collections.abc import Iterable

from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.objects import Object, name_of


class Cache:
    """Nodes by name; every method is synchronous and runs on the loop."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self._node_of: dict[str, str] = {}
        self._assumed: set[str] = set()
        self.anti_affinity_nodes: set[str] = set()

    def schedulable(self) -> list[NodeInfo]:
        """All nodes whose object is known."""
        return [info for info in self.nodes.values() if info.object is not None]

    def set_node(self, node: Object) -> None:
        self._node(name_of(node)).set_node(node)

    def remove_node(self, name: str) -> None:
        """The node object is gone; its pods may still be reported for a while."""
        info = self.nodes.get(name)
        if info is not None:
            info.set_node(None)
            self._drop_if_empty(info)

    def put_pod(self, pod: PodInfo) -> None:
        """A pod that is bound to a node, in its newest revision; confirms an assumption."""
        self._assumed.discard(pod.uid)
        self._place(pod, pod.node_name)

    def remove_pod(self, uid: str) -> None:
        """A bound pod that ended or is gone."""
        self._assumed.discard(uid)
        name = self._node_of.pop(uid, None)
        if name is None:
            return
        info = self.nodes[name]
        info.remove_pod(uid)
        if not info.anti_affinity_pods:
            self.anti_affinity_nodes.discard(name)
        self._drop_if_empty(info)

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """Count the pod on the node before its binding is seen."""
        self._assumed.add(pod.uid)
        self._place(pod, node_name)

    def forget(self, uid: str) -> None:
        """The binding failed: the assumption ends. Does nothing for a confirmed pod."""
        if uid in self._assumed:
            self.remove_pod(uid)

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def pods(self) -> Iterable[PodInfo]:
        return (pod for info in self.nodes.values() for pod in info.pods.values())

    def _place(self, pod: PodInfo, node_name: str) -> None:
        before = self._node_of.get(pod.uid)
        if before is not None:
            self.nodes[before].remove_pod(pod.uid)
        info = self._node(node_name)
        info.add_pod(pod)
        if pod.required_anti_affinity:
            self.anti_affinity_nodes.add(node_name)
        self._node_of[pod.uid] = node_name

    def _node(self, name: str) -> NodeInfo:
        return self.nodes.setdefault(name, NodeInfo(name))

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.object is None and not info.pods:
            del self.nodes[info.name]
