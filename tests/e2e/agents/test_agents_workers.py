"""A worker on a host of its own: joining, pods and Services across hosts, certificates, and what happens when one dies.

The tests share two hosts and stand in an order that leaves both running; each makes its own objects.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents_hosts import PORT, SERVER, Pair, condition, unwire, wait_ready
from cluster import IMAGE, NODE_IP, PYK3S, short_folder, wait_until

WHO = "mkdir -p /www; echo $NODE > /www/index.html; exec httpd -f -p 8080 -h /www"
BIG = 3_000_000
FORWARD_PORT = 21590


def pod_spec(command: str, **fields: Any) -> dict[str, Any]:
    node = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", command], "env": [node]}
    return {"containers": [container], "terminationGracePeriodSeconds": 0, **fields}


def workload(kind: str, name: str, spec: dict[str, Any], **fields: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {"selector": {"matchLabels": labels}, "template": template, **fields}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


@pytest.fixture(scope="module")
def who(pair: Pair) -> dict[str, Any]:
    """A web server on each node that says the node's name, behind one Service: pods by node, and the Service."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "who"},
        "spec": {"type": "NodePort", "selector": {"app": "who"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    pair.server.apply(workload("DaemonSet", "who", pod_spec(WHO)), service)
    pair.server.kubectl("rollout", "status", "daemonset/who", "--timeout=120s", seconds=150)
    pods = {pod["spec"]["nodeName"]: pod for pod in pair.server.get("pods", "-l", "app=who")["items"]}
    assert sorted(pods) == ["node-1", "node-2"]
    return {**pods, "service": pair.server.get("service", "who")}


def run_pod(pair: Pair, name: str, command: str, node: str = "node-2") -> None:
    """A pod on a node that is to run to its end."""
    spec = pod_spec(command, nodeName=node, restartPolicy="Never")
    pair.server.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    done = ("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=120s")
    pair.server.kubectl(*done, seconds=150)


def in_pod(pair: Pair, pod: dict[str, Any], *command: str) -> str:
    return pair.server.kubectl("exec", pod["metadata"]["name"], "--", *command)


def answers(ask: Any, times: int = 60) -> set[str]:
    """The different answers of one of several endpoints; asks until it has had both nodes."""
    found: set[str] = set()
    for _ in range(times):
        found.add(ask().strip())
        if len(found) == 2:
            break
    return found


def test_it_has_joined(pair: Pair) -> None:
    wait_ready(pair.server, "node-1", "node-2")
    untainted = lambda: not any(item["spec"].get("taints") for item in pair.server.get("nodes")["items"])  # noqa: E731
    wait_until("two nodes without taints", untainted)
    node = pair.server.get("node", "node-2")
    assert node["spec"]["podCIDR"] == "10.42.1.0/24"
    addresses = {entry["type"]: entry["address"] for entry in node["status"]["addresses"]}
    assert addresses == {"InternalIP": "10.88.0.2", "Hostname": "node-2"}
    decided = {
        item["spec"]["signerName"]: (item["spec"]["username"], item["status"]["conditions"][0]["type"])
        for item in pair.server.get("csr")["items"]
    }
    assert decided == {
        "kubernetes.io/kube-apiserver-client-kubelet": ("system:bootstrap:node", "Approved"),
        "kubernetes.io/kubelet-serving": ("system:node:node-2", "Approved"),
    }
    keys = [path.name for path in pair.worker.data_dir.rglob("*.key*")]
    assert sorted(keys) == ["client-kubelet.key", "serving-kubelet.key"], "no key of the server leaves it"
    for name in ("client-kubelet.key", "serving-kubelet.key", "client-kubelet.crt"):
        assert (pair.worker.data_dir / "agent" / name).stat().st_mode & 0o777 == 0o600


def test_pods_and_services_reach_across(pair: Pair, who: dict[str, Any]) -> None:
    addresses = {node: who[node]["status"]["podIP"] for node in ("node-1", "node-2")}
    service = who["service"]["spec"]
    node_port = service["ports"][0]["nodePort"]
    both, fetch = {"node-1", "node-2"}, ("busybox", "wget", "-qO-")
    for node, other in (("node-1", "node-2"), ("node-2", "node-1")):
        there = f"http://{addresses[other]}:8080/"
        assert in_pod(pair, who[node], "wget", "-qO-", there) == f"{other}\n"
        named = ("wget", "-qO-", "http://who.default.svc.cluster.local/")
        assert answers(lambda node=node, named=named: in_pod(pair, who[node], *named)) == both
    for host, address, other in (
        (pair.server, NODE_IP, addresses["node-2"]),
        (pair.worker, "10.88.0.2", addresses["node-1"]),
    ):
        assert host.run(*fetch, f"http://{other}:8080/").strip() in both
        assert answers(lambda host=host: host.run(*fetch, f"http://{service['clusterIP']}/")) == both
        assert answers(lambda host=host, at=address: host.run(*fetch, f"http://{at}:{node_port}/")) == both
    assert in_pod(pair, who["node-2"], "nslookup", "who.default.svc.cluster.local").count(service["clusterIP"])
    in_pod(pair, who["node-2"], "sh", "-c", "nc -w 10 kubernetes.default 443 </dev/null")  # the API, by its Service


def test_large_packets_pass_and_nothing_leaves(pair: Pair, who: dict[str, Any]) -> None:
    in_pod(pair, who["node-2"], "sh", "-c", f"head -c {BIG} /dev/zero > /www/big")
    there = f"http://{who['node-2']['status']['podIP']}:8080/big"
    assert in_pod(pair, who["node-1"], "sh", "-c", f"wget -qO- {there} | wc -c").strip() == str(BIG)
    assert "mtu 1450" in in_pod(pair, who["node-1"], "ip", "link", "show", "eth0")
    for host in (pair.server, pair.worker):
        for stranger in ("10.42.77.5", "10.43.77.5"):  # no node's, no Service's
            output = host.run("busybox", "wget", "-qO-", f"http://{stranger}/", check=False)
            assert re.search("unreachable|No route|refused", output), output


def test_kubectl_reaches_the_other_host(pair: Pair, who: dict[str, Any]) -> None:
    run_pod(pair, "says", "echo hello from $NODE; echo bad >&2")
    lines = pair.server.kubectl("logs", "says").splitlines()
    assert sorted(lines) == ["bad", "hello from node-2"]  # two streams have no common order
    name = who["node-2"]["metadata"]["name"]
    assert in_pod(pair, who["node-2"], "sh", "-c", "echo $NODE") == "node-2\n"
    assert pair.server.kubectl("exec", "-i", name, "--", "cat", stdin="through\n") == "through\n"
    reads = {**pod_spec("cat", nodeName="node-2"), "restartPolicy": "Never"}
    reads["containers"][0] |= {"stdin": True, "stdinOnce": True}
    pair.server.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reads"}, "spec": reads})
    pair.server.kubectl("wait", "--for=condition=Ready", "pod/reads", "--timeout=120s", seconds=150)
    assert "attached\n" in pair.server.kubectl("attach", "-i", "reads", "-c", "main", stdin="attached\n")
    raw = ("get", "--raw")
    metrics = pair.server.kubectl(*raw, "/api/v1/nodes/node-2/proxy/metrics/resource")
    assert "node_cpu_usage_seconds_total" in metrics
    for node in ("node-1", "node-2"):
        metrics = pair.server.kubectl(*raw, f"/api/v1/nodes/{node}/proxy/metrics")
        for family in ("kubelet_running_pods", "kubeproxy_sync_proxy_rules_duration_seconds", "coredns_dns_requests"):
            assert f"# TYPE {family}" in metrics, (node, family)
    stats = json.loads(pair.server.kubectl(*raw, "/api/v1/nodes/node-2/proxy/stats/summary"))
    assert stats["node"]["nodeName"] == "node-2"
    page = pair.server.kubectl(*raw, f"/api/v1/namespaces/default/pods/{name}:8080/proxy/")
    assert page == "node-2\n"
    output = pair.server.run("curl", "-sk", f"https://10.88.0.2:{10250}/pods", check=False)
    assert "Unauthorized" in output
    trusted = ("openssl", "verify", "-CAfile", str(pair.server.data_dir / "server" / "tls" / "server-ca.crt"))
    assert "OK" in pair.server.run(*trusted, str(pair.worker.data_dir / "agent" / "serving-kubelet.crt"))


def test_ports_are_forwarded(pair: Pair, who: dict[str, Any]) -> None:
    kubectl = [str(PYK3S.parent.parent / "share" / "pyk3s" / "tools" / "kubectl")]
    arguments = ["port-forward", f"pod/{who['node-2']['metadata']['name']}", f"{FORWARD_PORT}:8080"]
    command = pair.server.enter(*kubectl, f"--kubeconfig={pair.server.kubeconfig}", *arguments)
    forwarding = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert forwarding.stdout is not None
        assert "Forwarding from" in forwarding.stdout.readline()
        page = pair.server.run("busybox", "wget", "-qO-", f"http://127.0.0.1:{FORWARD_PORT}/")
        assert page == "node-2\n"
    finally:
        forwarding.send_signal(signal.SIGTERM)
        forwarding.communicate(timeout=30)


@pytest.fixture
def stranger(pair: Pair) -> Iterator[Any]:
    """An agent in a folder of its own that has never joined, on the worker's host."""
    folder = short_folder()
    folder.mkdir()
    yield replace(pair.worker, folder=folder, process=None)
    shutil.rmtree(folder)


def test_who_may_not_join_is_told_in_one_line(pair: Pair, stranger: Any) -> None:
    other = replace(stranger, name="node-3")
    hashed, _, secret = pair.token.partition("::")
    wrong_hash = f"K10{'0' * 64}::{secret}"
    known = pair.server.run(str(PYK3S), "token", "create", f"--kubeconfig={pair.server.kubeconfig}").strip()
    assert known.startswith(hashed), "a bootstrap token pins the same CA"
    cases = [
        (other, (), SERVER, "--token is missing"),
        (other, ("--token=K10abc",), SERVER, "the token is cut off"),
        (other, (f"--token={hashed}::node:wrong",), SERVER, "the server refuses the token"),
        (other, (f"--token={hashed}::abcdef.0123456789abcdef",), SERVER, "the server refuses the token"),
        (other, (f"--token={wrong_hash}",), SERVER, "the token is of another cluster"),
        (other, (f"--token={pair.token}",), f"https://{NODE_IP}:{PORT + 1}", "cannot reach"),
        (other, (f"--token={pair.token}",), f"http://{NODE_IP}:{PORT}", "is not https://HOST:PORT"),
        (other, (f"--token={pair.token}", "--node-label=node-role.kubernetes.io/x=y"), SERVER, "may not give itself"),
        (stranger, (f"--token={pair.token}",), SERVER, 'a node named "node-2" exists already'),
        (stranger, (f"--token={known}",), SERVER, 'a node named "node-2" exists already'),
    ]
    for who, arguments, server, says in cases:
        assert says in who.refused(*arguments, server=server)
    assert "is in use by another pyk3s agent" in pair.worker.refused(f"--token={pair.token}")


def test_killed_agent_goes_on_without_a_token(pair: Pair, who: dict[str, Any]) -> None:
    name, certificate = who["node-2"]["metadata"]["name"], pair.worker.data_dir / "agent" / "client-kubelet.crt"
    before = certificate.read_bytes()
    pair.worker.kill()
    there = f"http://{who['node-2']['status']['podIP']}:8080/"
    assert in_pod(pair, who["node-1"], "wget", "-qO-", there) == "node-2\n", "pods outlive the agent"
    pair.worker.start()
    run_pod(pair, "after-kill", "true")
    now, then = pair.server.get("pod", name)["status"], who["node-2"]["status"]
    for field in ("containerID", "restartCount"):
        assert now["containerStatuses"][0][field] == then["containerStatuses"][0][field], "not started again"
    assert certificate.read_bytes() == before


def test_server_goes_and_comes_back(pair: Pair, who: dict[str, Any]) -> None:
    pair.server.kill()
    there = f"http://{who['node-2']['status']['podIP']}:8080/"
    assert pair.worker.run("busybox", "wget", "-qO-", there) == "node-2\n"
    address = who["service"]["spec"]["clusterIP"]
    page = pair.worker.run("busybox", "wget", "-qO-", f"http://{address}/").strip()
    assert page in ("node-1", "node-2"), "Services stay"
    assert pair.worker.process is not None
    assert pair.worker.process.poll() is None
    pair.server.start(wait=False)
    wait_ready(pair.server, "node-1", "node-2")
    run_pod(pair, "after-server", "true")


def test_new_authorities_are_taken_over(pair: Pair, stranger: Any) -> None:
    """``rotate-ca`` on the server: the worker trusts the new CAs and has certificates of them, without a restart."""
    pair.server.run(str(PYK3S), "certificate", "rotate-ca", f"--data-dir={pair.server.data_dir}")
    tls, agent = pair.server.data_dir / "server" / "tls", pair.worker.data_dir / "agent"

    def taken_over() -> bool:
        return all(
            (agent / f"{ca}.crt").read_bytes() == (tls / f"{ca}.crt").read_bytes()
            and issuer(agent / f"{leaf}.crt") == issuer(tls / f"{ca}.crt")
            for ca, leaf in (("server-ca", "serving-kubelet"), ("client-ca", "client-kubelet"))
        )

    wait_until("certificates of the new CAs", taken_over, seconds=120)
    shown = pair.worker.run(str(PYK3S), "certificate", "check", f"--data-dir={pair.worker.data_dir}", "-o", "text")
    assert "agent/client-kubelet.crt: CN=system:node:node-2,O=system:nodes: OK" in shown
    assert "agent/serving-kubelet.crt: CN=system:node:node-2,O=system:nodes: OK" in shown
    assert "exists already" in stranger.refused(f"--token={pair.token}"), "older tokens still lead to this cluster"
    run_pod(pair, "after-rotation", "echo $NODE")
    wait_until("its log", lambda: pair.server.kubectl("logs", "after-rotation", check=False) == "node-2\n", seconds=60)
    pair.worker.kill()
    pair.worker.start()
    run_pod(pair, "after-rotation-and-kill", "true")


def issuer(certificate: Path) -> str:
    """Of the first certificate of a file: of a CA's file that is itself."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-issuer", "-in", str(certificate)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_dead_host_loses_its_pods_and_comes_back(pair: Pair) -> None:
    """The node is off the network and its agent is dead: NotReady, evicted, and Ready again after the return."""
    soon = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for key in ("not-ready", "unreachable")
    ]
    wish = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-2"]}]}
    affinity = {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": wish}]}
    }
    spec = pod_spec("sleep 100000", tolerations=soon, affinity=affinity)
    pair.server.apply(workload("Deployment", "mover", spec, replicas=1))
    wait_until("a pod on node-2", lambda: nodes_of(pair, "mover") == {"node-2"}, seconds=90)
    unwire(pair.worker.namespace, up=False)
    pair.worker.kill()
    wait_until("NotReady", lambda: condition(pair.server, "node-2") == "Unknown", seconds=120)
    wait_until("a pod on node-1", lambda: "node-1" in nodes_of(pair, "mover"), seconds=90)
    unwire(pair.worker.namespace, up=True)
    pair.worker.start()
    wait_ready(pair.server, "node-2")
    wait_until("the evicted pod to be gone", lambda: nodes_of(pair, "mover") == {"node-1"}, seconds=90)


def nodes_of(pair: Pair, app: str) -> set[str]:
    """The nodes on which the app's pods run or are still said to."""
    pods = pair.server.get("pods", "-l", f"app={app}")["items"]
    return {pod["spec"]["nodeName"] for pod in pods if (pod.get("status") or {}).get("phase") == "Running"}
