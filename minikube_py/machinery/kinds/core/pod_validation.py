"""Validation of pods on create, update and through their subresources (``core/validation/validation.go``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors, non_negative, subdomain
from minikube_py.machinery.kinds.common.go_values import go_diff, go_object
from minikube_py.machinery.kinds.common.podspec.annotations import MIRROR, pod_annotation_errors
from minikube_py.machinery.kinds.common.podspec.containers import image_space_errors
from minikube_py.machinery.kinds.common.podspec.profiles import profile_errors
from minikube_py.machinery.kinds.common.podspec.scheduling import toleration_errors
from minikube_py.machinery.kinds.common.podspec.spec import MAX_DEADLINE_SECONDS, WHOLE_OBJECT, pod_spec_errors
from minikube_py.machinery.kinds.core.container_status import container_status_errors, transition_errors
from minikube_py.machinery.kinds.core.pod_changes import annotation_update_errors, gated_errors
from minikube_py.machinery.kinds.core.pod_status import (
    NOT_NEGATIVE,
    claim_status_errors,
    condition_errors,
    extended_claim_errors,
    host_address_errors,
    pod_address_errors,
)
from minikube_py.machinery.objects import Object, thaw

_UPDATE_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod(pod: Object) -> Errors:
    """``ValidatePodCreate``."""
    spec = pod.get("spec") or {}
    errors = whole_pod_errors(pod)
    if spec.get("ephemeralContainers"):
        errors.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        errors.append(forbidden_field("spec.nodeName", text))
    return errors + profile_errors("spec", (pod.get("metadata") or {}).get("annotations") or {}, spec)


def whole_pod_errors(pod: Mapping[str, Any]) -> Errors:
    """``validatePodMetadataAndSpec``, but for the metadata that all kinds have."""
    meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    annotations = meta.get("annotations") or {}
    errors = pod_annotation_errors("metadata.annotations", annotations, spec)
    errors += pod_spec_errors("spec", spec, meta.get("name") or "", is_pod=True, mirrored=MIRROR in annotations)
    if not spec.get("serviceAccountName"):
        errors += _token_errors(spec)
    errors += non_negative("spec.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    for sort in ("containers", "initContainers"):
        errors += image_space_errors(f"spec.{sort}", spec.get(sort) or ())
    return errors


def _token_errors(spec: Mapping[str, Any]) -> Errors:
    """Without an account there are no tokens of it."""
    text = "must not be specified when serviceAccountName is not set"
    return [
        forbidden_field(f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken", text)
        for index, volume in enumerate(spec.get("volumes") or ())
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if source.get("serviceAccountToken") is not None
    ]


def validate_pod_update(pod: Object, old: Object) -> Errors:
    """``ValidatePodUpdate``: images, deadline, additional tolerations and, while gated, scheduling constraints."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    errors = whole_pod_errors(pod) + annotation_update_errors(pod, old)
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
        if (old.get("spec") or {}).get("nodeName"):
            text = "may not be set on pods that are already bound to a node"
            errors.append(forbidden_field("status.nominatedNodeName", text))
    observed = status.get("observedGeneration") or 0
    if observed < 0:
        errors.append(invalid_value("status.observedGeneration", observed, NOT_NEGATIVE))
    if before.get("qosClass") and status.get("qosClass") != before["qosClass"]:
        errors.append(invalid_value("status.qosClass", status.get("qosClass") or "", "field is immutable"))
    errors += transition_errors(status, before, old.get("spec") or {})
    errors += claim_status_errors(pod) + extended_claim_errors(pod)
    errors += pod_address_errors(status) + host_address_errors(status)
    return errors + container_status_errors(pod)


def is_static(pod: Mapping[str, Any]) -> bool:
    """Whether the pod mirrors one of a node's own files."""
    return MIRROR in ((pod.get("metadata") or {}).get("annotations") or {})


def validate_ephemeral_containers_update(pod: Object, old: Object) -> Errors:
    """``ValidatePodEphemeralContainersUpdate``: containers are only added."""
    if is_static(old):
        return [forbidden_field(WHOLE_OBJECT, "static pods do not support ephemeral containers")]
    errors = whole_pod_errors(pod) + annotation_update_errors(pod, old)
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
