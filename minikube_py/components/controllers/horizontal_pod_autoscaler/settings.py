"""What kube-controller-manager's ``--horizontal-pod-autoscaler-*`` options set, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AutoscalerSettings:
    """How often is looked, and what is waited for. Seconds, but for ``tolerance``, which is a share of the target."""

    sync_seconds: float = 15.0
    """Between two looks at one autoscaler."""
    tolerance: float = 0.1
    """So far measured and wanted may differ without any change, unless the autoscaler names its own."""
    downscale_stabilization_seconds: float = 300.0
    """The window in which the highest recommendation counts, unless the autoscaler names its own."""
    initial_readiness_seconds: float = 30.0
    """A pod that became unready within so long after its start was never ready."""
    cpu_initialization_seconds: float = 300.0
    """So long after its start a pod's cpu counts only while it is ready."""
