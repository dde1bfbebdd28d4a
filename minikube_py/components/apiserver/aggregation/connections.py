"""Sessions to aggregated servers: one for each CA bundle, all with the request-header client certificate.

The certificate is what a server believes the ``X-Remote-*`` headers for. It is read again after ``forget``, which the
PKI's renewal calls. A Service's name is resolved to one of its endpoints, past cluster DNS and the node's proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.client.tls import client_context
from minikube_py.components.apiserver.aggregation.remote import Remote
from minikube_py.components.apiserver.metrics.rest_client import RestClientMetrics
from minikube_py.components.apiserver.service_endpoints import ServiceEndpoints
from minikube_py.components.apiserver.service_resolver import service_connector

if TYPE_CHECKING:
    import aiohttp

connect_seconds = 10.0


@dataclass(frozen=True, slots=True)
class ProxyIdentity:
    """Files of the certificate that the API server shows as request-header proxy."""

    cert_file: Path
    key_file: Path


class Connections:
    """See the module. Raises OSError and ValueError where a certificate cannot be used."""

    def __init__(
        self, services: ServiceEndpoints, identity: ProxyIdentity | None, metrics: RestClientMetrics | None = None
    ) -> None:
        self._metrics = metrics or RestClientMetrics()
        self._services = services
        self._identity = identity
        self._contexts: dict[tuple[bytes, bool], ssl.SSLContext] = {}
        self._sessions: dict[tuple[bytes, bool], aiohttp.ClientSession] = {}
        self._opening = asyncio.Lock()
        self._retired: set[aiohttp.ClientSession] = set()

    async def endpoint(self, remote: Remote) -> tuple[str, int]:
        """Address and port of a ready backend. Raises NoEndpoint."""
        return await self._services.resolve(remote.namespace, remote.service, remote.port)

    async def context(self, remote: Remote) -> ssl.SSLContext:
        """What TLS to the remote trusts and shows."""
        key = (remote.ca_bundle, remote.insecure)
        async with self._opening:
            if key not in self._contexts:
                self._contexts[key] = await asyncio.to_thread(self._load, remote)
            return self._contexts[key]

    def _load(self, remote: Remote) -> ssl.SSLContext:
        found = self._identity
        cert_pem, key_pem = (found.cert_file.read_bytes(), found.key_file.read_bytes()) if found else (b"", b"")
        return client_context(ca_pem=remote.ca_bundle, cert_pem=cert_pem, key_pem=key_pem, insecure=remote.insecure)

    async def session(self, remote: Remote) -> aiohttp.ClientSession:
        """A session whose connections are kept; it does not decompress what it carries."""
        key, context = (remote.ca_bundle, remote.insecure), await self.context(remote)
        found = self._sessions.get(key)
        if found is None:
            import aiohttp

            found = self._sessions[key] = aiohttp.ClientSession(
                connector=service_connector(self._services, context),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trace_configs=[self._metrics.tracing()],
            )
        return found

    def forget(self) -> None:
        """Use the certificate that the files hold now from the next connection on; open requests go on."""
        self._retired.update(self._sessions.values())
        self._sessions.clear()
        self._contexts.clear()

    async def close(self) -> None:
        for session in (*self._sessions.values(), *self._retired):
            await session.close()
        self._sessions.clear()
        self._retired.clear()
