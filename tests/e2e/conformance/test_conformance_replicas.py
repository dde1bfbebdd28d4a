"""sig-apps conformance: ReplicationController and ReplicaSet, with real pods."""

from __future__ import annotations

from typing import Any

import pytest
from cluster import Cluster, wait_until
from conformance_api import Api
from conformance_workloads import (
    OTHER_IMAGE,
    exercise_scale,
    exercise_status,
    is_true,
    merge,
    owner_of,
    pod,
    pods_of,
    template,
    wait_ready,
    wait_status,
    workload,
)

KINDS = ("replicationcontrollers", "replicasets")


def collection_of(kind: str, namespace: str) -> str:
    return f"/{'api/v1' if kind == KINDS[0] else 'apis/apps/v1'}/namespaces/{namespace}/{kind}"


def body(kind: str, name: str, replicas: int, pods: dict[str, Any]) -> dict[str, Any]:
    made = workload(name, replicas, pods)
    if kind == KINDS[0]:
        made["spec"]["selector"] = pods["metadata"]["labels"]
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_serving_from_each_replica(api: Api, core: str, namespace: str, cluster: Cluster, kind: str) -> None:
    """Each pod answers HTTP with its own name."""
    script = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 9376 -h /www"
    probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 9376}, "periodSeconds": 1}}
    api("POST", collection_of(kind, namespace), body(kind, "serving", 2, template({"app": "s"}, script, **probe)))
    for item in wait_ready(api, core, "app=s", 2):
        answer = cluster.run("busybox", "wget", "-qO-", f"http://{item['status']['podIP']}:9376/")
        assert answer.strip() == item["metadata"]["name"]
        through = f"{core}/pods/{item['metadata']['name']}:9376/proxy/"
        assert api.exchange("GET", through)[2].decode().strip() == item["metadata"]["name"]


@pytest.mark.parametrize("kind", KINDS)
def test_adopting_and_releasing(api: Api, core: str, namespace: str, kind: str) -> None:
    """A matching orphan becomes the owner's; a pod whose labels no longer match is let go and replaced."""
    api("POST", f"{core}/pods", pod("orphan", labels={"name": "adopted"}))
    made = body(kind, "parent", 1, template({"name": "adopted"}))
    owner = api("POST", collection_of(kind, namespace), made)

    def adopted() -> bool:
        (reference,) = api("GET", f"{core}/pods/orphan")["metadata"].get("ownerReferences") or [{}]
        return bool(reference.get("controller") and reference["uid"] == owner["metadata"]["uid"])

    wait_until("adopted", adopted)
    wait_status(api, f"{collection_of(kind, namespace)}/parent", replicas=1)
    merge(api, f"{core}/pods/orphan", {"metadata": {"labels": {"name": "other"}}})
    wait_until("released", lambda: not owner_of(api("GET", f"{core}/pods/orphan")))
    (fresh,) = wait_ready(api, core, "name=adopted", 1)
    assert owner_of(fresh) == "parent"
    assert not api("GET", f"{core}/pods/orphan")["metadata"].get("deletionTimestamp")


@pytest.mark.parametrize("kind", KINDS)
def test_scale_subresource(api: Api, core: str, namespace: str, kind: str) -> None:
    path = f"{collection_of(kind, namespace)}/scaled"
    api("POST", collection_of(kind, namespace), body(kind, "scaled", 1, template({"app": "x"})))
    wait_status(api, path, replicas=1, readyReplicas=1)
    exercise_scale(api, path)
    wait_status(api, path, replicas=4)


def test_replace_and_patch_of_a_replica_set(api: Api, core: str, namespace: str) -> None:
    """Scaling a set, then patching its replicas and the image of its template."""
    path = f"{collection_of('replicasets', namespace)}/rs"
    api("POST", collection_of("replicasets", namespace), body("replicasets", "rs", 1, template({"app": "x"})))
    found = wait_status(api, path, readyReplicas=1)
    found["spec"]["replicas"] = 2
    found["metadata"].pop("resourceVersion")
    api("PUT", path, found)
    wait_status(api, path, readyReplicas=2)
    image = {"spec": {"containers": [{"name": "c", "image": OTHER_IMAGE}], "terminationGracePeriodSeconds": 3}}
    strategic = {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3, "template": image}}
    api("PATCH", path, strategic, media_type="application/strategic-merge-patch+json")
    found = wait_status(api, path, replicas=3)
    spec = found["spec"]["template"]["spec"]
    assert (found["metadata"]["labels"]["test-rs"], spec["containers"][0]["image"]) == ("patched", OTHER_IMAGE)
    assert spec["containers"][0]["command"][0] == "sh" and spec["terminationGracePeriodSeconds"] == 3


def test_quota_is_surfaced_as_a_condition(api: Api, core: str, namespace: str) -> None:
    """A controller that may not make its pods says so, and stops saying so when it is scaled down."""
    api("POST", f"{core}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    wait_until("quota", lambda: api("GET", f"{core}/resourcequotas/q")["status"].get("hard"))
    collection = collection_of(KINDS[0], namespace)
    api("POST", collection, body(KINDS[0], "rc", 3, template({"app": "x"})))
    found = wait_until("failure", lambda: (f := api("GET", f"{collection}/rc")) and is_true(f, "ReplicaFailure") and f)
    (condition,) = found["status"]["conditions"]
    assert condition["reason"] == "FailedCreate" and "exceeded quota" in condition["message"]
    merge(api, f"{collection}/rc", {"spec": {"replicas": 2}})
    wait_until("no failure", lambda: not is_true(api("GET", f"{collection}/rc"), "ReplicaFailure"))


def test_lifecycle_of_a_replication_controller(api: Api, core: str, namespace: str) -> None:
    """Created, read, patched (also its status and scale), updated, listed everywhere, deleted as a collection."""
    collection = collection_of(KINDS[0], namespace)
    path = f"{collection}/rc"
    labels = {"test-rc": namespace}
    version = api("GET", collection)["metadata"]["resourceVersion"]
    with api.watch(collection, resourceVersion=version, seconds=60) as following:
        api("POST", collection, body(KINDS[0], "rc", 1, template(labels)))
        assert following()[0] == "ADDED"
        wait_status(api, path, readyReplicas=1)
        assert merge(api, path, {"metadata": {"labels": {"a": "patched"}}})["metadata"]["labels"]["a"] == "patched"
        assert (
            merge(api, f"{path}/status", {"status": {"readyReplicas": 0, "availableReplicas": 0}})["status"].get(
                "readyReplicas", 0
            )
            == 0
        )
        assert api("GET", f"{path}/status")["metadata"]["name"] == "rc"
        merge(api, f"{path}/scale", {"spec": {"replicas": 2}})
        wait_status(api, path, readyReplicas=2)
        listed = api("GET", f"/api/v1/replicationcontrollers?labelSelector=test-rc={namespace}")["items"]
        assert [item["metadata"]["name"] for item in listed] == ["rc"]
        updated = api("GET", path)
        updated["spec"]["replicas"] = 1
        updated["metadata"].pop("resourceVersion")
        api("PUT", path, updated)
        wait_status(api, path, readyReplicas=1)
        api("DELETE", f"{collection}?labelSelector=test-rc={namespace}")
        while following()[0] != "DELETED":
            pass
    assert api.gone(path)


def test_replica_sets_as_a_collection(api: Api, core: str, namespace: str) -> None:
    collection = collection_of("replicasets", namespace)
    query = "?labelSelector=e2e=rs"
    api("POST", collection, body("replicasets", "rs", 2, template({"e2e": "rs"})))
    assert len(api("GET", collection + query)["items"]) == 1
    wait_until("pods", lambda: pods_of(api, core, "e2e=rs"))
    api("DELETE", collection + query)
    assert not api("GET", collection + query)["items"]
    wait_until("no pods", lambda: not pods_of(api, core, "e2e=rs"))


@pytest.mark.parametrize("kind", ["replicasets", "deployments", "statefulsets", "daemonsets"])
def test_status_endpoints(api: Api, core: str, namespace: str, kind: str) -> None:
    """What is written to the status subresource is there for every later reader."""
    collection = f"/apis/apps/v1/namespaces/{namespace}/{kind}"
    api("POST", collection, workload("w", None if kind == "daemonsets" else 1, template({"app": "w"})))
    counted = {"numberReady": 1} if kind == "daemonsets" else {"readyReplicas": 1}
    wait_status(api, f"{collection}/w", **counted)
    exercise_status(api, f"{collection}/w")
