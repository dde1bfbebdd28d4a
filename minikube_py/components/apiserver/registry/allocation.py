"""Cluster IPs and node ports of Services: one in-memory set each, derived from the stored Services.

The sets are filled from the watch cache at the start and follow every write of this process, so two
concurrent requests never get the same value; nothing else is persisted. Families and policies are settled
by ``service_families``. Texts follow ``pkg/registry/core/service/storage/alloc.go``.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from minikube_py.components.apiserver.metrics.registry import AllocationMetrics
from minikube_py.components.apiserver.registry.service_families import (
    NONE,
    keeps_preference,
    refused,
    settle_families,
)
from minikube_py.machinery.errors import ApiError, internal, invalid_value
from minikube_py.machinery.kinds.core.service_strategy import needs_health_check
from minikube_py.machinery.objects import Object

_TYPES_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class ServiceRanges:
    """Where Services take their values from.

    ``network`` is one network, or two of different families separated by a comma; the first family is the
    default one. The first address of the first network belongs to ``default/kubernetes``.
    """

    network: str = "10.43.0.0/16"
    first_port: int = 30000
    last_port: int = 32767


class ServiceAllocator:
    """See the module; implements ``core.Allocator`` for Services."""

    def __init__(self, ranges: ServiceRanges, services: Iterable[Object]) -> None:
        self.ranges = ranges
        networks = [ipaddress.ip_network(text.strip()) for text in ranges.network.split(",")]
        self._networks = {f"IPv{network.version}": network for network in networks}
        self.metrics = AllocationMetrics()
        self._addresses: set[str] = set()
        self._ports: set[int] = set()
        for service in services:
            self._addresses.update(_addresses(service))
            self._ports.update(_ports(service))

    def reserve(self, draft: Object, old: Object | None, *, dry_run: bool) -> Callable[[], None]:
        spec = draft.setdefault("spec", {})
        new_addresses: list[str] = []
        new_ports: list[int] = []

        def undo() -> None:
            self._addresses.difference_update(new_addresses)
            self._ports.difference_update(new_ports)

        try:
            if spec.get("type") != "ExternalName" and not keeps_preference(spec, old):
                settle_families(draft, spec, old, tuple(self._networks))
                self._reserve_addresses(draft, spec, old, new_addresses, dry_run=dry_run)
            self._reserve_ports(draft, spec, old, new_ports, ranged=not dry_run)
        except BaseException:
            undo()
            raise
        if dry_run:
            undo()
        return undo

    def usage(self) -> list[tuple[str, int, int]]:
        """(network, allocated, available) of each network; its own address and its broadcast are never given out."""
        found = []
        for network in self._networks.values():
            taken = sum(1 for address in self._addresses if (":" in address) == (network.version == 6))
            size = network.num_addresses - 1 - (network.version == 4)
            found.append((str(network), taken, max(0, min(size, 2**63) - taken)))
        return found

    def port_usage(self) -> tuple[int, int]:
        """(allocated, available) node ports of the range."""
        first, last = self.ranges.first_port, self.ranges.last_port
        taken = sum(1 for port in self._ports if first <= port <= last)
        return taken, last - first + 1 - taken

    def released(self, old: Object, new: Object | None) -> None:
        self._addresses.difference_update(set(_addresses(old)) - set(_addresses(new) if new else ()))
        self._ports.difference_update(set(_ports(old)) - set(_ports(new) if new else ()))

    def _reserve_addresses(
        self, draft: Object, spec: Object, old: Object | None, new: list[str], *, dry_run: bool
    ) -> None:
        """All families of a Service that has no addresses yet; of an upgraded one the second."""
        before = (old or {}).get("spec") or {}
        fresh = old is None or before.get("type") == "ExternalName"
        listed: list[str] = list(spec.get("clusterIPs") or ())
        families: list[str] = spec.get("ipFamilies") or []
        if listed[:1] == [NONE] or (not fresh and (before.get("clusterIPs") or [""])[0] == NONE):
            return
        if fresh:
            first = 0
        elif len(before.get("ipFamilies") or ()) == 1 and len(families) == 2:
            first = 1
        else:
            return
        for index in range(first, len(families)):
            if index >= len(listed):
                listed.append("")
            family, scope, begin = families[index], "static" if listed[index] else "dynamic", monotonic()
            labels = (str(self._networks[family]), scope)
            try:
                if listed[index]:
                    self._check_address(draft, family, listed, index, dry_run=dry_run)
                else:
                    listed[index] = self._free_address(family)
            except ApiError:
                self.metrics.address_errors.inc(labels)
                raise
            if listed[index] not in self._addresses:  # a dry run may ask for one that is taken
                self._addresses.add(listed[index])
                new.append(listed[index])
            if not dry_run:
                self.metrics.addresses.inc(labels)
                self.metrics.seconds.observe(labels[:1], monotonic() - begin)
        spec["clusterIPs"] = listed
        spec["clusterIP"] = listed[0]

    def _check_address(self, draft: Object, family: str, listed: list[str], index: int, *, dry_run: bool) -> None:
        """An address that is asked for is in the range and, but for dry runs, free. ApiError 422."""
        wanted, network, problem = listed[index], self._networks[family], ""
        address = ipaddress.ip_address(wanted)
        ends = (network.network_address, *((network.broadcast_address,) if network.version == 4 else ()))
        if address in ends or (dry_run and address not in network):  # a dry run asks an allocator that has other words
            problem = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
        elif address not in network:
            problem = "the provided network does not match the current range"
        elif wanted in self._addresses and not dry_run:
            problem = "provided IP is already allocated"
        if problem:
            text = f"failed to allocate IP {wanted}: {problem}"
            raise refused(draft, [invalid_value("spec.clusterIPs", list(listed), text)])

    def _free_address(self, family: str) -> str:
        """A random free address, from the upper part of the range first, which leaves the lower to static choice."""
        network = self._networks[family]
        base, size = int(network.network_address), min(network.num_addresses, 2**16)
        offset = min(max(16, size // 16), 256)
        for low, high in ((offset, size - 1), (2, min(offset, size - 1))):
            if high <= low:
                continue
            for _ in range(32):
                candidate = str(network[0] + random.randrange(low, high))
                if candidate not in self._addresses:
                    return candidate
            for position in range(low, high):
                candidate = str(type(network[0])(base + position))
                if candidate not in self._addresses:
                    return candidate
        raise internal("failed to allocate a serviceIP: range is full")

    def _reserve_ports(self, draft: Object, spec: Object, old: Object | None, new: list[int], *, ranged: bool) -> None:
        before = (old or {}).get("spec") or {}
        if spec.get("type") in _TYPES_WITH_NODE_PORTS:
            if old is None:
                self._first_ports(draft, spec, new, ranged=ranged)
            else:
                self._later_ports(draft, spec, set(_node_ports(before)), new, ranged=ranged)
        if needs_health_check(spec) and not needs_health_check(before):
            self._health_check_port(spec, new, ranged=ranged)

    def _first_ports(self, draft: Object, spec: Object, new: list[int], *, ranged: bool) -> None:
        """``initNodePorts``: ports of the same number share a node port over protocols."""
        shared: dict[int, int] = {}
        for index, port in enumerate(spec.get("ports") or ()):
            number, service_port = int(port.get("nodePort") or 0), int(port.get("port") or 0)
            if not number and not _allocates(spec):
                continue
            taken = shared.get(service_port, 0)
            if not taken:
                wanted = next((int(other["nodePort"]) for other in spec["ports"]
                               if other.get("port") == port.get("port") and other.get("nodePort")), 0)  # fmt: skip
                if wanted:
                    self._claim_port(draft, index, wanted, ranged=ranged)
                else:
                    wanted = self._free_port()
                    self._ports.add(wanted)
                new.append(wanted)
                port["nodePort"] = shared[service_port] = wanted
            elif not number:
                port["nodePort"] = taken
            elif number != taken:
                self._claim_port(draft, index, number, ranged=ranged)
                new.append(number)

    def _later_ports(self, draft: Object, spec: Object, kept: set[int], new: list[int], *, ranged: bool) -> None:
        """``updateNodePorts``."""
        for index, port in enumerate(spec.get("ports") or ()):
            number = int(port.get("nodePort") or 0)
            if number and number not in kept and number not in new:
                self._claim_port(draft, index, number, ranged=ranged)
                new.append(number)
            elif not number and _allocates(spec):
                number = self._free_port()
                self._ports.add(number)
                new.append(number)
                port["nodePort"] = number

    def _health_check_port(self, spec: Object, new: list[int], *, ranged: bool) -> None:
        """Load balancers with local traffic policy are probed on a node port of their own."""
        number = int(spec.get("healthCheckNodePort") or 0)
        if number:
            problem = self._port_problem(number, ranged=ranged)
            if problem:
                raise internal(f"failed to allocate requested HealthCheck NodePort {number}: {problem}")
        else:
            number = self._free_port()
        self._ports.add(number)
        new.append(number)
        spec["healthCheckNodePort"] = number

    def _claim_port(self, draft: Object, index: int, number: int, *, ranged: bool) -> None:
        """Reserve a port that is asked for. ApiError 422."""
        problem = self._port_problem(number, ranged=ranged)
        if problem:
            self.metrics.port_errors.inc(("static",))
            raise refused(draft, [invalid_value(f"spec.ports[{index}].nodePort", number, problem)])
        self._ports.add(number)
        self.metrics.ports.inc(("static",))

    def _port_problem(self, number: int, *, ranged: bool) -> str:
        """Dry runs ask no range (``portAllocationOperation``)."""
        first, last = self.ranges.first_port, self.ranges.last_port
        if ranged and not first <= number <= last:
            return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        return "provided port is already allocated" if number in self._ports else ""

    def _free_port(self) -> int:
        first, last = self.ranges.first_port, self.ranges.last_port
        size = last - first + 1
        offset = min(max(16, size // 32), 128) if size > 16 else 0
        self.metrics.ports.inc(("dynamic",))
        for _ in range(64):
            number = random.randint(first + offset, last)
            if number not in self._ports:
                return number
        for candidate in (*range(first + offset, last + 1), *range(first, first + offset)):
            if candidate not in self._ports:
                return int(candidate)
        self.metrics.ports.inc(("dynamic",), -1)
        self.metrics.port_errors.inc(("dynamic",))
        raise internal("failed to allocate a nodePort: range is full")


def _allocates(spec: Object) -> bool:
    """``shouldAllocateNodePorts``."""
    return not (spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False)


def _addresses(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    return [address for address in spec.get("clusterIPs") or [spec.get("clusterIP")] if address and address != NONE]


def _node_ports(spec: Object) -> list[int]:
    return [int(port["nodePort"]) for port in spec.get("ports") or () if port.get("nodePort")]


def _ports(service: Object) -> list[int]:
    spec = service.get("spec") or {}
    found = _node_ports(spec)
    if spec.get("healthCheckNodePort"):
        found.append(int(spec["healthCheckNodePort"]))
    return found
