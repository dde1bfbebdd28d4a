"""Endpoints, StatefulSets, budgets, quotas, and all loops together."""

from __future__ import annotations

import asyncio

import pytest
from controllers_world import NAMESPACE, World, served

from minikube_py.components.controllers import ControllerSettings, run_controllers
from minikube_py.components.controllers.disruption import DisruptionController
from minikube_py.components.controllers.endpoints.controller import EndpointsController
from minikube_py.components.controllers.endpoints.slices import plan_slices
from minikube_py.components.controllers.quota.controller import ResourceQuotaController
from minikube_py.components.controllers.running import keep
from minikube_py.components.controllers.statefulset.controller import StatefulSetController
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    STATEFUL_SETS,
)


def add_pod(world: World, name: str, ip: str, *, ready: bool = True, **spec: object) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
    containers = [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]
    pod = {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "web"}},
        "spec": {"containers": containers, **spec},
        "status": status,
    }
    return world.client.seed(PODS, pod)[0]


def service(**spec: object) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    return {
        "metadata": {"name": "s"},
        "spec": {"selector": {"app": "web"}, "ports": ports, "clusterIP": "10.0.0.1", **spec},
    }


def endpoints(world: World) -> dict[str, dict[str, bool]]:
    return {
        entry["addresses"][0]: entry["conditions"]
        for piece in world.client.all(ENDPOINT_SLICES, NAMESPACE)
        for entry in piece["endpoints"]
    }


async def test_slices_and_endpoints_follow_pods(world: World) -> None:
    add_pod(world, "a", "10.1.0.1", hostname="a", subdomain="s")
    add_pod(world, "b", "10.1.0.2", ready=False)
    world.start(EndpointsController)
    await world.client.create(SERVICES, service(), NAMESPACE)
    await world.settle()
    assert {ip: conditions["ready"] for ip, conditions in endpoints(world).items()} == {
        "10.1.0.1": True,
        "10.1.0.2": False,
    }
    (piece,) = world.client.all(ENDPOINT_SLICES, NAMESPACE)
    assert piece["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert piece["endpoints"][0]["hostname"] == "a"
    subset = world.client.one(ENDPOINTS, "s", NAMESPACE)["subsets"][0]
    assert [entry["ip"] for entry in subset["addresses"]] == ["10.1.0.1"]
    assert [entry["ip"] for entry in subset["notReadyAddresses"]] == ["10.1.0.2"]
    await world.client.delete(PODS, "a", NAMESPACE)
    await world.settle()
    assert list(endpoints(world)) == ["10.1.0.2"]
    assert len(world.client.all(ENDPOINT_SLICES, NAMESPACE)) == 1
    await world.client.delete(SERVICES, "s", NAMESPACE)
    await world.settle()
    assert world.client.all(ENDPOINT_SLICES, NAMESPACE) == []
    assert world.client.all(ENDPOINTS, NAMESPACE) == []


async def test_a_leaving_pod_serves_but_is_not_ready(world: World) -> None:
    add_pod(world, "a", "10.1.0.1", nodeName="n")
    world.start(EndpointsController)
    await world.client.create(SERVICES, service(), NAMESPACE)
    await world.settle()
    await world.client.delete(PODS, "a", NAMESPACE)
    await world.settle()
    assert endpoints(world)["10.1.0.1"] == {"ready": False, "serving": True, "terminating": True}


async def test_not_ready_addresses_can_be_published(world: World) -> None:
    add_pod(world, "a", "10.1.0.1", ready=False)
    world.start(EndpointsController)
    await world.client.create(SERVICES, service(publishNotReadyAddresses=True, clusterIP="None"), NAMESPACE)
    await world.settle()
    assert endpoints(world)["10.1.0.1"]["ready"]
    assert "service.kubernetes.io/headless" in world.client.all(ENDPOINT_SLICES, NAMESPACE)[0]["metadata"]["labels"]


async def test_a_service_without_pods_has_one_empty_slice(world: World) -> None:
    world.start(EndpointsController)
    await world.client.create(SERVICES, service(), NAMESPACE)
    await world.settle()
    assert [piece["endpoints"] for piece in world.client.all(ENDPOINT_SLICES, NAMESPACE)] == [[]]


PORTS = (("", "TCP", 80, None),)


def entries(*numbers: int) -> dict[str, Object]:
    made = ({"addresses": [f"10.0.0.{n}"], "targetRef": {"uid": str(n)}} for n in numbers)
    return {f"{entry['addresses'][0]}/{entry['targetRef']['uid']}": entry for entry in made}  # type: ignore[index, call-overload]


def piece(name: str, *numbers: int) -> Object:
    ports = [{"name": "", "protocol": "TCP", "port": 80}]
    return {"metadata": {"name": name}, "ports": ports, "endpoints": list(entries(*numbers).values())}


@pytest.mark.parametrize(
    ("existing", "wanted", "creates", "updates", "deletes"),
    [
        ([], range(3), 1, 0, 0),
        ([], range(25), 3, 0, 0),
        ([piece("a", 0, 1)], range(2), 0, 0, 0),
        ([piece("a", 0, 1)], range(3), 0, 1, 0),
        ([piece("a", *range(10))], range(11), 1, 0, 0),
        ([piece("a", 0), piece("b", 1)], [1], 0, 0, 1),
        ([piece("a", *range(10)), piece("b", 10, 11)], range(13), 0, 1, 0),
    ],
    ids=["first", "three slices", "nothing to do", "one more", "full", "one less", "into the slice with room"],
)
def test_few_slices_change(existing: list[Object], wanted: range, creates: int, updates: int, deletes: int) -> None:
    plan = plan_slices(existing, {PORTS: entries(*wanted)}, 10)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (creates, updates, deletes)


def stateful_set(replicas: int, **spec: object) -> Object:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "db:1"}]}}
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    defaults = {"selector": {"matchLabels": {"app": "db"}}, "serviceName": "db", "volumeClaimTemplates": [claim]}
    return {"metadata": {"name": "db"}, "spec": {**defaults, "template": template, "replicas": replicas, **spec}}


def names(world: World) -> list[str]:
    return [name_of(pod) for pod in world.pods()]


async def test_stateful_pods_come_one_after_the_other_and_go_backwards(world: World) -> None:
    world.start(StatefulSetController)
    await world.client.create(STATEFUL_SETS, stateful_set(3), NAMESPACE)
    await world.settle()
    assert names(world) == ["db-0"]
    for _ in range(3):
        await world.run_pods()
    assert names(world) == ["db-0", "db-1", "db-2"]
    status = world.client.one(STATEFUL_SETS, "db", NAMESPACE)["status"]
    assert (status["readyReplicas"], status["currentReplicas"], status["updatedReplicas"]) == (3, 3, 3)
    assert world.pods()[0]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "data-db-0"
    await world.client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, NAMESPACE)
    await world.settle()
    assert names(world) == ["db-0"]
    assert len(world.client.all(PERSISTENT_VOLUME_CLAIMS, NAMESPACE)) == 3
    assert world.client.written("delete", "pods") == ["default/db-2", "default/db-1"]


async def test_parallel_pods_come_at_once(world: World) -> None:
    world.start(StatefulSetController)
    await world.client.create(STATEFUL_SETS, stateful_set(3, podManagementPolicy="Parallel"), NAMESPACE)
    await world.settle()
    assert names(world) == ["db-0", "db-1", "db-2"]


@pytest.mark.parametrize(("partition", "images"), [(0, ["2", "2", "2"]), (2, ["1", "1", "2"])], ids=["all", "canary"])
async def test_an_update_stops_at_the_partition(world: World, partition: int, images: list[str]) -> None:
    world.start(StatefulSetController)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    await world.client.create(STATEFUL_SETS, stateful_set(3, updateStrategy=strategy), NAMESPACE)
    await world.settle()
    for _ in range(3):
        await world.run_pods()
    containers = [{"name": "db", "image": "db:2"}]
    await world.client.patch(
        STATEFUL_SETS, "db", {"spec": {"template": {"spec": {"containers": containers}}}}, NAMESPACE
    )
    for _ in range(5):
        await world.run_pods()
    assert [pod["spec"]["containers"][0]["image"][-1] for pod in world.pods()] == images
    status = world.client.one(STATEFUL_SETS, "db", NAMESPACE)["status"]
    assert (status["currentRevision"] == status["updateRevision"]) is (partition == 0)


async def test_a_budget_allows_what_is_spare(world: World) -> None:
    for number in range(3):
        add_pod(world, f"p{number}", f"10.1.0.{number}")
    world.start(DisruptionController)
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}
    await world.client.create(POD_DISRUPTION_BUDGETS, budget, NAMESPACE)
    await world.settle()
    status = world.client.one(POD_DISRUPTION_BUDGETS, "b", NAMESPACE)["status"]
    assert (status["currentHealthy"], status["desiredHealthy"], status["disruptionsAllowed"]) == (3, 2, 1)
    await world.client.delete(PODS, "p0", NAMESPACE)
    await world.settle()
    assert world.client.one(POD_DISRUPTION_BUDGETS, "b", NAMESPACE)["status"]["disruptionsAllowed"] == 0


async def test_a_quota_counts_what_is_there(world: World) -> None:
    resources = {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}
    containers = [{"name": "c", "resources": resources}]
    hard = {"pods": "5", "requests.cpu": "2", "limits.memory": "4Gi", "services": "3", "count/deployments.apps": "2"}
    world.start(ResourceQuotaController)
    await world.client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}}, NAMESPACE)
    for name in ("a", "b"):
        await world.client.create(PODS, {"metadata": {"name": name}, "spec": {"containers": containers}}, NAMESPACE)
    await world.client.create(SERVICES, service(), NAMESPACE)
    await world.settle()
    status = world.client.one(RESOURCE_QUOTAS, "q", NAMESPACE)["status"]
    assert status["used"] == {
        "pods": "2", "requests.cpu": "500m", "limits.memory": "2Gi", "services": "1", "count/deployments.apps": "0"
    }  # fmt: skip
    await world.client.delete(PODS, "a", NAMESPACE)
    await world.settle()
    assert world.client.one(RESOURCE_QUOTAS, "q", NAMESPACE)["status"]["used"]["pods"] == "1"


async def test_all_loops_bring_a_deployment_up_and_are_then_asleep(world: World) -> None:
    ready = asyncio.Event()
    settings = ControllerSettings(root_ca=Observed("PEM"))
    running = run_controllers(world.client, settings, world.clock, ready.set, resources=served)
    world.tasks.append(asyncio.ensure_future(running))
    await world.settle()
    assert ready.is_set()
    await world.client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}
    spec = {"replicas": 30, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    await world.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, NAMESPACE)
    await world.settle()
    await world.run_pods()
    assert world.client.one(DEPLOYMENTS, "web", NAMESPACE)["status"]["availableReplicas"] == 30
    await world.client.delete(DEPLOYMENTS, "web", NAMESPACE)
    await world.settle(5)
    assert world.pods() == []
    writes = len(world.client.actions)
    await world.settle(86400)
    assert len(world.client.actions) == writes
    assert world.clock.sleepers == 0


async def test_a_failing_loop_is_started_again(world: World) -> None:
    starts: list[float] = []

    class Failing:
        async def run(self) -> None:
            starts.append(world.clock.monotonic())
            raise RuntimeError("broken")

    world.tasks.append(asyncio.ensure_future(keep("failing", Failing, world.clock)))
    await world.settle(8)
    assert starts == [0, 1, 3, 7]
