"""Questions to a remote service that a kubeconfig file names: reviews of tokens, access and images.

The cluster's ``server`` is the full URL, its user the API server's identity there. One client keeps
one connection pool, opened by the first question. A question is asked again, with growing delays, when
the service could not be reached or says that it is overloaded; redirects are refused, so nobody can
send the API server elsewhere, and answers are bounded in time and size. Same rules as
``k8s.io/apiserver/pkg/util/webhook``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import orjson

from minikube_py.client.kubeconfig import Connection, KubeconfigError, load_kubeconfig
from minikube_py.client.tls import connection_context
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.metrics.rest_client import RestClientMetrics
from minikube_py.machinery.clock import Clock

if TYPE_CHECKING:
    import ssl

    import aiohttp

attempts = 5
first_delay_seconds = 0.5
delay_growth = 1.5
default_timeout_seconds = 30.0
longest_answer_bytes = 3 * 1024 * 1024
connect_timeout_seconds = 10.0
_RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})


class WebhookError(Exception):
    """The service gave no usable answer; the text says why."""


class Webhook(Protocol):
    """Asks a service one question."""

    async def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer, of the question's kind. Raises WebhookError."""

    async def close(self) -> None:
        """Close the connections; a later question opens new ones."""


def read_webhook_kubeconfig(path: Path) -> Connection:
    """The service of a kubeconfig file. Blocks. Raises ConfigurationError."""
    try:
        connection = load_kubeconfig(path)
    except KubeconfigError as error:
        raise ConfigurationError(str(error)) from error
    parts = urlsplit(connection.server)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise ConfigurationError(f"kubeconfig {path}: server {connection.server!r} is not an https URL")
    return connection


class WebhookClient:
    """Implements ``Webhook`` over HTTP."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        *,
        timeout_seconds: float = default_timeout_seconds,
        delay_seconds: float = first_delay_seconds,
        metrics: RestClientMetrics | None = None,
    ) -> None:
        self._metrics = metrics or RestClientMetrics()
        self._connection = connection
        self._clock = clock
        self._timeout = timeout_seconds
        self._first_delay = delay_seconds
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    @property
    def url(self) -> str:
        return self._connection.server

    async def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        return _checked(await self._exchange(orjson.dumps(question)), question)

    async def send(self, document: Mapping[str, Any]) -> None:
        """Hand over a document whose answer does not matter. Raises WebhookError when it was not taken."""
        await self._exchange(orjson.dumps(document))

    async def _exchange(self, body: bytes) -> bytes:
        delay = self._first_delay
        try:
            async with asyncio.timeout(self._timeout):
                for attempt in range(1, attempts + 1):
                    answer, failure = await self._attempt(body)
                    if answer is not None:
                        return answer
                    if attempt == attempts or not failure.retry:
                        raise WebhookError(f"{self.url}: {failure.why}")
                    await self._clock.sleep(delay)
                    delay *= delay_growth
        except TimeoutError:
            raise WebhookError(f"{self.url}: no answer within {self._timeout:g} seconds") from None
        raise AssertionError("unreachable")

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _attempt(self, body: bytes) -> tuple[bytes | None, _Failure]:
        import aiohttp

        session = await self._open()
        try:
            async with session.post(self.url, data=body, allow_redirects=False) as response:
                if 300 <= response.status < 400:
                    return None, _Failure(f"answered with a redirect ({response.status}), which is refused", False)
                data = await _bounded(response)
                if data is None:
                    return None, _Failure(f"the answer is larger than {longest_answer_bytes} bytes", False)
                if response.status not in (200, 201):
                    retry = response.status in _RETRIED_STATUSES
                    return None, _Failure(f"answered with status {response.status}", retry)
                return data, _NONE
        except (aiohttp.ClientError, ConnectionError) as error:
            # A wrong certificate stays wrong; a refused connection may be a restart.
            retry = not isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError)
            return None, _Failure(str(error) or type(error).__name__, retry)

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                import aiohttp

                context: ssl.SSLContext | bool = True
                if self.url.startswith("https:"):
                    try:
                        context = await asyncio.to_thread(connection_context, self._connection)
                    except (OSError, ValueError) as error:
                        raise WebhookError(
                            f"{self.url}: the kubeconfig's certificates cannot be used: {error}"
                        ) from None
                headers = {
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": "kube-apiserver",
                }
                if self._connection.token:
                    headers["Authorization"] = f"Bearer {self._connection.token}"
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, keepalive_timeout=60),
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout_seconds),
                    headers=headers,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trace_configs=[self._metrics.tracing()],
                )
            return self._session


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt brought no answer, and whether another may."""

    why: str
    retry: bool


_NONE = _Failure("", False)


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > longest_answer_bytes:
            return None
    return bytes(data)


def _checked(answer: bytes, question: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        decoded = orjson.loads(answer)
    except ValueError:
        raise WebhookError("the answer is not JSON") from None
    if not isinstance(decoded, dict):
        raise WebhookError("the answer is not an object")
    for field in ("apiVersion", "kind"):
        if decoded.get(field) != question.get(field):
            raise WebhookError(f"the answer's {field} is {decoded.get(field)!r}, expected {question.get(field)!r}")
    if not isinstance(decoded.get("status"), dict):
        raise WebhookError("the answer has no status")
    return decoded
