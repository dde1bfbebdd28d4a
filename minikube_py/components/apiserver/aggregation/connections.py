"""Sessions to aggregated servers: one for each CA bundle, all with the request-header client certificate.

The certificate is what a server believes the ``X-Remote-*`` headers for. It is read again after ``forget``, which the
PKI's renewal calls. A Service's name is resolved to one of its endpoints, past cluster DNS and the node's proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from minikube_py.components.apiserver.admission.webhooks.transport import ServiceResolver
from minikube_py.components.apiserver.aggregation.remote import Remote
from minikube_py.components.apiserver.service_endpoints import ServiceEndpoints

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

connect_seconds = 10.0
keepalive_seconds = 90.0


@dataclass(frozen=True, slots=True)
class ProxyIdentity:
    """Files of the certificate that the API server shows as request-header proxy."""

    cert_file: Path
    key_file: Path


class Connections:
    """See the module. Raises OSError and ValueError where a certificate cannot be used."""

    def __init__(self, services: ServiceEndpoints, identity: ProxyIdentity | None) -> None:
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
                self._contexts[key] = await asyncio.to_thread(_context, *key, self._identity)
            return self._contexts[key]

    async def session(self, remote: Remote) -> aiohttp.ClientSession:
        """A session whose connections are kept; it does not decompress what it carries."""
        key, context = (remote.ca_bundle, remote.insecure), await self.context(remote)
        found = self._sessions.get(key)
        if found is None:
            import aiohttp

            connector = aiohttp.TCPConnector(
                ssl=context,
                resolver=cast("AbstractResolver", ServiceResolver(self._services)),
                keepalive_timeout=keepalive_seconds,
                limit=0,
                use_dns_cache=False,
            )
            found = self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
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


def _context(ca_bundle: bytes, insecure: bool, identity: ProxyIdentity | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_bundle.decode("ascii") if ca_bundle else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        context.load_cert_chain(identity.cert_file, identity.key_file)
    return context
