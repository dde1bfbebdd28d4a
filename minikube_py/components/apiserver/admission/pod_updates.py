"""PodResizeValidator and NodeDeclaredFeatureValidator: what a pod's node must be able to do for a change of the pod.

Same rules and texts as ``plugin/pkg/admission/podresize`` and ``nodedeclaredfeatures`` with the declared features
of ``component-helpers`` that a change of a pod can ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.components.apiserver.admission.refusal import is_for, refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import VALIDATE
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import ApiError, go_quote
from minikube_py.machinery.objects import Object, labels_of, metadata, name_of
from minikube_py.machinery.pod_resources import amounts, pod_amounts
from minikube_py.machinery.quantities import ZERO
from minikube_py.machinery.resources import PODS

_OS = "kubernetes.io/os"


class PodResizeValidator:
    """A resize of a pod on a node: the node runs Linux and has as much as the pod asks for."""

    name = "PodResizeValidator"
    phases = (VALIDATE,)
    handles_by_kind = True

    def __init__(self, nodes: Lookup) -> None:
        self._nodes = nodes

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.UPDATE, subresource="resize")

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to change."""

    async def validate(self, request: AdmissionRequest) -> None:
        node = await _node_of_changed(self._nodes, request)
        if node is None:
            return
        system = labels_of(node).get(_OS)
        if system is not None and system != "linux":
            text = f"pod resize is only supported on linux nodes, node {go_quote(name_of(node))} is {go_quote(system)}"
            raise _because(refuse(request, text), "UnsupportedPlatform")
        lacking = _lacking((request.object or {}).get("spec") or {}, (node.get("status") or {}).get("allocatable"))
        if lacking:
            text = f"node didn't have enough allocatable resources: {'; '.join(lacking)}"
            raise _because(refuse(request, text), "NodeCapacity")


class NodeDeclaredFeatureValidator:
    """A change of a pod that asks for a feature of its node: the node declares it."""

    name = "NodeDeclaredFeatureValidator"
    phases = (VALIDATE,)
    handles_by_kind = True

    def __init__(self, nodes: Lookup) -> None:
        self._nodes = nodes

    def handles(self, request: AdmissionRequest) -> bool:
        return any(is_for(request, PODS, Operation.UPDATE, subresource=name) for name in ("", "resize"))

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to change."""

    async def validate(self, request: AdmissionRequest) -> None:
        wanted = needed_features((request.object or {}).get("spec") or {}, (request.old or {}).get("spec") or {})
        node = await _node_of_changed(self._nodes, request) if wanted else None
        if node is None:
            return
        declared = (node.get("status") or {}).get("declaredFeatures") or ()
        missing = [feature for feature in wanted if feature not in declared]
        if missing:
            text = f"pod update requires features {', '.join(missing)} which are not available on node "
            raise refuse(request, text + go_quote(name_of(node)))


def needed_features(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """The features, sorted, that a node must declare for a pod's change."""
    return [feature for feature, asks in _ASKED_BY_CHANGES if asks(spec, before)]


def _pod_resized(spec: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    new, old = spec.get("resources"), before.get("resources")
    return (new is None) != (old is None) or _resources(new) != _resources(old)


def _init_container_resized(spec: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    new, old = spec.get("initContainers") or (), before.get("initContainers") or ()
    return any(
        _plain(container.get("resources")) != _plain(new[index].get("resources") if index < len(new) else None)
        for index, container in enumerate(old)
        if container.get("restartPolicy") != "Always"
    )


_ASKED_BY_CHANGES: tuple[tuple[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]], ...] = (
    ("InPlacePodLevelResourcesVerticalScaling", _pod_resized),
    ("InPlacePodVerticalScalingInitContainers", _init_container_resized),
)


def _plain(resources: Mapping[str, Any] | None) -> Object:
    return {field: value for field, value in (resources or {}).items() if value}


def _resources(resources: Mapping[str, Any] | None) -> Object:
    """Resources by their amounts, not by how these are written."""
    return {
        field: amounts(value) if field in ("limits", "requests") else value
        for field, value in _plain(resources).items()
    }


async def _node_of_changed(nodes: Lookup, request: AdmissionRequest) -> Object | None:
    """The node of a pod whose spec changes; None when it does not, or has no node. Raises ApiError(403) for no node."""
    pod, old = request.object or {}, request.old or {}
    name = (pod.get("spec") or {}).get("nodeName")
    if not name or metadata(pod).get("generation") == metadata(old).get("generation"):
        return None
    node = await nodes.get(name)
    if node is None:
        raise refuse(request, f"node {go_quote(name)} not found")
    return node


def _lacking(spec: Mapping[str, Any], allocatable: Mapping[str, Any] | None) -> list[str]:
    wanted, given = pod_amounts(spec, "requests", overhead=True), amounts(allocatable)
    found = []
    for name, in_thousandths in (("cpu", True), ("memory", False)):
        asked, there = wanted.get(name, ZERO), given.get(name, ZERO)
        if asked > there:
            numbers = [each.milli() if in_thousandths else each.value() for each in (asked, there)]
            found.append(f"{name}, requested: {numbers[0]}, allocatable: {numbers[1]}")
    return found


def _because(error: ApiError, reason: str) -> ApiError:
    """The refusal with a machine-readable cause."""
    error.details = {**(error.details or {}), "causes": [{"reason": reason}]}
    return error
