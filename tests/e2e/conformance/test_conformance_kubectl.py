"""sig-cli conformance: what kubectl does at the command line, with real pods."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster import IMAGE, KUBECTL, Cluster, wait_until
from conformance_workloads import OTHER_IMAGE, PATIENCE, template, workload

Kubectl = Callable[..., str]
SERVING = "mkdir /www; echo served > /www/index.html; exec httpd -f -p 6379 -h /www"


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str, core: str) -> Kubectl:
    """kubectl in the namespace of the test."""

    def run(*arguments: str, **more: Any) -> str:
        return cluster.kubectl("-n", namespace, *arguments, **more)

    return run


def controller(name: str, replicas: int, script: str = SERVING) -> str:
    """A ReplicationController as a file."""
    made = workload(name, replicas, template({"app": name}, script, ports=[{"containerPort": 6379}]))
    made["spec"]["selector"] = {"app": name}
    return json.dumps({"apiVersion": "v1", "kind": "ReplicationController", **made})


def running(kubectl: Kubectl, selector: str, count: int) -> list[str]:
    """Wait until so many pods run; their names."""
    query = '{range .items[?(@.status.phase=="Running")]}{.metadata.name} {end}'

    def names() -> list[str]:
        found = kubectl("get", "pods", "-l", selector, "-o", f"jsonpath={query}").split()
        return found if len(found) == count else []

    return sorted(wait_until(f"{count} pods of {selector}", names, seconds=PATIENCE))


def test_versions_and_cluster_info(kubectl: Kubectl) -> None:
    assert "v1" in kubectl("api-versions").split("\n")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", kubectl("cluster-info"))
    assert re.search(r"Kubernetes control plane.*is running at https://", plain)
    text = kubectl("version")
    assert "Client Version: v1." in text and "Server Version: v1.36" in text
    server = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert all(server[key] for key in ("major", "minor", "gitVersion", "buildDate", "goVersion", "platform"))
    assert "gitCommit" in server


def test_update_demo(kubectl: Kubectl) -> None:
    """A controller is created from a file, scaled down and up, and stopped with its pods."""
    kubectl("create", "-f", "-", stdin=controller("demo", 2))
    names = running(kubectl, "app=demo", 2)
    for name in names:
        assert kubectl("get", "pod", name, "-o", "template", "--template={{.metadata.labels.app}}") == "demo"
    kubectl("scale", "rc", "demo", "--replicas=1", "--timeout=60s")
    assert set(running(kubectl, "app=demo", 1)) < set(names)
    kubectl("scale", "rc", "demo", "--current-replicas=1", "--replicas=2", "--timeout=60s")
    running(kubectl, "app=demo", 2)
    assert "Expected replicas to be 5, was 2" in kubectl(
        "scale", "rc", "demo", "--current-replicas=5", "--replicas=1", check=False
    )
    kubectl("delete", "--grace-period=0", "--force", "-f", "-", stdin=controller("demo", 2))
    assert kubectl("get", "rc", "demo", "--ignore-not-found") == ""
    wait_until("no pods", lambda: not kubectl("get", "pods", "-l", "app=demo", "-o", "name"), seconds=PATIENCE)


def test_describe_expose_label_patch_and_logs(kubectl: Kubectl, namespace: str) -> None:
    """What is told of a controller, its pods, service, node and namespace; services made of it; labels; its log."""
    kubectl("create", "-f", "-", stdin=controller("primary", 1, f"echo first line; echo second line; {SERVING}"))
    (name,) = running(kubectl, "app=primary", 1)
    described = kubectl("describe", "pod", name)
    for part in ("Name:", "Namespace:", "Node:", "Labels:", "app=primary", "Status:", "Running", "IP:", "Image:",
                 "Controlled By:", "ReplicationController/primary", "State:", "QoS Class:"):  # fmt: skip
        assert part in described
    text = kubectl("describe", "rc", "primary")
    for part in ("Replicas:", "1 current", "1 desired", "Pods Status:", "1 Running", "Events:", "SuccessfulCreate"):
        assert part in text
    kubectl("expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379")
    kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    for service, port in (("rm2", 1234), ("rm3", 2345)):
        found = json.loads(kubectl("get", "service", service, "-o", "json"))["spec"]["ports"]
        assert [(item["port"], item["targetPort"]) for item in found] == [(port, 6379)]
        address = json.loads(kubectl("get", "service", service, "-o", "json"))["spec"]["clusterIP"]
        wait_until("served", lambda: "served" in kubectl(
            "exec", name, "--", "wget", "-qO-", f"http://{address}:{port}/", check=False  # noqa: B023
        ), seconds=PATIENCE)  # fmt: skip
    text = kubectl("describe", "service", "rm2")
    for part in ("Selector:", "app=primary", "Type:", "ClusterIP", "Port:", "1234/TCP", "Endpoints:", ":6379"):
        assert part in text
    assert "KubeletReady" in kubectl("describe", "node", "node-1") and "Active" in kubectl("describe", "ns", namespace)
    kubectl("label", "pod", name, "testing-label=value")
    assert kubectl("get", "pod", "-l", "testing-label=value", "-o", "name").strip() == f"pod/{name}"
    kubectl("label", "pod", name, "testing-label-")
    assert kubectl("get", "pod", "-l", "testing-label", "-o", "name") == ""
    kubectl("patch", "pod", name, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    assert kubectl("get", "pod", name, "-o", "jsonpath={.metadata.annotations.x}") == "y"
    log(kubectl, name)


def log(kubectl: Kubectl, name: str) -> None:
    """``first line`` and ``second line`` in parts."""
    wait_until("lines", lambda: kubectl("logs", name).split("\n")[:2] == ["first line", "second line"])
    assert kubectl("logs", name, "--tail=1") == "second line\n"
    assert kubectl("logs", name, "--limit-bytes=1") == "f"
    stamped = kubectl("logs", name, "--tail=1", "--timestamps")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d) second line\n", stamped)
    wait_until("older than a second", lambda: kubectl("logs", name, "--since=1s") == "")
    assert kubectl("logs", name, "--since=24h").startswith("first line")


def test_diff_replace_run_and_dry_run(kubectl: Kubectl) -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", **workload("d", 1, template({"app": "d"}))}
    kubectl("create", "-f", "-", stdin=json.dumps(deployment))
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = OTHER_IMAGE
    text = kubectl("diff", "-f", "-", stdin=json.dumps(deployment), check=False)
    changed = [line.strip("-+ ") for line in text.split("\n") if re.match(r"[-+] .*image:", line)]
    assert changed == [f"image: {IMAGE}", f"image: {OTHER_IMAGE}"]
    kubectl(
        "run", "p", f"--image={IMAGE}", "--image-pull-policy=IfNotPresent", "--restart=Never", "--", "sleep", "1000"
    )
    (name,) = running(kubectl, "run=p", 1)
    found = json.loads(kubectl("get", "pod", name, "-o", "json"))
    assert [item["image"] for item in found["spec"]["containers"]] == [IMAGE]
    assert found["spec"]["restartPolicy"] == "Never"
    patch = json.dumps({"spec": {"containers": [{"name": "p", "image": OTHER_IMAGE}]}})
    assert "patched" in kubectl("patch", "pod", "p", "-p", patch, "--dry-run=server")
    image = ("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}")
    assert kubectl(*image) == IMAGE
    found["spec"]["containers"][0]["image"] = OTHER_IMAGE
    kubectl("replace", "-f", "-", stdin=json.dumps(found))
    assert kubectl(*image) == OTHER_IMAGE


@pytest.mark.parametrize("by", ["--port=0", "--unix-socket"])
def test_proxy(cluster: Cluster, tmp_path: Path, by: str) -> None:
    """A proxy on a port that it chooses, or on a socket, shows the API's versions."""
    path = tmp_path / "s"
    chosen = [by] if by == "--port=0" else [f"{by}={path}"]
    proxy = subprocess.Popen(
        cluster.enter(str(KUBECTL), f"--kubeconfig={cluster.kubeconfig}", "proxy", *chosen),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert proxy.stdout is not None
    try:
        line = proxy.stdout.readline()
        found = re.search(r"Starting to serve on (\S+)", line)
        assert found, line
        text = cluster.run("curl", "-sS", *asked(found[1], by))
        assert json.loads(text)["versions"] == ["v1"]
    finally:
        proxy.terminate()
        proxy.wait(timeout=30)
        proxy.stdout.close()


def asked(place: str, by: str) -> list[str]:
    return [f"http://{place}/api/"] if by == "--port=0" else ["--unix-socket", place, "http://localhost/api/"]


def tier(name: str, replicas: int, script: str) -> list[dict[str, Any]]:
    """A Deployment behind a Service of the same name; the script serves port 80."""
    pods = template({"app": name}, script, readinessProbe={"tcpSocket": {"port": 80}, "periodSeconds": 1})
    service = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", **workload(name, replicas, pods)},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    ]


def test_guestbook(kubectl: Kubectl, cluster: Cluster) -> None:
    """Three tiers find each other by the names of their Services: what was written is read through the replicas."""
    cgi = "mkdir -p /www/cgi-bin; printf '%s' \"$PAGE\" > /www/cgi-bin/book; chmod +x /www/cgi-bin/book; "
    serve = cgi + "exec httpd -f -p 80 -h /www"
    answer = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
    pages = {
        "primary": '[ -z "$QUERY_STRING" ] || echo "$QUERY_STRING" >> /book\ncat /book',
        "replica": "wget -qO- http://primary/cgi-bin/book",
        "frontend": 'if [ -n "$QUERY_STRING" ]; then wget -qO- "http://primary/cgi-bin/book?$QUERY_STRING"; '
        "else wget -qO- http://replica/cgi-bin/book; fi",
    }
    objects: list[dict[str, Any]] = []
    for name, page in pages.items():
        made = tier(name, 2 if name == "replica" else 1, f"touch /book; {serve}")
        made[0]["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "PAGE", "value": answer + page}]
        objects += made
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("create", "-f", "-", stdin=text)
    for name in pages:
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")
    address = kubectl("get", "service", "frontend", "-o", "jsonpath={.spec.clusterIP}")

    def ask(query: str = "") -> str:
        return cluster.run("busybox", "wget", "-qO-", f"http://{address}/cgi-bin/book{query}", check=False)

    wait_until("written", lambda: "TestEntry" in ask("?TestEntry"), seconds=PATIENCE)
    wait_until("read", lambda: "TestEntry" in ask(), seconds=PATIENCE)
    kubectl("delete", "--grace-period=0", "--force", "-f", "-", stdin=text)
    wait_until("no pods", lambda: kubectl("get", "pods", "-o", "name") == "", seconds=PATIENCE)
