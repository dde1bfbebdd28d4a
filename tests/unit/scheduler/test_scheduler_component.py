"""The scheduler as a whole, on the fake API server under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from scheduler_objects import node, pod

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.client.types import DeleteOptions
from minikube_py.components.scheduler import SchedulerSettings, run_scheduler
from minikube_py.machinery import resources
from minikube_py.machinery.objects import Object


class World:
    """A fake cluster with the scheduler running in it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client = FakeClient(self.clock)
        self.recorder = FakeRecorder()

    def pod(self, name: str) -> Object:
        return self.client.one(resources.PODS, name, "default")

    def node_of(self, name: str) -> str:
        return str(self.pod(name)["spec"].get("nodeName", ""))

    def scheduled_condition(self, name: str) -> Object:
        conditions = self.pod(name)["status"].get("conditions") or []
        return next((item for item in conditions if item["type"] == "PodScheduled"), {})


@asynccontextmanager
async def running(world: World, registry: CollectorRegistry | None = None) -> AsyncIterator[None]:
    ready, registry = asyncio.Event(), registry or CollectorRegistry()
    task = asyncio.create_task(
        run_scheduler(world.client, SchedulerSettings(seed=1), world.clock, world.recorder, registry, ready.set)
    )
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_can_be_started_again_in_the_same_process() -> None:
    world, registry = World(), CollectorRegistry()
    for _ in range(2):  # as the supervisor does after a failure
        async with running(world, registry):
            await world.clock.settle()


async def test_pods_that_wait_at_the_start_are_bound() -> None:
    world = World()
    world.client.seed(resources.NODES, node("n"))
    world.client.seed(resources.PODS, pod("a"), pod("b"))
    async with running(world):
        await world.clock.until(lambda: world.node_of("a") == world.node_of("b") == "n")
    assert world.recorder.reasons().count("Scheduled") == 2


async def test_an_unschedulable_pod_is_reported_once_and_bound_when_room_appears() -> None:
    world = World()
    world.client.seed(resources.NODES, node("n", cpu="1"))
    world.client.seed(resources.PODS, pod("big", cpu="2"))
    async with running(world):
        await world.clock.until(lambda: bool(world.scheduled_condition("big")))
        condition = world.scheduled_condition("big")
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert condition["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
        world.client.seed(resources.NODES, node("m"))
        await world.clock.until(lambda: world.node_of("big") == "m")


async def test_without_an_event_it_is_not_tried_again_before_five_minutes() -> None:
    world = World()
    world.client.seed(resources.NODES, node("n", cpu="1"))
    world.client.seed(resources.PODS, pod("big", cpu="2"))
    async with running(world):
        await world.clock.until(lambda: "FailedScheduling" in world.recorder.reasons())
        await world.clock.advance(200)
        assert world.recorder.reasons().count("FailedScheduling") == 1
        await world.clock.advance(200)
        assert world.recorder.reasons().count("FailedScheduling") == 2


async def test_resources_are_given_back_by_finished_pods() -> None:
    world = World()
    world.client.seed(resources.NODES, node("n", cpu="1"))
    world.client.seed(resources.PODS, pod("first", cpu="1", nodeName="n"), pod("second", cpu="1"))
    async with running(world):
        await world.clock.until(lambda: bool(world.scheduled_condition("second")))
        await world.client.patch(resources.PODS, "first", {"status": {"phase": "Succeeded"}}, "default",
                                 subresource="status")  # fmt: skip
        await world.clock.until(lambda: world.node_of("second") == "n")


async def test_gates_and_foreign_schedulers_are_left_alone() -> None:
    world = World()
    world.client.seed(resources.NODES, node("n"))
    gated = pod("gated", schedulingGates=[{"name": "g"}])
    world.client.seed(resources.PODS, gated, pod("foreign", schedulerName="other"), pod("mine"))
    async with running(world):
        await world.clock.until(lambda: world.node_of("mine") == "n")
        await world.clock.advance(400)
        assert world.node_of("gated") == world.node_of("foreign") == ""
        await world.client.patch(resources.PODS, "gated", {"spec": {"schedulingGates": None}}, "default")
        await world.clock.until(lambda: world.node_of("gated") == "n")


async def test_more_important_pods_preempt() -> None:
    world = World()
    world.client.seed(resources.NODES, node("n", cpu="1"))
    world.client.seed(resources.PODS, pod("low", cpu="1", nodeName="n", priority=0, terminationGracePeriodSeconds=0))
    async with running(world):
        await world.client.create(resources.PODS, pod("high", cpu="1", priority=100), "default")
        await world.clock.until(lambda: "Preempted" in world.recorder.reasons())
        names = [item["metadata"]["name"] for item in world.client.all(resources.PODS, "default")
                 if not item["metadata"].get("deletionTimestamp")]  # fmt: skip
        assert names == ["high"]


async def test_victims_that_come_back_do_not_take_the_room() -> None:
    """Who replaces a victim waits behind the pod that the room was made for, and the victim is told why it goes."""
    world = World()
    low = pod("low", cpu="1", nodeName="n", priority=0)
    world.client.seed(resources.NODES, node("n", cpu="1"))
    world.client.seed(resources.PODS, low)
    async with running(world):
        await world.client.create(resources.PODS, pod("high", cpu="1", priority=100), "default")
        await world.clock.until(lambda: "deletionTimestamp" in world.pod("low")["metadata"])
        (condition,) = world.pod("low")["status"]["conditions"]
        assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "PreemptionByScheduler")
        assert world.pod("high")["status"]["nominatedNodeName"] == "n"
        await world.client.create(resources.PODS, pod("again", cpu="1", priority=0), "default")
        await world.clock.until(lambda: world.scheduled_condition("again").get("status") == "False")
        await world.client.delete(resources.PODS, "low", "default", options=DeleteOptions(grace_period_seconds=0))
        await world.clock.until(lambda: world.node_of("high") == "n")
        await world.clock.settle()
        assert world.node_of("again") == ""


async def test_higher_priority_goes_first() -> None:
    world = World()
    world.client.seed(resources.PODS, pod("low", cpu="1", priority=1), pod("high", cpu="1", priority=9))
    async with running(world):
        world.client.seed(resources.NODES, node("n", cpu="1"))
        await world.clock.until(lambda: bool(world.node_of("high")))
        assert world.node_of("low") == ""
