"""ReplicaSets and Deployments against the API in memory."""

from __future__ import annotations

import pytest
from controllers_world import NAMESPACE, World

from minikube_py.components.controllers.deployment.controller import DeploymentController
from minikube_py.components.controllers.replicaset import REPLICA_SET, ReplicaController
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.errors import ApiError, forbidden
from minikube_py.machinery.objects import Object, annotations_of, name_of
from minikube_py.machinery.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Resource

TEMPLATE: Object = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}], "nodeName": ""},
}


def replica_set(replicas: int, **spec: object) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": selector, "template": TEMPLATE, **spec},
    }


def deployment(replicas: int, **spec: object) -> Object:
    return replica_set(replicas, **spec)


async def test_pods_are_created_and_counted(world: World) -> None:
    world.start(lambda kit: ReplicaController(kit, REPLICA_SET))
    await world.client.create(REPLICA_SETS, replica_set(3), NAMESPACE)
    await world.settle()
    assert len(world.pods()) == 3
    await world.run_pods()
    status = world.client.one(REPLICA_SETS, "web", NAMESPACE)["status"]
    assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (3, 3, 3)
    await world.client.patch(REPLICA_SETS, "web", {"spec": {"replicas": 1}}, NAMESPACE)
    await world.settle()
    assert len(world.pods()) == 1
    assert world.recorder.reasons().count("SuccessfulDelete") == 2


async def test_not_ready_pods_go_first(world: World) -> None:
    world.start(lambda kit: ReplicaController(kit, REPLICA_SET))
    await world.client.create(REPLICA_SETS, replica_set(3), NAMESPACE)
    await world.settle()
    keep = world.pods()[1]
    for pod in world.pods():
        await world.set_pod(pod, "Running", ready=name_of(pod) == name_of(keep))
    await world.client.patch(REPLICA_SETS, "web", {"spec": {"replicas": 1}}, NAMESPACE)
    await world.settle()
    assert [name_of(pod) for pod in world.pods()] == [name_of(keep)]


async def test_orphans_are_adopted_and_strangers_released(world: World) -> None:
    await world.client.create(PODS, {"metadata": {"name": "stray", "labels": {"app": "web"}}, "spec": {}}, NAMESPACE)
    world.start(lambda kit: ReplicaController(kit, REPLICA_SET))
    await world.client.create(REPLICA_SETS, replica_set(2), NAMESPACE)
    await world.settle()
    assert len(world.pods()) == 2
    assert world.client.one(PODS, "stray", NAMESPACE)["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    await world.client.patch(PODS, "stray", {"metadata": {"labels": {"app": "other"}}}, NAMESPACE)
    await world.settle()
    assert len(world.pods()) == 3
    assert "ownerReferences" not in world.client.one(PODS, "stray", NAMESPACE)["metadata"]


async def test_a_failing_creation_is_said_once_and_retried(world: World) -> None:
    refuse = True

    def react(verb: str, resource: Resource, obj: Object) -> None:
        if refuse and verb == "create" and resource == PODS:
            raise forbidden("", "pods", "", "exceeded quota")

    world.client.reactions.append(react)
    world.start(lambda kit: ReplicaController(kit, REPLICA_SET))
    await world.client.create(REPLICA_SETS, replica_set(5), NAMESPACE)
    await world.settle()
    status = world.client.one(REPLICA_SETS, "web", NAMESPACE)["status"]
    condition = find_condition(status["conditions"], "ReplicaFailure")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("True", "FailedCreate")
    refuse = False
    await world.settle(10)
    assert len(world.pods()) == 5
    assert "conditions" not in world.client.one(REPLICA_SETS, "web", NAMESPACE)["status"]


async def test_min_ready_seconds_delay_availability_without_polling(world: World) -> None:
    world.start(lambda kit: ReplicaController(kit, REPLICA_SET))
    await world.client.create(REPLICA_SETS, replica_set(1, minReadySeconds=10), NAMESPACE)
    await world.settle()
    await world.run_pods()
    assert "availableReplicas" not in world.client.one(REPLICA_SETS, "web", NAMESPACE)["status"]
    await world.settle(10)
    assert world.client.one(REPLICA_SETS, "web", NAMESPACE)["status"]["availableReplicas"] == 1
    assert world.clock.sleepers == 0


def start_both(world: World) -> None:
    world.start(DeploymentController)
    world.start(lambda kit: ReplicaController(kit, REPLICA_SET))


def sizes(world: World) -> list[int]:
    sets = sorted(
        world.client.all(REPLICA_SETS, NAMESPACE),
        key=lambda each: int(annotations_of(each)["deployment.kubernetes.io/revision"]),
    )
    return [each["spec"]["replicas"] for each in sets]


async def roll_out(world: World, image: str) -> None:
    containers = [{"name": "web", "image": image}]
    await world.client.patch(
        DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": containers}}}}, NAMESPACE
    )
    await world.settle()


async def test_a_deployment_becomes_available_and_complete(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(3), NAMESPACE)
    await world.settle()
    conditions = world.client.one(DEPLOYMENTS, "web", NAMESPACE)["status"]["conditions"]
    assert find_condition(conditions, "Available")["status"] == "False"  # type: ignore[index]
    await world.run_pods()
    live = world.client.one(DEPLOYMENTS, "web", NAMESPACE)
    assert annotations_of(live)["deployment.kubernetes.io/revision"] == "1"
    assert live["status"]["availableReplicas"] == 3
    assert {c["type"]: (c["status"], c["reason"]) for c in live["status"]["conditions"]} == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    writes = len(world.client.actions)
    await world.settle(3600)
    assert len(world.client.actions) == writes
    assert world.clock.sleepers == 0


async def test_a_rollout_keeps_its_limits_and_ends(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(4), NAMESPACE)
    await world.settle()
    await world.run_pods()
    await roll_out(world, "web:2")
    assert sizes(world) == [3, 2]
    for _ in range(6):
        await world.run_pods()
        assert sum(sizes(world)) <= 5
        ready = sum(1 for pod in world.pods() if (pod.get("status") or {}).get("phase") == "Running")
        assert ready >= 3
    assert sizes(world) == [0, 4]
    assert world.client.one(DEPLOYMENTS, "web", NAMESPACE)["status"]["updatedReplicas"] == 4


async def test_undo_gives_the_old_set_a_new_revision(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(1), NAMESPACE)
    await world.settle()
    await world.run_pods()
    await roll_out(world, "web:2")
    for _ in range(4):
        await world.run_pods()
    await roll_out(world, "web:1")
    for _ in range(4):
        await world.run_pods()
    newest = max(world.client.all(REPLICA_SETS, NAMESPACE), key=lambda each: each["spec"]["replicas"])
    assert annotations_of(newest)["deployment.kubernetes.io/revision"] == "3"
    assert annotations_of(newest)["deployment.kubernetes.io/revision-history"] == "1"
    assert len(world.client.all(REPLICA_SETS, NAMESPACE)) == 2


async def test_recreate_waits_for_the_last_old_pod(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(2, strategy={"type": "Recreate"}), NAMESPACE)
    await world.settle()
    for pod in world.pods():
        await world.client.create(PODS, {"target": {"name": "n"}}, NAMESPACE, name=name_of(pod), subresource="binding")
    await world.run_pods()
    await roll_out(world, "web:2")
    assert sizes(world) == [0]
    from minikube_py.client.types import DeleteOptions

    for pod in world.pods():
        await world.client.delete(PODS, name_of(pod), NAMESPACE, options=DeleteOptions(grace_period_seconds=0))
    await world.settle()
    assert sizes(world) == [0, 2]


async def test_scaling_in_the_middle_of_a_rollout_is_proportional(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(10), NAMESPACE)
    await world.settle()
    await world.run_pods()
    await roll_out(world, "web:2")
    assert sizes(world) == [8, 5]
    await world.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 20}}, NAMESPACE)
    await world.settle()
    assert sizes(world) == [15, 10]


async def test_a_missed_deadline_is_reported(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(1, progressDeadlineSeconds=60), NAMESPACE)
    await world.settle(30)
    conditions = world.client.one(DEPLOYMENTS, "web", NAMESPACE)["status"]["conditions"]
    assert find_condition(conditions, "Progressing")["status"] == "True"  # type: ignore[index]
    await world.settle(40)
    conditions = world.client.one(DEPLOYMENTS, "web", NAMESPACE)["status"]["conditions"]
    assert find_condition(conditions, "Progressing")["reason"] == "ProgressDeadlineExceeded"  # type: ignore[index]


async def test_a_paused_deployment_is_only_resized(world: World) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(2), NAMESPACE)
    await world.settle()
    await world.run_pods()
    await world.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": True, "replicas": 3}}, NAMESPACE)
    await roll_out(world, "web:2")
    assert sizes(world) == [3]
    await world.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}}, NAMESPACE)
    for _ in range(5):
        await world.run_pods()
    assert sizes(world) == [0, 3]


@pytest.mark.parametrize(("limit", "left"), [(0, 1), (1, 2)], ids=["none kept", "one kept"])
async def test_old_sets_beyond_the_history_limit_go(world: World, limit: int, left: int) -> None:
    start_both(world)
    await world.client.create(DEPLOYMENTS, deployment(1, revisionHistoryLimit=limit), NAMESPACE)
    for version in (2, 3, 4):
        await world.settle()
        for _ in range(3):
            await world.run_pods()
        await roll_out(world, f"web:{version}")
    for _ in range(4):
        await world.run_pods()
    assert len(world.client.all(REPLICA_SETS, NAMESPACE)) == left


async def test_a_collision_of_hashes_takes_another_name(world: World) -> None:
    start_both(world)
    made = await world.client.create(DEPLOYMENTS, deployment(1), NAMESPACE)
    from minikube_py.machinery.hashes import pod_template_hash

    taken = f"web-{pod_template_hash(made['spec']['template'])}"
    other = {
        "metadata": {"name": taken},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"x": "y"}}, "template": {}},
    }
    world.client.seed(REPLICA_SETS, {**other, "metadata": {"name": taken, "namespace": NAMESPACE}})
    try:
        await world.settle(5)
    except ApiError:
        pytest.fail("the loop must retry")
    live = world.client.one(DEPLOYMENTS, "web", NAMESPACE)
    assert live["status"]["collisionCount"] == 1
    assert len(world.client.all(REPLICA_SETS, NAMESPACE)) == 2
