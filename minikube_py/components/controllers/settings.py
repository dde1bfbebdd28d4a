"""Settings of the controllers, with kube-controller-manager's defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from minikube_py.client.leader_election import ElectionSettings


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """``root_ca`` is the PEM text for ``kube-root-ca.crt`` (empty: no such ConfigMaps).

    ``election`` makes the whole group lead only while it holds that Lease; None: it always leads.
    ``disabled`` names loops that are not run.
    """

    root_ca: str = ""
    election: ElectionSettings | None = None
    disabled: frozenset[str] = field(default_factory=frozenset)
    node_monitor_grace_seconds: float = 50.0
    node_startup_grace_seconds: float = 60.0
    terminated_pod_threshold: int = 12_500
    max_endpoints_per_slice: int = 100
    cluster_cidr: str = ""
    """Addresses of pods, of which every node gets a part (empty: nodes get none)."""
    node_cidr_prefix: int = 24
