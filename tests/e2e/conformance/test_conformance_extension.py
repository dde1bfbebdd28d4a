"""sig-api-machinery conformance: conversion webhooks, field selectors across versions, an aggregated API server.

One program in a pod is both the webhook and the aggregated server (``extension_server.py``); the pod sees the
machine's own files, so that it runs the Python of the tests.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cluster import IMAGE, NODE_IP, Cluster, wait_until
from conformance_api import MERGE, Api, Refused, crd

from minikube_py.client.clock import SystemClock
from minikube_py.pki import ensure_pki

PROGRAM = Path(__file__).with_name("extension_server.py")
PORT = 8445
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
WARDLE = "/apis/wardle.example.com/v1alpha1"
Install = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Extension:
    """The program behind the Service ``extension`` of a namespace."""

    namespace: str
    ca_bundle: str

    @property
    def conversion(self) -> dict[str, Any]:
        service = {"namespace": self.namespace, "name": "extension", "path": "/convert", "port": 443}
        client = {"service": service, "caBundle": self.ca_bundle}
        return {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}

    def api_service(self, group: str, version: str) -> dict[str, Any]:
        spec = {
            "group": group,
            "version": version,
            "service": {"namespace": self.namespace, "name": "extension", "port": 443},
            "caBundle": self.ca_bundle,
            "groupPriorityMinimum": 2000,
            "versionPriority": 200,
        }
        meta = {"name": f"{version}.{group}"}
        return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": meta, "spec": spec}


def program_pod(namespace: str, folder: Path, files: tuple[Path, Path, Path]) -> dict[str, Any]:
    """A pod that runs the program with the Python of the tests, from the machine's own file system."""
    command = ["chroot", "/machine", sys.executable, str(folder / PROGRAM.name), *map(str, files), str(PORT)]
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    mounts = [{"name": "machine", "mountPath": "/machine"}]
    container = {
        "name": "c", "image": IMAGE, "command": command, "readinessProbe": probe, "volumeMounts": mounts,
    }  # fmt: skip
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "machine", "hostPath": {"path": "/", "type": "Directory"}}],
    }
    meta = {"name": "extension", "namespace": namespace, "labels": {"app": "extension"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


@pytest.fixture(scope="module")
def extension(cluster: Cluster, api: Api) -> Iterator[Extension]:
    namespace = f"ext-{secrets.token_hex(2)}"
    folder = cluster.folder / "extension"
    pki = ensure_pki(
        folder / "pki", node_name="x", node_ips=[NODE_IP], sans=[f"extension.{namespace}.svc"],
        service_ip="10.43.0.1", clock=SystemClock(),
    )  # fmt: skip
    published = api("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
    believed = folder / "request-header-ca.crt"
    believed.write_text(published["data"]["requestheader-client-ca-file"])
    (folder / PROGRAM.name).write_bytes(PROGRAM.read_bytes())
    pair = pki.serving_kube_apiserver
    cluster.kubectl("create", "namespace", namespace)
    wait_until("ServiceAccount", lambda: not api.gone(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))
    service = {"ports": [{"port": 443, "targetPort": PORT}], "selector": {"app": "extension"}}
    meta = {"name": "extension", "namespace": namespace}
    cluster.apply(
        program_pod(namespace, folder, (pair.certificate, pair.key, believed)),
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    )
    cluster.kubectl("wait", "pod/extension", "-n", namespace, "--for=condition=Ready", "--timeout=80s")
    try:
        yield Extension(namespace, base64.b64encode(pki.server_ca.certificate.read_bytes()).decode())
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def hosts(group: str, storage: str, extension: Extension) -> dict[str, Any]:
    """A definition whose versions have fields of different names, all of them selectable."""

    def version(name: str, *fields: str) -> dict[str, Any]:
        spec = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
        return {
            "name": name,
            "storage": name == storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            "selectableFields": [{"jsonPath": f".spec.{field}"} for field in fields],
        }

    versions = version("v1", "hostPort"), version("v2", "host", "port")
    return crd(group, "hosts", "Host", *versions, conversion=extension.conversion)


def host(group: str, name: str, number: str, **spec: str) -> dict[str, Any]:
    return {"apiVersion": f"{group}/{number}", "kind": "Host", "metadata": {"name": name}, "spec": spec}


def test_an_object_is_converted(api: Api, install: Install, group: str, namespace: str, extension: Extension) -> None:
    install(hosts(group, "v1", extension))
    path = f"/apis/{group}/{{}}/namespaces/{namespace}/hosts"
    api("POST", path.format("v1"), host(group, "a", "v1", hostPort="localhost:8080"))
    found = api("GET", f"{path.format('v2')}/a")
    assert (found["apiVersion"], found["spec"]) == (f"{group}/v2", {"host": "localhost", "port": "8080"})
    assert api("GET", f"{path.format('v1')}/a")["spec"] == {"hostPort": "localhost:8080"}


def test_a_list_of_several_stored_versions_is_converted(
    api: Api, install: Install, group: str, namespace: str, extension: Extension
) -> None:
    made = install(hosts(group, "v1", extension))
    definition = f"{CRDS}/{made['metadata']['name']}"
    path = f"/apis/{group}/{{}}/namespaces/{namespace}/hosts"
    api("POST", path.format("v1"), host(group, "a", "v1", hostPort="one:1"))
    versions = [{**item, "storage": item["name"] == "v2"} for item in made["spec"]["versions"]]
    api("PATCH", definition, {"spec": {"versions": versions}}, media_type=MERGE)
    wait_until("v2 is stored", lambda: "v2" in api("GET", definition)["status"]["storedVersions"])
    api("POST", path.format("v2"), host(group, "b", "v2", host="two", port="2"))

    def listed(number: str) -> list[tuple[str, Any]]:
        return [(item["apiVersion"], item["spec"]) for item in api("GET", path.format(number))["items"]]

    assert listed("v2") == [
        (f"{group}/v2", {"host": "one", "port": "1"}), (f"{group}/v2", {"host": "two", "port": "2"}),
    ]  # fmt: skip
    assert listed("v1") == [(f"{group}/v1", {"hostPort": "one:1"}), (f"{group}/v1", {"hostPort": "two:2"})]


def test_stored_versions_are_migrated(
    api: Api, install: Install, group: str, namespace: str, extension: Extension
) -> None:
    """After all objects have been written in the new storage version the old one can be taken away."""
    made = install(hosts(group, "v1", extension))
    definition = f"{CRDS}/{made['metadata']['name']}"
    path = f"/apis/{group}/v2/namespaces/{namespace}/hosts"
    api("POST", path, host(group, "a", "v2", host="one", port="1"))
    versions = [{**item, "storage": item["name"] == "v2"} for item in made["spec"]["versions"]]
    api("PATCH", definition, {"spec": {"versions": versions}}, media_type=MERGE)
    wait_until("v2 is stored", lambda: "v2" in api("GET", definition)["status"]["storedVersions"])
    only = {"spec": {"versions": [item for item in versions if item["name"] == "v2"],
                     "conversion": {"strategy": "None", "webhook": None}}}  # fmt: skip
    with pytest.raises(Refused, match=r"status\.storedVersions"):
        api("PATCH", definition, only, media_type=MERGE)
    before = api("GET", f"{path}/a")
    after = api("PUT", f"{path}/a", before)
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    api("PATCH", f"{definition}/status", {"status": {"storedVersions": ["v2"]}}, media_type=MERGE)
    api("PATCH", definition, only, media_type=MERGE)
    assert api("GET", f"{path}/a")["spec"] == {"host": "one", "port": "1"}


def test_field_selectors_see_the_converted_object(
    api: Api, install: Install, group: str, namespace: str, extension: Extension
) -> None:
    install(hosts(group, "v1", extension))
    path = f"/apis/{group}/{{}}/namespaces/{namespace}/hosts"
    selectors = {"v1": "spec.hostPort=one:80", "v2": "spec.host=one,spec.port=80"}

    def names(number: str) -> list[tuple[str, str]]:
        found = api("GET", f"{path.format(number)}?fieldSelector={selectors[number]}")["items"]
        return [(item["metadata"]["name"], item["apiVersion"]) for item in found]

    since = api("GET", path.format("v1"))["metadata"]["resourceVersion"]
    watches = [
        api.watch(path.format(number), seconds=60, fieldSelector=selector, resourceVersion=since)
        for number, selector in selectors.items()
    ]
    with watches[0] as first, watches[1] as second:
        api("POST", path.format("v1"), host(group, "a", "v1", hostPort="one:80"))
        api("POST", path.format("v2"), host(group, "b", "v2", host="one", port="80"))
        api("POST", path.format("v2"), host(group, "c", "v2", host="one", port="81"))
        for number in selectors:
            assert names(number) == [("a", f"{group}/{number}"), ("b", f"{group}/{number}")]
        api("PATCH", f"{path.format('v2')}/a", {"spec": {"port": "90"}}, media_type=MERGE)
        api("DELETE", f"{path.format('v1')}/b")
        api("PATCH", f"{path.format('v1')}/c", {"spec": {"hostPort": "one:80"}}, media_type=MERGE)
        wanted = [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b"), ("ADDED", "c")]
        for number, following in (("v1", first), ("v2", second)):
            seen = [following() for _ in wanted]
            assert [(kind, obj["metadata"]["name"]) for kind, obj in seen] == wanted
            assert {obj["apiVersion"] for _, obj in seen} == {f"{group}/{number}"}
    for number in selectors:
        assert names(number) == [("c", f"{group}/{number}")]
        with pytest.raises(Refused, match="field label not supported"):
            api("GET", f"{path.format(number)}?fieldSelector={selectors['v1' if number == 'v2' else 'v2']}")


@contextmanager
def registered(api: Api, service: dict[str, Any]) -> Iterator[str]:
    """The name of an APIService that is available inside."""
    path = f"{SERVICES}/{service['metadata']['name']}"
    api("POST", SERVICES, service)

    def available() -> bool:
        conditions = api("GET", path).get("status", {}).get("conditions") or ()
        return any((item["type"], item["status"]) == ("Available", "True") for item in conditions)

    try:
        wait_until("the APIService is available", available)
        yield service["metadata"]["name"]
    finally:
        api.exchange("DELETE", path)


@pytest.fixture
def aggregated(api: Api, extension: Extension) -> Iterator[str]:
    with registered(api, extension.api_service("wardle.example.com", "v1alpha1")) as name:
        yield name


def test_an_aggregated_server(cluster: Cluster, api: Api, aggregated: str, namespace: str) -> None:
    """Its objects are created, read and deleted as any other's, by bare requests and by kubectl."""
    path = f"{WARDLE}/namespaces/{namespace}/flunders"
    flunder = {"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "rest"}}
    assert api("POST", path, flunder)["metadata"]["namespace"] == namespace
    created = cluster.kubectl(
        "create", "-n", namespace, "--validate=false", "-f", "-",
        stdin=json.dumps({**flunder, "metadata": {"name": "by-kubectl"}}),
    )  # fmt: skip
    assert "flunder.wardle.example.com/by-kubectl created" in created
    assert [item["metadata"]["name"] for item in api("GET", path)["items"]] == ["by-kubectl", "rest"]
    assert cluster.kubectl("get", "flunders", "-n", namespace, "-o", "name").split() == [
        "flunder.wardle.example.com/by-kubectl", "flunder.wardle.example.com/rest",
    ]  # fmt: skip
    assert api("GET", f"{WARDLE}")["resources"][0]["kind"] == "Flunder"
    assert "wardle.example.com" in [item["name"] for item in api("GET", "/apis")["groups"]]
    with pytest.raises(Refused, match="not found"):
        api("GET", f"{path}/nobody")
    cluster.kubectl("delete", "flunder", "by-kubectl", "-n", namespace, "--wait=false")
    api("DELETE", f"{path}/rest")
    assert api("GET", path)["items"] == []


def test_api_services_are_changed_and_removed(api: Api, aggregated: str) -> None:
    path = f"{SERVICES}/{aggregated}"
    labels = {"e2e": aggregated.partition(".")[2]}
    patched = api("PATCH", path, {"metadata": {"labels": labels}, "spec": {"versionPriority": 400}}, media_type=MERGE)
    assert (patched["metadata"]["labels"], patched["spec"]["versionPriority"]) == (labels, 400)
    condition = {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "set by the test"}
    conditions = [*api("GET", f"{path}/status")["status"]["conditions"], condition]
    status = api("PATCH", f"{path}/status", {"status": {"conditions": conditions}}, media_type=MERGE)["status"]
    assert condition.items() <= status["conditions"][-1].items()
    query = f"?labelSelector=e2e={labels['e2e']}"
    assert [item["metadata"]["name"] for item in api("GET", SERVICES + query)["items"]] == [aggregated]
    api("DELETE", SERVICES + query)
    assert api("GET", SERVICES + query)["items"] == []
    wait_until("nobody serves the group any more", lambda: api.gone(WARDLE))


METRICS = "/apis/metrics.k8s.io/v1beta1"


def busy(cpu: str, *pods: str) -> dict[str, Any]:
    """What a metrics server says of pods."""
    stamp = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")  # long after they became ready
    items = [
        {"metadata": {"name": pod}, "timestamp": stamp, "window": "15s",
         "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": "8Mi"}}]}
        for pod in pods
    ]  # fmt: skip
    return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}


def test_a_deployment_is_scaled_by_the_metrics_of_an_aggregated_server(
    cluster: Cluster, api: Api, extension: Extension, core: str, namespace: str
) -> None:
    """First nobody serves metrics, which the autoscaler says; then they say that the only pod works too much."""
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    container = {"name": "c", "image": IMAGE, "command": ["sleep", "3600"],
                 "resources": {"requests": {"cpu": "10m"}}}  # fmt: skip
    template = {"metadata": {"labels": {"app": "w"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}  # fmt: skip
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "w"}}, "template": template}
    api("POST", deployments, {"metadata": {"name": "w"}, "spec": spec})
    cluster.kubectl("rollout", "status", "deployment/w", "-n", namespace, "--timeout=80s")
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization",
              "averageUtilization": 50}}}  # fmt: skip
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}
    autoscalers = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    wanted = {"scaleTargetRef": reference, "maxReplicas": 3, "metrics": [metric]}
    api("POST", autoscalers, {"metadata": {"name": "w"}, "spec": wanted})

    def condition(type: str) -> tuple[str, str] | None:
        found = api("GET", f"{autoscalers}/w")["status"].get("conditions") or ()
        return next(((item["status"], item["reason"]) for item in found if item["type"] == type), None)

    wait_until("no metrics", lambda: condition("ScalingActive") == ("False", "FailedGetResourceMetric"))
    [pod] = api("GET", f"{core}/pods?labelSelector=app%3Dw")["items"]
    with registered(api, extension.api_service("metrics.k8s.io", "v1beta1")):
        api("PUT", f"{METRICS}/namespaces/{namespace}/pods", busy("40m", pod["metadata"]["name"]))
        assert "40m" in cluster.kubectl("top", "pods", "-n", namespace)
        wait_until("scaled", lambda: api("GET", f"{deployments}/w")["spec"]["replicas"] == 3, seconds=120)
        wait_until("told", lambda: condition("ScalingActive") == ("True", "ValidMetricFound"))
    events = api("GET", f"{core}/events?fieldSelector=reason=SuccessfulRescale")["items"]
    assert [event["message"] for event in events] == [
        "New size: 3; reason: cpu resource utilization (percentage of request) above target"
    ]
    assert "Deployment/w" in cluster.kubectl("get", "hpa", "-n", namespace)
    api("DELETE", f"{deployments}/w")
