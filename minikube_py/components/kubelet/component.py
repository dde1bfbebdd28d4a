"""Assembles the kubelet from its parts and runs it.

``run_kubelet`` works against a ``Client`` and a ``Runtime`` alone, so it is the same in the server's
process and on another host. When it is cancelled the containers go on; the next run adopts them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from minikube_py.client.types import Client, EventRecorder
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.metrics import KubeletMetrics
from minikube_py.components.kubelet.node.eviction import Evictor
from minikube_py.components.kubelet.node.facts import Machine, read_machine
from minikube_py.components.kubelet.node.image_gc import ImageCollector
from minikube_py.components.kubelet.node.log_rotation import rotate_logs
from minikube_py.components.kubelet.node.node_object import allocatable, node_labels
from minikube_py.components.kubelet.node.registration import Registration
from minikube_py.components.kubelet.pods.cgroups import Cgroups, detect_version
from minikube_py.components.kubelet.pods.fields import NodeFacts
from minikube_py.components.kubelet.pods.images import Images
from minikube_py.components.kubelet.pods.pods import Pods
from minikube_py.components.kubelet.probes.checks import Checker
from minikube_py.components.kubelet.references import References
from minikube_py.components.kubelet.runtime.counted import counted
from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeFailure
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.components.kubelet.volumes.tokens import Tokens
from minikube_py.components.kubelet.volumes.volumes import Volumes
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import NODES, PODS, SERVICES

log = logging.getLogger(__name__)


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
    """Be a node until cancelled. ``ready`` is called once the Node object exists and is Ready=True.

    ``neighbours`` has the metrics of the node's other components, which the node API shows beside the kubelet's.
    """
    machine = await asyncio.to_thread(read_machine, settings.root_dir)
    informer = client.informer(PODS, field_selector=f"spec.nodeName={settings.node_name}")
    metrics = KubeletMetrics(CollectorRegistry(), settings.node_name, detect_version(settings.cgroup_mount))
    runtime = counted(runtime, metrics, clock)
    async with asyncio.TaskGroup() as group:
        kit = await _assemble(client, runtime, settings, clock, recorder, machine, metrics, group)
        if neighbours is not None:
            kit.metrics.registry.register(neighbours)
        try:
            nodes = client.informer(NODES, field_selector=f"metadata.name={settings.node_name}")
            pods = Pods(kit, group, informer, nodes, node_labels(settings, machine))
            port = await _serve_node_api(kit, pods, machine, group)
            registration = Registration(client, runtime, settings, clock, machine, port=lambda: port)
            group.create_task(registration.run(ready), name="node-registration")
            group.create_task(pods.run(), name="pods")
            group.create_task(Evictor(kit, pods, registration.set_pressure).run(), name="eviction")
            group.create_task(rotate_logs(kit, pods), name="log-rotation")
            await _collect_images(kit)
        finally:
            await kit.images.close()
            await kit.checker.close()


async def _assemble(
    client: Client,
    runtime: Runtime,
    settings: KubeletSettings,
    clock: Clock,
    recorder: EventRecorder,
    machine: Machine,
    metrics: KubeletMetrics,
    group: asyncio.TaskGroup,
) -> Kit:
    cgroups = Cgroups(settings.cgroup_mount, detect_version(settings.cgroup_mount))
    await asyncio.to_thread(_make_folders, settings, cgroups)
    services = client.informer(SERVICES)
    await services.synced()
    references = References(client, clock, group)
    node = NodeFacts(settings.node_name, (settings.node_ip,), allocatable(machine, settings))
    images = Images(
        runtime,
        clock,
        metrics,
        parallel=settings.parallel_image_pulls,
        timeout_seconds=settings.image_service_timeout_seconds,
    )
    return Kit(
        settings=settings,
        client=client,
        runtime=runtime,
        clock=clock,
        recorder=recorder,
        metrics=metrics,
        references=references,
        volumes=Volumes(settings, client, references, Tokens(client, clock), node),
        images=images,
        checker=Checker(runtime),
        cgroups=cgroups,
        node=node,
        memory_capacity=machine.memory_bytes,
        services=services.list,
    )


def _make_folders(settings: KubeletSettings, cgroups: Cgroups) -> None:
    for folder in (settings.root_dir, settings.root_dir / "pods"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    settings.pod_logs_dir.mkdir(parents=True, exist_ok=True)
    cgroups.ensure_tree(settings.cgroup_root)


async def _serve_node_api(kit: Kit, pods: Pods, machine: Machine, group: asyncio.TaskGroup) -> int:
    """Serve the node API if there is a certificate for it; returns its port, or 0."""
    if kit.settings.tls_cert_file is None:
        return 0
    from minikube_py.components.kubelet.api.server import NodeApi

    api = NodeApi(kit, pods, machine)
    port = await api.start()
    group.create_task(api.run(), name="node-api")
    return port


async def _collect_images(kit: Kit) -> None:
    """Image garbage collection, forever."""
    settings = kit.settings
    collector = ImageCollector(
        kit.runtime, kit.clock, high_percent=settings.image_gc_high_percent, low_percent=settings.image_gc_low_percent
    )
    place: Path = settings.root_dir
    while True:
        await kit.clock.sleep(settings.housekeeping_seconds)
        try:
            freed = await collector.collect(place)
            if freed:
                log.info("removed unused images", extra={"freed_bytes": freed})
        except (RuntimeFailure, OSError) as failure:
            log.warning("cannot collect images", extra={"error": str(failure)})
