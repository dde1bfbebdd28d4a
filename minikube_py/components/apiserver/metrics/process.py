"""What the process is: its version, its failed TLS handshakes, its view of other API servers, its Service ranges."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from minikube_py.components.apiserver.metrics.values import Counts, Definition, Distributions, Family, families
from minikube_py.machinery.cel_timing import CelObserver

_CEL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUILD_LABELS = {
    "major": "major",
    "minor": "minor",
    "git_version": "gitVersion",
    "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState",
    "build_date": "buildDate",
    "go_version": "goVersion",
    "compiler": "compiler",
    "platform": "platform",
}
_BUILD = Definition(
    "kubernetes_build_info",
    "gauge",
    "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, "
    "Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
    tuple(_BUILD_LABELS),
)
_VERSION = Definition(
    "version_info",
    "gauge",
    "Provides the compatibility version info of the component. The component label is the name of the component, "
    "usually kube, but is relevant for aggregated-apiservers.",
    ("component", "binary", "emulation", "min_compat"),
)
_ADDRESSES = Definition(
    "kube_apiserver_clusterip_allocator_allocated_ips",
    "gauge",
    "Gauge measuring the number of allocated IPs for Services",
    ("cidr",),
)
_FREE_ADDRESSES = Definition(
    "kube_apiserver_clusterip_allocator_available_ips",
    "gauge",
    "Gauge measuring the number of available IPs for Services",
    ("cidr",),
)
_PORTS = Definition(
    "kube_apiserver_nodeport_allocator_allocated_ports",
    "gauge",
    "Gauge measuring the number of allocated NodePorts for Services",
)
_FREE_PORTS = Definition(
    "kube_apiserver_nodeport_allocator_available_ports",
    "gauge",
    "Gauge measuring the number of available NodePorts for Services",
)
_UNAVAILABLE = Definition(
    "aggregator_unavailable_apiservice",
    "gauge",
    "Gauge of APIServices which are marked as unavailable broken down by APIService name.",
    ("name",),
)


_AUDIT_EVENTS = Definition(
    "apiserver_audit_event_total", "counter", "Counter of audit events generated and sent to the audit backend."
)
_AUDIT_REJECTED = Definition(
    "apiserver_audit_requests_rejected_total",
    "counter",
    "Counter of apiserver requests rejected due to an error in audit logging backend.",
)


class Allocations(Protocol):
    """What of the allocator of Services is shown."""

    def usage(self) -> Sequence[tuple[str, int, int]]:
        """(network, allocated, available) of each network."""

    def port_usage(self) -> tuple[int, int]:
        """(allocated, available) node ports."""


def build_families(version: Mapping[str, Any]) -> Iterator[Family]:
    """``version``: the body of /version."""
    yield Family(_BUILD, [(tuple(str(version[field]) for field in _BUILD_LABELS.values()), 1)])
    binary = f"{version['major']}.{version['minor']}"
    emulated = f"{version['emulationMajor']}.{version['emulationMinor']}"
    compatible = f"{version['minCompatibilityMajor']}.{version['minCompatibilityMinor']}"
    yield Family(_VERSION, [(("kube", binary, emulated, compatible), 1)])


def service_families(allocations: Allocations) -> Iterator[Family]:
    """How full the ranges of Services are."""
    usage = allocations.usage()
    yield Family(_ADDRESSES, [((network,), allocated) for network, allocated, _ in usage])
    yield Family(_FREE_ADDRESSES, [((network,), available) for network, _, available in usage])
    allocated, available = allocations.port_usage()
    yield Family(_PORTS, [((), allocated)])
    yield Family(_FREE_PORTS, [((), available)])


def availability_family(available: Mapping[str, bool]) -> Family:
    """``available`` by the names of all APIServices, the local ones included."""
    return Family(_UNAVAILABLE, [((name,), 0 if value else 1) for name, value in available.items()])


def count_handshake_errors(context: ssl.SSLContext, failed: Callable[[], None]) -> None:
    """Call ``failed`` for every TLS handshake of connections from ``context`` that ends in an error."""

    class Counted(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError:
                failed()
                raise

    context.sslobject_class = Counted


def no_audit_families() -> Iterator[Family]:
    """Of a server that audits nothing: the counters that ``audit.options`` registers where something is."""
    yield Family(_AUDIT_EVENTS, [((), 0)])
    yield Family(_AUDIT_REJECTED, [((), 0)])


class CelMetrics:
    """Expressions of policies, webhooks' conditions, custom resources and configuration files."""

    def __init__(self) -> None:
        self._compilations = Distributions(
            Definition(
                "apiserver_cel_compilation_duration_seconds", "histogram", "CEL compilation time in seconds.", (),
                _CEL_SECONDS,
            ),
            (),
        )  # fmt: skip
        self._evaluations = Distributions(
            Definition(
                "apiserver_cel_evaluation_duration_seconds", "histogram", "CEL evaluation time in seconds.", (),
                _CEL_SECONDS,
            ),
            (),
        )  # fmt: skip
        self.observer = CelObserver(self._compilations.values[()].observe, self._evaluations.values[()].observe)

    def families(self) -> Iterator[Family]:
        return families(self._compilations, self._evaluations)


def handshake_errors() -> Counts:
    return Counts(
        Definition(
            "apiserver_tls_handshake_errors_total", "counter",
            "Number of requests dropped with 'TLS handshake error from' error",
        ),
        (),
    )  # fmt: skip


def discovery_builds() -> Counts:
    return Counts(
        Definition(
            "aggregator_discovery_aggregation_count_total", "counter",
            "Counter of number of times discovery was aggregated",
        ),
        (),
    )  # fmt: skip
