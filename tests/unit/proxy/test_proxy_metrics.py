"""The proxy's metrics: kube-proxy's names, types and labels (recorded), and values that follow what happens."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from minikube_py.client.testing import FakeClock
from minikube_py.client.types import EventType, Informer
from minikube_py.components.proxy.component import ProxySettings, Tracker
from minikube_py.components.proxy.metrics import ProxyMetrics
from minikube_py.components.proxy.model import Endpoint, ServicePort

FACTS = """
kubeproxy_sync_full_proxy_rules_duration_seconds histogram ip_family
kubeproxy_sync_proxy_rules_duration_seconds histogram ip_family
kubeproxy_sync_proxy_rules_endpoint_changes_pending gauge
kubeproxy_sync_proxy_rules_endpoint_changes_total counter
kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds gauge ip_family
kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge ip_family
kubeproxy_sync_proxy_rules_no_local_endpoints_total gauge ip_family,traffic_policy
kubeproxy_sync_proxy_rules_service_changes_pending gauge
kubeproxy_sync_proxy_rules_service_changes_total counter
"""
SETTINGS = ProxySettings("node", "192.0.2.1", "10.42.0.0/16", "10.43.0.0/16")
SYNC = "kubeproxy_sync_proxy_rules"


class NoObjects:
    """An informer of a cluster without Services."""

    def get(self, name: str, namespace: str | None = None) -> None:
        return None

    def by_index(self, index: str, key: str) -> list[object]:
        return []

    def add_index(self, name: str, keys: object) -> None:
        pass


def test_names_types_and_labels() -> None:
    registry = CollectorRegistry()
    metrics = ProxyMetrics(registry)
    shown = {}
    for metric in registry._collector_to_names:
        name = metric._name + ("_total" if metric._type == "counter" else "")  # type: ignore[attr-defined]
        shown[name] = (metric._type, ",".join(metric._labelnames))  # type: ignore[attr-defined]
    for line in FACTS.strip().splitlines():
        name, kind, labels = f"{line} ".split(" ", 2)
        assert shown[name] == (kind, labels.strip())
    metrics.forget()
    ProxyMetrics(registry)  # the names are free again


def test_changes_are_pending_until_the_rules_are_made_from_them() -> None:
    registry, clock = CollectorRegistry(), FakeClock()
    none: Informer = NoObjects()  # type: ignore[assignment]
    tracker = Tracker(SETTINGS, none, none, clock, ProxyMetrics(registry))
    service = {"metadata": {"name": "a", "namespace": "b"}}
    slice_ = {"metadata": {"name": "a-1", "namespace": "b", "labels": {"kubernetes.io/service-name": "a"}}}
    tracker.on_service(EventType.ADDED, service, None)
    tracker.on_slice(EventType.ADDED, slice_, None)
    tracker.on_slice(EventType.MODIFIED, slice_, slice_)
    read = registry.get_sample_value
    assert read(f"{SYNC}_service_changes_pending") == 1
    assert read(f"{SYNC}_endpoint_changes_pending") == 2
    assert read(f"{SYNC}_last_queued_timestamp_seconds", {"ip_family": "IPv4"}) == clock.now()
    tracker.take()
    assert read(f"{SYNC}_service_changes_pending") == read(f"{SYNC}_endpoint_changes_pending") == 0
    assert (read(f"{SYNC}_service_changes_total"), read(f"{SYNC}_endpoint_changes_total")) == (1, 2)


def test_services_that_have_no_endpoints_here_are_counted_once() -> None:
    registry = CollectorRegistry()
    metrics = ProxyMetrics(registry)
    endpoint = Endpoint("10.42.1.2", 80, local=False)
    port = ServicePort(
        "ns", "web", "http", "TCP", 80, "10.43.0.9", external_local=True, cluster_endpoints=(endpoint,)
    )  # fmt: skip
    everywhere = replace(port, name="other", external_local=False)
    here = replace(port, name="here", local_endpoints=(endpoint,))
    metrics.synced([port, replace(port, port_name="https", port=443), everywhere, here])
    read = registry.get_sample_value
    for policy, expected in (("external", 1), ("internal", 0)):
        labels = {"ip_family": "IPv4", "traffic_policy": policy}
        assert read(f"{SYNC}_no_local_endpoints_total", labels) == expected
