"""Defaults of Services and what an update fills in (``core/v1/defaults.go``, ``registry/core/service``).

Addresses and node ports are allocated by the registry; here is only what follows from the request and
the stored object: linked fields are kept in step, allocated values survive an update that leaves them
out, and fields that a new type does not have are cleared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.objects import Object, thaw

DEFINITION = "io.k8s.api.core.v1.Service"
AFFINITY_SECONDS = 10800
HEADLESS = "None"


def fill(service: Object) -> None:
    """``SetDefaults_Service``."""
    spec = child(service, "spec")
    set_default(spec, sessionAffinity="None", type="ClusterIP")
    _default_affinity(spec)
    for port in items(spec, "ports"):
        set_default(port, protocol="TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if externally_accessible(spec):
        set_default(spec, externalTrafficPolicy="Cluster")
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        set_default(spec, internalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        set_default(spec, allocateLoadBalancerNodePorts=True)
        for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if entry.get("ip"):
                set_default(entry, ipMode="VIP")


def _default_affinity(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        if seconds is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}


def externally_accessible(spec: Mapping[str, Any]) -> bool:
    """Whether traffic from outside may reach it by design."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def prepare_create(service: Object) -> None:
    """Status starts empty; ``clusterIPs`` follows a lone ``clusterIP``."""
    spec = service["spec"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    service["status"] = {}
    to_wire_form(DEFINITION, service)


def prepare_update(service: Object, old: Object) -> None:
    """Fill in what was allocated, keep linked fields in step, then drop what the type has no use for."""
    spec, before = child(service, "spec"), old.get("spec") or {}
    _keep_allocated(spec, before)
    _normalize_cluster_ips(spec, before)
    _drop_by_type(spec, before)
    if spec.get("type") != "LoadBalancer":
        child(service, "status")["loadBalancer"] = {}


def _normalize_cluster_ips(spec: Object, before: Mapping[str, Any]) -> None:
    """``normalizeClusterIPs``: who changes one of the two fields alone means both."""
    ip, old_ip = spec.get("clusterIP") or "", before.get("clusterIP") or ""
    if ip == old_ip or (spec.get("clusterIPs") or []) != (before.get("clusterIPs") or []):
        return
    if ip:
        spec["clusterIPs"] = [ip]
    else:
        spec.pop("clusterIPs", None)


def _keep_allocated(spec: Object, before: Mapping[str, Any]) -> None:
    """``patchAllocatedValues``."""
    if spec.get("type") != "ExternalName" and before.get("type") != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilyPolicy", "ipFamilies"):
            if not spec.get(field) and before.get(field):
                spec[field] = thaw(before[field])
    if _has_node_ports(spec) and _has_node_ports(before):
        _keep_node_ports(spec, before)
    both = needs_health_check(spec) and needs_health_check(before)
    if both and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _has_node_ports(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _keep_node_ports(spec: Object, before: Mapping[str, Any]) -> None:
    """Ports are told apart by their names; a number that the request gives to one port is not kept for another."""
    known = {port.get("name") or "": port.get("nodePort") for port in before.get("ports") or ()}
    used = _node_ports(before) & _node_ports(spec)
    for port in items(spec, "ports"):
        number = known.get(port.get("name") or "")
        if not port.get("nodePort") and number and number not in used:
            port["nodePort"] = number


def _node_ports(spec: Mapping[str, Any]) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _drop_by_type(spec: Object, before: Mapping[str, Any]) -> None:
    """``dropTypeDependentFields``: values of the former type go, unless the request changed them."""
    if spec.get("type") == "ExternalName" and before.get("type") != "ExternalName":
        if all((spec.get(field) or None) == (before.get(field) or None) for field in ("clusterIP", "clusterIPs")):
            _drop_unchanged(spec, before, "clusterIP", "clusterIPs")
        _drop_unchanged(spec, before, "ipFamilies", "ipFamilyPolicy")
    if _has_node_ports(before) and not _has_node_ports(spec) and _node_ports(spec) <= _node_ports(before):
        for port in items(spec, "ports"):
            port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(spec):
        _drop_unchanged(spec, before, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_unchanged(spec, before, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if externally_accessible(before) and not externally_accessible(spec):
        _drop_unchanged(spec, before, "externalTrafficPolicy")


def _drop_unchanged(spec: Object, before: Mapping[str, Any], *fields: str) -> None:
    for field in fields:
        if spec.get(field) == before.get(field):
            spec.pop(field, None)
