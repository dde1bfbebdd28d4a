"""The node's own check before it runs a pod (``lifecycle.predicate``), with Kubernetes' texts.

The scheduler has chosen the node, but pods can be bound by anyone, and two schedulers can race.
Pure: the other pods and the node's allocatable amounts are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minikube_py.components.kubelet.pods.model import containers, requested, spec_of
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import quantity_milli, quantity_value


def check(
    pod: Object, others: Iterable[Object], *, allocatable: Mapping[str, str], node_labels: Mapping[str, str]
) -> Verdict | None:
    """Why the pod cannot run beside the others; None when it can."""
    present = list(others)
    for resource in ("cpu", "memory"):
        read = quantity_milli if resource == "cpu" else quantity_value
        wanted = requested(pod, resource)
        capacity = read(allocatable.get(resource, "0"))
        used = sum(requested(item, resource) for item in present)
        if wanted and wanted > capacity - used:
            return _out_of(resource, wanted, used, capacity)
    slots = int(allocatable.get("pods", "110"))
    if len(present) + 1 > slots:
        return _out_of("pods", 1, len(present), slots)
    selector = spec_of(pod).get("nodeSelector") or {}
    if any(node_labels.get(key) != value for key, value in selector.items()):
        return Verdict(
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        )
    taken = {port for item in present for port in _host_ports(item)}
    if taken & set(_host_ports(pod)):
        return Verdict(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        )
    return None


def _out_of(resource: str, wanted: int, used: int, capacity: int) -> Verdict:
    return Verdict(
        f"OutOf{resource}",
        f"Pod was rejected: Node didn't have enough resource: {resource}, requested: {wanted}, used: {used},"
        f" capacity: {capacity}",
    )


def _host_ports(pod: Object) -> Iterable[tuple[str, int]]:
    for item in containers(pod):
        for port in item.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("protocol") or "TCP", port["hostPort"]
