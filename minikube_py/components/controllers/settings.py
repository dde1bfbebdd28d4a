"""Settings of the controllers, with kube-controller-manager's defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from minikube_py.client.leader_election import ElectionSettings
from minikube_py.components.controllers.horizontal_pod_autoscaler.metrics import MetricsApi, NoMetrics
from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.pod_resources import Amounts

SignRequest = Callable[[str, bytes, Sequence[str], float], Awaitable[bytes]]
"""(signer name, request PEM, usages, lifetime in seconds) -> certificate PEM. Raises when it cannot."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """``root_ca`` is the PEM text for ``kube-root-ca.crt`` (empty: no such ConfigMaps); it changes in a rotation.

    ``sign_request`` signs certificate requests, since keys stay where they are (None: nobody signs); no
    certificate lives longer than ``cluster_signing_seconds``.
    ``pending_charges`` tells what writes on their way have charged to a quota (namespace, name).
    ``joining_group`` gets no certificate in the name of a node that exists (empty: as in Kubernetes everybody does).
    ``api_url`` is the API's address for ``cluster-info`` (empty: no such ConfigMap is made).
    ``election`` makes the whole group lead only while it holds that Lease; None: it always leads.
    ``metrics`` reads the metrics APIs for autoscalers; ``autoscaling`` is how they are used.
    ``disabled`` names loops that are not run.
    """

    root_ca: Observed[str] = field(default_factory=lambda: Observed(""))
    sign_request: SignRequest | None = None
    pending_charges: Callable[[str, str], Amounts] = lambda namespace, quota: {}
    cluster_signing_seconds: float = 365 * 24 * 3600.0
    joining_group: str = ""
    api_url: str = ""
    election: ElectionSettings | None = None
    metrics: MetricsApi = field(default_factory=NoMetrics)
    autoscaling: AutoscalerSettings = field(default_factory=AutoscalerSettings)
    disabled: frozenset[str] = field(default_factory=frozenset)
    node_monitor_grace_seconds: float = 50.0
    node_startup_grace_seconds: float = 60.0
    terminated_pod_threshold: int = 12_500
    max_endpoints_per_slice: int = 100
    cluster_cidr: str = ""
    """Addresses of pods, of which every node gets a part (empty: nodes get none)."""
    node_cidr_prefix: int = 24
