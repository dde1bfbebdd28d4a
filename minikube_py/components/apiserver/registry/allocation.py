"""Cluster IPs and node ports of Services: one in-memory set each, derived from the stored Services.

The sets are filled from the watch cache at the start and follow every write of this process, so two
concurrent requests never get the same value; nothing else is persisted. Ranges are the IPv4 service
network and the node port range. Texts follow ``pkg/registry/core/service/storage/alloc.go``.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from minikube_py.machinery.errors import FieldError, invalid, invalid_value
from minikube_py.machinery.objects import Object

_TYPES_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
NONE = "None"


@dataclass(frozen=True, slots=True)
class ServiceRanges:
    """Where Services take their values from. The first address belongs to ``default/kubernetes``."""

    network: str = "10.43.0.0/16"
    first_port: int = 30000
    last_port: int = 32767


class ServiceAllocator:
    """See the module; implements ``core.Allocator`` for Services. Node ports are held by (port, protocol)."""

    def __init__(self, ranges: ServiceRanges, services: Iterable[Object]) -> None:
        self.ranges = ranges
        self._network = ipaddress.ip_network(ranges.network)
        self._addresses: set[str] = set()
        self._ports: set[tuple[int, str]] = set()
        for service in services:
            self._addresses.update(_addresses(service))
            self._ports.update(_ports(service))

    def reserve(self, draft: Object, old: Object | None, *, dry_run: bool) -> Callable[[], None]:
        spec = draft.setdefault("spec", {})
        kept_addresses = set(_addresses(old)) if old else set()
        kept_ports = set(_ports(old)) if old else set()
        self._check_families(draft, spec, old)
        new_addresses: list[str] = []
        new_ports: list[tuple[int, str]] = []

        def undo() -> None:
            self._addresses.difference_update(new_addresses)
            self._ports.difference_update(new_ports)

        try:
            self._reserve_addresses(draft, spec, old, kept_addresses, new_addresses, dry_run=dry_run)
            self._reserve_ports(draft, spec, old, kept_ports, new_ports, ranged=not dry_run)
        except BaseException:
            undo()
            raise
        if dry_run:
            undo()
        return undo

    def released(self, old: Object, new: Object | None) -> None:
        self._addresses.difference_update(set(_addresses(old)) - set(_addresses(new) if new else ()))
        self._ports.difference_update(set(_ports(old)) - set(_ports(new) if new else ()))

    def _check_families(self, draft: Object, spec: Object, old: Object | None) -> None:
        """Refuse what a cluster of IPv4 only cannot give. ApiError 422."""
        if spec.get("type") == "ExternalName":
            return
        address, listed = spec.get("clusterIP") or "", list(spec.get("clusterIPs") or ())
        errors: list[FieldError] = []
        if old is None and address and listed and listed[0] != address:
            errors.append(invalid_value("spec.clusterIPs", listed, "first value must match `clusterIP`"))
        wanted = listed or ([address] if address else [])
        errors += [
            invalid_value(f"spec.clusterIPs[{index}]", wanted, "IPv6 is not configured on this cluster")
            for index, one in enumerate(wanted)
            if _is_v6(one)
        ]
        anywhere = NONE in wanted and not spec.get("selector")
        if spec.get("ipFamilyPolicy") == "RequireDualStack" and not anywhere:
            text = "this cluster is not configured for dual-stack services"
            errors.append(invalid_value("spec.ipFamilyPolicy", "RequireDualStack", text))
        if errors:
            raise _invalid(draft, errors)

    def _reserve_addresses(
        self, draft: Object, spec: Object, old: Object | None, kept: set[str], new: list[str], *, dry_run: bool
    ) -> None:
        if spec.get("type") == "ExternalName":
            return
        wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if not wanted and old is not None and (old.get("spec") or {}).get("type") != "ExternalName":
            wanted = (old.get("spec") or {}).get("clusterIP") or ""
        if not wanted:
            wanted = self._free_address()
            new.append(wanted)
            self._addresses.add(wanted)
        elif wanted != NONE and wanted not in kept:
            self._claim_address(draft, wanted, dry_run=dry_run)
            new.append(wanted)
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = [wanted, *(spec.get("clusterIPs") or ())[1:]]
        _set_families(spec, old)

    def _claim_address(self, draft: Object, wanted: str, *, dry_run: bool) -> None:
        problem = ""
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            return  # validation of the kind names the malformed address
        if not inside:
            why = "the provided network does not match the current range"
            if dry_run:  # which asks an allocator that has other words
                network = self.ranges.network
                why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
            problem = f"failed to allocate IP {wanted}: {why}"
        elif wanted in self._addresses:
            problem = f"failed to allocate IP {wanted}: provided IP is already allocated"
        if problem:
            raise _invalid(draft, [invalid_value("spec.clusterIPs", [wanted], problem)])
        self._addresses.add(wanted)

    def _free_address(self) -> str:
        """A random free address, from the upper part of the range first, which leaves the lower to static choice."""
        base, size = int(self._network.network_address), self._network.num_addresses
        offset = min(max(16, size // 16), 256)
        for low, high in ((offset, size - 1), (2, offset)):
            if high <= low:
                continue
            for _ in range(32):
                candidate = str(ipaddress.ip_address(base + random.randrange(low, high)))
                if candidate not in self._addresses:
                    return candidate
            for position in range(low, high):
                candidate = str(ipaddress.ip_address(base + position))
                if candidate not in self._addresses:
                    return candidate
        raise _exhausted("failed to allocate a serviceIP: range is full")

    def _reserve_ports(
        self,
        draft: Object,
        spec: Object,
        old: Object | None,
        kept: set[tuple[int, str]],
        new: list[tuple[int, str]],
        *,
        ranged: bool,
    ) -> None:
        kind = spec.get("type") or "ClusterIP"
        wants = kind in _TYPES_WITH_NODE_PORTS
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            wants = False
        before = _by_identity(old)
        for index, port in enumerate(spec.get("ports") or ()):
            protocol = str(port.get("protocol") or "TCP")
            number = int(port.get("nodePort") or 0)
            if kind not in _TYPES_WITH_NODE_PORTS:
                if old is not None and number and (number, protocol) in kept:
                    port.pop("nodePort", None)
                continue
            if not number and wants:
                number = before.get((port.get("port"), protocol), 0) or self._shared(spec, port, protocol)
                number = number or self._free_port(protocol)
                port["nodePort"] = number
            if number and (number, protocol) not in kept and (number, protocol) not in new:
                self._claim_port(draft, index, number, protocol, ranged=ranged)
                new.append((number, protocol))
        self._health_check_port(spec, old, new)

    def _health_check_port(self, spec: Object, old: Object | None, new: list[tuple[int, str]]) -> None:
        """Load balancers with local traffic policy are probed on a node port of their own."""
        if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            return
        if spec.get("healthCheckNodePort"):
            return
        before = (old or {}).get("spec") or {}
        number = int(before.get("healthCheckNodePort") or 0)
        if not number:
            number = self._free_port("TCP")
            self._ports.add((number, "TCP"))
            new.append((number, "TCP"))
        spec["healthCheckNodePort"] = number

    def _shared(self, spec: Object, port: Object, protocol: str) -> int:
        """The node port of the same port number under another protocol, when it is free under this one."""
        for other in spec.get("ports") or ():
            number = int(other.get("nodePort") or 0)
            if other is port or not number or other.get("port") != port.get("port"):
                continue
            if str(other.get("protocol") or "TCP") != protocol and (number, protocol) not in self._ports:
                return number
        return 0

    def _claim_port(self, draft: Object, index: int, number: int, protocol: str, *, ranged: bool) -> None:
        """Reserve a port that is asked for. Dry runs ask no range (``portAllocationOperation``). ApiError 422."""
        first, last = self.ranges.first_port, self.ranges.last_port
        problem = ""
        if ranged and not first <= number <= last:
            problem = f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        elif (number, protocol) in self._ports:
            problem = "provided port is already allocated"
        if problem:
            raise _invalid(draft, [invalid_value(f"spec.ports[{index}].nodePort", number, problem)])
        self._ports.add((number, protocol))

    def _free_port(self, protocol: str) -> int:
        first, last = self.ranges.first_port, self.ranges.last_port
        offset = min(max(16, (last - first + 1) // 32), 128)
        for _ in range(64):
            number = random.randint(min(first + offset, last), last)
            if (number, protocol) not in self._ports:
                return number
        for candidate in (*range(first + offset, last + 1), *range(first, first + offset)):
            if (candidate, protocol) not in self._ports:
                return int(candidate)
        raise _exhausted("failed to allocate a nodePort: range is full")


def _set_families(spec: Object, old: Object | None) -> None:
    """IP families on a cluster that has IPv4 only; headless Services without a selector may lead to both."""
    before = (old or {}).get("spec") or {}
    anywhere = spec["clusterIP"] == NONE and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or ("RequireDualStack" if anywhere else "SingleStack")
    if not spec.get("ipFamilies"):
        kept = list(before.get("ipFamilies") or ())
        spec["ipFamilies"] = kept or (
            ["IPv4", "IPv6"] if spec["ipFamilyPolicy"] != "SingleStack" and anywhere else ["IPv4"]
        )


def _is_v6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False


def _addresses(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    return [address for address in spec.get("clusterIPs") or [spec.get("clusterIP")] if address and address != NONE]


def _ports(service: Object) -> list[tuple[int, str]]:
    spec = service.get("spec") or {}
    found = [
        (int(port["nodePort"]), str(port.get("protocol") or "TCP"))
        for port in spec.get("ports") or ()
        if port.get("nodePort")
    ]
    if spec.get("healthCheckNodePort"):
        found.append((int(spec["healthCheckNodePort"]), "TCP"))
    return found


def _by_identity(service: Object | None) -> dict[tuple[object, str], int]:
    spec = (service or {}).get("spec") or {}
    return {
        (port.get("port"), str(port.get("protocol") or "TCP")): int(port.get("nodePort") or 0)
        for port in spec.get("ports") or ()
    }


def _invalid(draft: Object, errors: list[FieldError]) -> Exception:
    return invalid("", "Service", str(draft["metadata"].get("name") or ""), errors)


def _exhausted(message: str) -> Exception:
    from minikube_py.machinery.errors import internal

    return internal(message)
