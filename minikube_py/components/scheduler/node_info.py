"""What the scheduler knows of a node: its object and the sum of the pods that are on it.

Written only by ``cache.Cache``; plugins read. Decisions run without an await in between, so no
snapshot is needed: what a plugin reads cannot change under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minikube_py.components.scheduler.pod_info import Amounts, PodInfo, amounts
from minikube_py.machinery.objects import Object, labels_of

any_address = "0.0.0.0"


class NodeInfo:
    """One node. ``object`` is None while only pods are known to be on it."""

    __slots__ = (
        "allocatable",
        "anti_affinity_pods",
        "image_sizes",
        "labels",
        "name",
        "object",
        "pods",
        "ports",
        "requested",
        "scoring_requested",
        "taints",
        "unschedulable",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.object: Object | None = None
        self.labels: Mapping[str, str] = {}
        self.allocatable: Amounts = {}
        self.taints: tuple[Object, ...] = ()
        self.unschedulable = False
        self.image_sizes: Mapping[str, int] = {}
        self.pods: dict[str, PodInfo] = {}
        self.requested: dict[str, int] = {}
        self.scoring_requested: dict[str, int] = {}
        self.ports: dict[tuple[str, str, int], int] = {}
        self.anti_affinity_pods: dict[str, PodInfo] = {}

    def set_node(self, node: Object | None) -> None:
        """Take in a revision of the node object (None: it is gone)."""
        self.object = node
        if node is None:
            return
        spec, status = node.get("spec") or {}, node.get("status") or {}
        self.labels = labels_of(node)
        self.allocatable = amounts(status.get("allocatable"))
        self.taints = tuple(spec.get("taints") or ())
        self.unschedulable = bool(spec.get("unschedulable"))
        self.image_sizes = {
            name: int(image.get("sizeBytes") or 0) for image in status.get("images") or [] for name in image["names"]
        }

    def add_pod(self, pod: PodInfo) -> None:
        self.pods[pod.uid] = pod
        self._account(pod, 1)
        if pod.required_anti_affinity:
            self.anti_affinity_pods[pod.uid] = pod

    def remove_pod(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        self._account(pod, -1)
        self.anti_affinity_pods.pop(uid, None)

    def _account(self, pod: PodInfo, sign: int) -> None:
        for total, part in ((self.requested, pod.requests), (self.scoring_requested, pod.scoring_requests)):
            for name, value in part.items():
                total[name] = total.get(name, 0) + sign * value
        for port in pod.host_ports:
            count = self.ports.get(port, 0) + sign
            if count:
                self.ports[port] = count
            else:
                self.ports.pop(port, None)

    def port_conflict(self, wanted: tuple[str, str, int]) -> bool:
        """Whether a host port is taken; the wildcard address collides with every address."""
        address, protocol, number = wanted
        if address == any_address:
            return any(used[1:] == (protocol, number) for used in self.ports)
        return wanted in self.ports or (any_address, protocol, number) in self.ports

    def changed(self, *, without: frozenset[str] = frozenset(), adding: Iterable[PodInfo] = ()) -> NodeInfo:
        """A private copy as if some pods, by uid, were gone and others were there."""
        copy = NodeInfo(self.name)
        for slot in ("object", "labels", "allocatable", "taints", "unschedulable", "image_sizes"):
            setattr(copy, slot, getattr(self, slot))
        for uid, pod in self.pods.items():
            if uid not in without:
                copy.add_pod(pod)
        for pod in adding:
            copy.add_pod(pod)
        return copy
