"""Python client libraries, kopf and a controller of the official client at their usual work."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_definitions import definition
from client_programs import Background, Clients
from cluster import PYK3S, Cluster, wait_until

from minikube_py.client.clock import SystemClock
from minikube_py.pki import ensure_pki

SITES = definition("clients.example.com", "sites", "Site", {"text": {"type": "string"}})
WEBSITES = definition(
    "kopf.example.com", "websites", "Website", {"text": {"type": "string"}, "author": {"type": "string"}}
)


def established(cluster: Cluster, *crds: dict[str, Any]) -> None:
    cluster.apply(*crds)
    for crd in crds:
        await_established(cluster, crd["metadata"]["name"])


def await_established(cluster: Cluster, name: str) -> None:
    """``kubectl wait`` fails on a definition whose conditions are null, as they are at first."""

    def conditions() -> list[dict[str, str]]:
        return cluster.get("crd", name)["status"].get("conditions") or []

    wait_until(
        f"{name} is established",
        lambda: any((each["type"], each["status"]) == ("Established", "True") for each in conditions()),
    )


@pytest.mark.parametrize("program", ["python_work.py", "kr8s_work.py", "lightkube_work.py"])
def test_usual_work(cluster: Cluster, namespace: str, clients: Clients, program: str) -> None:
    wait_until("default ServiceAccount", lambda: cluster.get("serviceaccount", "default", "-n", namespace))
    output = cluster.run(*clients.python(program, str(cluster.kubeconfig), namespace))
    assert output.endswith("done\n"), output


def test_streams_of_the_official_client(cluster: Cluster, namespace: str, clients: Clients, pod: str) -> None:
    """exec with and without input, its exit code, port-forward, followed logs."""
    output = cluster.run(*clients.python("python_streams.py", str(cluster.kubeconfig), namespace, pod))
    assert output.endswith("done\n"), output


def test_controller_survives_a_restart_and_a_compaction(
    own_cluster: Callable[..., Cluster], clients: Clients, background: Callable[..., Background]
) -> None:
    """List, watch, resume, 410 and relist; repair of what others delete; status; garbage collection."""
    cluster = own_cluster("--disable-agent")
    cluster.start(wait=False)
    wait_until("the API", lambda: cluster.kubeconfig.exists() and cluster.kubectl("get", "ns", "default", check=False))
    established(cluster, SITES)

    def site(text: str) -> None:
        meta = {"name": "s", "namespace": "default"}
        cluster.apply(
            {"apiVersion": "clients.example.com/v1", "kind": "Site", "metadata": meta, "spec": {"text": text}}
        )

    def text_of_map() -> str:
        return str((cluster.get("configmap", "s") or {"data": {"text": ""}})["data"]["text"])

    running = background(cluster, *clients.python("python_controller.py", str(cluster.kubeconfig), "default"))
    running.await_line("listed 0")
    site("one")
    running.await_line("reconciled s 1")
    assert cluster.get("site", "s")["status"] == {"length": 3, "observedGeneration": 1}
    owner = cluster.get("configmap", "s")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Site", cluster.get("site", "s")["metadata"]["uid"])
    running.await_line("informed of s")  # whoever lists only after the deletion never hears of it
    cluster.kubectl("delete", "configmap", "s")
    wait_until("the ConfigMap comes back", lambda: text_of_map() == "one")
    running.await_line("resumes")

    cluster.stop()
    running.await_line("no connection")
    cluster.run(str(PYK3S), "datastore", "compact", f"--data-dir={cluster.data_dir}")
    cluster.start(wait=False)
    running.await_line("watch error 410")
    running.await_line("listed 1")
    site("three")
    running.await_line("reconciled s 2")
    assert text_of_map() == "three"
    cluster.kubectl("delete", "site", "s")
    wait_until("the ConfigMap goes with its owner", lambda: cluster.get("configmap", "s") is None)


@pytest.fixture
def webhook_files(tmp_path: Path) -> Path:
    """ca.crt, tls.crt and tls.key of a server on 127.0.0.1."""
    pki = ensure_pki(
        tmp_path / "pki", node_name="kopf", node_ips=["127.0.0.1"], sans=["127.0.0.1"], service_ip="10.43.0.1",
        clock=SystemClock(),
    )  # fmt: skip
    shutil.copy(pki.server_ca.certificate, tmp_path / "ca.crt")
    shutil.copy(pki.serving_kube_apiserver.certificate, tmp_path / "tls.crt")
    shutil.copy(pki.serving_kube_apiserver.key, tmp_path / "tls.key")
    return tmp_path


@pytest.fixture
def kopf_definitions(cluster: Cluster) -> Iterator[None]:
    peering = definition("kopf.dev", "kopfpeerings", "KopfPeering", {})
    peering["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    }  # fmt: skip
    del peering["spec"]["versions"][0]["subresources"]
    established(cluster, WEBSITES, peering)
    yield
    for kind in ("mutating", "validating"):
        cluster.kubectl("delete", f"{kind}webhookconfiguration", "auto.kopf.example.com", "--ignore-not-found")
    # after a failure nobody is left who takes the finalizers away
    for item in (cluster.get("websites", "-A") or {"items": []})["items"]:
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        release = '{"metadata":{"finalizers":null}}'
        cluster.kubectl("patch", "website", name, "-n", namespace, "--type=merge", "-p", release)
    cluster.kubectl("delete", "crd", WEBSITES["metadata"]["name"], peering["metadata"]["name"])


def test_kopf_operator(
    cluster: Cluster, namespace: str, clients: Clients, kopf_definitions: None, webhook_files: Path,
    background: Callable[..., Background],
) -> None:  # fmt: skip
    """Handlers with retries, fields, timers, daemons, finalizers, events, an index, peering, admission."""
    name = f"w{secrets.token_hex(2)}"
    cluster.apply(
        {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "websites", "namespace": namespace}}
    )
    program = Path(__file__).parent / "programs" / "kopf_operator.py"
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig), "WEBHOOK_FOLDER": str(webhook_files), "WEBHOOK_PORT": "34443",
    }  # fmt: skip
    operator = background(
        cluster, *clients.kopf("run", "--verbose", "-n", namespace, str(program)), environment=environment
    )
    wait_until(
        "the operator's webhooks",
        lambda: (cluster.get("validatingwebhookconfiguration", "auto.kopf.example.com") or {}).get("webhooks"),
    )

    def website(text: str) -> str:
        meta = {"name": name, "namespace": namespace}
        body = {"apiVersion": "kopf.example.com/v1", "kind": "Website", "metadata": meta, "spec": {"text": text}}
        return cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body), check=False)

    def found() -> dict[str, Any]:
        return dict(cluster.get("website", name, "-n", namespace))

    def status(**wanted: object) -> bool:
        operator.said("")
        return {key: found().get("status", {}).get(key) for key in wanted} == wanted

    assert "denied the request: mind your words" in website("rude")
    assert "Warning: that is a long text" in website("a text of more than twenty letters")
    wait_until("created", lambda: status(created={"attempts": 2}))
    assert found()["spec"]["author"] == "unknown"
    assert found()["metadata"]["finalizers"] == ["kopf.example.com/finalizer"]
    wait_until("timer", lambda: status(ticks=3))
    assert "created" not in website("second")
    wait_until("the field handler", lambda: status(text="second", indexed=[name]))
    config_map = cluster.get("configmap", name, "-n", namespace)
    assert config_map["data"] == {"text": "second"}
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == found()["metadata"]["uid"]

    def reasons() -> set[str]:
        events = cluster.get("events", "-n", namespace, "--field-selector", f"involvedObject.name={name}")
        return {item["reason"] for item in (events or {"items": []})["items"]}

    wait_until("the operator's events", lambda: {"Published", "Guarded"} <= reasons())
    peers = cluster.get("kopfpeering", "websites", "-n", namespace)["status"]
    assert [peer["priority"] for peer in peers.values()] == [5]
    cluster.kubectl("delete", "website", name, "-n", namespace, "--timeout=20s")
    assert cluster.get("configmap", f"{name}-farewell", "-n", namespace)
    wait_until("the child goes with its owner", lambda: cluster.get("configmap", name, "-n", namespace) is None)
    operator.process.terminate()
    operator.process.wait(timeout=15)
    assert cluster.get("kopfpeering", "websites", "-n", namespace).get("status", {}) == {}


def test_programs_name_no_library_of_the_project() -> None:
    """The clients are foreign: nothing in their environment or programs is of this project."""
    for program in (Path(__file__).parent / "programs").glob("*.py"):
        assert "minikube_py" not in program.read_text()
    python = Clients(Path()).python("", "")[0]
    done = subprocess.run([python, "-c", "import minikube_py"], capture_output=True, cwd="/", check=False)
    assert done.returncode
