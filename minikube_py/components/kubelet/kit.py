"""The parts that all pod workers share, assembled once in ``component``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.client.types import Client, EventRecorder
from minikube_py.components.kubelet.metrics import KubeletMetrics
from minikube_py.components.kubelet.pods.cgroups import Cgroups
from minikube_py.components.kubelet.pods.fields import NodeFacts
from minikube_py.components.kubelet.pods.images import Images
from minikube_py.components.kubelet.probes.checks import Checker
from minikube_py.components.kubelet.references import References
from minikube_py.components.kubelet.runtime.types import Runtime
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.components.kubelet.volumes.volumes import Volumes
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class Kit:
    """Collaborators of a pod worker."""

    settings: KubeletSettings
    client: Client
    runtime: Runtime
    clock: Clock
    recorder: EventRecorder
    metrics: KubeletMetrics
    references: References
    volumes: Volumes
    images: Images
    checker: Checker
    cgroups: Cgroups
    node: NodeFacts
    memory_capacity: int
    services: Callable[[], Sequence[Object]]
    """All Services, for environment variables."""
