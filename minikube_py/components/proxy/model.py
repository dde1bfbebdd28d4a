"""What must be reachable: one record for each port of each Service, with its usable endpoints.

Pure. Source of the behaviour: kube-proxy's service and endpoint tracking
(``pkg/proxy/serviceport.go``, ``topology.go``): headless and ExternalName Services and those
labelled ``service.kubernetes.io/service-proxy-name`` are left out; only ready endpoints are used,
or, when there is none, those that still serve while terminating.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minikube_py.machinery.objects import Object, labels_of, name_of, namespace_of

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
default_affinity_seconds = 10800


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a connection may be sent; ``local`` tells whether it is on this node."""

    address: str
    port: int
    local: bool


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service, IPv4.

    ``cluster_endpoints`` serve traffic under the Cluster policies, ``local_endpoints`` under the
    Local ones. ``affinity_seconds`` is 0 without session affinity.
    """

    namespace: str
    name: str
    port_name: str
    protocol: str
    port: int
    cluster_ip: str
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    internal_local: bool = False
    external_local: bool = False
    affinity_seconds: int = 0
    health_check_node_port: int = 0
    cluster_endpoints: tuple[Endpoint, ...] = ()
    local_endpoints: tuple[Endpoint, ...] = ()

    @property
    def id(self) -> str:
        """A short, stable name for chains of this port."""
        text = f"{self.namespace}/{self.name}:{self.port_name}/{self.protocol}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def service_ports(service: Object, slices: Iterable[Object], node_name: str) -> tuple[ServicePort, ...]:
    """The ports of a Service, or nothing when it is not for this proxy."""
    spec = service.get("spec") or {}
    cluster_ip = next((ip for ip in _cluster_ips(spec) if ":" not in ip), "")
    if spec.get("type") == "ExternalName" or not cluster_ip or PROXY_NAME_LABEL in labels_of(service):
        return ()
    usable = [slice_ for slice_ in slices if slice_.get("addressType") == "IPv4"]
    return tuple(_service_port(service, port, cluster_ip, usable, node_name) for port in spec.get("ports") or [])


def _cluster_ips(spec: Object) -> Sequence[str]:
    listed = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return [ip for ip in listed if ip and ip != "None"]


def _service_port(
    service: Object, port: Object, cluster_ip: str, slices: Sequence[Object], node_name: str
) -> ServicePort:
    spec = service["spec"]
    protocol = (port.get("protocol") or "TCP").lower()
    found = [item for slice_ in slices for item in _endpoints(slice_, port, protocol, node_name)]
    ready = sorted({endpoint for endpoint, is_ready in found if is_ready})
    serving = sorted({endpoint for endpoint, _ in found})
    local_ready = [endpoint for endpoint in ready if endpoint.local]
    return ServicePort(
        namespace=namespace_of(service),
        name=name_of(service),
        port_name=port.get("name") or "",
        protocol=protocol,
        port=int(port["port"]),
        cluster_ip=cluster_ip,
        node_port=int(port.get("nodePort") or 0),
        external_ips=_only_v4(spec.get("externalIPs") or ()),
        load_balancer_ips=_load_balancer_ips(service),
        source_ranges=_only_v4(spec.get("loadBalancerSourceRanges") or ()),
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        external_local=spec.get("externalTrafficPolicy") == "Local",
        affinity_seconds=_affinity_seconds(spec),
        health_check_node_port=int(spec.get("healthCheckNodePort") or 0),
        cluster_endpoints=tuple(ready or serving),
        local_endpoints=tuple(local_ready or [endpoint for endpoint in serving if endpoint.local]),
    )


def _endpoints(slice_: Object, port: Object, protocol: str, node_name: str) -> Iterable[tuple[Endpoint, bool]]:
    """(endpoint, ready) of a slice's addresses that serve this port, ready or still serving."""
    for candidate in slice_.get("ports") or []:
        if (candidate.get("name") or "") != (port.get("name") or ""):
            continue
        if (candidate.get("protocol") or "TCP").lower() != protocol or not candidate.get("port"):
            continue
        for endpoint in slice_.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            ready = conditions.get("ready") is not False
            serving = conditions.get("serving", ready) is not False and bool(conditions.get("terminating"))
            if not ready and not serving:
                continue
            local = endpoint.get("nodeName") == node_name
            for address in endpoint.get("addresses") or []:
                yield Endpoint(address, int(candidate["port"]), local), ready


def _affinity_seconds(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or default_affinity_seconds)


def _load_balancer_ips(service: Object) -> tuple[str, ...]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return tuple(
        item["ip"]
        for item in ingress
        if item.get("ip") and ":" not in item["ip"] and item.get("ipMode", "VIP") == "VIP"
    )


def _only_v4(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(item for item in items if ":" not in item)
