"""All metrics of one API server, and what gathers them when somebody scrapes ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from weakref import WeakSet

from minikube_py.client.workqueue import WorkQueue, queues_of_context
from minikube_py.components.apiserver.metrics import process
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.metrics.conversion import ConversionMetrics
from minikube_py.components.apiserver.metrics.exposition import Source, exposition
from minikube_py.components.apiserver.metrics.identity import IdentityMetrics, TokenMetrics
from minikube_py.components.apiserver.metrics.queues import queue_families
from minikube_py.components.apiserver.metrics.rest_client import RestClientMetrics
from minikube_py.components.apiserver.metrics.values import Family, families


class ApiServerMetrics:
    """What the rooms count into, and the sources of everything that is shown."""

    def __init__(self) -> None:
        self.identity = IdentityMetrics()
        self.admission = AdmissionMetrics()
        self.conversion = ConversionMetrics()
        self.tokens = TokenMetrics()
        self.rest_clients = RestClientMetrics()
        self.cel = process.CelMetrics()
        self.handshake_errors = process.handshake_errors()
        self.discovery_builds = process.discovery_builds()
        noted = queues_of_context.get()
        self.queues: WeakSet[WorkQueue[str]] = WeakSet() if noted is None else noted
        self._sources: list[Source] = [
            self.admission.families,
            self.conversion.families,
            self.tokens.families,
            self.cel.families,
            self.rest_clients.families,
            lambda: families(self.handshake_errors, self.discovery_builds),
            lambda: queue_families(self.queues),
        ]

    def show(self, source: Callable[[], Iterable[Family]]) -> None:
        """Add a source; it is asked on the event loop at each scrape and must be quick."""
        self._sources.append(source)

    def families(self) -> Iterator[Family]:
        """All families, also those that have no samples yet."""
        for source in self._sources:
            yield from source()

    async def text(self) -> bytes:
        """All families in Prometheus' text format."""
        return await exposition(self._sources)
