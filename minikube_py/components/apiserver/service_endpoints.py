"""Where a Service's backends are, for the API server's own calls (webhooks, aggregated API servers).

The API server goes straight to a ready endpoint: it needs neither cluster DNS nor the node's proxy rules,
as k3s does with endpoint routing. Errors have the texts of ``aggregator``'s ``ResolveEndpoint``.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.client.types import Client
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.resources import ENDPOINT_SLICES, SERVICES

_SERVICE_LABEL = "kubernetes.io/service-name"
_INDEX = "apiserver.service-endpoints"


class NoEndpoint(Exception):
    """The Service cannot be reached; the text says why."""


class ServiceEndpoints:
    """Resolves Services by the API server's caches."""

    def __init__(self, client: Client) -> None:
        self._services = Lookup(client, SERVICES)
        self._slices = Lookup(client, ENDPOINT_SLICES)
        self._indexed = False

    async def resolve(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        """(host, port) of a ready endpoint behind a Service's port, chosen at random. Raises NoEndpoint."""
        service = await self._services.get(name, namespace)
        if service is None:
            raise NoEndpoint(f"service {go_quote(name)} not found")
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return str(spec.get("externalName") or ""), port
        wanted = _port_name(spec, port)
        if wanted is None:
            raise NoEndpoint(f"no service port {port} found for service {go_quote(name)}")
        found = ready_addresses(await self._of(namespace, name), wanted)
        if not found:
            raise NoEndpoint(f"no endpoints available for service {go_quote(name)}")
        return random.choice(found)

    async def _of(self, namespace: str, name: str) -> Iterable[Object]:
        if not self._indexed:
            await self._slices.synced()
            self._slices.informer.add_index(_INDEX, _owner)
            self._indexed = True
        return self._slices.informer.by_index(_INDEX, f"{namespace}/{name}")


def _owner(slice_: Object) -> list[str]:
    service = labels_of(slice_).get(_SERVICE_LABEL)
    return [f"{slice_['metadata'].get('namespace', '')}/{service}"] if service else []


def _port_name(spec: Mapping[str, Any], port: int) -> str | None:
    """The name of a Service's port with this number; None without such a port."""
    return next((str(item.get("name") or "") for item in spec.get("ports") or () if item.get("port") == port), None)


def ready_addresses(slices: Iterable[Object], port_name: str) -> list[tuple[str, int]]:
    """All ready (address, port) of the slices under the port's name."""
    found: list[tuple[str, int]] = []
    for slice_ in slices:
        ports = [
            int(port["port"])
            for port in slice_.get("ports") or ()
            if (port.get("name") or "") == port_name and port.get("port")
        ]
        for endpoint in slice_.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            found += [(str(address), port) for address in endpoint.get("addresses") or () for port in ports]
    return found
