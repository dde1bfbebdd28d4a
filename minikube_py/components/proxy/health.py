"""Health check node ports: load balancers ask here whether this node has local endpoints.

One small HTTP server for each Service with ``healthCheckNodePort``; 200 when a local endpoint
exists, else 503, with kube-proxy's JSON body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from minikube_py.components.proxy.model import ServicePort

log = logging.getLogger(__name__)

request_timeout_seconds = 5.0
largest_request_bytes = 8192


@dataclass(slots=True)
class _Answer:
    """What a server says now; written by ``update`` only."""

    namespace: str
    name: str
    local_endpoints: int

    def render(self) -> bytes:
        body = orjson.dumps(
            {
                "service": {"namespace": self.namespace, "name": self.name},
                "localEndpoints": self.local_endpoints,
                "serviceProxyHealthy": True,
            }
        )
        status = "200 OK" if self.local_endpoints else "503 Service Unavailable"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
            f"X-Load-Balancing-Endpoint-Weight: {self.local_endpoints}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


class HealthServers:
    """The servers that are up, by port."""

    def __init__(self) -> None:
        self._servers: dict[int, tuple[asyncio.Server, _Answer]] = {}

    async def update(self, ports: Iterable[ServicePort]) -> None:
        """Open, close and refresh servers; a port that cannot be bound is logged and tried at the next change."""
        wanted = {
            port.health_check_node_port: _Answer(port.namespace, port.name, len(port.local_endpoints))
            for port in ports
            if port.health_check_node_port and port.external_local
        }
        for number in [number for number in self._servers if number not in wanted]:
            await self._close_one(number)
        for number, answer in wanted.items():
            if number in self._servers:
                current = self._servers[number][1]
                current.namespace, current.name = answer.namespace, answer.name
                current.local_endpoints = answer.local_endpoints
                continue
            try:
                self._servers[number] = (await _serve(number, answer), answer)
            except OSError as error:
                log.error("cannot open health check node port", extra={"port": number, "error": str(error)})

    async def _close_one(self, number: int) -> None:
        server, _ = self._servers.pop(number)
        server.close()
        await server.wait_closed()

    async def close(self) -> None:
        for number in list(self._servers):
            await self._close_one(number)


async def _serve(port: int, answer: _Answer) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(request_timeout_seconds):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer.render())
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    return await asyncio.start_server(connected, "0.0.0.0", port, limit=largest_request_bytes)
