"""sig-api-machinery conformance: the garbage collector, with real pods on a real node."""

from __future__ import annotations

from typing import Any

import pytest
from cluster import IMAGE, wait_until
from conformance_api import MERGE, Api

PODS = 4
TEMPLATE = {
    "metadata": {"labels": {"app": "g"}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "1000"]}
        ],
    },
}  # fmt: skip


def controller(name: str, replicas: int = PODS) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"app": "g"}, "template": TEMPLATE}}


def pods(api: Api, core: str) -> list[dict[str, Any]]:
    return list(api("GET", f"{core}/pods")["items"])


def delete(api: Api, path: str, policy: str) -> None:
    api("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy})


def owners(pod: dict[str, Any]) -> list[str]:
    return [owner["name"] for owner in pod["metadata"].get("ownerReferences") or []]


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_deleting_a_replication_controller(api: Api, core: str, policy: str) -> None:
    """Its pods go with it, go before it, or stay without an owner."""
    path = f"{core}/replicationcontrollers/rc"
    api("POST", f"{core}/replicationcontrollers", controller("rc"))
    wait_until("pods", lambda: len(pods(api, core)) == PODS, seconds=20)
    with api.watch(f"{core}/replicationcontrollers", fieldSelector="metadata.name=rc", seconds=30) as following:
        delete(api, path, policy)
        while following()[0] != "DELETED":
            pass
        left = pods(api, core)
    if policy == "Foreground":
        assert not left
    elif policy == "Background":
        wait_until("no pods", lambda: not pods(api, core), seconds=30)
    else:
        assert [owners(pod) for pod in left] == [[]] * PODS
        assert not any("deletionTimestamp" in pod["metadata"] for pod in left)


@pytest.mark.parametrize("policy", ["Background", "Orphan"])
def test_deleting_a_deployment(api: Api, core: str, namespace: str, policy: str) -> None:
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "g"}}, "template": TEMPLATE}
    api("POST", f"{apps}/deployments", {"metadata": {"name": "d"}, "spec": spec})
    wait_until("pod", lambda: pods(api, core), seconds=20)
    delete(api, f"{apps}/deployments/d", policy)
    wait_until("gone", lambda: api.gone(f"{apps}/deployments/d"), seconds=20)

    def sets() -> list[dict[str, Any]]:
        return list(api("GET", f"{apps}/replicasets")["items"])

    if policy == "Background":
        wait_until("no replica sets and pods", lambda: not sets() and not pods(api, core), seconds=30)
    else:
        (orphan,) = sets()
        assert owners(orphan) == [] and [owners(pod) for pod in pods(api, core)] == [[orphan["metadata"]["name"]]]


def test_dependents_with_another_valid_owner_stay(api: Api, core: str) -> None:
    """Half of the pods have a second owner: they outlive the first one, which is deleted in the foreground."""
    collection = f"{core}/replicationcontrollers"
    api("POST", collection, controller("one"))
    wait_until("pods", lambda: len(pods(api, core)) == PODS, seconds=20)
    template = {**TEMPLATE, "metadata": {"labels": {"b": "two"}}}
    spec = {"replicas": 0, "selector": {"b": "two"}, "template": template}
    two = api("POST", collection, {"metadata": {"name": "two"}, "spec": spec})
    second = {"apiVersion": "v1", "kind": "ReplicationController", "name": "two", "uid": two["metadata"]["uid"]}
    for pod in pods(api, core)[: PODS // 2]:
        references = [*pod["metadata"]["ownerReferences"], second]
        patch = {"metadata": {"ownerReferences": references}}
        api("PATCH", f"{core}/pods/{pod['metadata']['name']}", patch, media_type=MERGE)
    delete(api, f"{collection}/one", "Foreground")
    wait_until("the first owner is gone", lambda: api.gone(f"{collection}/one"), seconds=30)
    left = pods(api, core)
    assert [owners(pod) for pod in left] == [["two"]] * (PODS // 2)
    assert not any("deletionTimestamp" in pod["metadata"] for pod in left)


def test_a_circle_of_owners_is_no_obstacle(api: Api, core: str) -> None:
    uids = {}
    for name in ("p1", "p2", "p3"):
        made = api("POST", f"{core}/pods", {"metadata": {"name": name}, "spec": TEMPLATE["spec"]})
        uids[name] = made["metadata"]["uid"]
    for name, owner in (("p1", "p3"), ("p2", "p1"), ("p3", "p2")):
        reference = {
            "apiVersion": "v1", "kind": "Pod", "name": owner, "uid": uids[owner], "controller": True,
            "blockOwnerDeletion": True,
        }  # fmt: skip
        api("PATCH", f"{core}/pods/{name}", {"metadata": {"ownerReferences": [reference]}}, media_type=MERGE)
    delete(api, f"{core}/pods/p1", "Foreground")
    wait_until("no pods", lambda: not pods(api, core), seconds=30)
