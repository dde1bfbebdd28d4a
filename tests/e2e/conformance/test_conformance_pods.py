"""sig-node conformance: what can be done with pods: updates, resizing, logs and commands over WebSockets, eviction."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cluster import NODE_IP, wait_until
from conformance_api import MERGE, STRATEGIC, Api
from conformance_pods import container, create, execute, log, pod, ready, status

from minikube_py.machinery.quantities import quantity_milli

NODE = "/api/v1/nodes/node-1"


def resources(cpu: str, memory: str, *, limits: bool = True) -> dict[str, Any]:
    found = {"cpu": cpu, "memory": memory}
    return {"requests": found, "limits": found} if limits else {"requests": found}


def several(*found: dict[str, Any]) -> list[dict[str, Any]]:
    return [container("sleep 3600", name=f"c{number}", resources=one) for number, one in enumerate(found, 1)]


QOS = {
    "guaranteed": (resources("50m", "16Mi"), "Guaranteed"),
    "burstable": (resources("50m", "16Mi", limits=False), "Burstable"),
    "besteffort": ({}, "BestEffort"),
}
RESIZES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "net-increase": (
        [resources("20m", "32Mi")] * 3,
        [resources("30m", "48Mi"), resources("30m", "48Mi"), resources("10m", "24Mi")],
    ),
    "net-decrease": (
        [resources("30m", "48Mi")] * 3,
        [resources("35m", "56Mi"), resources("20m", "32Mi"), resources("20m", "32Mi")],
    ),
    "mixed": (
        [resources("20m", "32Mi")] * 3,
        [resources("30m", "32Mi"), resources("10m", "48Mi"), resources("30m", "48Mi")],
    ),
    "adds": (
        [{}, resources("20m", "32Mi", limits=False), {"requests": {"cpu": "20m"}}],
        [
            resources("10m", "24Mi"),
            {"requests": {"cpu": "30m", "memory": "32Mi"}, "limits": {"cpu": "60m", "memory": "64Mi"}},
            {"requests": {"cpu": "10m"}, "limits": {"cpu": "20m"}},
        ],
    ),
}
CPU_LIMIT = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"


@pytest.fixture(scope="module")
def pods(api: Api, ground: str) -> str:
    for name, (found, _) in QOS.items():
        create(api, ground, [pod(name, container("sleep 3600", resources=found))])
    for name, (before, _) in RESIZES.items():
        create(api, ground, [pod(name, *several(*before))])
    create(api, ground, [
        pod("speaks", container("echo spoken; sleep 3600")), pod("changes", container("sleep 3600"), labels={"a": "1"}),
        pod("replaced", *several(resources("20m", "32Mi"))),
    ])  # fmt: skip
    return ground


@pytest.mark.parametrize("name", QOS)
def test_qos_classes(api: Api, pods: str, name: str) -> None:
    assert status(api, pods, name)["qosClass"] == QOS[name][1]


def resize(api: Api, core: str, name: str, wanted: list[dict[str, Any]]) -> None:
    listed = [{"name": f"c{number}", "resources": found} for number, found in enumerate(wanted, 1)]
    api("PATCH", f"{core}/pods/{name}/resize", {"spec": {"containers": listed}}, media_type=STRATEGIC)


def amounts(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Requests and limits without their spelling."""
    return {which: {name: quantity_milli(text) for name, text in part.items()} for which, part in found.items()}


def runs_with(api: Api, core: str, name: str, wanted: list[dict[str, Any]]) -> None:
    """The status tells the wanted resources of each container, none of which was started again."""

    def done() -> bool:
        found = api("GET", f"{core}/pods/{name}")
        listed = found["status"].get("containerStatuses") or []
        listed = sorted(listed, key=lambda item: item["name"])
        same = [amounts(item.get("resources") or {}) for item in listed] == list(map(amounts, wanted))
        told = found["status"].get("observedGeneration") == found["metadata"]["generation"]
        waiting = {item["type"] for item in found["status"]["conditions"]} & {"PodResizePending", "PodResizeInProgress"}
        return same and told and not waiting

    wait_until(f"{name} runs with {wanted}", done, seconds=120)
    assert all(item["restartCount"] == 0 for item in status(api, core, name)["containerStatuses"])


@pytest.mark.parametrize("name", RESIZES)
def test_containers_are_resized_where_they_run(api: Api, pods: str, name: str) -> None:
    ready(api, pods, name)
    after = RESIZES[name][1]
    resize(api, pods, name, after)
    runs_with(api, pods, name, after)
    quota = int(after[0]["limits"]["cpu"].removesuffix("m")) * 100
    assert execute(api, pods, name, CPU_LIMIT, "c1").split()[0] == str(quota)


def test_a_resize_by_replacing_the_pod(api: Api, pods: str) -> None:
    """Other spellings of the same amounts change nothing."""
    ready(api, pods, "replaced")
    path = f"{pods}/pods/replaced"

    def replaced(wanted: dict[str, Any]) -> bool:
        found = api("GET", path)
        found["spec"]["containers"][0]["resources"] = wanted
        code = api.exchange("PUT", f"{path}/resize", found)[0]
        assert code in (200, 409)  # the kubelet may have written in between
        return code == 200

    for wanted in (resources("30m", "48Mi"), resources("0.03", "50331648")):
        wait_until("the pod is replaced", partial(replaced, wanted))
    runs_with(api, pods, "replaced", [resources("30m", "48Mi")])


def test_pods_are_updated_and_their_status_patched(api: Api, pods: str) -> None:
    ready(api, pods, "changes")
    path = f"{pods}/pods/changes"
    assert status(api, pods, "changes")["hostIP"] == NODE_IP
    found = api("GET", path)
    found["metadata"]["labels"]["a"] = "2"
    assert api("PUT", path, found)["metadata"]["labels"]["a"] == "2"
    assert [item["metadata"]["name"] for item in api("GET", f"{pods}/pods?labelSelector=a%3D2")["items"]] == ["changes"]
    gate = {"status": {"conditions": [{"type": "Tested", "status": "True"}]}}
    patched = api("PATCH", f"{path}/status", gate, media_type=STRATEGIC)
    assert "Tested" in {item["type"] for item in patched["status"]["conditions"]}
    api("PATCH", path, {"metadata": {"labels": {"b": "1"}}}, media_type=STRATEGIC)
    wait_until("the kubelet leaves it", lambda: "Tested" in str(status(api, pods, "changes")["conditions"]))


def test_generations_are_counted_and_observed(api: Api, core: str) -> None:
    """A pod's generation starts at 1 and grows with its spec; the kubelet follows; a graceful end counts too."""
    one = pod("counted", container("trap 'sleep 3; exit' TERM; while :; do sleep 0.1; done"))
    one["metadata"]["generation"] = 100
    one["spec"]["terminationGracePeriodSeconds"] = 20
    create(api, core, [one])
    path = f"{core}/pods/counted"
    assert api("GET", path)["metadata"]["generation"] == 1
    ready(api, core, "counted")
    api("PATCH", path, {"metadata": {"labels": {"x": "y"}}}, media_type=MERGE)
    assert api("GET", path)["metadata"]["generation"] == 1
    for number in range(25):
        found = api("GET", path)
        added = {"key": f"k{number}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9000}
        wanted = [*found["spec"]["tolerations"], added]
        api("PATCH", path, {"spec": {"tolerations": wanted}}, media_type=MERGE)
    generation = api("GET", path)["metadata"]["generation"]
    assert generation == 26

    def observed() -> bool:
        return bool(status(api, core, "counted").get("observedGeneration") == generation)

    wait_until("the kubelet has seen the newest", observed)
    api("DELETE", path)
    assert api("GET", path)["metadata"]["generation"] == generation + 1
    wait_until("gone", lambda: api.gone(path))


def test_pods_come_and_go_before_a_watch(api: Api, core: str) -> None:
    version = api("GET", f"{core}/pods")["metadata"]["resourceVersion"]
    with api.watch(f"{core}/pods", labelSelector="app=watched", resourceVersion=version, seconds=60) as following:
        create(api, core, [pod("watched", container("sleep 3600"), terminationGracePeriodSeconds=2)])
        assert following()[0] == "ADDED"
        ready(api, core, "watched")
        api("DELETE", f"{core}/pods/watched")
        while following()[0] != "DELETED":
            pass
    create(api, core, [pod(f"many-{n}", container("sleep 3600"), labels={"type": "many"}) for n in range(3)])
    api("DELETE", f"{core}/pods?labelSelector=type%3Dmany")
    wait_until("the collection is gone", lambda: not api("GET", f"{core}/pods?labelSelector=type%3Dmany")["items"])


def test_logs_and_commands_over_websockets(api: Api, pods: str) -> None:
    ready(api, pods, "speaks")
    wait_until("the log", lambda: log(api, pods, "speaks") == "spoken\n")
    path = f"{pods}/pods/speaks"
    assert b"".join(api.websocket(f"{path}/log?container=c", "binary.k8s.io")) == b"spoken\n"
    frames = api.websocket(f"{path}/exec?stdout=1&stderr=1&container=c&command=echo&command=said", "v4.channel.k8s.io")
    assert b"".join(frame[1:] for frame in frames if frame[:1] == b"\x01") == b"said\n"
    assert b'"status":"Success"' in b"".join(frame[1:] for frame in frames if frame[:1] == b"\x03")


@pytest.fixture
def tainted(api: Api) -> Iterator[dict[str, Any]]:
    """The node with a NoExecute taint, which is taken away again."""
    taint = {"key": "e2e-evict", "value": "yes", "effect": "NoExecute"}
    yield taint
    api("PATCH", NODE, {"spec": {"taints": []}}, media_type=MERGE)


def test_taints_evict_pods_when_their_time_is_over(api: Api, core: str, tainted: dict[str, Any]) -> None:
    """Of three pods one goes at once, one after its seconds, and one is spared when the taint goes first."""
    tolerates = {"key": tainted["key"], "operator": "Exists", "effect": "NoExecute"}
    create(api, core, [
        pod("at-once", container("sleep 3600")),
        pod("later", container("sleep 3600"), tolerations=[{**tolerates, "tolerationSeconds": 3}]),
        pod("spared", container("sleep 3600"), tolerations=[{**tolerates, "tolerationSeconds": 600}]),
    ])  # fmt: skip
    ready(api, core, "at-once", "later", "spared")
    api("PATCH", NODE, {"spec": {"taints": [tainted]}}, media_type=MERGE)
    wait_until("the first is evicted", lambda: api.gone(f"{core}/pods/at-once"))
    wait_until("the second is evicted", lambda: api.gone(f"{core}/pods/later"))
    api("PATCH", NODE, {"spec": {"taints": []}}, media_type=MERGE)
    ready(api, core, "spared")
    assert "deletionTimestamp" not in api("GET", f"{core}/pods/spared")["metadata"]
