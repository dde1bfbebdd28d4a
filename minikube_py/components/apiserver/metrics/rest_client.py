"""Requests that this API server sends: to webhooks that admit, convert, authenticate and authorize, and to aggregated
servers.

The same counters as client-go's; they hang on aiohttp's tracing, so a session that carries ``tracing`` is counted
whatever it is used for. The request's verb and the host and port that were asked are the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from minikube_py.components.apiserver.metrics.values import Counts, Definition, Distributions, Family, families

if TYPE_CHECKING:
    import aiohttp

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_BYTES = (64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
_LABELS = ("verb", "host")


class RestClientMetrics:
    """See the module."""

    def __init__(self, monotonic: Callable[[], float] = monotonic) -> None:
        self._monotonic = monotonic
        self._requests = Counts(
            Definition(
                "rest_client_requests_total", "counter",
                "Number of HTTP requests, partitioned by status code, method, and host.", ("code", "method", "host"),
            )
        )  # fmt: skip
        self._seconds = Distributions(
            Definition(
                "rest_client_request_duration_seconds", "histogram",
                "Request latency in seconds. Broken down by verb, and host.", _LABELS, _SECONDS,
            )
        )  # fmt: skip
        self._sent = Distributions(
            Definition(
                "rest_client_request_size_bytes", "histogram", "Request size in bytes. Broken down by verb and host.",
                _LABELS, _BYTES,
            )
        )  # fmt: skip
        self._received = Distributions(
            Definition(
                "rest_client_response_size_bytes", "histogram",
                "Response size in bytes. Broken down by verb and host.", _LABELS, _BYTES,
            )
        )  # fmt: skip

    def tracing(self) -> aiohttp.TraceConfig:
        """For a session's ``trace_configs``. Answers without a Content-Length have no size."""
        import aiohttp

        tracing = aiohttp.TraceConfig()
        tracing.on_request_start.append(self._begin)
        tracing.on_request_chunk_sent.append(self._chunk)
        tracing.on_request_end.append(self._end)
        tracing.on_request_exception.append(self._failed)
        return tracing

    async def _begin(self, session: Any, context: Any, params: Any) -> None:
        context.begin, context.sent = self._monotonic(), 0

    async def _chunk(self, session: Any, context: Any, params: Any) -> None:
        context.sent += len(params.chunk)

    async def _end(self, session: Any, context: Any, params: Any) -> None:
        length = params.response.content_length
        self.finished(
            params.method, _host(params.url), str(params.response.status), self._monotonic() - context.begin,
            sent=context.sent, received=length,
        )  # fmt: skip

    async def _failed(self, session: Any, context: Any, params: Any) -> None:
        seconds = self._monotonic() - context.begin
        self.finished(params.method, _host(params.url), "<error>", seconds, sent=context.sent, received=None)

    def finished(self, method: str, host: str, code: str, seconds: float, *, sent: int, received: int | None) -> None:
        """One request; ``code`` is ``<error>`` for one without an answer."""
        self._requests.inc((code, method, host))
        self._seconds.observe((method, host), seconds)
        self._sent.observe((method, host), sent)
        if received is not None:
            self._received.observe((method, host), received)

    def families(self) -> Iterator[Family]:
        return families(self._requests, self._seconds, self._sent, self._received)


def _host(url: Any) -> str:
    return f"{url.host}:{url.port}"
