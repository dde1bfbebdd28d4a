"""Calling a webhook: TLS, connections that are kept, a time limit, and errors in the words of Go's client.

One client session for each way of proving identities (CA bundle, client certificate, token); sessions are
made on first use and the least recently used is closed when there are too many. A service is reached at
one of its endpoints, under the name ``<service>.<namespace>.svc``. Redirects are not followed, answers are
bounded. Nothing of an answer is believed here; ``review`` does that.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import orjson

from minikube_py.client.tls import client_context
from minikube_py.components.apiserver.admission.webhooks.credentials import (
    NO_CREDENTIALS,
    WebhookCredentials,
    WebhookUser,
)
from minikube_py.components.apiserver.admission.webhooks.hooks import Address
from minikube_py.components.apiserver.admission.webhooks.status_texts import AnsweredWithError, answered_with
from minikube_py.components.apiserver.metrics.rest_client import RestClientMetrics
from minikube_py.components.apiserver.service_endpoints import NoEndpoint, ServiceEndpoints
from minikube_py.components.apiserver.service_resolver import service_connector
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object

if TYPE_CHECKING:
    import aiohttp

longest_answer_bytes = 3 * 1024 * 1024
most_sessions = 128


class CallFailed(Exception):
    """The webhook could not be asked, or gave no answer that can be read; the text says why.

    ``unusable``: its configuration cannot be used, so nobody was called.
    """

    def __init__(self, why: str, *, unusable: bool = False) -> None:
        super().__init__(why)
        self.unusable = unusable


class HookCaller(Protocol):
    """Asks webhooks."""

    async def call(self, address: Address, question: Object, timeout_seconds: float) -> Object:
        """The decoded answer. Raises CallFailed, and TimeoutError never: running out of time is a CallFailed."""

    async def close(self) -> None:
        """Close all connections."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a session proves and believes."""

    ca_bundle: bytes
    user: WebhookUser


class HttpHookCaller:
    """Implements ``HookCaller``."""

    def __init__(
        self,
        services: ServiceEndpoints,
        credentials: WebhookCredentials = NO_CREDENTIALS,
        metrics: RestClientMetrics | None = None,
    ) -> None:
        self._metrics = metrics or RestClientMetrics()
        self._services = services
        self._credentials = credentials
        self._sessions: OrderedDict[_Identity, aiohttp.ClientSession] = OrderedDict()
        self._opening = asyncio.Lock()

    async def call(self, address: Address, question: Object, timeout_seconds: float) -> Object:
        url, host_port = destination(address)
        shown = f"{url}?timeout={timeout_seconds:g}s"
        try:
            async with asyncio.timeout(timeout_seconds):
                session = await self._session(_Identity(address.ca_bundle, self._credentials.user_for(host_port)))
                body = await asyncio.to_thread(orjson.dumps, question) if _is_big(question) else orjson.dumps(question)
                return await self._post(session, shown, body)
        except TimeoutError:
            raise CallFailed(f"Post {go_quote(shown)}: context deadline exceeded") from None

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), OrderedDict()
        for session in sessions:
            await session.close()

    async def _post(self, session: aiohttp.ClientSession, url: str, body: bytes) -> Object:
        import aiohttp

        for last in (False, True):
            used: dict[str, bool] = {}
            try:
                async with session.post(url, data=body, allow_redirects=False, trace_request_ctx=used) as response:
                    return await _read(response)
            except (aiohttp.ClientError, OSError, NoEndpoint) as error:
                # The webhook closed a kept connection while the question was on its way: ask on a new one.
                stale = isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError)
                if last or not stale or not used.get("kept"):
                    host = urlsplit(url).hostname or ""
                    raise CallFailed(f"Post {go_quote(url)}: {go_text(error, host)}") from error
        raise AssertionError("unreachable")

    async def _session(self, identity: _Identity) -> aiohttp.ClientSession:
        found = self._sessions.get(identity)
        if found is not None:
            self._sessions.move_to_end(identity)
            return found
        async with self._opening:
            if identity in self._sessions:
                return self._sessions[identity]
            try:
                user = identity.user
                context = await asyncio.to_thread(
                    client_context, ca_pem=identity.ca_bundle, cert_pem=user.cert_pem, key_pem=user.key_pem
                )
            except (ValueError, OSError) as error:
                why = "unable to load root certificates: unable to parse bytes as PEM block"
                if identity.user.cert_pem and "PEM" not in str(error) and not isinstance(error, ssl.SSLError):
                    why = f"unable to load client certificate: {error}"
                raise CallFailed(why, unusable=True) from error
            session = self._sessions[identity] = self._open(identity, context)
            while len(self._sessions) > most_sessions:
                _, oldest = self._sessions.popitem(last=False)
                await oldest.close()
            return session

    def _open(self, identity: _Identity, context: ssl.SSLContext) -> aiohttp.ClientSession:
        import aiohttp

        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "kube-apiserver"}
        if identity.user.token:
            headers["Authorization"] = f"Bearer {identity.user.token}"
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_kept)
        return aiohttp.ClientSession(
            connector=service_connector(self._services, context),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[tracing, self._metrics.tracing()],
            auto_decompress=True,
        )


async def _note_kept(session: Any, context: Any, params: Any) -> None:
    context.trace_request_ctx["kept"] = True


def destination(address: Address) -> tuple[str, str]:
    """(URL, host:port) of a webhook."""
    service = address.service
    if service is not None:
        host_port = f"{service.name}.{service.namespace}.svc:{service.port}"
        path = service.path if service.path.startswith("/") else f"/{service.path}"
        return f"https://{host_port}{path}", host_port
    parts = urlsplit(address.url)
    return address.url, f"{parts.hostname or ''}:{parts.port or 443}"


def _is_big(question: Object) -> bool:
    """Whether encoding may take longer than the loop can wait."""
    request = question["request"]
    weight = sum(_weight(request.get(field)) for field in ("object", "oldObject"))
    return weight + sum(_weight(item) for item in request.get("objects") or ()) > _BIG_ITEMS


_BIG_ITEMS = 2_000


def _weight(value: Any, depth: int = 0) -> int:
    """About how many values there are; large strings count for many."""
    if isinstance(value, str):
        return 1 + len(value) // 256
    if isinstance(value, dict | list) and depth < 4:
        inner = value.values() if isinstance(value, dict) else value
        return len(value) + sum(_weight(item, depth + 1) for item in inner)
    return len(value) if isinstance(value, dict | list) else 1


async def _read(response: aiohttp.ClientResponse) -> Object:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > longest_answer_bytes:
            response.close()
            raise CallFailed(f"the response is larger than {longest_answer_bytes} bytes")
    try:
        return answered_with(response.status, response.headers.get("Content-Type", ""), bytes(data))
    except AnsweredWithError as error:
        raise CallFailed(str(error)) from error


def go_text(error: Exception, host: str) -> str:
    """A failure of the connection as Go's HTTP client tells it."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_text(error.certificate_error, host)
    if isinstance(error, NoEndpoint):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"tls: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {error.host}:{error.port}: connect: {_errno_text(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return str(error) or type(error).__name__


def _errno_text(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _certificate_text(error: Exception, host: str) -> str:
    prefix = "tls: failed to verify certificate: x509: "
    code = getattr(error, "verify_code", None)
    if code in (_EXPIRED, _NOT_YET):
        return f"{prefix}certificate has expired or is not yet valid"
    if code in (_WRONG_HOST, _WRONG_ADDRESS):
        return f"{prefix}certificate is not valid for {host}"
    return f"{prefix}certificate signed by unknown authority"


_NOT_YET, _EXPIRED, _WRONG_HOST, _WRONG_ADDRESS = 9, 10, 62, 64
"""OpenSSL's X509_V_ERR numbers."""
