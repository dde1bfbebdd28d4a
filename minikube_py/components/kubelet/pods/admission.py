"""The node's own check before it runs a pod (``lifecycle.predicate``), with Kubernetes' texts and in its order.

The scheduler has chosen the node, but pods can be bound by anyone, and two schedulers can race.
Pure: the other pods and the node are given. Of several reasons the first is told, as the kubelet does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.components.kubelet.pods.model import Role, containers, requested, spec_of
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.components.kubelet.pods.sysctls import forbidden_sysctl
from minikube_py.machinery.kinds.common.resource_names import is_extended
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.placement import Taint, required_matches, untolerated
from minikube_py.machinery.quantities import quantity_milli, quantity_value

AFFINITY, TAINTS = "NodeAffinity", "TaintToleration"
READ_ANEW = frozenset({AFFINITY, TAINTS})
"""Reasons for which the Node is read once more: what somebody changed a moment ago may not have come here yet."""
_OS, _OWN_OS = "kubernetes.io/os", "linux"
_MEASURED = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisNode:
    """What the check looks at. ``allocatable`` holds extended resources too."""

    name: str
    allocatable: Mapping[str, str]
    labels: Mapping[str, str]
    taints: Sequence[Taint] = ()
    strict_groups: bool = False
    """Whether the runtime can keep the image's groups out (``status.features.supplementalGroupsPolicy``)."""


def node_of(node: Object, allocatable: Mapping[str, str]) -> ThisNode:
    """The Node object as the check sees it; what this process knows of its ``allocatable`` is newer."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return ThisNode(
        name=str((node.get("metadata") or {}).get("name") or ""),
        allocatable={**(status.get("allocatable") or {}), **allocatable},
        labels=labels_of(node),
        taints=spec.get("taints") or (),
        strict_groups=bool((status.get("features") or {}).get("supplementalGroupsPolicy")),
    )


def check(
    pod: Object, others: Iterable[Object], node: ThisNode, *, unsafe_sysctls: Sequence[str] = ()
) -> Verdict | None:
    """Why the pod cannot run beside the others; None when it can. ``unsafe_sysctls`` are permitted beside the safe."""
    present = list(others)
    for found in _reasons(pod, present, node):
        return found
    return forbidden_sysctl(pod, unsafe_sysctls)


def _reasons(pod: Object, present: Sequence[Object], node: ThisNode) -> Iterator[Verdict]:
    yield from _system_reasons(pod, node)
    yield from _resource_reasons(pod, present, node.allocatable)
    if not required_matches(spec_of(pod), node.labels, node.name):
        yield _failed(AFFINITY, "node(s) didn't match Pod's node affinity/selector")
    taken = [port for item in present for port in _host_ports(item)]
    if any(_collide(port, other) for port in _host_ports(pod) for other in taken):
        yield _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if untolerated(node.taints, spec_of(pod).get("tolerations") or (), ("NoExecute",)) is not None:
        yield _failed(TAINTS, "node(s) had taints that the pod didn't tolerate")


def _system_reasons(pod: Object, node: ThisNode) -> Iterator[Verdict]:
    """The operating system, and what the runtime cannot do."""
    spec = spec_of(pod)
    if labels_of(pod).get(_OS, _OWN_OS) != _OWN_OS:
        text = f"Failed to admit pod as the `{_OS}` label doesn't match node label"
        yield _rejected("PodOSSelectorNodeLabelDoesNotMatch", text)
    if ((spec.get("os") or {}).get("name") or _OWN_OS) != _OWN_OS:
        yield _rejected("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    policy = (spec.get("securityContext") or {}).get("supplementalGroupsPolicy")
    if policy == "Strict" and not node.strict_groups:
        text = "SupplementalGroupsPolicy=Strict is not supported in this node"
        yield _rejected("SupplementalGroupsPolicyNotSupported", text)


def _resource_reasons(pod: Object, present: Sequence[Object], allocatable: Mapping[str, str]) -> Iterator[Verdict]:
    """Slots, then the measured resources, then all others that the pod asks for (``noderesources.Fits``)."""
    slots = int(allocatable.get("pods", "110"))
    if len(present) + 1 > slots:
        yield _out_of("pods", 1, len(present), slots)
    others = sorted(_requested_names(pod).difference(_MEASURED))
    for resource in (*_MEASURED, *others):
        if is_extended(resource) and resource not in allocatable:
            continue  # it is the cluster's, not a node's
        read = quantity_milli if resource == "cpu" else quantity_value
        wanted = requested(pod, resource)
        if not wanted:
            continue
        capacity = read(allocatable.get(resource, "0"))
        used = sum(requested(item, resource) for item in present)
        if wanted > capacity - used:
            yield _out_of(resource, wanted, used, capacity)


def _requested_names(pod: Object) -> set[str]:
    spec = spec_of(pod)
    asking = [spec, *containers(pod), *containers(pod, Role.INIT)]
    return {name for item in asking for name in ((item.get("resources") or {}).get("requests") or {})}


def _rejected(reason: str, text: str) -> Verdict:
    return Verdict(reason, f"Pod was rejected: {text}")


def _failed(predicate: str, text: str) -> Verdict:
    return _rejected(predicate, f"Predicate {predicate} failed: {text}")


def _out_of(resource: str, wanted: int, used: int, capacity: int) -> Verdict:
    return _rejected(
        f"OutOf{resource}",
        f"Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}",
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
