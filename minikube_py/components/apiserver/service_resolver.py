"""Connections of aiohttp to Services: ``<service>.<namespace>.svc`` is one of the Service's endpoints.

The name stays the one that certificates are checked for. Any other host is resolved as usual.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, cast

from minikube_py.components.apiserver.service_endpoints import ServiceEndpoints

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

keepalive_seconds = 90.0


def service_connector(services: ServiceEndpoints, context: ssl.SSLContext) -> aiohttp.TCPConnector:
    """A pool of connections without a bound; each new one goes to an endpoint that is ready then."""
    import aiohttp

    return aiohttp.TCPConnector(
        ssl=context,
        resolver=cast("AbstractResolver", ServiceResolver(services)),
        keepalive_timeout=keepalive_seconds,
        limit=0,
        use_dns_cache=False,
    )


class ServiceResolver:
    """aiohttp's resolver: names of Services become the addresses and ports of their endpoints."""

    def __init__(self, services: ServiceEndpoints) -> None:
        self._services = services
        self._others: AbstractResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        service = service_of(host)
        if service is None:
            return await self._resolve_name(host, port, family)
        address, target = await self._services.resolve(*service, port)
        if not _is_address(address):
            return await self._resolve_name(address, target, family)
        found: ResolveResult = {
            "hostname": host,
            "host": address,
            "port": target,
            "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
            "proto": 0,
            "flags": socket.AI_NUMERICHOST,
        }
        return [found]

    async def _resolve_name(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        if self._others is None:
            import aiohttp

            self._others = aiohttp.ThreadedResolver()
        return await self._others.resolve(host, port, family)

    async def close(self) -> None:
        if self._others is not None:
            await self._others.close()


def service_of(host: str) -> tuple[str, str] | None:
    """(namespace, name) of ``<name>.<namespace>.svc``; None for any other host."""
    parts = host.split(".")
    return (parts[1], parts[0]) if len(parts) == 3 and parts[2] == "svc" else None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
