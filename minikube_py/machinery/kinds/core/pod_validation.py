"""Validation of pods on create, update and through their subresources (``core/validation/validation.go``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors, subdomain
from minikube_py.machinery.kinds.common.go_values import go_diff, go_object
from minikube_py.machinery.kinds.common.podspec.annotations import pod_annotation_errors
from minikube_py.machinery.kinds.common.podspec.containers import image_space_errors
from minikube_py.machinery.kinds.common.podspec.scheduling import toleration_errors
from minikube_py.machinery.kinds.common.podspec.spec import MAX_DEADLINE_SECONDS, pod_spec_errors
from minikube_py.machinery.kinds.core.pod_changes import annotation_update_errors, gated_errors
from minikube_py.machinery.kinds.core.pod_status import (
    claim_status_errors,
    condition_errors,
    host_address_errors,
    pod_address_errors,
)
from minikube_py.machinery.kinds.core.pod_strategy import qos_class
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.quantities import quantity_milli

_UPDATE_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_RESIZE_FORBIDDEN = "only cpu and memory resources are mutable"


def validate_pod(pod: Object) -> Errors:
    """``ValidatePodCreate``."""
    spec = pod.get("spec") or {}
    errors = _whole_errors(pod)
    if spec.get("ephemeralContainers"):
        errors.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        errors.append(forbidden_field("spec.nodeName", text))
    return errors


def _whole_errors(pod: Mapping[str, Any]) -> Errors:
    """``validatePodMetadataAndSpec``, but for the metadata that all kinds have."""
    meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    errors = pod_annotation_errors("metadata.annotations", meta.get("annotations") or {}, spec)
    errors += pod_spec_errors("spec", spec, meta.get("name") or "", is_pod=True)
    for sort in ("containers", "initContainers"):
        errors += image_space_errors(f"spec.{sort}", spec.get(sort) or ())
    return errors


def validate_pod_update(pod: Object, old: Object) -> Errors:
    """``ValidatePodUpdate``: images, deadline, additional tolerations and, while gated, scheduling constraints."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    errors = _whole_errors(pod) + annotation_update_errors(pod, old)
    for name in ("containers", "initContainers"):
        if len(spec.get(name) or ()) != len(before.get(name) or ()):
            errors.append(forbidden_field(f"spec.{name}", "pod updates may not add or remove containers"))
            return errors
        errors += _image_errors(f"spec.{name}", spec.get(name) or ())
    deadline = _deadline_errors(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    errors += deadline
    if deadline and spec.get("activeDeadlineSeconds") is not None:
        return errors
    errors += _added_toleration_errors(spec.get("tolerations") or (), before.get("tolerations") or ())
    errors += _gate_errors(spec.get("schedulingGates") or (), before.get("schedulingGates") or ())
    if before.get("schedulingGates"):
        errors += gated_errors(spec, before)
    munged = _munged(spec, before)
    if munged != before:
        shown = [go_object("PodSpec", _with_host_fields(found)) for found in (before, munged)]
        errors.append(forbidden_field("spec", f"{_UPDATE_FORBIDDEN}\n{go_diff(*shown)}"))
    return errors


def _with_host_fields(spec: Mapping[str, Any]) -> Object:
    """Kubernetes' internal security context holds the pod's namespaces of the host."""
    context = dict(spec.get("securityContext") or {})
    for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"):
        if name in spec:
            context[name] = spec[name]
    return {**spec, "securityContext": context}


def _image_errors(path: str, containers: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    for index, container in enumerate(containers):
        image, field = container.get("image") or "", f"{path}[{index}].image"
        if not image:
            errors.append(required(field))
        elif image.strip() != image:
            errors.append(invalid_value(field, image, "must not have leading or trailing whitespace"))
    return errors


def _deadline_errors(new: int | None, before: int | None) -> Errors:
    field = "spec.activeDeadlineSeconds"
    if new is None:
        text = "must not update from a positive integer to nil value"
        return [invalid_value(field, None, text)] if before is not None else []
    if not 0 <= new <= MAX_DEADLINE_SECONDS:
        return [invalid_value(field, new, f"must be between 0 and {MAX_DEADLINE_SECONDS}, inclusive")]
    if before is not None and before < new:
        return [invalid_value(field, new, "must be less than or equal to previous value")]
    return []


def _gate_errors(new: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Errors:
    known = {gate.get("name") for gate in before}
    return [
        forbidden_field(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
        )
        for index, gate in enumerate(new)
        if gate.get("name") not in known
    ]


def _added_toleration_errors(new: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Errors:
    """``validateOnlyAddedTolerations``."""
    ignored = "tolerationSeconds"
    kept = [{key: value for key, value in toleration.items() if key != ignored} for toleration in new]
    for toleration in before:
        bare = {key: value for key, value in toleration.items() if key != ignored}
        if bare not in kept:
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden_field("spec.tolerations", text)]
    return toleration_errors("spec.tolerations", new)


def _munged(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Object:
    """The new spec with everything that may change set back; it must then equal the old one."""
    result = thaw(dict(spec))
    for name in ("containers", "initContainers"):
        for container, old_container in zip(result.get(name) or (), before.get(name) or (), strict=False):
            container["image"] = old_container.get("image")
    for name in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        _set_back(result, before, name)
    grace = before.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        result["terminationGracePeriodSeconds"] = grace
    if before.get("schedulingGates"):
        _set_back_gated(result, before)
    return result


def _set_back(result: Object, before: Mapping[str, Any], name: str) -> None:
    result.pop(name, None)
    if name in before:
        result[name] = before[name]


def _set_back_gated(result: Object, before: Mapping[str, Any]) -> None:
    """Node selector and node affinity of a gated pod are judged by ``gated_errors``."""
    _set_back(result, before, "nodeSelector")
    affinity, was = result.get("affinity"), before.get("affinity")
    if affinity is None:
        if (was or {}).get("nodeAffinity") is not None:
            result["affinity"] = {"nodeAffinity": was["nodeAffinity"]} if was else None
        return
    _set_back(affinity, was or {}, "nodeAffinity")
    if was is None and not affinity:
        del result["affinity"]


def validate_pod_status(pod: Object, old: Object) -> Errors:
    """``ValidatePodStatusUpdate``: what ended stays ended, the QoS class does not change, addresses fit."""
    status, before = pod.get("status") or {}, old.get("status") or {}
    errors = annotation_update_errors(pod, old) + condition_errors(status.get("conditions") or ())
    nominated = status.get("nominatedNodeName") or ""
    if nominated and nominated != before.get("nominatedNodeName"):
        errors += subdomain("status.nominatedNodeName", nominated)
    if before.get("qosClass") and status.get("qosClass") != before["qosClass"]:
        errors.append(invalid_value("status.qosClass", status.get("qosClass") or "", "field is immutable"))
    spec = old.get("spec") or {}
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for field, allowed, policy in (
        ("containerStatuses", set(), spec.get("restartPolicy")),
        ("initContainerStatuses", sidecars, spec.get("restartPolicy")),
        ("ephemeralContainerStatuses", set(), "Never"),
    ):
        errors += _restart_errors(f"status.{field}", status.get(field) or (), before.get(field) or (), policy, allowed)
    return errors + claim_status_errors(pod) + pod_address_errors(status) + host_address_errors(status)


def _restart_errors(
    path: str,
    new: Sequence[Mapping[str, Any]],
    before: Sequence[Mapping[str, Any]],
    policy: str | None,
    sidecars: set[Any],
) -> Errors:
    """A terminated container that may not restart cannot be reported as running again."""
    if policy == "Always":
        return []
    states = {status.get("name"): status.get("state") or {} for status in new}
    errors: Errors = []
    for index, status in enumerate(before):
        terminated, name = (status.get("state") or {}).get("terminated"), status.get("name")
        if terminated is None or name in sidecars or name not in states:
            continue
        if policy == "OnFailure" and terminated.get("exitCode"):
            continue
        if states[name].get("terminated") is None:
            errors.append(forbidden_field(f"{path}[{index}].state", "may not be transitioned to non-terminated state"))
    return errors


def validate_ephemeral_containers_update(pod: Object, old: Object) -> Errors:
    """``ValidatePodEphemeralContainersUpdate``: containers are only added."""
    if _is_static(old):
        return [forbidden_field("", "static pods do not support ephemeral containers")]
    errors = _whole_errors(pod) + annotation_update_errors(pod, old)
    listed = {c.get("name"): c for c in (pod.get("spec") or {}).get("ephemeralContainers") or ()}
    field = "spec.ephemeralContainers"
    for container in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in listed:
            errors.append(forbidden_field(field, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif listed[name] != container:
            text = f'existing ephemeral containers "{name}" may not be changed\n'
            shown = [go_object("EphemeralContainer", value) for value in (container, listed[name])]
            errors.append(forbidden_field(field, text + go_diff(*shown)))
    return errors


def validate_resize(pod: Object, old: Object) -> Errors:
    """``ValidatePodResize``: cpu and memory of containers change, the QoS class does not."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    if _is_static(old):
        return [forbidden_field("", "static pods cannot be resized")]
    if (before.get("os") or {}).get("name") == "windows":
        return [forbidden_field("", "windows pods cannot be resized")]
    errors = _whole_errors(pod)
    was = (old.get("status") or {}).get("qosClass") or qos_class(before)
    now = qos_class(spec)
    if was != now:
        text = "Pod QOS Class may not change as a result of resizing"
        errors.append(invalid_value("spec", (pod.get("status") or {}).get("qosClass") or "", text))
    for name in ("containers", "initContainers"):
        errors += _resized_errors(name, spec.get(name) or (), before.get(name) or ())
    if _without_resizable(spec, before) != before:
        errors.append(forbidden_field("spec", _RESIZE_FORBIDDEN))
    return errors


def _is_static(pod: Mapping[str, Any]) -> bool:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return "kubernetes.io/config.mirror" in annotations


def _resized_errors(name: str, new: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    for index, (container, old_container) in enumerate(zip(new, before, strict=False)):
        resources, old_resources = container.get("resources") or {}, old_container.get("resources") or {}
        for kind, label in (("requests", "requests"), ("limits", "limits")):
            for resource in ("cpu", "memory"):
                had = quantity_milli((old_resources.get(kind) or {}).get(resource) or 0) > 0
                has = quantity_milli((resources.get(kind) or {}).get(resource) or 0) > 0
                if had and not has:
                    field = f"spec.{name}[{index}].resources.{kind}"
                    errors.append(forbidden_field(field, f"resource {label} cannot be removed"))
    return errors


def _without_resizable(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Object:
    result = thaw(dict(spec))
    for name in ("containers", "initContainers"):
        for container, old_container in zip(result.get(name) or (), before.get(name) or (), strict=False):
            for kind in ("requests", "limits"):
                _set_back_amounts(container, old_container, kind)
    return result


def _set_back_amounts(container: Object, old_container: Mapping[str, Any], kind: str) -> None:
    resources = container.setdefault("resources", {})
    before = (old_container.get("resources") or {}).get(kind) or {}
    amounts = {name: value for name, value in (resources.get(kind) or {}).items() if name not in ("cpu", "memory")}
    amounts |= {name: value for name, value in before.items() if name in ("cpu", "memory")}
    resources.pop(kind, None)
    if amounts:
        resources[kind] = amounts
