"""Validation of what the kubelet and the scheduler report about a pod (parts of ``ValidatePodStatusUpdate``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, invalid_value, required
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    ip_texts,
    label,
    parse_ip,
    qualified_name,
    required_name,
    subdomain,
    texts_as_errors,
)
from minikube_py.machinery.kinds.common.go_values import go_list, go_object
from minikube_py.machinery.names import dns1123_subdomain_errors
from minikube_py.machinery.objects import Object

_SYSTEM_CONDITIONS = frozenset({"PodScheduled", "Ready", "Initialized"})
NOT_NEGATIVE = "must be a non-negative integer"
_ONE_EACH = "may specify no more than one IP for each IP family"


def condition_errors(conditions: Sequence[Mapping[str, Any]]) -> Errors:
    """Types of conditions are qualified names; Kubernetes reports them under ``metadata``."""
    errors: Errors = []
    for index, condition in enumerate(conditions):
        observed = condition.get("observedGeneration") or 0
        if observed < 0:
            errors.append(invalid_value(f"metadata.conditions[{index}].observedGeneration", observed, NOT_NEGATIVE))
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            errors += qualified_name(f"metadata.conditions[{index}].Type", condition.get("type") or "")
    return errors


def claim_status_errors(pod: Object) -> Errors:
    """Each reported claim is one of the spec's, and is reported once."""
    known = {claim.get("name") for claim in (pod.get("spec") or {}).get("resourceClaims") or ()}
    errors: Errors = []
    seen: set[str] = set()
    for index, status in enumerate((pod.get("status") or {}).get("resourceClaimStatuses") or ()):
        field, name = f"status.resourceClaimStatuses[{index}].name", status.get("name") or ""
        if name not in known:
            text = "must match the name of an entry in `spec.resourceClaims`"
            errors.append(invalid_value(field, name, text))
        if name in seen:
            errors.append(duplicate(field, name))
        seen.add(name)
        if status.get("resourceClaimName") is not None:
            errors += subdomain(field, status["resourceClaimName"])
    return errors


_UNASKED = (
    "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
    "spec.containers.resources.requests"
)
_NO_CONTAINER = "must match the name of an entry in spec.initContainers.name or spec.containers.name"


def extended_claim_errors(pod: Object) -> Errors:
    """The claim that stands for extended resources maps what containers ask for, each once."""
    path, status = "status.extendedResourceClaimStatus", (pod.get("status") or {}).get("extendedResourceClaimStatus")
    if status is None:
        return []
    spec, mappings = pod.get("spec") or {}, status.get("requestMappings") or ()
    asked = {
        container.get("name") or "": (container.get("resources") or {}).get("requests") or {}
        for sort in ("initContainers", "containers")
        for container in spec.get(sort) or ()
    }
    errors = [] if mappings else [required(f"{path}.requestMappings", "at least one request mapping is required")]
    seen: set[tuple[str, ...]] = set()
    for index, mapping in enumerate(mappings):
        field = f"{path}.requestMappings[{index}]"
        key = tuple(mapping.get(name) or "" for name in _MAPPED)
        if key[0] not in asked:
            errors.append(invalid_value(f"{field}.containerName", key[0], _NO_CONTAINER))
        elif key[1] not in asked[key[0]]:
            errors.append(invalid_value(f"{field}.resourceName", key[1], _UNASKED))
        errors += label(f"{path}.requestName", key[2])
        if key in seen:
            errors += [duplicate(f"{field}.{name}", value) for name, value in zip(_MAPPED, key, strict=True)]
        seen.add(key)
    return errors + required_name(
        f"{path}.resourceClaimName", status.get("resourceClaimName"), dns1123_subdomain_errors
    )


_MAPPED = ("containerName", "resourceName", "requestName")


def pod_address_errors(status: Mapping[str, Any]) -> Errors:
    """``validatePodIPs``."""
    listed = status.get("podIPs") or ()
    errors = _address_errors("status.podIPs", listed)
    return errors + _family_errors("status.podIPs", listed) + _repeated_errors("status.podIPs", listed)


def host_address_errors(status: Mapping[str, Any]) -> Errors:
    """``validateHostIPs``."""
    listed = status.get("hostIPs") or ()
    if not listed:
        return []
    errors: Errors = []
    if (status.get("hostIP") or "") != (listed[0].get("ip") or ""):
        errors.append(invalid_value("status.hostIPs[0].ip", listed[0].get("ip") or "", "must be equal to `hostIP`"))
    errors += _address_errors("status.hostIPs", listed)
    return errors + _repeated_errors("status.hostIPs", listed) + _family_errors("status.hostIPs", listed)


def _address_errors(path: str, listed: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    for index, entry in enumerate(listed):
        ip = entry.get("ip") or ""
        errors += texts_as_errors(f"{path}[{index}]", ip, ip_texts(ip))
    return errors


def _family_errors(path: str, listed: Sequence[Mapping[str, Any]]) -> Errors:
    found = [address.version for entry in listed if (address := parse_ip(entry.get("ip") or "")) is not None]
    if len(listed) > 1 and (len(listed) > 2 or sorted(found) != [4, 6]):
        return [invalid_value(path, go_list("PodIP", listed), _ONE_EACH)]
    return []


def _repeated_errors(path: str, listed: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, entry in enumerate(listed):
        ip = entry.get("ip") or ""
        if ip in seen:
            errors.append(duplicate(f"{path}[{index}]", go_object("PodIP", entry)))
        seen.add(ip)
    return errors
