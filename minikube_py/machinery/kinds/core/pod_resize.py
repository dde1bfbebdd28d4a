"""Validation of the ``resize`` subresource of pods (``ValidatePodResize``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value
from minikube_py.machinery.kinds.common.checks import Errors
from minikube_py.machinery.kinds.common.podspec.spec import WHOLE_OBJECT
from minikube_py.machinery.kinds.core.pod_strategy import qos_class
from minikube_py.machinery.kinds.core.pod_validation import is_static, whole_pod_errors
from minikube_py.machinery.objects import Object

_RESIZABLE = ("cpu", "memory")
_AMOUNTS = ("requests", "limits")
_ONLY = "only cpu and memory resources are mutable"
_RESTART = "RestartContainer"
_NO_RESTART = f"non-sidecar init containers with a resize policy of {_RESTART} cannot be resized"


def validate_resize(pod: Object, old: Object) -> Errors:
    """Cpu and memory of containers of all sorts and of the pod change; the QoS class does not."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    if is_static(old):
        return [forbidden_field(WHOLE_OBJECT, "static pods cannot be resized")]
    if (before.get("os") or {}).get("name") == "windows":
        return [forbidden_field(WHOLE_OBJECT, "windows pods cannot be resized")]
    errors = whole_pod_errors(pod)
    if ((old.get("status") or {}).get("qosClass") or qos_class(before)) != qos_class(spec):
        text = "Pod QOS Class may not change as a result of resizing"
        errors.append(invalid_value("spec", (pod.get("status") or {}).get("qosClass") or "", text))
    if not _node_can_resize(old.get("status") or {}):
        errors.append(forbidden_field("spec", "Pod running on node without support for resize"))
    errors += _pod_level_errors(spec, before)
    misplaced = [
        *_order_errors("containers", spec.get("containers") or (), before.get("containers") or ()),
        *_order_errors("initContainers", spec.get("initContainers") or (), before.get("initContainers") or ()),
    ]
    if misplaced:
        return errors + misplaced
    errors += _removal_errors(spec, before) + _other_change_errors(spec, before)
    if not errors and _masked(spec, before) != before:
        errors.append(forbidden_field("spec", _ONLY))
    return errors


def _node_can_resize(status: Mapping[str, Any]) -> bool:
    """A kubelet that can resize reports the resources of running containers."""
    running = [s for s in status.get("containerStatuses") or () if (s.get("state") or {}).get("running") is not None]
    return not running or running[0].get("resources") is not None


def _pod_level_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    """``validatePodLevelResourcesResize``."""
    new, old = spec.get("resources"), before.get("resources")
    if not any((found or {}).get(sort) for found in (new, old) for sort in _AMOUNTS):
        return []
    if old is not None and new is None:
        return [forbidden_field("spec.resources", "pod-level resources cannot be removed")]
    errors: Errors = []
    for sort in _AMOUNTS:
        if old is not None and _removed((new or {}).get(sort), old.get(sort)):
            text = f"pod-level resource {sort} cannot be removed"
            errors.append(forbidden_field(f"spec.resources.{sort}", text))
    if _without_resizable(new) != _without_resizable(old):
        errors.append(forbidden_field("spec", "only cpu and memory resources are mutable at pod-level"))
    return errors


def _order_errors(sort: str, new: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Errors:
    if len(new) != len(before):
        return [forbidden_field(f"spec.{sort}", f"{sort} may not be added or removed on resize")]
    return [
        forbidden_field(f"spec.{sort}[{index}].name", f"{sort} may not be renamed or reordered on resize")
        for index, (container, old) in enumerate(zip(new, before, strict=True))
        if container.get("name") != old.get("name")
    ]


def _removal_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for sort in ("initContainers", "containers"):
        for index, (container, old) in enumerate(_pairs(spec, before, sort)):
            for amounts in _AMOUNTS:
                was, now = ((found.get("resources") or {}).get(amounts) for found in (old, container))
                if _removed(now, was):
                    field = f"spec.{sort}[{index}].resources.{amounts}"
                    errors.append(forbidden_field(field, f"resource {amounts} cannot be removed"))
    return errors


def _other_change_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for container, old in _pairs(spec, before, "containers"):
        if _masked_container(container) != _masked_container(old):
            errors.append(forbidden_field("spec", _ONLY))
    for index, (container, old) in enumerate(_pairs(spec, before, "initContainers")):
        field = f"spec.initContainers[{index}]"
        if _masked_container(container) != _masked_container(old):
            text = "only cpu and memory resources for init or sidecar containers are mutable"
            errors.append(forbidden_field(field, text))
        if container != old and not _is_sidecar(container):
            restarted = [rule for rule in container.get("resizePolicy") or () if rule.get("restartPolicy") == _RESTART]
            errors += [forbidden_field(field, _NO_RESTART) for _ in restarted]
    return errors


def _pairs(
    spec: Mapping[str, Any], before: Mapping[str, Any], sort: str
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return list(zip(spec.get(sort) or (), before.get(sort) or (), strict=True))


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def _removed(new: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> bool:
    return any(name not in (new or {}) for name in before or ())


def _masked(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Object:
    """The new spec with the old one's containers and resources, which were judged apart."""
    kept = {name: value for name, value in spec.items() if name not in ("containers", "initContainers", "resources")}
    return kept | {name: before[name] for name in ("containers", "initContainers", "resources") if name in before}


def _masked_container(container: Mapping[str, Any]) -> Object:
    return {**container, "resources": _without_resizable(container.get("resources"))}


def _without_resizable(resources: Mapping[str, Any] | None) -> Object:
    """What of resources does not change in a resize; empty amounts are as good as none."""
    result = {name: value for name, value in (resources or {}).items() if name not in _AMOUNTS}
    for sort in _AMOUNTS:
        rest = {name: text for name, text in ((resources or {}).get(sort) or {}).items() if name not in _RESIZABLE}
        if rest:
            result[sort] = rest
    return result
