"""Node IPAM: ranges are disjoint, kept for life and given out again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.components.controllers import ControllerSettings
from minikube_py.components.controllers.component import all_loops
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.nodeipam import NodeIpam, RangeAllocator, cidrs_of
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NODES


def test_the_loop_is_part_of_the_group() -> None:
    assert all_loops()["node-ipam"] is NodeIpam


def node(name: str, cidr: str = "") -> Object:
    spec: Object = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    return {"metadata": {"name": name}, "spec": spec}


def test_parts_are_given_out_in_a_circle() -> None:
    allocator = RangeAllocator("10.42.0.0/22", 24)
    assert [allocator.take(name) for name in "abcd"] == [f"10.42.{i}.0/24" for i in range(4)]
    assert allocator.take("e") is None
    allocator.release("10.42.1.0/24", "b")
    assert allocator.take("e") == "10.42.1.0/24"


def test_only_the_owner_frees() -> None:
    allocator = RangeAllocator("10.42.0.0/24", 24)
    assert allocator.take("a") == "10.42.0.0/24"
    allocator.release("10.42.0.0/24", "b")
    assert allocator.take("b") is None


@pytest.mark.parametrize(
    ("occupied", "first"),
    [
        pytest.param("10.42.0.0/24", "10.42.1.0/24", id="one part"),
        pytest.param("10.42.0.0/23", "10.42.2.0/24", id="a larger range than ours"),
        pytest.param("10.42.0.128/25", "10.42.1.0/24", id="a smaller range than ours"),
        pytest.param("10.99.0.0/24", "10.42.0.0/24", id="a foreign range"),
        pytest.param("fd00::/64", "10.42.0.0/24", id="another family"),
    ],
)
def test_occupied_ranges_are_left_out(occupied: str, first: str) -> None:
    allocator = RangeAllocator("10.42.0.0/22", 24)
    allocator.occupy(occupied, "a")
    assert allocator.take("b") == first


def test_a_cluster_range_smaller_than_a_node_range_serves_one_node() -> None:
    allocator = RangeAllocator("10.42.0.0/26", 24)
    assert (allocator.take("a"), allocator.take("b")) == ("10.42.0.0/26", None)


def test_ipv6() -> None:
    allocator = RangeAllocator("fd00:42::/62", 64)
    assert [allocator.take(name) for name in "ab"] == ["fd00:42::/64", "fd00:42:0:1::/64"]


@asynccontextmanager
async def running(kit: Kit) -> AsyncIterator[None]:
    task = asyncio.create_task(NodeIpam(kit).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nodes_get_and_keep_their_ranges() -> None:
    clock, recorder = FakeClock(), FakeRecorder()
    client = FakeClient(clock)
    client.seed(NODES, node("old", "10.42.0.0/24"), node("new"))
    kit = Kit(client, clock, recorder, ControllerSettings(cluster_cidr="10.42.0.0/23"), list)
    async with running(kit):
        await clock.until(lambda: cidrs_of(client.one(NODES, "new")) == ["10.42.1.0/24"])
        client.seed(NODES, node("late"))
        await clock.until(lambda: "CIDRNotAvailable" in recorder.reasons())
        await client.delete(NODES, "old")
        await clock.until(lambda: cidrs_of(client.one(NODES, "late")) == ["10.42.0.0/24"])
        assert cidrs_of(client.one(NODES, "new")) == ["10.42.1.0/24"]
