"""The official Python client's usual work: ``python_work.py KUBECONFIG NAMESPACE``. Ends with ``done``."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.dynamic import exceptions
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: from-yaml}
data: {key: value}
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: {name: from-yaml}
    spec: {selector: {app: x}, ports: [{port: 80}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: from-yaml}
    spec:
      replicas: 0
      selector: {matchLabels: {app: x}}
      template:
        metadata: {labels: {app: x}}
        spec: {containers: [{name: c, image: x}]}
"""


def status_of(call: Any, *arguments: Any, **more: Any) -> int:
    """The HTTP status of a call that must fail."""
    try:
        call(*arguments, **more)
    except client.ApiException as error:
        return int(error.status)
    raise AssertionError("no error")


def crud(namespace: str) -> None:
    core = client.CoreV1Api()
    meta = client.V1ObjectMeta(name="c", labels={"a": "b"})
    made = core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=meta, data={"k": "v"}))
    assert core.read_namespaced_config_map("c", namespace).data == {"k": "v"}
    made.data = {"k": "w"}
    replaced = core.replace_namespaced_config_map("c", namespace, made)
    assert replaced.metadata.resource_version != made.metadata.resource_version
    assert status_of(core.replace_namespaced_config_map, "c", namespace, made) == 409
    patched = core.patch_namespaced_config_map("c", namespace, [{"op": "add", "path": "/data/n", "value": "1"}])
    assert patched.data == {"k": "w", "n": "1"}
    assert status_of(core.create_namespaced_config_map, namespace, client.V1ConfigMap(metadata=meta)) == 409
    assert status_of(core.read_namespaced_config_map, "none", namespace) == 404
    bad = {"metadata": {"name": "Bad_Name"}}
    assert status_of(core.create_namespaced_config_map, namespace, bad) == 422
    dry = core.create_namespaced_config_map(namespace, {"metadata": {"name": "dry"}}, dry_run="All")
    assert dry.metadata.uid and status_of(core.read_namespaced_config_map, "dry", namespace) == 404
    deleted = core.delete_namespaced_config_map("c", namespace)
    assert deleted["status"] == "Success"


def pages(namespace: str) -> None:
    core = client.CoreV1Api()
    for number in range(7):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": f"p{number}", "labels": {"set": "page"}}})
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(namespace, label_selector="set=page", limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert names == [f"p{number}" for number in range(7)], names
    core.delete_collection_namespaced_config_map(namespace, label_selector="set=page")
    assert not core.list_namespaced_config_map(namespace, label_selector="set in (page)").items


def watching(namespace: str) -> None:
    """A watch resumes where a list ended, and from its own last version."""
    core = client.CoreV1Api()
    version = core.list_namespaced_secret(namespace).metadata.resource_version
    core.create_namespaced_secret(namespace, {"metadata": {"name": "s"}, "stringData": {"a": "1"}})
    core.patch_namespaced_secret("s", namespace, {"stringData": {"a": "2"}})
    seen = []
    first = watch.Watch()
    for event in first.stream(core.list_namespaced_secret, namespace, resource_version=version, timeout_seconds=10):
        seen.append((event["type"], event["object"].data["a"]))
        if len(seen) == 2:
            first.stop()
    assert seen == [("ADDED", "MQ=="), ("MODIFIED", "Mg==")], seen
    core.delete_namespaced_secret("s", namespace)
    second = watch.Watch()
    for event in second.stream(
        core.list_namespaced_secret, namespace, resource_version=first.resource_version, timeout_seconds=10
    ):
        assert (event["type"], event["object"].metadata.name) == ("DELETED", "s"), event
        second.stop()


def from_yaml(namespace: str) -> None:
    api = client.ApiClient()
    documents = list(yaml.safe_load_all(MANIFEST))
    utils.create_from_yaml(api, yaml_objects=documents, namespace=namespace)
    assert client.AppsV1Api().read_namespaced_deployment("from-yaml", namespace).spec.replicas == 0
    try:
        utils.create_from_yaml(api, yaml_objects=documents, namespace=namespace)
    except utils.FailToCreateError as error:
        assert [failure.status for failure in error.api_exceptions] == [409, 409, 409]
    else:
        raise AssertionError("created twice")
    removed = client.AppsV1Api().delete_namespaced_deployment("from-yaml", namespace, propagation_policy="Foreground")
    assert removed["status"] == "Success" or removed["metadata"]["deletionTimestamp"]


def dynamic_client(namespace: str) -> None:
    """Discovery, server-side apply with a conflict and its solution, status, watch, a missing kind."""
    made = dynamic.DynamicClient(client.ApiClient())
    deployments = made.resources.get(api_version="apps/v1", kind="Deployment")
    spec: dict[str, Any] = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "one"}]},
        },
    }
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    applied = made.server_side_apply(
        deployments, body=body, name="d", namespace=namespace, field_manager="first", force_conflicts=False
    )
    assert applied.metadata.managedFields[0].manager == "first"
    spec["template"]["spec"]["containers"][0]["image"] = "two"
    try:
        made.server_side_apply(deployments, body=body, name="d", namespace=namespace, field_manager="second")
    except exceptions.ConflictError as error:
        assert 'conflict with "first"' in error.summary()
    else:
        raise AssertionError("no conflict")
    forced = made.server_side_apply(
        deployments, body=body, name="d", namespace=namespace, field_manager="second", force_conflicts=True
    )
    assert forced.spec.template.spec.containers[0].image == "two"
    listed = deployments.get(namespace=namespace, field_selector="metadata.name=d")
    assert [item.metadata.name for item in listed.items] == ["d"]
    scaled = deployments.scale.patch(
        name="d", namespace=namespace, body={"spec": {"replicas": 0}}, content_type="application/merge-patch+json"
    )
    assert scaled.kind == "Scale"
    for event in deployments.watch(namespace=namespace, timeout=10):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "d")
        break
    deployments.delete(name="d", namespace=namespace)
    try:
        made.resources.get(api_version="none.example.com/v1", kind="None")
    except exceptions.ResourceNotFoundError:
        return
    raise AssertionError("found")


def election(namespace: str) -> None:
    """Two candidates: the second leads after the first one lets its lease run out."""
    order: list[str] = []
    second_leads = threading.Event()

    def candidate(name: str, started: Any) -> leaderelection.LeaderElection:
        return leaderelection.LeaderElection(
            electionconfig.Config(
                LeaseLock("election", namespace, name), lease_duration=4, renew_deadline=3, retry_period=1.1,
                onstarted_leading=started, onstopped_leading=lambda: order.append(f"{name} stops"),
            )
        )  # fmt: skip

    first = candidate("one", lambda: order.append("one leads"))
    assert first.acquire()
    first.election_config.onstarted_leading()
    lease = client.CoordinationV1Api().read_namespaced_lease("election", namespace)
    assert lease.spec.holder_identity == "one"

    def lead() -> None:
        order.append("two leads")
        second_leads.set()

    second = candidate("two", lead)
    threading.Thread(target=second.run, daemon=True).start()
    time.sleep(1)
    assert order == ["one leads"]
    assert second_leads.wait(60)
    assert client.CoordinationV1Api().read_namespaced_lease("election", namespace).spec.holder_identity == "two"


def main() -> None:
    config.load_kube_config(sys.argv[1])
    for work in (crud, pages, watching, from_yaml, dynamic_client, election):
        began = time.monotonic()
        work(sys.argv[2])
        print(f"{work.__name__}: {time.monotonic() - began:.2f} s")
    assert client.VersionApi().get_code().git_version.startswith("v1.36")
    print("done")


if __name__ == "__main__":
    main()
