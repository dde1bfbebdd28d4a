"""The proxy's metrics, under kube-proxy's names. There is one family of rules, for IPv4."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from minikube_py.components.proxy.model import ServicePort

_FAMILY = "IPv4"
_BUCKETS = tuple(0.001 * 2**power for power in range(15))
_SYNC = "kubeproxy_sync_proxy_rules"


class ProxyMetrics:
    """Each is written where the thing happens. The component may be started again: then ``forget`` comes first."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: list[Collector] = []
        self.duration = self._histogram(f"{_SYNC}_duration_seconds", "SyncProxyRules latency in seconds")
        self.full_duration = self._histogram(
            "kubeproxy_sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs"
        )
        self.failures = self._counter(f"{_SYNC}_nftables_sync_failures", "Cumulative proxy nftables sync failures")
        self.last = self._gauge(f"{_SYNC}_last_timestamp_seconds", "The last time proxy rules were successfully synced")
        self.last_queued = self._gauge(
            f"{_SYNC}_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued"
        )
        self.service_changes = self._counter(f"{_SYNC}_service_changes", "Cumulative Service changes", family=False)
        self.services_pending = self._gauge(f"{_SYNC}_service_changes_pending", "Pending Service changes", family=False)
        text = "endpoint slice changes"
        self.endpoint_changes = self._counter(f"{_SYNC}_endpoint_changes", f"Cumulative {text}", family=False)
        self.endpoints_pending = self._gauge(f"{_SYNC}_endpoint_changes_pending", f"Pending {text}", family=False)
        no_local = Gauge(
            f"{_SYNC}_no_local_endpoints_total",
            "Number of services with a Local traffic policy and no endpoints",
            ["ip_family", "traffic_policy"],
            registry=registry,
        )
        self._made.append(no_local)
        self._no_local = {policy: no_local.labels(_FAMILY, policy) for policy in ("internal", "external")}

    def synced(self, ports: Iterable[ServicePort]) -> None:
        """These are the ports of which the kernel has the rules now."""
        every = [port for port in ports if port.cluster_endpoints and not port.local_endpoints]
        for policy in ("internal", "external"):
            names = {(port.namespace, port.name) for port in every if getattr(port, f"{policy}_local")}
            self._no_local[policy].set(len(names))

    def forget(self) -> None:
        """Give the names free."""
        for metric in self._made:
            self._registry.unregister(metric)

    def _histogram(self, name: str, text: str) -> Histogram:
        made = Histogram(name, text, ["ip_family"], buckets=_BUCKETS, registry=self._registry)
        self._made.append(made)
        return made.labels(_FAMILY)

    def _counter(self, name: str, text: str, *, family: bool = True) -> Counter:
        made = Counter(name, text, ["ip_family"] if family else [], registry=self._registry)
        self._made.append(made)
        return made.labels(_FAMILY) if family else made

    def _gauge(self, name: str, text: str, *, family: bool = True) -> Gauge:
        made = Gauge(name, text, ["ip_family"] if family else [], registry=self._registry)
        self._made.append(made)
        return made.labels(_FAMILY) if family else made
