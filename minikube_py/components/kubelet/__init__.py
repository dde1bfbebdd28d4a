"""The kubelet: runs the pods that are bound to this node.

``run_kubelet`` is the entry; ``settings.KubeletSettings`` is what it is told. In: pods, ConfigMaps,
Secrets and tokens from a ``Client``; containers from a ``Runtime``. Out: pod status, the Node object
and its lease, events, and the node API on port 10250. Nothing else is imported from the project but
``machinery`` and ``client``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.client.types import Client, EventRecorder
    from minikube_py.components.kubelet.runtime.types import Runtime
    from minikube_py.components.kubelet.settings import KubeletSettings
    from minikube_py.machinery.clock import Clock


async def run_kubelet(
    client: Client,
    runtime: Runtime,
    settings: KubeletSettings,
    clock: Clock,
    recorder: EventRecorder,
    ready: Callable[[], None],
    *,
    neighbours: CollectorRegistry | None = None,
) -> None:
    """Be a node until cancelled; see ``component.run_kubelet``.

    Imported on first use: whoever needs only the container runtime must not load all of the kubelet.
    """
    from minikube_py.components.kubelet.component import run_kubelet as run

    await run(client, runtime, settings, clock, recorder, ready, neighbours=neighbours)
