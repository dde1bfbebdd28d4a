"""What one object uses of a quota, which quotas watch it, and what it must say to be counted.

Pure functions. Same rules as ``pkg/quota/v1/evaluator/core`` and the generic object count evaluator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.machinery.objects import Object, annotations_of
from minikube_py.machinery.pod_resources import (
    Amounts,
    amounts,
    container_amounts,
    is_pod_level,
    pod_amounts,
)
from minikube_py.machinery.quantities import ZERO, Quantity, parse_quantity
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES, Resource

_ONE = parse_quantity("1")
_LEGACY_COUNTS = frozenset({"configmaps", "secrets", "replicationcontrollers", "resourcequotas"})
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CONSTRAINED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_OF_PODS = frozenset({"pods", *_COMPUTE, *(f"{side}.{name}" for side in ("requests", "limits") for name in _COMPUTE)})
_HUGE = ("hugepages-", "requests.hugepages-")
_DEVICES_SUFFIX = ".deviceclass.resource.k8s.io/devices"
_MOST_DEVICES = 32
"""What an allocation can hold (``AllocationResultsMaxSize``); a request for all devices counts as so many."""
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def count_name(resource: Resource) -> str:
    """``count/deployments.apps``."""
    return f"count/{resource.qualified}"


def usage_of(resource: Resource, obj: Object) -> Amounts:
    """Everything that the object uses, by quota resource name."""
    usage: Amounts = {count_name(resource): _ONE}
    if resource.group:
        return usage | _device_usage(obj) if _is_claim_of_devices(resource) else usage
    if resource.plural == PODS.plural:
        return usage | _pod_usage(obj)
    if resource.plural == SERVICES.plural:
        return usage | _service_usage(obj)
    if resource.plural == PERSISTENT_VOLUME_CLAIMS.plural:
        return usage | _claim_usage(obj)
    if resource.plural in _LEGACY_COUNTS:
        usage[resource.plural] = _ONE
    return usage


def names_counted(resource: Resource, names: Iterable[str]) -> list[str]:
    """Those of a quota's names that objects of the resource may use, in order (``Evaluator.MatchingResources``)."""
    return sorted(name for name in names if _may_use(resource, name))


def _may_use(resource: Resource, name: str) -> bool:
    if name == count_name(resource):
        return True
    if resource.group:
        return _is_claim_of_devices(resource) and name.endswith(_DEVICES_SUFFIX)
    if resource.plural == PODS.plural:
        return name in _OF_PODS or name.startswith(_HUGE) or (name.startswith("requests.") and _is_extended(name))
    if resource.plural == SERVICES.plural:
        return name in ("services", "services.nodeports", "services.loadbalancers")
    if resource.plural == PERSISTENT_VOLUME_CLAIMS.plural:
        return name in ("persistentvolumeclaims", "requests.storage") or _CLASS_SUFFIX in name
    return name == resource.plural and resource.plural in _LEGACY_COUNTS


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name


def _is_claim_of_devices(resource: Resource) -> bool:
    return (resource.group, resource.plural) == ("resource.k8s.io", "resourceclaims")


def counts_updates(resource: Resource) -> bool:
    """Whether an update can change the usage."""
    return not resource.group and resource.plural in (SERVICES.plural, PERSISTENT_VOLUME_CLAIMS.plural)


def _pod_usage(pod: Object) -> Amounts:
    usage: Amounts = {"pods": _ONE}
    spec = pod.get("spec") or {}
    for name, amount in pod_amounts(spec, "requests", overhead=True).items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            usage[name] = usage[f"requests.{name}"] = amount
        elif _is_extended(name):
            usage[f"requests.{name}"] = amount
    for name, amount in pod_amounts(spec, "limits", overhead=True).items():
        if name in _COMPUTE:
            usage[f"limits.{name}"] = amount
    return usage


def _service_usage(service: Object) -> Amounts:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    node_ports = 0
    if spec.get("type") == "NodePort":
        node_ports = len(ports)
    elif spec.get("type") == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is False:
            node_ports = sum(1 for port in ports if port.get("nodePort"))
        else:
            node_ports = len(ports)
    balancers = 1 if spec.get("type") == "LoadBalancer" else 0
    return {
        "services": _ONE,
        "services.nodeports": parse_quantity(node_ports),
        "services.loadbalancers": parse_quantity(balancers),
    }


def _claim_usage(claim: Object) -> Amounts:
    spec = claim.get("spec") or {}
    usage: Amounts = {"persistentvolumeclaims": _ONE}
    storage = amounts((spec.get("resources") or {}).get("requests")).get("storage")
    allocated = amounts((claim.get("status") or {}).get("allocatedResources")).get("storage")
    if storage is not None and allocated is not None and storage < allocated:
        storage = allocated  # a volume that could not grow as far as it was asked to keeps its charge
    class_name = annotations_of(claim).get(_BETA_CLASS) or spec.get("storageClassName") or ""
    if class_name:
        usage[f"{class_name}{_CLASS_SUFFIX}persistentvolumeclaims"] = _ONE
    if storage is not None:
        usage["requests.storage"] = storage
        if class_name:
            usage[f"{class_name}{_CLASS_SUFFIX}requests.storage"] = storage
    return usage


def _device_usage(claim: Object) -> Amounts:
    """The devices that a claim may be given, by device class; of alternatives the one that takes most."""
    total: dict[str, int] = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        largest: dict[str, int] = {}
        for wanted in request.get("firstAvailable") or [request.get("exactly") or {}]:
            name = f"{wanted.get('deviceClassName') or ''}{_DEVICES_SUFFIX}"
            largest[name] = max(largest.get(name, 0), _devices(wanted))
        for name, number in largest.items():
            total[name] = total.get(name, 0) + number
    return {name: parse_quantity(number) for name, number in total.items() if number}


def _devices(wanted: Mapping[str, Any]) -> int:
    if wanted.get("allocationMode") == "All":
        return _MOST_DEVICES
    return int(wanted.get("count") or 0)


def unspecified(pod: Object, hard: Iterable[str]) -> str:
    """What the pod's containers must say to be counted; empty when nothing is missing."""
    required = sorted(_CONSTRAINED & set(hard))
    if not required:
        return ""
    spec = pod.get("spec") or {}
    pod_level = spec.get("resources") or {}
    if any(is_pod_level(name) for side in ("requests", "limits") for name in pod_level.get(side) or ()):
        return ""  # then containers need not say anything
    missing: dict[str, set[str]] = {}
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            for name in required:
                side, _, base = name.rpartition(".")
                side = side or "requests"
                if base not in container_amounts(container, side):
                    missing.setdefault(name, set()).add(str(container.get("name", "")))
    if not missing:
        return ""
    listed = (f"{name} for: {','.join(sorted(names))}" for name, names in sorted(missing.items()))
    return f"must specify {'; '.join(listed)}"


def scopes_match(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether a quota's scopes select the object; a quota with scopes selects pods or claims alone."""
    spec = quota.get("spec") or {}
    requirements = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    requirements += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not requirements:
        return True
    if resource.group:
        return False
    if resource.plural == PERSISTENT_VOLUME_CLAIMS.plural:
        return all(_claim_matches(requirement, obj) for requirement in requirements)
    if resource.plural != PODS.plural:
        return False
    return all(_scope_matches(requirement, obj.get("spec") or {}) for requirement in requirements)


def _claim_matches(requirement: Mapping[str, Any], claim: Object) -> bool:
    """By the classes that the claim has, had, or is about to get."""
    if requirement.get("scopeName") != "VolumeAttributesClass":
        return False
    status = claim.get("status") or {}
    named = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return any(_value_matches(requirement, name) for name in [str(name) for name in named if name] or [""])


def _scope_matches(requirement: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    match requirement.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return is_best_effort(spec)
        case "NotBestEffort":
            return not is_best_effort(spec)
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec)
        case "PriorityClass":
            return _value_matches(requirement, str(spec.get("priorityClassName") or ""))
    return False


def _value_matches(requirement: Mapping[str, Any], value: str) -> bool:
    values = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
    return False


def is_best_effort(spec: Mapping[str, Any]) -> bool:
    """Whether no container asks for cpu or memory (quality of service class BestEffort)."""
    for side in ("requests", "limits"):
        wanted = pod_amounts(spec, side)
        if any(wanted.get(name, ZERO) for name in ("cpu", "memory")):
            return False
    return True


def _crosses_namespaces(spec: Mapping[str, Any]) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        weighted = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [item.get("podAffinityTerm") or {} for item in weighted]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def increase(new: Amounts, old: Amounts) -> Amounts:
    """What ``new`` has more than ``old``: what an update no longer uses is given back by the quota controller."""
    difference: dict[str, Quantity] = {}
    for name, amount in new.items():
        more = amount - old.get(name, ZERO)
        if more > ZERO:
            difference[name] = more
    return difference


def pretty(usage: Amounts) -> str:
    """``cpu=1,pods=2``, sorted."""
    return ",".join(f"{name}={amount}" for name, amount in sorted(usage.items()))
