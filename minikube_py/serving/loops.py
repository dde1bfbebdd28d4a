"""The control loops of a process: what each needs, from the foundation; the scheduler and the writer of events too."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from minikube_py import config
from minikube_py.bootstrap_tokens import NODE_GROUP
from minikube_py.config import ServerSettings
from minikube_py.serving.process import Server
from minikube_py.supervisor import Ready

if TYPE_CHECKING:
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings
    from minikube_py.machinery.resources import Resource


async def run_controller_manager(server: Server, ready: Ready) -> None:
    """kube-controller-manager's loops."""
    from minikube_py.components.apiserver.authentication.identity import service_account_user
    from minikube_py.components.apiserver.types import LOOPBACK
    from minikube_py.components.controllers import ControllerSettings, run_controllers
    from minikube_py.components.controllers.garbage.collector import IGNORED
    from minikube_py.serving.settings import api_url

    found = server.foundation
    settings = ControllerSettings(
        root_ca=found.credentials.root_ca,
        sign_request=found.credentials.sign_request,
        pending_charges=found.api.pending_charges,
        cluster_signing_seconds=config.seconds("cluster_signing_duration", server.settings.cluster_signing_duration),
        node_monitor_grace_seconds=config.seconds(
            "node_monitor_grace_period", server.settings.node_monitor_grace_period
        ),
        joining_group=NODE_GROUP,
        api_url=api_url(server.settings),
        cluster_cidr=server.settings.cluster_cidr,
        autoscaling=autoscaler_settings(server.settings),
        metrics=found.api.aggregated_reader(service_account_user("kube-system", "horizontal-pod-autoscaler")),
    )
    client = found.api.client(LOOPBACK, user_agent="kube-controller-manager")
    # The loops begin by looking at every object but events, one loop after the other: here they are parsed in portions.
    looked_at = [resource for resource in deletable_resources(found.api) if resource.qualified not in IGNORED]
    await found.api.core.caches.parse(looked_at)
    await run_controllers(
        client,
        settings,
        server.clock,
        ready,
        resources=lambda: deletable_resources(found.api),
        acting_as=server.controller,
    )


def autoscaler_settings(settings: ServerSettings) -> AutoscalerSettings:
    """What ``--horizontal-pod-autoscaler-*`` say. Raises ConfigError."""
    from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings

    def given(name: str) -> str:
        return str(getattr(settings, f"horizontal_pod_autoscaler_{name}"))

    def seconds(name: str) -> float:
        return config.seconds(f"horizontal_pod_autoscaler_{name}", given(name))

    return AutoscalerSettings(
        sync_seconds=seconds("sync_period"),
        tolerance=config.share("horizontal_pod_autoscaler_tolerance", given("tolerance")),
        downscale_stabilization_seconds=seconds("downscale_stabilization"),
        initial_readiness_seconds=seconds("initial_readiness_delay"),
        cpu_initialization_seconds=seconds("cpu_initialization_period"),
    )


async def run_role_aggregation(server: Server, ready: Ready) -> None:
    """The clusterrole-aggregation controller; it lives with the rules it compiles, in the API server's room."""
    from minikube_py.components.apiserver.authorization.aggregation import NAME
    from minikube_py.components.apiserver.authorization.aggregation import run_role_aggregation as aggregate_roles

    await aggregate_roles(server.controller(NAME), server.clock, ready)


async def run_policy_status(server: Server, ready: Ready) -> None:
    """The controller of admission policies' status; it needs the kinds that the API server serves."""
    from minikube_py.components.apiserver.admission.policies.status import run_policy_status as keep_status

    client = server.controller("validatingadmissionpolicy-status-controller")
    await keep_status(client, server.foundation.api.kinds, server.clock, ready)


async def run_token_secrets(server: Server, ready: Ready) -> None:
    """The token controller and the cleaner of legacy tokens; they sign, so they live in the API server's room."""
    from minikube_py.components.apiserver.authentication.legacy_token_controller import (
        run_token_cleaner,
        run_token_controller,
    )
    from minikube_py.components.apiserver.authentication.legacy_tokens import LEGACY_ISSUER
    from minikube_py.pki import load_service_account_tokens
    from minikube_py.serving.api import adopt_service_key

    found = server.foundation
    tokens = await asyncio.to_thread(load_service_account_tokens, found.pki.service_key, [LEGACY_ISSUER])
    found.credentials.on_change("token controller's keys", partial(adopt_service_key, found.pki, tokens))
    root_ca = found.credentials.root_ca
    maker = server.client_as("system:kube-controller-manager", user_agent="kube-controller-manager")
    cleaner, tracker = server.controller("legacy-service-account-token-cleaner"), found.api.client()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_token_controller(maker, tokens, root_ca, server.clock, ready))
        tasks.create_task(run_token_cleaner(cleaner, tracker, server.clock, lambda: None))


def deletable_resources(api: ApiServer) -> list[Resource]:
    """Every stored resource that can be listed and deleted, each once, custom ones included.

    In the storage version where that is served, because reading another one may need a webhook.
    """
    from minikube_py.components.apiserver.registry.kinds import is_virtual

    found: dict[Resource, Resource] = {}
    for kind in api.kinds.all():
        if not is_virtual(kind) and {"list", "delete"} <= set(kind.verbs):
            stored = kind.stored_as
            if stored == kind.resource:
                found[stored] = stored
            else:
                found.setdefault(stored, kind.resource)
    return list(found.values())


async def run_datastore_condition(server: Server, ready: Ready) -> None:
    """Say on this server's node when the datastore takes no writes."""
    from minikube_py.components.apiserver.datastore_stall import keep_node_condition
    from minikube_py.components.apiserver.types import LOOPBACK

    found, name = server.foundation, config.node_name(server.settings)
    await keep_node_condition(found.api.client(LOOPBACK), name, found.store, server.clock, ready)


async def run_scheduler(server: Server, ready: Ready) -> None:
    from minikube_py.components.scheduler import SchedulerSettings
    from minikube_py.components.scheduler import run_scheduler as schedule

    found = server.foundation
    recorder = server.recorder("default-scheduler")
    plugins, weights = server.plugins.scheduler_plugins() if server.plugins is not None else ([], {})
    settings = SchedulerSettings(plugins=plugins, weights=weights)
    await schedule(server.scheduler(), settings, server.clock, recorder, found.registry, ready)


async def run_local_path_provisioner(server: Server, ready: Ready) -> None:
    """The provisioner of the storage class that comes with pyk3s."""
    from minikube_py.components.localpath import run_provisioner

    name = "local-path-provisioner"
    root = str(config.local_storage_path(server.settings))
    await run_provisioner(server.controller(name), server.recorder(name), server.clock, root, ready)


async def run_service_load_balancer(server: Server, ready: Ready) -> None:
    """The load balancer that comes with pyk3s; what the nodes of a cluster need for themselves is not given away."""
    from minikube_py.components.servicelb import run_servicelb

    settings, name = server.settings, "service-lb"
    reserved = {("TCP", settings.https_listen_port), ("TCP", settings.kubelet_port)}
    await run_servicelb(server.controller(name), server.recorder(name), server.clock, reserved, ready)


async def run_events(server: Server, ready: Ready) -> None:
    """Write what the recorders of scheduler and kubelet take in."""
    names = ("default-scheduler", "local-path-provisioner", "service-lb")
    recorders = [*map(server.recorder, names), server.recorder("kubelet", config.node_name(server.settings))]
    if server.plugins is not None:
        recorders += [server.recorder(f"plugin-{name}") for name in server.plugins.names]
    async with asyncio.TaskGroup() as tasks:
        for recorder in recorders:
            tasks.create_task(recorder.run())
        ready()


async def run_certificates(server: Server, ready: Ready) -> None:
    """Renew what runs out and tell its users, also of what others have changed."""
    await server.foundation.credentials.run(ready)
