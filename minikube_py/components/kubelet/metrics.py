"""The kubelet's own metrics, under Kubernetes' names, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_WORKER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_START_BUCKETS = (
    0.5,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    20,
    30,
    45,
    60,
    120,
    180,
    240,
    300,
    360,
    480,
    600,
    900,
    1200,
    1800,
    2700,
    3600,
)


class KubeletMetrics:
    """Counters and histograms; each is written where the thing it counts happens."""

    def __init__(self, registry: CollectorRegistry, node_name: str, cgroup_version: int) -> None:
        self.registry = registry
        Gauge("kubelet_node_name", "The node's name. The count is always 1.", ["node"], registry=registry).labels(
            node_name
        ).set(1)
        Gauge("kubelet_cgroup_version", "cgroup version on the hosts.", registry=registry).set(cgroup_version)
        self.running_pods = Gauge(
            "kubelet_running_pods", "Number of pods that have a running pod sandbox", registry=registry
        )
        self.running_containers = Gauge(
            "kubelet_running_containers",
            "Number of containers currently running",
            ["container_state"],
            registry=registry,
        )
        self.desired_pods = Gauge(
            "kubelet_desired_pods",
            "The number of pods the kubelet is being instructed to run.",
            ["static"],
            registry=registry,
        )
        self.active_pods = Gauge(
            "kubelet_active_pods", "The number of pods the kubelet considers active.", ["static"], registry=registry
        )
        self.mirror_pods = Gauge(
            "kubelet_mirror_pods", "The number of mirror pods the kubelet will try to create.", registry=registry
        )
        self.worker_seconds = Histogram(
            "kubelet_pod_worker_duration_seconds",
            "Duration in seconds to sync a single pod.",
            ["operation_type"],
            buckets=_WORKER_BUCKETS,
            registry=registry,
        )
        self.worker_start_seconds = Histogram(
            "kubelet_pod_worker_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod to starting a worker.",
            buckets=_WORKER_BUCKETS,
            registry=registry,
        )
        self.pod_start_seconds = Histogram(
            "kubelet_pod_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self._add_runtime(registry)
        self._add_counters(registry)

    def _add_runtime(self, registry: CollectorRegistry) -> None:
        self.sandbox_seconds = Histogram(
            "kubelet_run_podsandbox_duration_seconds",
            "Duration in seconds of the run_podsandbox operations.",
            ["runtime_handler"],
            buckets=_WORKER_BUCKETS,
            registry=registry,
        )
        self.relist_seconds = Histogram(
            "kubelet_pleg_relist_duration_seconds",
            "Duration in seconds for relisting pods in PLEG.",
            buckets=_WORKER_BUCKETS,
            registry=registry,
        )

    def _add_counters(self, registry: CollectorRegistry) -> None:
        self.started_pods = Counter("kubelet_started_pods", "Cumulative number of pods started", registry=registry)
        self.started_pods_errors = Counter(
            "kubelet_started_pods_errors", "Cumulative number of errors when starting pods", registry=registry
        )
        self.started_containers = Counter(
            "kubelet_started_containers",
            "Cumulative number of containers started",
            ["container_type"],
            registry=registry,
        )
        self.started_containers_errors = Counter(
            "kubelet_started_containers_errors",
            "Cumulative number of errors when starting containers",
            ["container_type", "code"],
            registry=registry,
        )
        self.restarted_pods = Counter(
            "kubelet_restarted_pods",
            "Number of pods that have been restarted because they were deleted and recreated with the same UID",
            ["static"],
            registry=registry,
        )
        self.orphaned_runtime_pods = Counter(
            "kubelet_orphaned_runtime_pods",
            "Number of pods that have been detected"
            " in the container runtime without being already known to the pod worker.",
            registry=registry,
        )
        self.evictions = Counter(
            "kubelet_evictions",
            "Cumulative number of pod evictions by eviction signal",
            ["eviction_signal"],
            registry=registry,
        )
        self.probes = Counter(
            "prober_probe_total",
            "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            ["probe_type", "result", "container", "pod", "namespace", "pod_uid"],
            registry=registry,
        )
        self.http_requests = Counter(
            "kubelet_http_requests",
            "Number of the http requests received since the server started",
            ["method", "path", "server_type", "long_running"],
            registry=registry,
        )
        self.http_inflight = Gauge(
            "kubelet_http_inflight_requests",
            "Number of the inflight http requests",
            ["method", "path", "server_type", "long_running"],
            registry=registry,
        )

    def forget_pod(self, uid: str) -> None:
        """Drop the series of a pod that is gone, so that the registry stays bounded."""
        self.probes.remove_by_labels({"pod_uid": uid})
