"""What the registry counts: its comparisons, the requests of this process itself, and addresses of Services."""

from __future__ import annotations

from collections.abc import Iterator

from minikube_py.components.apiserver.metrics.values import Counts, Definition, Distributions, Family, families

_COMPARISON_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0)
_ALLOCATION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RegistryMetrics:
    """See the module."""

    def __init__(self) -> None:
        self.comparisons = Distributions(
            Definition(
                "apiserver_request_timestamp_comparison_time", "histogram",
                "Time taken for comparison of old vs new objects in UPDATE or PATCH requests", ("code_path",),
                _COMPARISON_SECONDS,
            )
        )  # fmt: skip
        self.self_requests = Counts(
            Definition(
                "apiserver_selfrequest_total", "counter",
                "Counter of apiserver self-requests broken out for each verb, API resource and subresource.",
                ("verb", "group", "resource", "subresource"),
            )
        )  # fmt: skip

    def compared(self, seconds: float, *, equal: bool) -> None:
        """A draft was compared with what is stored, to the last field when they were equal."""
        self.comparisons.observe(("equalObjectsSlow" if equal else "unequalObjectsSlow",), seconds)

    def families(self) -> Iterator[Family]:
        return families(self.comparisons, self.self_requests)


class AllocationMetrics:
    """Cluster IPs and node ports that were given out; ``scope`` is dynamic, or static for those that were asked for."""

    def __init__(self) -> None:
        self.addresses = Counts(
            Definition(
                "kube_apiserver_clusterip_allocator_allocation_total", "counter", "Number of Cluster IPs allocations",
                ("cidr", "scope"),
            )
        )  # fmt: skip
        self.address_errors = Counts(
            Definition(
                "kube_apiserver_clusterip_allocator_allocation_errors_total", "counter",
                "Number of errors trying to allocate Cluster IPs", ("cidr", "scope"),
            )
        )  # fmt: skip
        self.seconds = Distributions(
            Definition(
                "kube_apiserver_clusterip_allocator_allocation_duration_seconds", "histogram",
                "Duration in seconds to allocate a Cluster IP by ServiceCIDR", ("cidr",), _ALLOCATION_SECONDS,
            )
        )  # fmt: skip
        self.ports = Counts(
            Definition(
                "kube_apiserver_nodeport_allocator_allocation_total", "counter", "Number of NodePort allocations",
                ("scope",),
            )
        )  # fmt: skip
        self.port_errors = Counts(
            Definition(
                "kube_apiserver_nodeport_allocator_allocation_errors_total", "counter",
                "Number of errors trying to allocate NodePort", ("scope",),
            )
        )  # fmt: skip

    def families(self) -> Iterator[Family]:
        return families(self.addresses, self.address_errors, self.seconds, self.ports, self.port_errors)
