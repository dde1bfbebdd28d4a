"""What the cluster's zone holds: names to records, from Services and EndpointSlices.

Source of the rules: the specification "Kubernetes DNS-Based Service Discovery", schema version
1.1.0, with pod records by address as CoreDNS's ``pods insecure`` gives them. Pure but for reading
informers: a look-up costs a few dictionary accesses and builds nothing in advance.

Answers: ``None`` for a name that is not in the zone (NXDOMAIN), an empty tuple for a name that
exists without records of the asked type (NODATA).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.client.types import Informer
from minikube_py.machinery.objects import Object, labels_of, metadata, name_of, namespace_of

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
SCHEMA_VERSION = "1.1.0"
by_service = "dns-service"
by_cluster_ip = "dns-cluster-ip"
by_address = "dns-address"


@dataclass(frozen=True, slots=True)
class Answer:
    """One record: ``type`` is A, AAAA, CNAME, SRV, PTR or TXT; ``data`` is its text form."""

    name: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a Service and the name under which it is found."""

    address: str
    hostname: str
    ports: tuple[tuple[str, str, int], ...]
    """(name, lower-case protocol, port)"""


class Zone:
    """Look-ups below ``domain``; reads the informers it is given and keeps nothing."""

    def __init__(self, domain: str, services: Informer, slices: Informer) -> None:
        self.domain = domain.strip(".").lower()
        self._services = services
        self._slices = slices
        services.add_index(by_cluster_ip, _cluster_ips)
        slices.add_index(by_service, _service_of_slice)
        slices.add_index(by_address, _addresses_of_slice)

    def covers(self, name: str) -> bool:
        return name == self.domain or name.endswith("." + self.domain)

    def lookup(self, name: str, rtype: str) -> Sequence[Answer] | None:
        """Records of ``type`` for a lower-case name without its last dot; see the module text."""
        relative = name[: -len(self.domain)].rstrip(".") if self.covers(name) else ""
        labels = relative.split(".") if relative else []
        if not labels:
            return ()
        if labels == ["dns-version"]:
            return (Answer(name, "TXT", f'"{SCHEMA_VERSION}"'),) if rtype == "TXT" else ()
        if labels[-1] == "svc":
            return self._service(name, labels[:-1], rtype)
        if labels[-1] == "pod":
            return self._pod(name, labels[:-1], rtype)
        return None

    def _service(self, name: str, labels: Sequence[str], rtype: str) -> Sequence[Answer] | None:
        if len(labels) < 2:
            namespace_known = not labels or bool(self._services.list(labels[0]))
            return () if namespace_known else None
        namespace, service_name, rest = labels[-1], labels[-2], labels[:-2]
        service = self._services.get(service_name, namespace)
        if service is None:
            return None
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return (Answer(name, "CNAME", str(spec.get("externalName", "")).rstrip(".") + "."),) if not rest else None
        headless = spec.get("clusterIP") in (None, "", "None")
        if not rest:
            return self._addresses(name, service, headless, rtype)
        if len(rest) == 2 and rest[0].startswith("_") and rest[1].startswith("_"):
            return self._srv(name, service, headless, rest[0][1:], rest[1][1:], rtype)
        if len(rest) == 1 and headless:
            found = [item for item in self.endpoints(service) if item.hostname == rest[0]]
            return _of_family(name, [item.address for item in found], rtype) if found else None
        return None

    def _addresses(self, name: str, service: Object, headless: bool, rtype: str) -> Sequence[Answer] | None:
        if rtype == "SRV":
            return self._all_srv(name, service, headless)
        if not headless:
            return _of_family(name, _cluster_ips(service), rtype)
        found = list(self.endpoints(service))
        return _of_family(name, [item.address for item in found], rtype) if found else None

    def _srv(
        self, name: str, service: Object, headless: bool, port: str, protocol: str, rtype: str
    ) -> Sequence[Answer] | None:
        records = [
            Answer(name, "SRV", f"0 100 {number} {target}.")
            for port_name, port_protocol, number, target in self._ports(service, headless)
            if port_name == port and port_protocol == protocol
        ]
        if not records:
            return None
        return records if rtype == "SRV" else ()

    def _all_srv(self, name: str, service: Object, headless: bool) -> Sequence[Answer]:
        return [
            Answer(name, "SRV", f"0 100 {number} {target}.") for _, _, number, target in self._ports(service, headless)
        ]

    def _ports(self, service: Object, headless: bool) -> Iterator[tuple[str, str, int, str]]:
        """(port name, protocol, number, target name) of everything the Service offers."""
        own = self._service_name(service)
        if not headless:
            for port in service["spec"].get("ports") or []:
                yield port.get("name", ""), port.get("protocol", "TCP").lower(), int(port["port"]), own
            return
        for endpoint in self.endpoints(service):
            for port_name, protocol, number in endpoint.ports:
                yield port_name, protocol, number, f"{endpoint.hostname}.{own}"

    def _service_name(self, service: Object) -> str:
        return f"{name_of(service)}.{namespace_of(service)}.svc.{self.domain}"

    def endpoints(self, service: Object) -> Iterator[Endpoint]:
        """Ready addresses of a headless Service (all of them with publishNotReadyAddresses)."""
        unready_too = bool((service.get("spec") or {}).get("publishNotReadyAddresses"))
        key = f"{namespace_of(service)}/{name_of(service)}"
        for slice_ in self._slices.by_index(by_service, key):
            ports = tuple(
                (port.get("name") or "", (port.get("protocol") or "TCP").lower(), int(port.get("port") or 0))
                for port in slice_.get("ports") or []
            )
            for endpoint in slice_.get("endpoints") or []:
                if not unready_too and (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or []:
                    yield Endpoint(address, endpoint.get("hostname") or _dashed(address), ports)

    def _pod(self, name: str, labels: Sequence[str], rtype: str) -> Sequence[Answer] | None:
        """``1-2-3-4.namespace.pod``: the address is in the name; any namespace with Services or slices counts."""
        if len(labels) != 2:
            return () if len(labels) < 2 else None
        text = labels[0]
        for candidate in (text.replace("-", "."), text.replace("-", ":")):
            try:
                return _of_family(name, [str(ipaddress.ip_address(candidate))], rtype)
            except ValueError:
                continue
        return None

    def reverse(self, address: str, name: str) -> Sequence[Answer] | None:
        """PTR records of an address of a Service or of an endpoint with a name; None: not ours."""
        found = [
            Answer(name, "PTR", f"{self._service_name(service)}.")
            for service in self._services.by_index(by_cluster_ip, address)
        ]
        for slice_ in self._slices.by_index(by_address, address):
            service_name = labels_of(slice_).get(SERVICE_NAME_LABEL, "")
            service = self._services.get(service_name, namespace_of(slice_))
            if service is None or (service.get("spec") or {}).get("clusterIP") != "None":
                continue
            for endpoint in slice_.get("endpoints") or []:
                if address in (endpoint.get("addresses") or []):
                    host = endpoint.get("hostname") or _dashed(address)
                    found.append(Answer(name, "PTR", f"{host}.{self._service_name(service)}."))
        return found or None


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _of_family(name: str, addresses: Sequence[str], rtype: str) -> Sequence[Answer]:
    """A and AAAA records for those addresses that are of the asked family, each once."""
    wanted = {"A": 4, "AAAA": 6}.get(rtype)
    if wanted is None:
        return ()
    unique = dict.fromkeys(addresses)
    return [Answer(name, rtype, item) for item in unique if (6 if ":" in item else 4) == wanted]


def _cluster_ips(service: Object) -> list[str]:
    spec: dict[str, Any] = service.get("spec") or {}
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [ip for ip in listed if ip != "None"]


def _service_of_slice(slice_: Object) -> list[str]:
    service = (metadata(slice_).get("labels") or {}).get(SERVICE_NAME_LABEL)
    return [f"{namespace_of(slice_)}/{service}"] if service else []


def _addresses_of_slice(slice_: Object) -> list[str]:
    return [address for endpoint in slice_.get("endpoints") or [] for address in endpoint.get("addresses") or []]
