"""Metrics of a node that runs a pod: what the kernel counts for it, and what the node did for it."""

from __future__ import annotations

from typing import Any

from cluster import Cluster, wait_until
from prometheus_client.parser import text_string_to_metric_families
from test_e2e_workloads import phase, pod

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scrape(cluster: Cluster, path: str) -> Samples:
    text = cluster.kubectl("get", "--raw", f"/api/v1/nodes/node-1/proxy{path}")
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    """The sum of the samples that have these labels; -1 without any."""
    found = [number for having, number in samples.get(metric, ()) if labels.items() <= having.items()]
    return sum(found) if found else -1


def test_what_the_kernel_counts_for_a_pod(cluster: Cluster, namespace: str) -> None:
    limits = {"cpu": "500m", "memory": "64Mi"}
    command = "dd if=/dev/zero of=/dev/null bs=1M count=50; wget -qO- http://127.0.0.1:1/; sleep 1000"
    extra: dict[str, Any] = {"resources": {"limits": limits}}
    cluster.apply(pod("busy", namespace, command, container=extra))
    wait_until("running", lambda: phase(cluster, namespace, "busy") == "Running")
    mine = {"namespace": namespace, "pod": "busy"}
    seen: Samples = {}

    def counted() -> bool:
        seen.clear()
        seen.update(scrape(cluster, "/metrics/cadvisor"))
        return value(seen, "container_cpu_usage_seconds_total", container="c", **mine) > 0

    wait_until("counted", counted)
    memory = value(seen, "container_memory_working_set_bytes", container="c", **mine)
    assert 0 < memory < 64 * 1024 * 1024
    assert value(seen, "container_spec_memory_limit_bytes", container="c", **mine) == 64 * 1024 * 1024
    assert value(seen, "container_spec_cpu_quota", container="c", **mine) == 50_000
    assert value(seen, "container_processes", container="c", **mine) >= 1
    assert value(seen, "container_network_receive_packets_total", interface="eth0", **mine) >= 0
    whole = value(seen, "container_cpu_usage_seconds_total", container="", name="", **mine)
    assert whole >= value(seen, "container_cpu_usage_seconds_total", container="c", **mine)
    assert value(seen, "machine_cpu_cores") >= 1
    resources = scrape(cluster, "/metrics/resource")
    assert value(resources, "pod_memory_working_set_bytes", **mine) > 0
    assert value(resources, "node_swap_usage_bytes") >= 0


def test_what_the_node_did(cluster: Cluster, namespace: str) -> None:
    before = scrape(cluster, "/metrics")
    cluster.apply(pod("ends", namespace, "exit 7", restartPolicy="Never"))
    wait_until("ended", lambda: phase(cluster, namespace, "ends") == "Failed")
    labels = {"container_type": "container", "exit_code": "7"}
    seen: Samples = {}

    def counted() -> bool:
        seen.clear()
        seen.update(scrape(cluster, "/metrics"))
        return value(seen, "kubelet_terminated_containers_total", **labels) >= 1

    wait_until("counted", counted)
    for operation in ("run_podsandbox", "create_container", "start_container"):
        name = "kubelet_runtime_operations_total"
        assert value(seen, name, operation_type=operation) > value(before, name, operation_type=operation)
    assert value(seen, "kubelet_pod_worker_start_duration_seconds_count") >= 1
    assert value(seen, "kubeproxy_sync_full_proxy_rules_duration_seconds_count", ip_family="IPv4") >= 1
    assert value(seen, "kubeproxy_sync_proxy_rules_service_changes_total") >= 1
    assert value(seen, "kubernetes_build_info") == 1
