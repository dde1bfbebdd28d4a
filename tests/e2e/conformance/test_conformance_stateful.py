"""sig-apps conformance: StatefulSets, DaemonSets and their ControllerRevisions, with real pods."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import Cluster, wait_until
from conformance_api import STRATEGIC, Api
from conformance_workloads import (
    OTHER_IMAGE,
    PATIENCE,
    READY_FILE,
    container,
    exercise_scale,
    merge,
    owner_of,
    pods_of,
    template,
    update,
    wait_ready,
    wait_status,
    workload,
)

LABELS = {"app": "s"}
REVISION = "controller-revision-hash"


def apps(namespace: str, kind: str = "statefulsets") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{kind}"


def stateful(name: str, replicas: int, pods: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return workload(name, replicas, pods or template(LABELS), serviceName="s", **spec)


def make_ready(cluster: Cluster, namespace: str, *names: str, ready: bool = True) -> None:
    """Answer the probe of pods with ``READY_FILE``."""
    for name in names:
        cluster.kubectl("exec", name, "-n", namespace, "--", *(("touch",) if ready else ("rm",)), "/ready")


def revisions(api: Api, core: str) -> list[str]:
    """The revision of each pod, by ordinal."""
    items = sorted(pods_of(api, core), key=lambda item: str(item["metadata"]["name"]))
    return [item["metadata"]["labels"][REVISION] for item in items]


def new_template(version: str) -> dict[str, Any]:
    return {"spec": {"template": {"metadata": {"annotations": {"version": version}}}}}


def test_scale_subresource(api: Api, core: str, namespace: str) -> None:
    path = f"{apps(namespace)}/ss"
    api("POST", apps(namespace), stateful("ss", 1))
    wait_status(api, path, replicas=1, readyReplicas=1)
    exercise_scale(api, path)


def test_scaling_in_order_and_halting(api: Api, core: str, namespace: str, cluster: Cluster) -> None:
    """Pods come in ascending and go in descending order; nothing goes on while one is not ready."""
    path = f"{apps(namespace)}/ss"
    version = api("GET", f"{core}/pods")["metadata"]["resourceVersion"]
    seen: list[tuple[str, str]] = []
    with api.watch(f"{core}/pods", resourceVersion=version, seconds=PATIENCE) as following:

        def until(kind: str, name: str) -> None:
            while (kind, name) not in seen:
                event, item = following()
                if event != "MODIFIED":
                    seen.append((event, item["metadata"]["name"]))

        api("POST", apps(namespace), stateful("ss", 3, template(LABELS, readinessProbe=READY_FILE)))
        for number in range(3):
            until("ADDED", f"ss-{number}")
            wait_status(api, path, replicas=number + 1, readyReplicas=number)
            wait_ready_to_exec(api, core, f"ss-{number}")
            make_ready(cluster, namespace, f"ss-{number}")
        wait_status(api, path, replicas=3, readyReplicas=3)
        make_ready(cluster, namespace, "ss-0", ready=False)
        wait_status(api, path, readyReplicas=2)
        merge(api, path, {"spec": {"replicas": 1}})
        wait_status(api, path, replicas=3)
        make_ready(cluster, namespace, "ss-0")
        until("DELETED", "ss-1")
        merge(api, path, {"spec": {"replicas": 0}})
        until("DELETED", "ss-0")
    assert seen == [("ADDED", f"ss-{n}") for n in (0, 1, 2)] + [("DELETED", f"ss-{n}") for n in (2, 1, 0)]


def wait_ready_to_exec(api: Api, core: str, *names: str) -> None:
    """Wait until the containers run."""
    for name in names:
        path = f"{core}/pods/{name}"
        wait_until(f"{name} runs", lambda: api("GET", path)["status"].get("phase") == "Running", seconds=PATIENCE)  # noqa: B023


def test_burst_scaling(api: Api, core: str, namespace: str, cluster: Cluster) -> None:
    """With the policy Parallel, pods that are not ready hold up neither growing nor shrinking."""
    path = f"{apps(namespace)}/ss"
    pods = template(LABELS, readinessProbe=READY_FILE)
    api("POST", apps(namespace), stateful("ss", 1, pods, podManagementPolicy="Parallel"))
    wait_status(api, path, replicas=1)
    merge(api, path, {"spec": {"replicas": 3}})
    wait_status(api, path, replicas=3, readyReplicas=0)
    wait_ready_to_exec(api, core, "ss-0", "ss-1", "ss-2")
    make_ready(cluster, namespace, "ss-0", "ss-1", "ss-2")
    wait_status(api, path, readyReplicas=3)
    make_ready(cluster, namespace, "ss-0", "ss-1", "ss-2", ready=False)
    wait_status(api, path, readyReplicas=0)
    merge(api, path, {"spec": {"replicas": 0}})
    wait_status(api, path, replicas=0)


def test_rolling_update_and_roll_back(api: Api, core: str, namespace: str) -> None:
    """Pods are replaced from the highest ordinal down; the old template brings the old revision back."""
    path = f"{apps(namespace)}/ss"
    api("POST", apps(namespace), stateful("ss", 3, template(LABELS, "exec sleep 1000")))
    first = wait_status(api, path, readyReplicas=3, currentReplicas=3)["status"]["updateRevision"]
    assert revisions(api, core) == [first] * 3
    version = api("GET", f"{core}/pods")["metadata"]["resourceVersion"]
    merge(api, path, new_template("2"))
    found = wait_status(api, path, updatedReplicas=3, readyReplicas=3)
    found = wait_until("done", lambda: (f := api("GET", path)["status"])["currentRevision"] != first and f)
    assert found["currentRevision"] == found["updateRevision"]
    assert revisions(api, core) == [found["updateRevision"]] * 3
    with api.watch(f"{core}/pods", resourceVersion=version, seconds=PATIENCE) as following:
        gone: list[str] = []
        while len(gone) < 3:
            kind, item = following()
            gone += [item["metadata"]["name"]] if kind == "DELETED" else []
    assert gone == ["ss-2", "ss-1", "ss-0"]
    merge(api, path, {"spec": {"template": {"metadata": {"annotations": None}}}})
    wait_until("the first revision is back", lambda: revisions(api, core) == [first] * 3, seconds=PATIENCE)
    assert len(api("GET", apps(namespace, "controllerrevisions"))["items"]) == 2


def test_canary_and_phased_update(api: Api, core: str, namespace: str) -> None:
    """The partition keeps lower ordinals at the old revision, also when they are deleted."""
    path = f"{apps(namespace)}/ss"
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    api("POST", apps(namespace), stateful("ss", 3, template(LABELS, "exec sleep 1000"), updateStrategy=rolling))
    old = wait_status(api, path, readyReplicas=3)["status"]["currentRevision"]
    merge(api, path, new_template("2"))
    found = wait_until("update", lambda: (f := api("GET", path)["status"])["updateRevision"] != old and f)
    new = found["updateRevision"]
    assert found["currentRevision"] == old and revisions(api, core) == [old] * 3

    def partition(number: int) -> None:
        merge(api, path, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": number}}}})

    partition(2)
    wait_until("canary", lambda: revisions(api, core) == [old, old, new], seconds=PATIENCE)
    wait_status(api, path, readyReplicas=3)
    for name in ("ss-0", "ss-2"):
        api("DELETE", f"{core}/pods/{name}")
    wait_until("kept", lambda: revisions(api, core) == [old, old, new], seconds=PATIENCE)
    wait_status(api, path, readyReplicas=3, updatedReplicas=1)
    partition(0)
    wait_until("all", lambda: revisions(api, core) == [new] * 3, seconds=PATIENCE)
    wait_until("current", lambda: api("GET", path)["status"]["currentRevision"] == new, seconds=PATIENCE)


def test_a_refused_pod_is_made_anew(api: Api, core: str, namespace: str) -> None:
    """The node refuses the set's pod while another has its host port; then it comes."""
    port = {"name": "conflict", "containerPort": 21017, "hostPort": 21017}
    spec = {"nodeName": "node-1", "terminationGracePeriodSeconds": 0, "containers": [container(ports=[port])]}
    api("POST", f"{core}/pods", {"metadata": {"name": "first"}, "spec": spec})
    wait_ready_to_exec(api, core, "first")
    version = api("GET", f"{core}/pods")["metadata"]["resourceVersion"]
    pods = template(LABELS, ports=[port], spec={"nodeName": "node-1"})
    with api.watch(f"{core}/pods", resourceVersion=version, labelSelector="app=s", seconds=PATIENCE) as following:
        api("POST", apps(namespace), stateful("ss", 1, pods))
        uid, failed = following()[1]["metadata"]["uid"], False
        while True:
            kind, item = following()
            failed = failed or item["status"]["phase"] == "Failed"
            if kind == "DELETED" and item["metadata"]["uid"] == uid:
                break
        assert failed
    api("DELETE", f"{core}/pods/first")
    wait_status(api, f"{apps(namespace)}/ss", readyReplicas=1)


def test_stateful_sets_as_a_collection(api: Api, core: str, namespace: str) -> None:
    api("POST", apps(namespace), stateful("ss", 1))
    path, query = f"{apps(namespace)}/ss", "?labelSelector=app=s"
    assert len(api("GET", apps(namespace) + query)["items"]) == 1
    image = {"spec": {"containers": [{"name": "c", "image": OTHER_IMAGE, "command": ["/pause"]}]}}
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 2, "template": image}}
    api("PATCH", path, patch, media_type=STRATEGIC)
    found = wait_status(api, path, readyReplicas=2, updatedReplicas=2)
    assert found["metadata"]["labels"]["patched"] == "yes"
    assert [i["spec"]["containers"][0]["image"] for i in pods_of(api, core)] == [OTHER_IMAGE] * 2
    api("DELETE", apps(namespace) + query)
    wait_until("gone", lambda: not api("GET", apps(namespace) + query)["items"] and not pods_of(api, core))


@pytest.fixture
def daemons(api: Api, core: str, namespace: str) -> Iterator[tuple[str, str]]:
    """(collection of DaemonSets, path of the one that runs)."""
    api("POST", apps(namespace, "daemonsets"), workload("ds", None, template(LABELS)))
    path = f"{apps(namespace, 'daemonsets')}/ds"
    wait_status(api, path, numberReady=1, desiredNumberScheduled=1, numberAvailable=1)
    yield apps(namespace, "daemonsets"), path
    api.exchange("DELETE", path)


def test_daemon_pods_are_made_again(api: Api, core: str, daemons: tuple[str, str]) -> None:
    """After one was deleted, and after one failed; a collection of DaemonSets is listed and deleted."""
    (first,) = wait_ready(api, core, "app=s", 1)
    assert first["spec"]["nodeName"] == "node-1" and owner_of(first) == "ds"
    api("DELETE", f"{core}/pods/{first['metadata']['name']}")
    wait_until("another", lambda: others(api, core, first), seconds=PATIENCE)
    (second,) = wait_ready(api, core, "app=s", 1)
    merge(api, f"{core}/pods/{second['metadata']['name']}/status", {"status": {"phase": "Failed"}})
    third = wait_until("a third", lambda: others(api, core, first, second), seconds=PATIENCE)
    assert third["status"]["phase"] != "Failed"
    wait_until("deleted", lambda: api.gone(f"{core}/pods/{second['metadata']['name']}"), seconds=PATIENCE)
    collection, query = daemons[0], "?labelSelector=app=s"
    assert len(api("GET", collection + query)["items"]) == 1
    api("DELETE", collection + query)
    wait_until("gone", lambda: not api("GET", collection + query)["items"] and not pods_of(api, core))


def others(api: Api, core: str, *known: dict[str, Any]) -> dict[str, Any] | None:
    uids = {item["metadata"]["uid"] for item in known}
    fresh = (item for item in pods_of(api, core, "app=s") if item["metadata"]["uid"] not in uids)
    return next(fresh, None)


def test_daemons_by_node_selector(api: Api, core: str, namespace: str) -> None:
    """A pod comes when the node gets the label, goes with it, and follows a changed selector."""
    label = f"colour-{secrets.token_hex(3)}"
    node, path = "/api/v1/nodes/node-1", f"{apps(namespace, 'daemonsets')}/ds"
    pods = template(LABELS, spec={"nodeSelector": {label: "blue"}})
    api("POST", apps(namespace, "daemonsets"), workload("ds", None, pods))
    wait_status(api, path, desiredNumberScheduled=0, numberReady=0)
    try:
        merge(api, node, {"metadata": {"labels": {label: "blue"}}})
        wait_status(api, path, desiredNumberScheduled=1, numberReady=1)
        merge(api, node, {"metadata": {"labels": {label: "green"}}})
        wait_until("no pods", lambda: not pods_of(api, core), seconds=PATIENCE)
        wait_status(api, path, desiredNumberScheduled=0)
        selector = {"spec": {"nodeSelector": {label: "green"}}}
        merge(api, path, {"spec": {"template": selector, "updateStrategy": {"type": "RollingUpdate"}}})
        wait_status(api, path, desiredNumberScheduled=1, numberReady=1, updatedNumberScheduled=1)
    finally:
        merge(api, node, {"metadata": {"labels": {label: None}}})


def test_daemon_updates_and_roll_back(api: Api, core: str, daemons: tuple[str, str]) -> None:
    """An update makes pods and a revision anew; a roll back leaves alone the pods that were never changed."""
    _, path = daemons
    (first,) = wait_ready(api, core, "app=s", 1)
    merge(api, path, new_template("2"))
    wait_status(api, path, updatedNumberScheduled=1, numberReady=1, numberAvailable=1)
    second = wait_until("updated", lambda: others(api, core, first), seconds=PATIENCE)
    assert second["metadata"]["labels"][REVISION] != first["metadata"]["labels"][REVISION]
    assert second["metadata"]["annotations"]["version"] == "2"
    broken = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "127.0.0.1:1/no:404"}]}}}}
    api("PATCH", path, broken, media_type=STRATEGIC)
    stuck = wait_until("a stuck pod", lambda: others(api, core, first, second), seconds=PATIENCE)
    good = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": container()["image"]}]}}}}
    api("PATCH", path, good, media_type=STRATEGIC)
    wait_status(api, path, updatedNumberScheduled=1, numberReady=1, numberAvailable=1)
    back = wait_until("rolled back", lambda: others(api, core, first, second, stuck), seconds=PATIENCE)
    assert back["metadata"]["labels"][REVISION] == second["metadata"]["labels"][REVISION]


def test_lifecycle_of_a_controller_revision(api: Api, namespace: str, daemons: tuple[str, str]) -> None:
    collection, query = apps(namespace, "controllerrevisions"), "?labelSelector=app=s"

    def listed() -> list[dict[str, Any]]:
        return list(api("GET", collection + query)["items"])

    (first,) = listed()
    path = f"{collection}/{first['metadata']['name']}"
    patched = merge(api, path, {"metadata": {"labels": {"e2e": "patched"}}})
    assert patched["metadata"]["labels"]["e2e"] == "patched"
    meta = {"name": "by-hand", "labels": LABELS, "ownerReferences": first["metadata"]["ownerReferences"]}
    api("POST", collection, {"metadata": meta, "data": first["data"], "revision": first["revision"] + 1})
    assert len(listed()) == 2
    api("DELETE", f"{collection}/by-hand")
    wait_until("one is left", lambda: len(listed()) == 1)
    found = update(api, path, lambda found: found["metadata"]["labels"].update(e2e="updated"))
    assert found["metadata"]["labels"]["e2e"] == "updated"
    merge(api, daemons[1], new_template("2"))
    wait_until("a second revision", lambda: len(listed()) == 2)
    api("DELETE", f"{collection}?labelSelector=e2e=updated")
    wait_until("one is left", lambda: len(listed()) == 1)
    merge(api, daemons[1], {"spec": {"template": {"metadata": {"annotations": None}}}})
    wait_until("revision 3", lambda: sorted(item["revision"] for item in listed())[-1] == 3)
