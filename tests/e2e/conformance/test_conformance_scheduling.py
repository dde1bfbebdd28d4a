"""sig-scheduling and sig-apps conformance: where pods may run, who makes room for whom, disruption budgets."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import NODE_IP, wait_until
from conformance_api import Api
from conformance_workloads import (
    PATIENCE,
    container,
    merge,
    pods_of,
    ready_pods,
    template,
    update,
    wait_ready,
    workload,
)

NODE = "/api/v1/nodes/node-1"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


@pytest.fixture
def resource(api: Api) -> Iterator[str]:
    """Five units of a scarce resource of the node's."""
    name = f"e2e-{secrets.token_hex(3)}.example.com/unit"
    status = {part: {name: "5"} for part in ("capacity", "allocatable")}
    merge(api, f"{NODE}/status", {"status": status})
    wait_until("allocatable", lambda: api("GET", NODE)["status"]["allocatable"].get(name) == "5")
    yield name
    merge(api, f"{NODE}/status", {"status": {part: {name: None} for part in ("capacity", "allocatable")}})


@pytest.fixture
def priority(api: Api) -> Iterator[Callable[[int], str]]:
    """Makes priority classes; the name of one."""
    made: list[str] = []

    def create(value: int) -> str:
        name = f"p{secrets.token_hex(3)}-{value}"
        api("POST", CLASSES, {"metadata": {"name": name}, "value": value})
        made.append(name)
        return name

    yield create
    for name in made:
        api.exchange("DELETE", f"{CLASSES}/{name}")


def asking(resource: str, count: int) -> dict[str, Any]:
    return {"resources": {"requests": {resource: str(count)}, "limits": {resource: str(count)}}}


def run(api: Api, core: str, name: str, *, meta: dict[str, Any] | None = None, **spec: Any) -> str:
    """Create a pod; its path. ``container`` goes into its container."""
    inner = container(**spec.pop("container", {}))
    whole = {"terminationGracePeriodSeconds": 0, "containers": [inner], **spec}
    api("POST", f"{core}/pods", {"metadata": {"name": name, **(meta or {})}, "spec": whole})
    return f"{core}/pods/{name}"


def scheduled(api: Api, path: str) -> str:
    """Wait for the node of a pod."""
    return str(wait_until(f"{path} scheduled", lambda: api("GET", path)["spec"].get("nodeName"), seconds=PATIENCE))


def unschedulable(api: Api, path: str) -> str:
    """Wait until the pod says why it has no node."""

    def why() -> str:
        conditions = api("GET", path)["status"].get("conditions") or []
        found = (item for item in conditions if item["type"] == "PodScheduled" and item["status"] == "False")
        return next((item["message"] for item in found if item["reason"] == "Unschedulable"), "")

    return str(wait_until(f"{path} unschedulable", why, seconds=PATIENCE))


def test_resource_limits(api: Api, core: str, resource: str) -> None:
    """What is in use is not given twice: CPU and a resource of the node's own."""
    cpu = api("GET", NODE)["status"]["allocatable"]["cpu"]
    run(api, core, "filler", container=asking(resource, 4))
    scheduled(api, f"{core}/pods/filler")
    assert f"Insufficient {resource}" in unschedulable(api, run(api, core, "more", container=asking(resource, 2)))
    scheduled(api, run(api, core, "fits", container=asking(resource, 1)))
    assert "Insufficient cpu" in unschedulable(api, run(api, core, "cpu", container=asking("cpu", int(cpu) + 1)))


def test_node_selector(api: Api, core: str) -> None:
    """A pod waits for a node with its label, and is scheduled when the label comes."""
    label = f"e2e-{secrets.token_hex(3)}"
    path = run(api, core, "choosy", nodeSelector={label: "42"})
    assert "didn't match Pod's node affinity/selector" in unschedulable(api, path)
    try:
        merge(api, NODE, {"metadata": {"labels": {label: "42"}}})
        assert scheduled(api, path) == "node-1"
        assert scheduled(api, run(api, core, "second", nodeSelector={label: "42"})) == "node-1"
    finally:
        merge(api, NODE, {"metadata": {"labels": {label: None}}})


def test_host_ports(api: Api, core: str) -> None:
    """All addresses conflict with each one of them; another address, port or protocol does not."""

    def taking(name: str, **port: Any) -> str:
        return run(api, core, name, container={"ports": [{"containerPort": 8080, "hostPort": 54322, **port}]})

    scheduled(api, taking("all", hostIP="0.0.0.0"))
    assert "didn't have free ports" in unschedulable(api, taking("one", hostIP="127.0.0.1"))
    scheduled(api, taking("udp", protocol="UDP", hostIP="127.0.0.1"))
    scheduled(api, taking("other", protocol="UDP", hostIP=NODE_IP))


def test_preemption(api: Api, core: str, resource: str, priority: Callable[[int], str]) -> None:
    """A pod of higher priority takes the place of the lowest one, which is told why; so does a critical pod."""
    low, middle, high = priority(1), priority(100), priority(1000)
    run(api, core, "low", container=asking(resource, 3), priorityClassName=low,
        meta={"finalizers": ["e2e.example.com/hold"]})  # fmt: skip
    run(api, core, "middle", container=asking(resource, 2), priorityClassName=middle)
    wait_ready(api, core, "", 2)
    path = run(api, core, "high", container=asking(resource, 3), priorityClassName=high)

    def leaving() -> dict[str, Any] | None:
        found = dict(api("GET", f"{core}/pods/low"))
        return found if "deletionTimestamp" in found["metadata"] else None

    held = wait_until("preempted", leaving, seconds=PATIENCE)
    (condition,) = (item for item in held["status"]["conditions"] if item["type"] == "DisruptionTarget")
    assert condition["reason"] == "PreemptionByScheduler"
    merge(api, f"{core}/pods/low", {"metadata": {"finalizers": None}})
    scheduled(api, path)
    assert [item["metadata"]["name"] for item in pods_of(api, core)] == ["high", "middle"]
    critical = run(api, core, "critical", container=asking(resource, 2), priorityClassName="system-cluster-critical")
    scheduled(api, critical)
    assert [item["metadata"]["name"] for item in pods_of(api, core)] == ["critical", "high"]


def test_preemption_of_replica_sets(
    api: Api, core: str, namespace: str, resource: str, priority: Callable[[int], str]
) -> None:
    """Sets of rising priority fill the node; the highest takes from the lowest only what it needs."""
    collection = f"/apis/apps/v1/namespaces/{namespace}/replicasets"

    def start(number: int, replicas: int, units: int) -> None:
        spec = {"priorityClassName": priority(number)}
        pods = template({"name": f"rs{number}"}, spec=spec, **asking(resource, units))
        api("POST", collection, workload(f"rs{number}", replicas, pods))

    for number, replicas in ((1, 3), (2, 1), (3, 1)):
        start(number, replicas, 1)
        wait_ready(api, core, f"name=rs{number}", replicas)
    start(4, 1, 2)
    wait_ready(api, core, "name=rs4", 1)
    counts = [len(ready_pods(api, core, f"name=rs{number}")) for number in (1, 2, 3, 4)]
    assert counts == [1, 1, 1, 1]

    def waiting() -> int:
        return sum("nodeName" not in item["spec"] for item in pods_of(api, core, "name=rs1"))

    wait_until("two pods wait", lambda: waiting() == 2, seconds=PATIENCE)


def test_disruption_budgets(api: Api, core: str, namespace: str) -> None:
    """The status follows the pods; an eviction is refused until the budget allows it; a collection is deleted."""
    collection = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    path = f"{collection}/b"
    labels = {"app": "b"}
    budget = {
        "metadata": {"name": "b", "labels": labels},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
    }
    api("POST", collection, budget)
    apps = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    api("POST", apps, workload("b", 1, template(labels)))
    wait_ready(api, core, "app=b", 1)

    def allowed(number: int, healthy: int) -> None:
        def there() -> bool:
            status = api("GET", path).get("status") or {}
            seen = status.get("observedGeneration") == api("GET", path)["metadata"]["generation"]
            return seen and (status["disruptionsAllowed"], status["currentHealthy"]) == (number, healthy)

        wait_until(f"{number} disruptions allowed", there, seconds=PATIENCE)

    def evict() -> tuple[int, bytes]:
        name = ready_pods(api, core, "app=b")[0]["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        code, _, data = api.exchange("POST", f"{core}/pods/{name}/eviction", eviction)
        return code, data

    allowed(0, 1)
    code, data = evict()
    assert code == 429 and b"violate the pod's disruption budget" in data
    merge(api, f"{apps}/b", {"spec": {"replicas": 3}})
    allowed(2, 3)
    merge(api, path, {"spec": {"minAvailable": 3}})
    allowed(0, 3)
    assert evict()[0] == 429
    update(api, path, lambda found: found["spec"].update(minAvailable="60%"))
    allowed(1, 3)
    assert evict()[0] == 201
    allowed(1, 3)
    listed = api("GET", "/apis/policy/v1/poddisruptionbudgets?labelSelector=app=b")["items"]
    assert [item["metadata"]["namespace"] for item in listed] == [namespace]
    api("DELETE", f"{collection}?labelSelector=app=b")
    assert api.gone(path) and evict()[0] == 201
