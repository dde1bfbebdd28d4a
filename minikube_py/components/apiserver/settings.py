"""Settings of the API server; filled by ``server.py`` from the configuration."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from minikube_py.components.apiserver.aggregation.connections import ProxyIdentity
from minikube_py.components.apiserver.registry.allocation import ServiceRanges


@dataclass(frozen=True, slots=True)
class KubeletTls:
    """Paths of what the API server shows to and expects from kubelets."""

    ca_file: str
    cert_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class ApiServerSettings:
    """Where to listen and what to serve. ``tls`` None serves plain HTTP (tests only).

    ``advertise_address`` is what the ``kubernetes`` Service leads to; empty: no such Service is kept.
    """

    bind_address: str = "127.0.0.1"
    port: int = 6443
    advertise_address: str = ""
    tls: ssl.SSLContext | None = None
    kubelet_tls: KubeletTls | None = None
    aggregation: bool = False
    """Whether APIServices are kept for what is served here, and those with a Service are passed on to it."""
    proxy_identity: ProxyIdentity | None = None
    priority_and_fairness: bool = False
    """False: the two limits below hold as they stand."""
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    """With priority and fairness the two are added up to the seats that priority levels share."""
    service_ranges: ServiceRanges = field(default_factory=ServiceRanges)
