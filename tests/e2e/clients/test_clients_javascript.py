"""The official JavaScript client at its usual work, and a controller written with it."""

from __future__ import annotations

import json
from collections.abc import Callable

from client_definitions import definition
from client_programs import Background, Clients
from cluster import Cluster, wait_until

COUNTERS = definition("clients.example.com", "counters", "Counter", {"count": {"type": "integer"}})


def test_usual_work(cluster: Cluster, namespace: str, clients: Clients) -> None:
    """CRUD, server-side apply, informer, watch, access review and service account token."""
    wait_until("default ServiceAccount", lambda: cluster.get("serviceaccount", "default", "-n", namespace))
    output = cluster.run(*clients.node("work.mjs", str(cluster.kubeconfig), namespace))
    assert output.endswith("done\n"), output


def test_streams(cluster: Cluster, namespace: str, clients: Clients, pod: str) -> None:
    """exec with its exit code and with input, logs, port-forward."""
    output = cluster.run(*clients.node("streams.mjs", str(cluster.kubeconfig), namespace, pod))
    assert output.endswith("done\n"), output


def test_controller(cluster: Cluster, namespace: str, clients: Clients, background: Callable[..., Background]) -> None:
    """Status, an owned ConfigMap that comes back, a finalizer of its own, garbage collection."""
    cluster.apply(COUNTERS)
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{COUNTERS['metadata']['name']}")
    controller = background(cluster, *clients.node("controller.mjs", str(cluster.kubeconfig), namespace))
    controller.await_line("ready")
    meta = {"name": "two", "namespace": namespace}
    counter = {"apiVersion": "clients.example.com/v1", "kind": "Counter", "metadata": meta}

    def doubled(wanted: int) -> bool:
        controller.said("")
        status = cluster.get("counter", "two", "-n", namespace).get("status", {})
        config_map = cluster.get("configmap", "two", "-n", namespace) or {"data": {}}
        return bool(status.get("doubled") == wanted and config_map["data"].get("doubled") == str(wanted))

    cluster.apply({**counter, "spec": {"count": 2}})
    wait_until("4", lambda: doubled(4))
    patch = json.dumps({"spec": {"count": 5}})
    cluster.kubectl("patch", "counter", "two", "-n", namespace, "--type=merge", "-p", patch)
    wait_until("10", lambda: doubled(10))
    cluster.kubectl("delete", "configmap", "two", "-n", namespace)
    wait_until("10 again", lambda: doubled(10))
    cluster.kubectl("delete", "counter", "two", "-n", namespace, "--timeout=60s")
    assert cluster.get("configmap", "two-farewell", "-n", namespace)
    wait_until("the child goes", lambda: cluster.get("configmap", "two", "-n", namespace) is None)
    cluster.kubectl("delete", "crd", str(COUNTERS["metadata"]["name"]))
