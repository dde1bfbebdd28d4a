"""Mirrors Endpoints that somebody writes by hand into EndpointSlices, which the service proxies read.

Watches: Endpoints, Services, its slices. Mirrored are the Endpoints of a Service without a selector, unless their
label ``skip-mirror`` forbids it. Holds: the slices list the same addresses, ports and readiness; nothing is
written when nothing changed (``pkg/controller/endpointslicemirroring``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.endpoints.model import PortKey
from minikube_py.components.controllers.endpoints.slices import endpoint_key, plan_slices, slice_port_key
from minikube_py.components.controllers.endpoints.writing import (
    MANAGED_BY,
    SERVICE_NAME,
    delete_slice,
    new_slice,
    service_of,
    write_plan,
)
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.machinery.objects import (
    Object,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    split_key,
)
from minikube_py.machinery.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES

MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
_LEFT_OUT = ("endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration")
most_addresses_of_a_subset = 1000
_BY_SERVICE = "mirrored-service"


def _service_of(piece: Object) -> Sequence[str]:
    return service_of(piece, MIRROR)


def is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    """Whether these Endpoints are to be shown as slices."""
    if endpoints is None or service is None or is_deleting(endpoints):
        return False
    if labels_of(endpoints).get(SKIP) == "true" or LEADER in annotations_of(endpoints):
        return False
    return not (service.get("spec") or {}).get("selector")


def wanted_endpoints(endpoints: Object) -> dict[str, dict[PortKey, dict[str, Object]]]:
    """Entries by address type, ports and identity. Addresses that are none are left out."""
    found: dict[str, dict[PortKey, dict[str, Object]]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = slice_port_key(subset)
        listed = [(one, True) for one in subset.get("addresses") or ()]
        listed += [(one, False) for one in subset.get("notReadyAddresses") or ()]
        for address, ready in listed[:most_addresses_of_a_subset]:
            family = _family(str(address.get("ip") or ""))
            if family:
                entry = _entry(address, ready)
                found.setdefault(family, {}).setdefault(ports, {})[endpoint_key(entry)] = entry
    return found


def _family(address: str) -> str:
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def _entry(address: Mapping[str, object], ready: bool) -> Object:
    entry: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for name in ("targetRef", "nodeName", "hostname"):
        if address.get(name):
            entry[name] = address[name]
    return entry


class EndpointsMirror:
    """The loop; keys are Endpoints, which are called as their Service."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._endpoints = kit.client.informer(ENDPOINTS)
        self._services = kit.client.informer(SERVICES)
        self._slices = kit.client.informer(ENDPOINT_SLICES)
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="endpointslicemirroring")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "endpointslicemirroring",
            self._queue,
            self.reconcile,
            (self._services, self._on_service),
            (self._slices, self._on_slice),
            (self._endpoints, self._on_endpoints),
        )

    def _on_endpoints(self, type: EventType, endpoints: Object, old: Object | None) -> None:
        self._queue.add(key_of(endpoints))

    def _on_service(self, type: EventType, service: Object, old: Object | None) -> None:
        """Only whether there is one, and whether it has a selector, matters."""
        if old is None or type is EventType.DELETED or _selects(old) != _selects(service):
            self._queue.add(key_of(service))

    def _on_slice(self, type: EventType, piece: Object, old: Object | None) -> None:
        if type is not EventType.ADDED:
            for key in _service_of(piece):
                self._queue.add(key)

    async def reconcile(self, key: str) -> None:
        """Bring the slices of one Endpoints object up to date."""
        namespace, name = split_key(key)
        endpoints, service = self._endpoints.get(name, namespace), self._services.get(name, namespace)
        present = [piece for piece in self._slices.by_index(_BY_SERVICE, key) if not is_deleting(piece)]
        if endpoints is None or not is_mirrored(endpoints, service):
            for piece in present:
                await delete_slice(self._kit, piece)
            return
        wanted = wanted_endpoints(endpoints)
        for family in sorted({*wanted, *(str(piece.get("addressType")) for piece in present)}):
            of_family = [piece for piece in present if piece.get("addressType") == family]
            await self._write(endpoints, family, of_family, wanted.get(family, {}))

    async def _write(
        self, endpoints: Object, family: str, present: Sequence[Object], wanted: Mapping[PortKey, Mapping[str, Object]]
    ) -> None:
        plan = plan_slices(present, wanted, self._kit.settings.max_endpoints_per_slice, placeholder=False)
        labels, annotations = _labels(endpoints), _annotations(endpoints)

        def mark(draft: Object) -> None:
            draft["metadata"] |= {"labels": labels, "annotations": annotations}

        await write_plan(
            self._kit,
            plan,
            present,
            new_slice(endpoints, "Endpoints", family, labels, annotations),
            describes=lambda piece: dict(labels_of(piece)) == labels and dict(annotations_of(piece)) == annotations,
            mark=mark,
        )


def _selects(service: Object) -> bool:
    return bool((service.get("spec") or {}).get("selector"))


def _labels(endpoints: Object) -> dict[str, str]:
    return {**labels_of(endpoints), SERVICE_NAME: name_of(endpoints), MANAGED_BY: MIRROR}


def _annotations(endpoints: Object) -> dict[str, str]:
    return {key: value for key, value in annotations_of(endpoints).items() if key not in _LEFT_OUT}
