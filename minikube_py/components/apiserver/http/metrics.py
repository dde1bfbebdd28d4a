"""The API server's own metrics, under Kubernetes' names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")


class RequestMetrics:
    """Counts finished requests; label children are looked up once for each combination."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "apiserver_request_total",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
            "component, and HTTP response code.",
            (*_LABELS, "code"),
            registry=registry,
        )
        self._duration = Histogram(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
            "subresource, scope and component.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._running = Gauge(
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope "
            "and component. Not all requests are tracked this way.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component"),
            registry=registry,
        )
        self._children: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}
        self._gauges: dict[tuple[str, ...], Gauge] = {}

    def finished(self, labels: tuple[str, ...], code: int, seconds: float, *, long_running: bool) -> None:
        """``labels`` are verb, dry_run, group, version, resource, subresource and scope."""
        key = (*labels, str(code))
        found = self._children.get(key)
        if found is None:
            full = (*labels, "apiserver")
            found = self._total.labels(*full, str(code)), self._duration.labels(*full)
            self._children[key] = found
        found[0].inc()
        if not long_running:
            found[1].observe(seconds)

    def running(self, labels: tuple[str, ...]) -> Gauge:
        """The gauge of active long requests with these labels (without dry_run)."""
        found = self._gauges.get(labels)
        if found is None:
            found = self._gauges[labels] = self._running.labels(*labels, "apiserver")
        return found
