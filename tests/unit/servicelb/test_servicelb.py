"""Which nodes' addresses a LoadBalancer Service gets, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.components.servicelb import run_servicelb
from minikube_py.components.servicelb.assigning import CLASS, assign
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import ENDPOINT_SLICES, NODES, SERVICES

_RESERVED = {("TCP", 6443)}


def node(name: str, address: str, *, ready: str = "True", labels: dict[str, str] | None = None) -> Object:
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    conditions = [{"type": "Ready", "status": ready}]
    meta = {"name": name, "labels": labels or {}}
    return {"metadata": meta, "status": {"addresses": addresses, "conditions": conditions}}


def service(name: str, *ports: int, age: int = 0, kind: str = "LoadBalancer", **spec: Any) -> Object:
    meta = {"name": name, "namespace": "n", "creationTimestamp": f"2026-01-01T00:00:{age:02}Z", "uid": name}
    return {"metadata": meta, "spec": {"type": kind, "ports": [{"port": port} for port in ports or (80,)], **spec}}


NODES_AB = [node("a", "192.0.2.1"), node("b", "192.0.2.2")]
BOTH, NONE = ("192.0.2.1", "192.0.2.2"), ()


@pytest.mark.parametrize(
    ("nodes", "services", "local", "wanted"),
    [
        pytest.param(NODES_AB, [service("s")], {}, {"n/s": (BOTH, "")}, id="every node"),
        pytest.param(
            [node("a", "192.0.2.1", ready="Unknown"), NODES_AB[1]], [service("s")], {},
            {"n/s": (("192.0.2.2",), "")}, id="a node that is away",
        ),
        pytest.param(
            [node("a", "192.0.2.1", labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""})],
            [service("s")], {}, {"n/s": (NONE, "no node is ready to serve it")}, id="an excluded node",
        ),
        pytest.param(
            [node("a", "fd00::1")], [service("s")], {}, {"n/s": (NONE, "no node is ready to serve it")}, id="IPv6"
        ),
        pytest.param(
            NODES_AB, [service("s", externalTrafficPolicy="Local")], {"n/s": {"b"}}, {"n/s": (("192.0.2.2",), "")},
            id="where its endpoints are",
        ),
        pytest.param(
            NODES_AB, [service("new", age=2), service("old", age=1)], {},
            {"n/old": (BOTH, ""), "n/new": (NONE, "port 80/TCP of every node is taken, first by Service n/old")},
            id="the older one has the port",
        ),
        pytest.param(
            NODES_AB,
            [service("local", age=1, externalTrafficPolicy="Local"), service("other", age=2)], {"n/local": {"a"}},
            {"n/local": (("192.0.2.1",), ""), "n/other": (("192.0.2.2",), "")}, id="what is left",
        ),
        pytest.param(
            NODES_AB, [service("web", 80), service("tls", 443)], {}, {"n/web": (BOTH, ""), "n/tls": (BOTH, "")},
            id="different ports",
        ),
        pytest.param(
            NODES_AB,
            [service("dns", age=1), {**service("udp", age=2), "spec": {"type": "LoadBalancer", "ports": [
                {"port": 80, "protocol": "UDP"}]}}],
            {}, {"n/dns": (BOTH, ""), "n/udp": (BOTH, "")}, id="different protocols",
        ),
        pytest.param(
            NODES_AB, [service("s", 80, 6443)], {}, {"n/s": (NONE, "port 6443/TCP is used by the nodes themselves")},
            id="a port of the node",
        ),
        pytest.param(
            NODES_AB, [service("s", loadBalancerIP="192.0.2.2")], {}, {"n/s": (("192.0.2.2",), "")}, id="wanted"
        ),
        pytest.param(
            NODES_AB, [service("s", loadBalancerIP="203.0.113.9")], {},
            {"n/s": (NONE, "no node of this cluster can serve it at the wanted address 203.0.113.9")},
            id="an address of nobody",
        ),
        pytest.param(
            NODES_AB,
            [service("mine", loadBalancerClass=CLASS), service("theirs", 81, loadBalancerClass="example.com/lb"),
             service("np", 82, kind="NodePort")],
            {}, {"n/mine": (BOTH, "")}, id="classes and types",
        ),
    ],
)  # fmt: skip
def test_assign(
    nodes: list[Object],
    services: list[Object],
    local: dict[str, set[str]],
    wanted: dict[str, tuple[tuple[str, ...], str]],
) -> None:
    found = assign(services, nodes, local, _RESERVED)
    assert {key: (each.addresses, each.problem) for key, each in found.items()} == wanted


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client = FakeClient(self.clock)
        self.recorder = FakeRecorder()

    def ingress(self, name: str = "s") -> list[str]:
        status = self.client.one(SERVICES, name, "n").get("status") or {}
        return [each["ip"] for each in (status.get("loadBalancer") or {}).get("ingress") or ()]

    async def change(self, name: str = "s", **spec: Any) -> None:
        draft = thaw(self.client.one(SERVICES, name, "n"))
        draft["spec"].update(spec)
        await self.client.update(SERVICES, draft, "n")
        await self.clock.settle()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.client.seed(NODES, NODES_AB[0])
    ready = asyncio.Event()
    running = run_servicelb(made.client, made.recorder, made.clock, _RESERVED, ready.set)
    task = asyncio.ensure_future(running)
    await ready.wait()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_status_follows_the_cluster(world: World) -> None:
    await world.client.create(SERVICES, service("s"), "n")
    await world.clock.settle()
    assert world.ingress() == ["192.0.2.1"]
    assert world.recorder.reasons() == ["EnsuredLoadBalancer"]
    world.client.seed(NODES, NODES_AB[1])
    await world.clock.settle()
    assert world.ingress() == ["192.0.2.1", "192.0.2.2"]
    away = thaw(world.client.one(NODES, "a"))
    away["status"]["conditions"][0]["status"] = "Unknown"
    await world.client.update(NODES, away, subresource="status")
    await world.clock.settle()
    assert world.ingress() == ["192.0.2.2"]
    await world.change(type="ClusterIP")
    assert world.ingress() == []


async def test_a_freed_port_goes_to_the_next(world: World) -> None:
    await world.client.create(SERVICES, service("s", age=1), "n")
    await world.client.create(SERVICES, service("waits", age=2), "n")
    await world.clock.settle()
    assert world.ingress("waits") == []
    problems = [event.message for event in world.recorder.events if event.type == "Warning"]
    assert problems == ["Error syncing load balancer: port 80/TCP of every node is taken, first by Service n/s"]
    await world.client.delete(SERVICES, "s", "n")
    await world.clock.settle()
    assert world.ingress("waits") == ["192.0.2.1"]


async def test_local_traffic_follows_the_endpoints(world: World) -> None:
    await world.client.create(SERVICES, service("s", externalTrafficPolicy="Local"), "n")
    await world.clock.settle()
    assert world.ingress() == []
    slice_ = {
        "metadata": {"name": "s-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "s"}},
        "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "a", "conditions": {"ready": True}}],
    }
    await world.client.create(ENDPOINT_SLICES, slice_, "n")
    await world.clock.settle()
    assert world.ingress() == ["192.0.2.1"]


async def test_services_of_other_balancers_are_left_alone(world: World) -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
    world.client.seed(SERVICES, {**service("s", loadBalancerClass="example.com/lb"), "status": status})
    await world.clock.settle()
    assert world.ingress() == ["203.0.113.1"] and world.recorder.events == []
