"""Silent nodes, evictions, left-over pods, DaemonSets."""

from __future__ import annotations

import pytest
from controllers_world import NAMESPACE, World

from minikube_py.components.controllers.daemonset.controller import DaemonSetController
from minikube_py.components.controllers.daemonset.placement import target_node
from minikube_py.components.controllers.nodes.eviction import TaintEvictionController
from minikube_py.components.controllers.nodes.lifecycle import NodeLifecycleController
from minikube_py.components.controllers.nodes.pod_gc import PodGarbageCollector
from minikube_py.components.controllers.nodes.tolerations import stay_seconds
from minikube_py.machinery.conditions import condition_is_true, find_condition
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.placement import toleration_matches
from minikube_py.machinery.resources import DAEMON_SETS, LEASES, NODES, PODS
from minikube_py.machinery.times import rfc3339_micro


def add_node(world: World, name: str, *, ready: bool = True, **spec: object) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastHeartbeatTime": "x"}
    node = {"metadata": {"name": name, "labels": {"zone": name}}, "spec": spec, "status": {"conditions": [condition]}}
    lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "a"}}
    world.client.seed(LEASES, lease)
    return world.client.seed(NODES, node)[0]


async def renew(world: World, name: str) -> None:
    patch = {"spec": {"renewTime": rfc3339_micro(world.clock.now())}}
    await world.client.patch(LEASES, name, patch, "kube-node-lease")


def taints(world: World, name: str) -> list[str]:
    found = world.client.one(NODES, name).get("spec", {}).get("taints") or []
    return sorted(f"{taint['key'].rpartition('/')[2]}:{taint['effect']}" for taint in found)


async def test_a_silent_node_is_unknown_and_tainted_until_it_speaks(world: World) -> None:
    add_node(world, "a")
    add_node(world, "b")
    pod = {"metadata": {"name": "p", "namespace": NAMESPACE}, "spec": {"nodeName": "b"}}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
    world.client.seed(PODS, {**pod, "status": ready})
    world.start(NodeLifecycleController)
    for _ in range(12):
        await world.settle(10)
        await renew(world, "a")
    ready_condition = find_condition(world.client.one(NODES, "b")["status"]["conditions"], "Ready")
    assert ready_condition is not None
    assert (ready_condition["status"], ready_condition["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert taints(world, "b") == ["unreachable:NoExecute", "unreachable:NoSchedule"]
    assert taints(world, "a") == []
    assert not condition_is_true(world.client.one(PODS, "p", NAMESPACE)["status"]["conditions"], "Ready")
    draft = thaw(world.client.one(NODES, "b"))
    draft["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastHeartbeatTime": "y"}]
    await world.client.update(NODES, draft, subresource="status")
    await world.settle()
    assert taints(world, "b") == []


async def test_nobody_is_evicted_when_no_node_is_ready(world: World) -> None:
    add_node(world, "a")
    world.start(NodeLifecycleController)
    await world.settle(120)
    assert taints(world, "a") == ["unreachable:NoSchedule"]


async def test_a_cordoned_node_is_tainted(world: World) -> None:
    add_node(world, "a", unschedulable=True)
    world.start(NodeLifecycleController)
    await world.settle()
    assert taints(world, "a") == ["unschedulable:NoSchedule"]


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0.0),
        ([{"operator": "Exists"}], None),
        ([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}], 30.0),
        ([{"key": "k", "value": "v", "tolerationSeconds": 30}, {"operator": "Exists", "tolerationSeconds": 5}], 5.0),
        ([{"key": "k", "value": "other"}], 0.0),
    ],
    ids=["none", "all", "for a while", "the shortest while", "another value"],
)  # fmt: skip
def test_how_long_a_pod_may_stay(tolerations: list[Object], seconds: float | None) -> None:
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    assert stay_seconds({"spec": {"tolerations": tolerations}}, [taint]) == seconds


def test_comparing_tolerations() -> None:
    taint = {"key": "k", "value": "10", "effect": "NoSchedule"}
    assert toleration_matches({"key": "k", "operator": "Gt", "value": "5"}, taint)
    assert not toleration_matches({"key": "k", "operator": "Lt", "value": "5"}, taint)


async def test_pods_leave_a_tainted_node_in_time_or_stay_when_it_heals(world: World) -> None:
    add_node(world, "a")
    toleration = {"key": "k", "operator": "Exists", "tolerationSeconds": 60}
    for name, tolerations in (
        ("quick", []),
        ("slow", [toleration]),
        ("slower", [{**toleration, "tolerationSeconds": 600}]),
    ):
        spec = {"nodeName": "a", "tolerations": tolerations}
        world.client.seed(PODS, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
    world.start(TaintEvictionController)
    await world.client.patch(NODES, "a", {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})
    await world.settle()
    assert world.client.written("delete", "pods") == ["default/quick"]
    pod = world.client.one(PODS, "quick", NAMESPACE)
    condition = find_condition(pod["status"]["conditions"], "DisruptionTarget")
    assert condition is not None
    assert condition["reason"] == "DeletionByTaintManager"
    await world.settle(61)
    assert world.client.written("delete", "pods") == ["default/quick", "default/slow"]
    await world.client.patch(NODES, "a", {"spec": {"taints": None}})
    await world.settle(1000)
    assert len(world.client.written("delete", "pods")) == 2


async def test_pods_of_a_gone_node_are_removed_after_quarantine(world: World) -> None:
    add_node(world, "a")
    world.client.seed(PODS, {"metadata": {"name": "p", "namespace": NAMESPACE}, "spec": {"nodeName": "a"}})
    world.start(PodGarbageCollector)
    await world.client.delete(NODES, "a")
    await world.settle(39)
    assert len(world.pods()) == 1
    await world.settle(5)
    assert world.pods() == []


def daemon_set(**spec: object) -> Object:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "d", "image": "d:1"}]}}
    return {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


async def place(world: World) -> None:
    """Schedule and run every daemon pod."""
    for pod in world.pods():
        if not pod["spec"].get("nodeName"):
            target = {"target": {"name": target_node(pod)}}
            await world.client.create(PODS, target, NAMESPACE, name=name_of(pod), subresource="binding")
    await world.run_pods()


async def test_every_fitting_node_has_one_daemon_pod(world: World) -> None:
    add_node(world, "a")
    add_node(world, "b", taints=[{"key": "special", "effect": "NoSchedule"}])
    add_node(world, "c", taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
    world.start(DaemonSetController)
    await world.client.create(DAEMON_SETS, daemon_set(), NAMESPACE)
    await world.settle()
    await place(world)
    assert sorted(map(target_node, world.pods())) == ["a", "c"]
    add_node(world, "new")
    await world.settle()
    await place(world)
    status = world.client.one(DAEMON_SETS, "d", NAMESPACE)["status"]
    assert (status["desiredNumberScheduled"], status["numberAvailable"]) == (3, 3)
    await world.client.patch(
        DAEMON_SETS, "d", {"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}}, NAMESPACE
    )
    await world.settle(40)
    assert "c" not in {target_node(pod) for pod in world.pods() if not pod["metadata"].get("deletionTimestamp")}


async def test_a_daemon_rollout_replaces_one_pod_at_a_time(world: World) -> None:
    for name in "abc":
        add_node(world, name)
    world.start(DaemonSetController)
    await world.client.create(DAEMON_SETS, daemon_set(), NAMESPACE)
    await world.settle()
    await place(world)
    containers = [{"name": "d", "image": "d:2"}]
    await world.client.patch(DAEMON_SETS, "d", {"spec": {"template": {"spec": {"containers": containers}}}}, NAMESPACE)
    await world.settle()
    for _ in range(4):
        leaving = [pod for pod in world.pods() if pod["metadata"].get("deletionTimestamp")]
        assert len(leaving) <= 1
        for pod in leaving:
            from minikube_py.client.types import DeleteOptions

            await world.client.delete(PODS, name_of(pod), NAMESPACE, options=DeleteOptions(grace_period_seconds=0))
        await world.settle()
        await place(world)
    assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"d:2"}
    assert world.client.one(DAEMON_SETS, "d", NAMESPACE)["status"]["updatedNumberScheduled"] == 3


async def test_a_failed_daemon_pod_is_replaced_with_growing_delays(world: World) -> None:
    add_node(world, "a")
    world.start(DaemonSetController)
    await world.client.create(DAEMON_SETS, daemon_set(), NAMESPACE)
    await world.settle()
    for pause in (0.5, 2.5, 5):
        await world.set_pod(world.pods()[0], "Failed")
        before = name_of(world.pods()[0])
        await world.settle(pause)
        assert [name_of(pod) for pod in world.pods()] != [before]
