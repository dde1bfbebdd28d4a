"""Requests, counted under Kubernetes' names when they are finished (``k8s.io/apiserver/pkg/endpoints/metrics``).

``RequestSeries`` holds what requests with the same labels have in common; the quick way keeps the one of a route. A
duration is counted once; how much of it was spent elsewhere (webhooks, queues of flow control) moves it down in the
distribution of ``apiserver_request_sli_duration_seconds``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from minikube_py.components.apiserver.metrics.identity import IdentityMetrics
from minikube_py.components.apiserver.metrics.values import (
    Counts,
    Definition,
    Distribution,
    Distributions,
    Family,
    Labels,
    exponential,
    families,
    merged,
)

_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_SLI_SECONDS = _SECONDS[2:]
_RESPONSE_BYTES = exponential(1000, 10, 7)
_BODY_BYTES = tuple(float(size) for size in range(50_000, 3_100_000, 100_000))
_WATCH_LIST_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60)
_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
_UNDRY = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_COMPONENT = "apiserver"
_MOST_SERIES = 2048
"""Paths of clients become labels: beyond so many they are counted together, so that no scan of paths fills memory."""
READ_ONLY, MUTATING = "readOnly", "mutating"
_SYSTEM_CLIENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")

_TOTAL = Definition(
    "apiserver_request_total",
    "counter",
    "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
    "component, and HTTP response code.",
    (*_LABELS, "code", "system_client"),
)
_DURATION = Definition(
    "apiserver_request_duration_seconds",
    "histogram",
    "Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
    "subresource, scope and component.",
    _LABELS,
    _SECONDS,
)
_SLI = Definition(
    "apiserver_request_sli_duration_seconds",
    "histogram",
    "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds "
    "for each verb, group, version, resource, subresource, scope and component.",
    _UNDRY,
    _SLI_SECONDS,
)
_SIZES = Definition(
    "apiserver_response_sizes",
    "histogram",
    "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
    _UNDRY,
    _RESPONSE_BYTES,
)


def system_client(user_agent: str) -> str:
    """The control plane's component that a user agent names; empty for any other."""
    name = user_agent.partition("/")[0]
    return name if name in _SYSTEM_CLIENTS else ""


def field_validation(query: Mapping[str, str]) -> str:
    """The ``fieldValidation`` parameter as a label."""
    given = query.get("fieldValidation", "")
    return given if given in ("", "Ignore", "Warn", "Strict") else "invalid"


class RequestSeries:
    """Finished requests with one set of labels."""

    __slots__ = ("codes", "durations", "moved", "moved_seconds", "sizes")

    def __init__(self) -> None:
        self.codes: dict[tuple[int, str], int] = {}
        """By status code and system client."""
        self.durations = Distribution(_SECONDS)
        self.sizes = Distribution(_RESPONSE_BYTES)
        self.moved = [0] * (len(_SECONDS) + 1)
        self.moved_seconds = 0.0

    def finished(self, key: tuple[int, str], seconds: float) -> None:
        """One more. This and the two lines that count a size are all that a GET costs."""
        codes = self.codes
        codes[key] = codes.get(key, 0) + 1
        durations = self.durations
        durations.counts[bisect_left(_SECONDS, seconds)] += 1
        durations.total += seconds

    def spent_elsewhere(self, seconds: float, elsewhere: float) -> None:
        """Of a request that took ``seconds`` and is counted, so much was not the API server's own work."""
        self.moved[bisect_left(_SECONDS, seconds)] -= 1
        self.moved[bisect_left(_SECONDS, max(0.0, seconds - elsewhere))] += 1
        self.moved_seconds += min(seconds, elsewhere)

    def of_sizes(self) -> Distribution:
        return self.sizes

    def own(self) -> Distribution:
        """The durations without what was spent elsewhere."""
        found = Distribution(_SECONDS)
        found.counts = [counted + moved for counted, moved in zip(self.durations.counts, self.moved, strict=True)]
        found.total = self.durations.total - self.moved_seconds
        return found.under(_SLI_SECONDS)


class RequestMetrics:
    """See the module. ``identity`` is counted by the same two ways of a request."""

    def __init__(self, identity: IdentityMetrics) -> None:
        self.identity = identity
        self._series: dict[Labels, RequestSeries] = {}
        self.in_flight = {READ_ONLY: 0, MUTATING: 0}
        self.in_queue = {READ_ONLY: 0, MUTATING: 0}
        self._running = Counts(
            Definition(
                "apiserver_longrunning_requests", "gauge",
                "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, "
                "scope and component. Not all requests are tracked this way.", _UNDRY,
            )
        )  # fmt: skip
        self.deprecated = Counts(
            Definition(
                "apiserver_requested_deprecated_apis", "gauge",
                "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, "
                "subresource, and removed_release.", ("group", "version", "resource", "subresource", "removed_release"),
            )
        )  # fmt: skip
        self.body_bytes = Distributions(
            Definition(
                "apiserver_request_body_size_bytes", "histogram",
                "Apiserver request body size in bytes broken out by group, resource and verb.",
                ("group", "resource", "verb"), _BODY_BYTES,
            )
        )  # fmt: skip
        self.field_validation = Distributions(
            Definition(
                "field_validation_request_duration_seconds", "histogram",
                "Response latency distribution in seconds for each field validation value", ("field_validation",),
                _SLI_SECONDS,
            )
        )  # fmt: skip
        self.watch_events = Distributions(
            Definition(
                "apiserver_watch_events_sizes", "histogram", "Watch event size distribution in bytes",
                ("group", "version", "resource"), exponential(1024, 2, 8),
            )
        )  # fmt: skip
        self.watch_lists = Distributions(
            Definition(
                "apiserver_watch_list_duration_seconds", "histogram",
                "Response latency distribution in seconds for watch list requests broken by group, version, resource "
                "and scope.", ("group", "version", "resource", "scope"), _WATCH_LIST_SECONDS,
            )
        )  # fmt: skip

    def series(self, labels: Labels) -> RequestSeries:
        """The series of verb, dry_run, group, version, resource, subresource and scope."""
        found = self._series.get(labels)
        if found is None:
            if len(self._series) >= _MOST_SERIES:
                labels = (labels[0], "", "", "", "", "", "")
            found = self._series.setdefault(labels, RequestSeries())
        return found

    def events_of(self, labels: Labels) -> Distribution:
        """Where the sizes of a watch's events go, by group, version and resource."""
        return self.watch_events.of(labels)

    @contextmanager
    def running(self, labels: Labels) -> Iterator[None]:
        """A request that may last, with these labels (without dry_run), as long as the block."""
        values, key = self._running.values, (*labels, _COMPONENT)
        if key not in values and len(values) >= _MOST_SERIES:
            key = (labels[0], "", "", "", "", "", _COMPONENT)
        self._running.inc(key)
        try:
            yield
        finally:
            self._running.inc(key, -1)

    def families(self) -> Iterator[Family]:
        series = list(self._series.items())
        codes = (
            ((*labels, _COMPONENT, str(code), client), count)
            for labels, found in series
            for (code, client), count in list(found.codes.items())
        )
        yield Family(_TOTAL, codes)
        timed = [(labels, found) for labels, found in series if any(found.durations.counts)]
        yield Family(_DURATION, [((*labels, _COMPONENT), found.durations) for labels, found in timed])
        yield Family(_SLI, merged((_undry(labels), found.own) for labels, found in timed))
        sized = [(_undry(labels), found.of_sizes) for labels, found in series if any(found.sizes.counts)]
        yield Family(_SIZES, merged(sized))
        for definition, values in ((_IN_FLIGHT, self.in_flight), (_IN_QUEUE, self.in_queue)):
            yield Family(definition, [((kind,), value) for kind, value in values.items()])
        yield from families(
            self._running, self.deprecated, self.body_bytes, self.field_validation, self.watch_events,
            self.watch_lists,
        )  # fmt: skip
        sent = [(labels, sum(found.counts)) for labels, found in self.watch_events.values.items()]
        yield Family(_WATCH_EVENTS, [(labels, count) for labels, count in sent if count])
        yield from self.identity.families()


_WATCH_EVENTS = Definition(
    "apiserver_watch_events_total",
    "counter",
    "Number of events sent in watch clients",
    ("group", "version", "resource"),
)
_IN_FLIGHT = Definition(
    "apiserver_current_inflight_requests",
    "gauge",
    "Number of requests of this apiserver that are being executed, per request kind.",
    ("request_kind",),
)
_IN_QUEUE = Definition(
    "apiserver_current_inqueue_requests",
    "gauge",
    "Number of queued requests in this apiserver per request kind.",
    ("request_kind",),
)


def _undry(labels: Labels) -> Labels:
    return (labels[0], *labels[2:], _COMPONENT)
