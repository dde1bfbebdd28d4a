"""The node's own check before it runs a pod (``lifecycle.predicate``), with Kubernetes' texts.

The scheduler has chosen the node, but pods can be bound by anyone, and two schedulers can race.
Pure: the other pods and the node's allocatable amounts are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from minikube_py.components.kubelet.pods.model import containers, requested, spec_of
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.components.kubelet.pods.sysctls import forbidden_sysctl
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import quantity_milli, quantity_value


def check(
    pod: Object,
    others: Iterable[Object],
    *,
    allocatable: Mapping[str, str],
    node_labels: Mapping[str, str],
    unsafe_sysctls: Sequence[str] = (),
) -> Verdict | None:
    """Why the pod cannot run beside the others; None when it can. ``unsafe_sysctls`` are permitted beside the safe."""
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
    if not has_labels(pod, node_labels):
        return Verdict(
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        )
    taken = [port for item in present for port in _host_ports(item)]
    if any(_collide(port, other) for port in _host_ports(pod) for other in taken):
        return Verdict(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        )
    return forbidden_sysctl(pod, unsafe_sysctls)


def has_labels(pod: Object, node_labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is what the pod's nodeSelector asks for."""
    selector = spec_of(pod).get("nodeSelector") or {}
    return all(node_labels.get(key) == value for key, value in selector.items())


def _out_of(resource: str, wanted: int, used: int, capacity: int) -> Verdict:
    return Verdict(
        f"OutOf{resource}",
        f"Pod was rejected: Node didn't have enough resource: {resource}, requested: {wanted}, used: {used},"
        f" capacity: {capacity}",
    )


def _host_ports(pod: Object) -> Iterable[tuple[str, int, str]]:
    """Protocol, port and address (empty: every address) of the node that the pod takes."""
    for item in containers(pod):
        for port in item.get("ports") or ():
            if port.get("hostPort"):
                address = port.get("hostIP") or ""
                yield port.get("protocol") or "TCP", port["hostPort"], "" if address == "0.0.0.0" else address


def _collide(port: tuple[str, int, str], other: tuple[str, int, str]) -> bool:
    """The same port of different addresses is two ports, unless one of them is of every address."""
    return port[:2] == other[:2] and (port[2] == other[2] or not port[2] or not other[2])
