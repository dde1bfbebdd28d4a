"""Which addresses, ports and conditions a Service's pods make; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.components.controllers.pods import is_finished, is_ready
from minikube_py.machinery.objects import Object, is_deleting, labels_of, metadata, name_of, namespace_of, uid_of

ZONE_LABEL = "topology.kubernetes.io/zone"
TOLERATE_UNREADY = "service.alpha.kubernetes.io/tolerate-unready-endpoints"
PortKey = tuple[tuple[str, str, int | None, str | None], ...]
"""The ports of a slice as (name, protocol, port, app protocol), in a fixed order."""


def address_types(service: Object) -> list[str]:
    """The address types a Service has slices of."""
    spec = service.get("spec") or {}
    families = spec.get("ipFamilies") or ()
    if families:
        return [str(family) for family in families]
    address = str(spec.get("clusterIP") or "")
    return ["IPv6"] if ":" in address else ["IPv4"]


def publishes_not_ready(service: Object) -> bool:
    if (service.get("spec") or {}).get("publishNotReadyAddresses"):
        return True
    return str((metadata(service).get("annotations") or {}).get(TOLERATE_UNREADY, "")).lower() == "true"


def pod_address(pod: Object, address_type: str) -> str:
    """The pod's first address of this type; empty when it has none."""
    status = pod.get("status") or {}
    found = [str(entry.get("ip") or "") for entry in status.get("podIPs") or ()] or [str(status.get("podIP") or "")]
    return next((ip for ip in found if ip and (":" in ip) == (address_type == "IPv6")), "")


def belongs(pod: Object) -> bool:
    """Whether a pod can be an endpoint: it has an address and has not ended."""
    status = pod.get("status") or {}
    return bool(status.get("podIP") or status.get("podIPs")) and not is_finished(pod)


def port_number(pod: Object, port: Mapping[str, Any]) -> int | None:
    """The number behind a Service port in this pod; None when the pod names no such port (``FindPort``)."""
    target = port.get("targetPort")
    if target is None or target == 0 or target == "":
        return int(port["port"])
    if isinstance(target, int):
        return target
    protocol = port.get("protocol") or "TCP"
    spec = pod.get("spec") or {}
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for entry in container.get("ports") or ():
            if entry.get("name") == target and (entry.get("protocol") or "TCP") == protocol:
                return int(entry["containerPort"])
    return None


def port_key(service: Object, pod: Object) -> PortKey:
    """The ports at which this pod serves the Service."""
    found = []
    for port in (service.get("spec") or {}).get("ports") or ():
        number = port_number(pod, port)
        if number is not None:
            found.append((str(port.get("name") or ""), port.get("protocol") or "TCP", number, port.get("appProtocol")))
    return tuple(sorted(found, key=lambda entry: (entry[0], entry[1], entry[2])))


def slice_ports(key: PortKey) -> list[Object]:
    ports: list[Object] = []
    for name, protocol, number, app_protocol in key:
        entry: Object = {"name": name, "protocol": protocol}
        if number is not None:
            entry["port"] = number
        if app_protocol:
            entry["appProtocol"] = app_protocol
        ports.append(entry)
    return ports


def endpoint(service: Object, pod: Object, node: Object | None, address: str) -> Object:
    """The entry of a pod in a slice (``podToEndpoint``)."""
    serving, terminating = is_ready(pod), is_deleting(pod)
    made: Object = {
        "addresses": [address],
        "conditions": {
            "ready": publishes_not_ready(service) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": namespace_of(pod),
            "name": name_of(pod),
            "uid": uid_of(pod),
        },
    }
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        made["nodeName"] = spec["nodeName"]
    zone = labels_of(node).get(ZONE_LABEL) if node is not None else None
    if zone:
        made["zone"] = zone
    hostname = endpoint_hostname(service, pod)
    if hostname:
        made["hostname"] = hostname
    return made


def endpoint_hostname(service: Object, pod: Object) -> str:
    """The pod's name in the Service's DNS, when it asks for one."""
    spec = pod.get("spec") or {}
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        return str(spec["hostname"])
    return ""


def desired(
    service: Object, pods: Sequence[Object], nodes: Mapping[str, Object], address_type: str
) -> dict[PortKey, dict[str, Object]]:
    """The endpoints by the ports they serve and by address (one entry for each address)."""
    wanted: dict[PortKey, dict[str, Object]] = {}
    for pod in sorted(pods, key=name_of):
        if not belongs(pod):
            continue
        address = pod_address(pod, address_type)
        if not address:
            continue
        node = nodes.get(str((pod.get("spec") or {}).get("nodeName") or ""))
        ports = port_key(service, pod)
        wanted.setdefault(ports, {})[f"{address}/{uid_of(pod)}"] = endpoint(service, pod, node, address)
    return wanted


def subsets(service: Object, pods: Sequence[Object]) -> list[Object]:
    """The subsets of the Endpoints object, packed as ``RepackSubsets`` does."""
    family = address_types(service)[0]
    unready_too = publishes_not_ready(service)
    groups: dict[PortKey, tuple[list[Object], list[Object]]] = {}
    headless_without_ports = not ((service.get("spec") or {}).get("ports") or ())
    for pod in pods:
        address = pod_address(pod, family) if belongs(pod) else ""
        if not address or (is_deleting(pod) and not unready_too):
            continue
        ports = port_key(service, pod)
        if not ports and not headless_without_ports:
            continue
        ready, not_ready = groups.setdefault(ports, ([], []))
        (ready if unready_too or is_ready(pod) else not_ready).append(_address(service, pod, address))
    return [_subset(ports, *groups[ports]) for ports in sorted(groups, key=repr)]


def _address(service: Object, pod: Object, address: str) -> Object:
    made: Object = {"ip": address}
    hostname = endpoint_hostname(service, pod)
    if hostname:
        made["hostname"] = hostname
    node = (pod.get("spec") or {}).get("nodeName")
    if node:
        made["nodeName"] = node
    made["targetRef"] = {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}
    return made


def _subset(ports: PortKey, ready: list[Object], not_ready: list[Object]) -> Object:
    made: Object = {}
    if ready:
        made["addresses"] = sorted(ready, key=_by_address)
    if not_ready:
        made["notReadyAddresses"] = sorted(not_ready, key=_by_address)
    if ports:
        made["ports"] = [
            {key: value for key, value in port.items() if key != "name" or value} for port in slice_ports(ports)
        ]
    return made


def _by_address(entry: Object) -> tuple[int, bytes]:
    address = ipaddress.ip_address(entry["ip"])
    return address.version, address.packed
