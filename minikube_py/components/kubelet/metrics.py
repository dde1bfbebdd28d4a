"""The kubelet's own metrics, under Kubernetes' names, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from minikube_py.build_info import version_info

_BUILD_LABELS = {
    "build_date": "buildDate",
    "compiler": "compiler",
    "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState",
    "git_version": "gitVersion",
    "go_version": "goVersion",
    "major": "major",
    "minor": "minor",
    "platform": "platform",
}
"""Labels, and the fields of /version that they repeat."""
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
        self._add_numbers(registry)
        self._add_build(registry)
        self._add_workers(registry)
        self._add_pods(registry)
        self._add_runtime(registry)
        self._add_operations(registry)
        self._add_counters(registry)
        self._add_answers(registry)

    def _add_numbers(self, registry: CollectorRegistry) -> None:
        """How many there are now."""
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

    def _add_workers(self, registry: CollectorRegistry) -> None:
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

    @staticmethod
    def _add_build(registry: CollectorRegistry) -> None:
        version = version_info()
        text = "A metric with a constant '1' value labeled by what the program was built from."
        build = Gauge("kubernetes_build_info", text, list(_BUILD_LABELS), registry=registry)
        build.labels(*(version[name] for name in _BUILD_LABELS.values())).set(1)

    def _add_pods(self, registry: CollectorRegistry) -> None:
        self.containers_per_pod = Histogram(
            "kubelet_containers_per_pod_count",
            "The number of containers per pod.",
            buckets=(1, 2, 4, 8, 16),
            registry=registry,
        )
        self.working_pods = Gauge(
            "kubelet_working_pods",
            "Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is"
            " desired, orphaned, or runtime only (also orphaned), and whether the pod is static.",
            ["config", "lifecycle", "static"],
            registry=registry,
        )
        self.ephemeral_containers = Gauge(
            "kubelet_managed_ephemeral_containers",
            "Current number of ephemeral containers in pods managed by this kubelet.",
            registry=registry,
        )
        self.pod_start_total_seconds = Histogram(
            "kubelet_pod_start_total_duration_seconds",
            "Duration in seconds to start a pod since creation, including time to pull images and run init"
            " containers, measured from pod creation timestamp to when all its containers are reported as started.",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self.pod_start_sli_seconds = Histogram(
            "kubelet_pod_start_sli_duration_seconds",
            "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from"
            " pod creation timestamp to when all its containers are reported as started.",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self.status_sync_seconds = Histogram(
            "kubelet_pod_status_sync_duration_seconds",
            "Duration in seconds to sync a pod status update. Measures time from detection of a change to pod status"
            " until the API is successfully updated for that pod, even if multiple intevening changes to pod status"
            " occur.",
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60),
            registry=registry,
        )

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
        self.relist_interval_seconds = Histogram(
            "kubelet_pleg_relist_interval_seconds",
            "Interval in seconds between relisting in PLEG.",
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self.relisted = Gauge(
            "kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.", registry=registry
        )

    def _add_operations(self, registry: CollectorRegistry) -> None:
        """Requests to the container runtime."""
        self.operations = Counter(
            "kubelet_runtime_operations",
            "Cumulative number of runtime operations by operation type.",
            ["operation_type"],
            registry=registry,
        )
        self.operation_seconds = Histogram(
            "kubelet_runtime_operations_duration_seconds",
            "Duration in seconds of runtime operations. Broken down by operation type.",
            ["operation_type"],
            buckets=tuple(0.005 * 2.5**power for power in range(14)),
            registry=registry,
        )
        self.operation_errors = Counter(
            "kubelet_runtime_operations_errors",
            "Cumulative number of runtime operation errors by operation type.",
            ["operation_type"],
            registry=registry,
        )
        self.cgroup_seconds = Histogram(
            "kubelet_cgroup_manager_duration_seconds",
            "Duration in seconds for cgroup manager operations. Broken down by method.",
            ["operation_type"],
            buckets=_WORKER_BUCKETS,
            registry=registry,
        )
        self.ensured_images = Counter(
            "kubelet_image_manager_ensure_image_requests",
            "Number of ensure-image requests processed by the kubelet.",
            ["present_locally", "pull_policy", "pull_required"],
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
        self.terminated_containers = Counter(
            "kubelet_terminated_containers",
            "Cumulative number of containers that have terminated.",
            ["container_type", "exit_code", "reason"],
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

    def _add_answers(self, registry: CollectorRegistry) -> None:
        """Evictions, probes and requests to the node API."""
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
