"""The controllers component: which loops there are, and their start.

The modules of loops are imported when the component starts, not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from minikube_py.client.leader_election import Election
from minikube_py.client.recorder import Recorder
from minikube_py.client.types import Client
from minikube_py.components.controllers.accounts import account_of
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.running import Loop, keep_all
from minikube_py.components.controllers.settings import ControllerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import Resource

_EVENT_SOURCES = {
    "node-lifecycle": "node-controller",
    "disruption": "controllermanager",
    "horizontal-pod-autoscaler": "horizontal-pod-autoscaler",
    "persistentvolume-binder": "persistentvolume-controller",
    "ephemeral-volume": "ephemeral_volume",
}
"""Loops whose events Kubernetes signs with another name than the loop's own."""


async def run_controllers(
    client: Client,
    settings: ControllerSettings,
    clock: Clock,
    ready: Callable[[], None],
    *,
    resources: Callable[[], Sequence[Resource]],
    acting_as: Callable[[str], Client] | None = None,
) -> None:
    """Run all loops until cancelled.

    ``acting_as`` gives the client of a service account of ``kube-system``, so that each loop has an identity of
    its own; without it all of them use ``client``.

    ``resources`` gives every resource that can be listed and deleted now, custom ones included, each
    once; it is asked again when definitions change. With ``settings.election`` the loops run only
    while this participant leads; ``ready`` is called as soon as it takes part.
    """
    loops = {name: make for name, make in all_loops().items() if name not in settings.disabled}
    if not settings.root_ca.value:
        loops.pop("root-ca-certificate-publisher", None)
    if settings.sign_request is None:
        loops.pop("certificatesigningrequest-signing", None)
    if not settings.cluster_cidr:
        loops.pop("node-ipam", None)
    async with asyncio.TaskGroup() as group:
        recorders: dict[str, Recorder] = {}

        def kit_for(name: str) -> Kit:
            account = account_of(name)
            own = acting_as(account) if acting_as is not None and account else client
            if name not in recorders:
                recorders[name] = Recorder(own, _EVENT_SOURCES.get(name, f"{name}-controller"), clock=clock)
                group.create_task(recorders[name].run(), name=f"events-{name}")
            return Kit(own, clock, recorders[name], settings, resources, acting_as)

        made = {name: _bound(make, kit_for(name)) for name, make in loops.items()}
        ready()

        async def lead() -> None:
            await keep_all(made, clock)

        await (Election(client, clock, settings.election).run(lead) if settings.election else lead())


def _bound(make: Callable[[Kit], Loop], kit: Kit) -> Callable[[], Loop]:
    return lambda: make(kit)


def all_loops() -> dict[str, Callable[[Kit], Loop]]:
    """Every loop by the name Kubernetes gives it."""
    return {
        **_namespaces_and_objects(),
        **_workloads(),
        **_nodes_and_networks(),
        **_volumes(),
        **_certificates_and_tokens(),
    }


def _namespaces_and_objects() -> dict[str, Callable[[Kit], Loop]]:
    """Loops of namespaces, of what each of them holds, and of what owns what."""
    from minikube_py.components.controllers.garbage.collector import GarbageCollector
    from minikube_py.components.controllers.namespaces import NamespaceController
    from minikube_py.components.controllers.per_namespace import root_ca_controller, service_account_controller
    from minikube_py.components.controllers.quota.controller import ResourceQuotaController

    return {
        "serviceaccount": service_account_controller,
        "root-ca-certificate-publisher": root_ca_controller,
        "namespace": NamespaceController,
        "garbage-collector": GarbageCollector,
        "resourcequota": ResourceQuotaController,
    }


def _workloads() -> dict[str, Callable[[Kit], Loop]]:
    """Loops of what makes pods, and of what counts and places them."""
    from minikube_py.components.controllers.cronjob.controller import CronJobController
    from minikube_py.components.controllers.daemonset.controller import DaemonSetController
    from minikube_py.components.controllers.deployment.controller import DeploymentController
    from minikube_py.components.controllers.disruption import DisruptionController
    from minikube_py.components.controllers.horizontal_pod_autoscaler.controller import (
        HorizontalPodAutoscalerController,
    )
    from minikube_py.components.controllers.job.controller import JobController
    from minikube_py.components.controllers.replicaset import REPLICA_SET, REPLICATION_CONTROLLER, ReplicaController
    from minikube_py.components.controllers.statefulset.controller import StatefulSetController
    from minikube_py.components.controllers.ttl_after_finished import TtlAfterFinishedController

    return {
        "replicaset": lambda kit: ReplicaController(kit, REPLICA_SET),
        "replication": lambda kit: ReplicaController(kit, REPLICATION_CONTROLLER),
        "deployment": DeploymentController,
        "daemonset": DaemonSetController,
        "statefulset": StatefulSetController,
        "job": JobController,
        "cronjob": CronJobController,
        "disruption": DisruptionController,
        "horizontal-pod-autoscaler": HorizontalPodAutoscalerController,
        "ttl-after-finished": TtlAfterFinishedController,
    }


def _nodes_and_networks() -> dict[str, Callable[[Kit], Loop]]:
    """Loops of nodes, of the pods on them, and of Services."""
    from minikube_py.components.controllers.endpoints.controller import EndpointsController
    from minikube_py.components.controllers.endpoints.mirroring import EndpointsMirror
    from minikube_py.components.controllers.nodeipam import NodeIpam
    from minikube_py.components.controllers.nodes.eviction import TaintEvictionController
    from minikube_py.components.controllers.nodes.lifecycle import NodeLifecycleController
    from minikube_py.components.controllers.nodes.pod_gc import PodGarbageCollector

    return {
        "node-ipam": NodeIpam,
        "node-lifecycle": NodeLifecycleController,
        "taint-eviction": TaintEvictionController,
        "pod-garbage-collector": PodGarbageCollector,
        "endpoint-slice": EndpointsController,
        "endpoint-slice-mirroring": EndpointsMirror,
    }


def _volumes() -> dict[str, Callable[[Kit], Loop]]:
    """Loops of volumes and claims."""
    from minikube_py.components.controllers.storage_protection import (
        ClaimProtectionController,
        VolumeProtectionController,
    )
    from minikube_py.components.controllers.volumes.binder import VolumeBinder
    from minikube_py.components.controllers.volumes.ephemeral import EphemeralVolumeController

    return {
        "persistentvolume-binder": VolumeBinder,
        "ephemeral-volume": EphemeralVolumeController,
        "persistentvolumeclaim-protection": ClaimProtectionController,
        "persistentvolume-protection": VolumeProtectionController,
    }


def _certificates_and_tokens() -> dict[str, Callable[[Kit], Loop]]:
    """Loops of certificate requests and of the tokens that workers join with."""
    from minikube_py.components.controllers.bootstrap.signing import BootstrapSigner
    from minikube_py.components.controllers.bootstrap.token_cleaning import TokenCleaner
    from minikube_py.components.controllers.certificates.approving import ApprovingController
    from minikube_py.components.controllers.certificates.cleaning import CleaningController
    from minikube_py.components.controllers.certificates.serving_approving import ServingApprovingController
    from minikube_py.components.controllers.certificates.signing import SigningController

    return {
        "certificatesigningrequest-approving": ApprovingController,
        "kubelet-serving-approving": ServingApprovingController,
        "certificatesigningrequest-signing": SigningController,
        "certificatesigningrequest-cleaner": CleaningController,
        "bootstrap-signer": BootstrapSigner,
        "token-cleaner": TokenCleaner,
    }
