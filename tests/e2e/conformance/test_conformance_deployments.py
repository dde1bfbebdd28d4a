"""sig-apps conformance: Deployments, with real pods."""

from __future__ import annotations

from typing import Any

from cluster import wait_until
from conformance_api import STRATEGIC, Api
from conformance_workloads import (
    OTHER_IMAGE,
    PATIENCE,
    exercise_scale,
    is_true,
    merge,
    pods_of,
    ready_pods,
    template,
    wait_ready,
    wait_status,
    workload,
)

LABELS = {"app": "d"}
NEW = {"spec": {"template": {"metadata": {"annotations": {"version": "new"}}}}}


def paths(namespace: str) -> tuple[str, str]:
    """(the collection of Deployments, that of ReplicaSets)."""
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    return f"{apps}/deployments", f"{apps}/replicasets"


def sets_of(api: Api, namespace: str) -> list[dict[str, Any]]:
    """The namespace's ReplicaSets, by revision."""
    items = list(api("GET", paths(namespace)[1])["items"])

    def revision(item: dict[str, Any]) -> int:
        return int((item["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", 0))

    return sorted(items, key=revision)


def sizes(api: Api, namespace: str) -> list[int]:
    return [item["spec"]["replicas"] for item in sets_of(api, namespace)]


def test_scale_subresource(api: Api, core: str, namespace: str) -> None:
    collection, _ = paths(namespace)
    api("POST", collection, workload("d", 1, template(LABELS)))
    wait_status(api, f"{collection}/d", replicas=1, readyReplicas=1)
    exercise_scale(api, f"{collection}/d")
    wait_status(api, f"{collection}/d", replicas=4)


def test_recreate(api: Api, core: str, namespace: str) -> None:
    """No pod of the new template is there before the last one of the old template is gone."""
    collection, _ = paths(namespace)
    api("POST", collection, workload("d", 2, template(LABELS), strategy={"type": "Recreate"}))
    wait_status(api, f"{collection}/d", readyReplicas=2)
    version = api("GET", f"{core}/pods")["metadata"]["resourceVersion"]
    with api.watch(f"{core}/pods", resourceVersion=version, seconds=PATIENCE) as following:
        merge(api, f"{collection}/d", NEW)
        old = {item["metadata"]["name"] for item in pods_of(api, core) if "annotations" not in item["metadata"]}
        gone: set[str] = set()
        while len(gone) < 2:
            kind, item = following()
            assert kind != "ADDED", f"{item['metadata']['name']} was made while {old - gone} were there"
            if kind == "DELETED":
                gone.add(item["metadata"]["name"])
        assert following()[0] == "ADDED"
    wait_status(api, f"{collection}/d", updatedReplicas=2, readyReplicas=2, replicas=2)


def test_rolling_update_takes_over_a_replica_set(api: Api, core: str, namespace: str) -> None:
    """A matching ReplicaSet is adopted as the old one; its pods are replaced and it is kept empty."""
    collection, sets = paths(namespace)
    before = workload("before", 1, template(LABELS, "exec sleep 1000"))
    before["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "3546343826724305832"}
    api("POST", sets, before)
    wait_ready(api, core, "app=d", 1)
    api("POST", collection, workload("d", 1, template(LABELS)))
    found = wait_status(api, f"{collection}/d", updatedReplicas=1, readyReplicas=1, replicas=1)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3546343826724305833"
    old, new = sets_of(api, namespace)
    assert (old["metadata"]["name"], old["spec"]["replicas"]) == ("before", 0)
    assert [each["metadata"]["ownerReferences"][0]["name"] for each in (old, new)] == ["d", "d"]
    assert is_true(found, "Progressing") and is_true(found, "Available")


def test_old_replica_sets_are_deleted(api: Api, core: str, namespace: str) -> None:
    collection, sets = paths(namespace)
    api("POST", sets, workload("before", 1, template(LABELS, "exec sleep 1000")))
    wait_ready(api, core, "app=d", 1)
    api("POST", collection, workload("d", 1, template(LABELS), revisionHistoryLimit=0))
    wait_until("deleted", lambda: api.gone(f"{sets}/before"), seconds=PATIENCE)
    wait_status(api, f"{collection}/d", updatedReplicas=1, readyReplicas=1, replicas=1)


def test_proportional_scaling(api: Api, core: str, namespace: str) -> None:
    """With a rollout that cannot go on, a scaling is shared out by the sizes of the ReplicaSets."""
    collection, _ = paths(namespace)
    path = f"{collection}/d"
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    api("POST", collection, workload("d", 10, template(LABELS, "exec sleep 1000"), strategy=rolling))
    wait_status(api, path, availableReplicas=10)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "127.0.0.1:1/no:404"}]}}}}
    api("PATCH", path, image, media_type=STRATEGIC)
    wait_until("a stuck rollout", lambda: sizes(api, namespace) == [8, 5], seconds=PATIENCE)
    wait_status(api, path, availableReplicas=8)
    merge(api, path, {"spec": {"replicas": 30}})
    wait_until("shared out", lambda: sizes(api, namespace) == [20, 13], seconds=PATIENCE)
    api("DELETE", path)


def test_rollover(api: Api, core: str, namespace: str) -> None:
    """A new change takes over from a rollout that never became ready, and reaches pods of an older ReplicaSet too."""
    collection, sets = paths(namespace)
    path = f"{collection}/d"
    api("POST", sets, workload("before", 1, template(LABELS, "exec sleep 1000")))
    (old,) = wait_ready(api, core, "app=d", 1)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    broken = template(LABELS, image="127.0.0.1:1/no:404")
    api("POST", collection, workload("d", 1, broken, strategy=rolling, minReadySeconds=1))
    wait_until("two sets with a pod each", lambda: sizes(api, namespace) == [1, 1], seconds=PATIENCE)
    patch = {"spec": {"template": template(LABELS)}}
    api("PATCH", path, patch, media_type=STRATEGIC)
    wait_status(api, path, updatedReplicas=1, availableReplicas=1, replicas=1)
    assert sizes(api, namespace) == [0, 0, 1]
    assert [item["metadata"]["uid"] for item in ready_pods(api, core)] != [old["metadata"]["uid"]]


def test_lifecycle_of_a_deployment(api: Api, core: str, namespace: str) -> None:
    """Created, patched, scaled, its status read and written, updated, listed everywhere, deleted as a collection."""
    collection, _ = paths(namespace)
    path = f"{collection}/d"
    labels = {"test-deployment": namespace}
    version = api("GET", collection)["metadata"]["resourceVersion"]
    with api.watch(collection, resourceVersion=version, seconds=PATIENCE) as following:
        api("POST", collection, workload("d", 1, template(labels)))
        assert following()[0] == "ADDED"
        wait_status(api, path, readyReplicas=1)
        container = {"name": "c", "image": OTHER_IMAGE, "command": ["/pause"]}
        template_patch = {"spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
        patch = {"metadata": {"labels": {"a": "patched"}}, "spec": {"replicas": 2, "template": template_patch}}
        assert api("PATCH", path, patch, media_type=STRATEGIC)["metadata"]["labels"]["a"] == "patched"
        found = wait_status(api, path, updatedReplicas=2, readyReplicas=2, replicas=2)
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == OTHER_IMAGE
        listed = api("GET", f"/apis/apps/v1/deployments?labelSelector=test-deployment={namespace}")["items"]
        assert [item["metadata"]["name"] for item in listed] == ["d"]
        assert (
            merge(api, f"{path}/status", {"status": {"readyReplicas": 0, "availableReplicas": 0}})["status"].get(
                "readyReplicas", 0
            )
            == 0
        )
        wait_status(api, path, readyReplicas=2)
        updated = api("GET", path)
        updated["spec"]["replicas"] = 1
        updated["metadata"].pop("resourceVersion")
        api("PUT", path, updated)
        wait_status(api, path, readyReplicas=1, replicas=1)
        api("DELETE", f"{collection}?labelSelector=test-deployment={namespace}")
        while following()[0] != "DELETED":
            pass
    assert api.gone(path)
