"""The loops against the real API server, in its process and over HTTP: what it stores is what they mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from controllers_confinement import confined_server
from open_server import open_server

from minikube_py.client.clock import SystemClock
from minikube_py.client.http import HttpClient
from minikube_py.client.types import Client, DeleteOptions, PatchType
from minikube_py.components.controllers import ControllerSettings, run_controllers
from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.objects import Object, annotations_of, is_deleting, name_of, namespace_of, thaw
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from minikube_py.machinery.times import rfc3339

patience_seconds = 60.0
TEMPLATE: Object = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}


def served() -> list[Resource]:
    return [
        kind.resource
        for kind in builtin_kinds()
        if kind.storage is None
        and {"list", "delete", "watch"} <= set(kind.verbs)
        and kind.resource.group != "events.k8s.io"
    ]


@pytest.fixture(params=["local", "http", "confined"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    """The loops run beside it: in the server's process, over HTTP, or each with the rights of its own account."""
    clock = SystemClock()
    if request.param == "confined":
        async with confined_server(tmp_path) as confined:
            own = confined.api.client()
            settings = ControllerSettings(root_ca=Observed("PEM"))
            loops = asyncio.create_task(
                run_controllers(own, settings, clock, lambda: None, resources=served, acting_as=confined.acting_as)
            )
            yield own
            loops.cancel()
            await asyncio.wait({loops})
            assert confined.seen.writers, "the loops wrote under other names"
        return
    async with open_server(tmp_path) as api, HttpClient(f"http://127.0.0.1:{api.port}") as over_http:
        used: Client = over_http if request.param == "http" else api.client()
        settings = ControllerSettings(root_ca=Observed("PEM"))
        loops = asyncio.create_task(run_controllers(used, settings, clock, lambda: None, resources=served))
        yield used
        loops.cancel()
        await asyncio.wait({loops})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the loops; every change is an event, so this only bounds how long a failure takes."""
    async with asyncio.timeout(patience_seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Cluster:
    """Reads through informers, and reports what kubelets would."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def all(self, resource: Resource, namespace: str | None = "default") -> list[Object]:
        return sorted(self.client.informer(resource).list(namespace), key=name_of)

    def status(self, resource: Resource, name: str) -> Object:
        found = self.client.informer(resource).get(name, "default")
        return (found or {}).get("status") or {}

    async def start(self) -> None:
        if self.client.informer(NAMESPACES).get("default") is None:
            await self.client.create(
                NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
            )

    async def run_pods(self, phase: str = "Running") -> None:
        for number, pod in enumerate(self.all(PODS)):
            if (pod.get("status") or {}).get("phase") != "Pending" or is_deleting(pod):
                continue
            draft = thaw(pod)
            stamp, ip = rfc3339(SystemClock().now()), f"10.1.0.{number + 1}"
            ready = {"type": "Ready", "status": "True" if phase == "Running" else "False", "lastTransitionTime": stamp}
            draft["status"] |= {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready]}
            await self.client.update(PODS, draft, namespace_of(pod), subresource="status")


@pytest.fixture
async def cluster(client: Client) -> Cluster:
    made = Cluster(client)
    await made.start()
    return made


def workload(resource: Resource, **spec: object) -> Object:
    defaults = {"selector": {"matchLabels": {"app": "w"}}, "template": TEMPLATE}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "w"},
        "spec": {**defaults, **spec},
    }


async def test_a_deployment_rolls_out_and_back_and_goes(cluster: Cluster) -> None:
    client = cluster.client
    await client.create(DEPLOYMENTS, workload(DEPLOYMENTS, replicas=3), "default")
    ports = [{"port": 80}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "w"},
        "spec": {"selector": {"app": "w"}, "ports": ports},
    }
    await client.create(SERVICES, service, "default")
    await until(lambda: len(cluster.all(PODS)) == 3)
    await cluster.run_pods()
    await until(lambda: cluster.status(DEPLOYMENTS, "w").get("availableReplicas") == 3)
    await until(lambda: sum(len(each.get("endpoints") or ()) for each in cluster.all(ENDPOINT_SLICES)) == 3)
    await until(lambda: bool(cluster.all(ENDPOINTS)) and len(cluster.all(ENDPOINTS)[0]["subsets"][0]["addresses"]) == 3)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}
    await client.patch(DEPLOYMENTS, "w", change, "default", patch_type=PatchType.STRATEGIC)

    async def roll() -> None:
        async with asyncio.timeout(patience_seconds):
            while cluster.status(DEPLOYMENTS, "w").get("updatedReplicas") != 3 or len(cluster.all(PODS)) != 3:
                await cluster.run_pods()
                await asyncio.sleep(0.01)

    await until(lambda: cluster.status(DEPLOYMENTS, "w").get("observedGeneration") == 2)
    await roll()
    assert {pod["spec"]["containers"][0]["image"] for pod in cluster.all(PODS)} == {"i:2"}
    live = await client.get(DEPLOYMENTS, "w", "default")
    assert annotations_of(live)["deployment.kubernetes.io/revision"] == "2"
    assert live["metadata"]["generation"] == 2
    await client.delete(DEPLOYMENTS, "w", "default", options=DeleteOptions(propagation_policy="Foreground"))
    await until(lambda: not cluster.all(PODS) and not cluster.all(REPLICA_SETS) and not cluster.all(DEPLOYMENTS))


async def test_a_stateful_set_and_a_daemon_set_come_up(cluster: Cluster) -> None:
    client = cluster.client
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    await client.create(NODES, node)
    await client.create(STATEFUL_SETS, workload(STATEFUL_SETS, replicas=2, serviceName="w"), "default")
    await until(lambda: len(cluster.all(PODS)) == 1)
    await cluster.run_pods()
    await until(lambda: len(cluster.all(PODS)) == 2)
    await cluster.run_pods()
    await until(lambda: cluster.status(STATEFUL_SETS, "w").get("availableReplicas") == 2)
    await client.delete(STATEFUL_SETS, "w", "default")
    await until(lambda: not cluster.all(PODS))
    await client.create(DAEMON_SETS, workload(DAEMON_SETS), "default")
    await until(lambda: cluster.status(DAEMON_SETS, "w").get("desiredNumberScheduled") == 0)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": rfc3339(SystemClock().now()),
    }
    draft = thaw(await client.get(NODES, "n"))
    draft["status"] = {"conditions": [ready]}
    await client.update(NODES, draft, subresource="status")
    await until(lambda: cluster.status(DAEMON_SETS, "w").get("currentNumberScheduled") == 1)


async def test_a_job_completes(cluster: Cluster) -> None:
    template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"completions": 2, "template": template},
    }
    await cluster.client.create(JOBS, job, "default")
    for done in (1, 2):
        await until(lambda: any((pod.get("status") or {}).get("phase") == "Pending" for pod in cluster.all(PODS)))
        await cluster.run_pods("Succeeded")
        await until(lambda done=done: cluster.status(JOBS, "j").get("succeeded") == done)  # type: ignore[misc]
    await until(lambda: condition_is_true(cluster.status(JOBS, "j").get("conditions"), "Complete"))
    await cluster.client.delete(JOBS, "j", "default", options=DeleteOptions(propagation_policy="Background"))
    await until(lambda: not cluster.all(PODS))


async def test_other_things_stay_while_a_namespace_still_has_pods(cluster: Cluster) -> None:
    client = cluster.client
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    await until(lambda: len(cluster.all(SERVICE_ACCOUNTS, "n")) == 1 and len(cluster.all(CONFIG_MAPS, "n")) == 1)
    meta = {"name": "p", "finalizers": ["example.com/hold"]}
    await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": TEMPLATE["spec"]}, "n")
    await client.delete(NAMESPACES, "n")

    def remaining() -> bool:
        found = client.informer(NAMESPACES).get("n")
        conditions = found["status"].get("conditions") if found else None
        return condition_is_true(conditions, "NamespaceFinalizersRemaining")

    await until(remaining)
    assert len(cluster.all(CONFIG_MAPS, "n")) == 1
    await client.patch(PODS, "p", {"metadata": {"finalizers": None}}, "n")
    await until(lambda: cluster.all(CONFIG_MAPS, "n") == [] and cluster.all(PODS, "n") == [])


async def test_a_namespace_comes_with_its_things_and_goes_with_them(cluster: Cluster) -> None:
    client = cluster.client
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    await until(lambda: len(cluster.all(SERVICE_ACCOUNTS, "n")) == 1 and len(cluster.all(CONFIG_MAPS, "n")) == 1)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": TEMPLATE["spec"]}
    await client.create(PODS, pod, "n")
    await client.delete(NAMESPACES, "n")
    await until(lambda: "n" not in [name_of(each) for each in client.informer(NAMESPACES).list()])
    assert cluster.all(SERVICE_ACCOUNTS, "n") == []
