"""Real workloads with the real kubectl: what a new user does in the first hour."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster import IMAGE, KUBECTL, NODE_IP, Cluster, wait_until


def pod(name: str, namespace: str, command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]}
    container |= spec.pop("container", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def phase(cluster: Cluster, namespace: str, name: str) -> str:
    found = cluster.get("pod", name, "-n", namespace)
    return str(found["status"].get("phase")) if found else ""


def web(namespace: str, replicas: int = 2) -> list[dict[str, Any]]:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "page", "mountPath": "/www"}],
    }
    meta = {"name": "web", "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"index.html": "hello\n"}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 1, "containers": [container],
                        "volumes": [{"name": "page", "configMap": {"name": "web"}}],
                    },
                },
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": "http"}]},
        },
    ]  # fmt: skip


def rollout(cluster: Cluster, namespace: str, name: str = "deployment/web") -> None:
    cluster.kubectl("rollout", "status", name, "-n", namespace, "--timeout=90s")


def test_node_is_described(cluster: Cluster) -> None:
    text = cluster.kubectl("describe", "node", "node-1")
    assert "KubeletReady" in text
    assert NODE_IP in text
    assert "v1.36" in cluster.kubectl("get", "nodes")


def test_deployment_behind_a_service(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*web(namespace))
    rollout(cluster, namespace)
    service = cluster.get("service", "web", "-n", namespace)
    address, node_port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    assert cluster.run("busybox", "wget", "-qO-", f"http://{address}/") == "hello\n"
    assert cluster.run("busybox", "wget", "-qO-", f"http://{NODE_IP}:{node_port}/") == "hello\n"
    cluster.apply(
        pod(
            "client",
            namespace,
            f"wget -qO- http://web/ && wget -qO- http://web.{namespace}.svc.cluster.local/",
            restartPolicy="Never",
        )
    )
    wait_until("client done", lambda: phase(cluster, namespace, "client") in ("Succeeded", "Failed"))
    assert cluster.kubectl("logs", "client", "-n", namespace) == "hello\nhello\n"


def test_a_pod_reaches_itself_through_its_service(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*web(namespace, replicas=1))
    rollout(cluster, namespace)
    assert cluster.kubectl("exec", "deploy/web", "-n", namespace, "--", "wget", "-qO-", "http://web/") == ("hello\n")


def test_service_without_endpoints_is_refused_at_once(cluster: Cluster, namespace: str) -> None:
    cluster.apply(web(namespace)[2])
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    begin = time.monotonic()
    output = cluster.run("busybox", "wget", "-qO-", f"http://{address}/", check=False)
    assert "refused" in output
    assert time.monotonic() - begin < 30  # an address that nobody refuses takes minutes


def test_config_map_changes_reach_the_pod(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*web(namespace, replicas=1))
    rollout(cluster, namespace)
    cluster.kubectl("patch", "configmap", "web", "-n", namespace, "-p", '{"data":{"index.html":"changed\\n"}}')
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    wait_until(
        "new page", lambda: cluster.run("busybox", "wget", "-qO-", f"http://{address}/") == "changed\n", seconds=90
    )


def test_run_exec_logs_attach(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("a", namespace, "echo one; echo two >&2; exec sleep 600"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/a", "-n", namespace, "--timeout=60s")
    assert cluster.kubectl("exec", "a", "-n", namespace, "--", "echo", "inside") == "inside\n"
    assert cluster.kubectl("exec", "-i", "a", "-n", namespace, "--", "cat", stdin="piped") == "piped"
    assert sorted(cluster.kubectl("logs", "a", "-n", namespace).split()) == ["one", "two"]
    assert "exit code 7" in cluster.kubectl("exec", "a", "-n", namespace, "--", "sh", "-c", "exit 7", check=False)
    output = cluster.kubectl(
        "run", "once", "-n", namespace, f"--image={IMAGE}", "--image-pull-policy=IfNotPresent", "--restart=Never",
        "--rm", "-i", "--quiet", "--", "sh", "-c", "read x; echo got $x", stdin="word\n",
    )  # fmt: skip
    assert "got word" in output


def test_exec_with_a_terminal(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("t", namespace, "exec sleep 600"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/t", "-n", namespace, "--timeout=60s")
    line = " ".join(cluster.enter(
        str(KUBECTL), f"--kubeconfig={cluster.kubeconfig}", "exec", "-it", "t", "-n", namespace, "--", "tty"
    ))  # fmt: skip
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert "/dev/pts/" in done.stdout, done.stdout + done.stderr


def test_logs_follow(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("ticker", namespace, "for i in 1 2 3 4; do echo tick $i; sleep 0.5; done", restartPolicy="Never"))
    wait_until("started", lambda: phase(cluster, namespace, "ticker") in ("Running", "Succeeded"))
    assert cluster.kubectl("logs", "-f", "ticker", "-n", namespace).split("\n")[:4] == [
        f"tick {i}" for i in (1, 2, 3, 4)
    ]


def test_port_forward(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*web(namespace, replicas=1))
    rollout(cluster, namespace)
    forward = subprocess.Popen(
        cluster.enter(str(KUBECTL), f"--kubeconfig={cluster.kubeconfig}", "port-forward", "svc/web", "18080:80",
                      "-n", namespace),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert forward.stdout is not None
        assert "Forwarding from" in forward.stdout.readline()
        for _ in range(3):
            assert cluster.run("busybox", "wget", "-qO-", "http://127.0.0.1:18080/") == "hello\n"
    finally:
        forward.terminate()
        forward.wait(timeout=10)
        assert forward.stdout is not None
        forward.stdout.close()


def test_scale_rollout_undo(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*web(namespace, replicas=1))
    rollout(cluster, namespace)
    cluster.kubectl("scale", "deployment", "web", "-n", namespace, "--replicas=3")
    rollout(cluster, namespace)
    assert len(cluster.get("pods", "-n", namespace, "-l", "app=web")["items"]) == 3
    cluster.kubectl("set", "env", "deployment/web", "-n", namespace, "COLOUR=blue")
    rollout(cluster, namespace)
    cluster.kubectl("rollout", "undo", "deployment/web", "-n", namespace)
    rollout(cluster, namespace)
    found = cluster.get("deployment", "web", "-n", namespace)
    assert "env" not in found["spec"]["template"]["spec"]["containers"][0]
    assert "REVISION" in cluster.kubectl("rollout", "history", "deployment/web", "-n", namespace)


def test_a_deleted_pod_is_replaced(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*web(namespace))
    rollout(cluster, namespace)
    before = {item["metadata"]["uid"] for item in cluster.get("pods", "-n", namespace)["items"]}
    victim = cluster.get("pods", "-n", namespace)["items"][0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", victim, "-n", namespace)

    def replaced() -> bool:
        items = cluster.get("pods", "-n", namespace)["items"]
        ready = [
            item
            for item in items
            if any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions", []))
        ]
        return len(ready) == 2 and {item["metadata"]["uid"] for item in ready} != before

    wait_until("replacement", replaced)


def test_job_completes(cluster: Cluster, namespace: str) -> None:
    template = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "echo done"]}
            ],
        }
    }
    cluster.apply({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": namespace},
        "spec": {"completions": 3, "parallelism": 2, "template": template},
    })  # fmt: skip
    cluster.kubectl("wait", "--for=condition=Complete", "job/j", "-n", namespace, "--timeout=90s")
    assert cluster.get("job", "j", "-n", namespace)["status"]["succeeded"] == 3
    assert "done" in cluster.kubectl("logs", "job/j", "-n", namespace)


def test_restarts_and_crash_loop(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("crash", namespace, "exit 3"))

    def looping() -> bool:
        statuses = (cluster.get("pod", "crash", "-n", namespace)["status"].get("containerStatuses")) or [{}]
        waiting = (statuses[0].get("state") or {}).get("waiting") or {}
        return waiting.get("reason") == "CrashLoopBackOff" and statuses[0]["restartCount"] >= 1

    wait_until("CrashLoopBackOff", looping)
    last = cluster.get("pod", "crash", "-n", namespace)["status"]["containerStatuses"][0]["lastState"]
    assert last["terminated"]["exitCode"] == 3
    assert "CrashLoopBackOff" in cluster.kubectl("get", "pods", "-n", namespace)


def test_liveness_probe_restarts(cluster: Cluster, namespace: str) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1, "failureThreshold": 1}
    cluster.apply(
        pod(
            "alive", namespace, "touch /tmp/ok; sleep 2; rm /tmp/ok; exec sleep 600", container={"livenessProbe": probe}
        )
    )
    wait_until("restart", lambda: any(
        status["restartCount"] > 0
        for status in cluster.get("pod", "alive", "-n", namespace)["status"].get("containerStatuses", [])
    ))  # fmt: skip


def test_image_that_cannot_be_had(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("noimage", namespace, "true", container={"image": "127.0.0.1:1/no/such:1"}))

    def reasons() -> set[str]:
        events = cluster.get("events", "-n", namespace)["items"]
        return {event["reason"] for event in events if event["involvedObject"]["name"] == "noimage"}

    def waiting() -> str:
        statuses = cluster.get("pod", "noimage", "-n", namespace)["status"].get("containerStatuses") or [{}]
        return str(((statuses[0].get("state") or {}).get("waiting") or {}).get("reason", ""))

    wait_until("ErrImagePull or ImagePullBackOff", lambda: waiting() in ("ErrImagePull", "ImagePullBackOff"))
    wait_until("back-off", lambda: waiting() == "ImagePullBackOff")
    wait_until("events", lambda: {"Pulling", "Failed", "BackOff"} <= reasons())


def test_volumes_env_and_downward_api(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "secret", "generic", "s", "-n", namespace, "--from-literal=password=hidden")
    cluster.kubectl("create", "configmap", "m", "-n", namespace, "--from-literal=colour=blue")
    volumes = [
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "e", "emptyDir": {"medium": "Memory"}},
        {"name": "h", "hostPath": {"path": "/etc", "type": "Directory"}},
        {"name": "d", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "colour"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "BOTH", "value": "$(COLOUR)-$(NODE)"},
    ]
    script = (
        "cat /s/password; echo; echo x > /e/f && cat /e/f; test -e /h/debian_version && echo host; cat /d/name; echo; "
        "echo $BOTH; echo $IP; test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token"
    )
    mounts = [{"name": n, "mountPath": f"/{n}"} for n in ("s", "e", "h", "d")]
    cluster.apply(
        pod(
            "v",
            namespace,
            script,
            restartPolicy="Never",
            volumes=volumes,
            container={"env": env, "volumeMounts": mounts},
        )
    )
    wait_until("done", lambda: phase(cluster, namespace, "v") in ("Succeeded", "Failed"))
    lines = cluster.kubectl("logs", "v", "-n", namespace).split("\n")
    assert lines[:5] == ["hidden", "x", "host", "v", "blue-node-1"]
    assert lines[5].startswith("10.42.")
    assert lines[6] == "token"


def test_service_account_token_reaches_the_api(cluster: Cluster, namespace: str) -> None:
    """The token of a pod is good for what its account may do; the API answers on its Service in the pod.

    busybox's own TLS knows no elliptic curve certificates, so the pod only connects and the host asks.
    """
    cluster.kubectl(
        "create", "rolebinding", "view", "-n", namespace, "--clusterrole=view", f"--serviceaccount={namespace}:default"
    )
    script = "nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo connected; exec sleep 600"
    cluster.apply(pod("api", namespace, script))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/api", "-n", namespace, "--timeout=60s")
    wait_until("connection", lambda: "connected" in cluster.kubectl("logs", "api", "-n", namespace))
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    token = cluster.kubectl("exec", "api", "-n", namespace, "--", "cat", path)
    asked = ("--server=https://127.0.0.1:6443", "--insecure-skip-tls-verify", f"--token={token}", "-n", namespace)
    assert "api" in cluster.run(str(KUBECTL), *asked, "get", "pods")
    denied = cluster.run(str(KUBECTL), *asked, "get", "secrets", check=False)
    assert f'User "system:serviceaccount:{namespace}:default" cannot list resource "secrets"' in denied


def test_init_containers_run_first(cluster: Cluster, namespace: str) -> None:
    init = [
        {
            "name": f"i{n}",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", f"echo {n} >> /w/order"],
            "volumeMounts": [{"name": "w", "mountPath": "/w"}],
        }
        for n in (1, 2)
    ]
    cluster.apply(
        pod(
            "init",
            namespace,
            "cat /w/order",
            restartPolicy="Never",
            initContainers=init,
            volumes=[{"name": "w", "emptyDir": {}}],
            container={"volumeMounts": [{"name": "w", "mountPath": "/w"}]},
        )
    )
    wait_until("done", lambda: phase(cluster, namespace, "init") in ("Succeeded", "Failed"))
    assert cluster.kubectl("logs", "init", "-n", namespace) == "1\n2\n"


def test_unschedulable_pod_says_why(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("big", namespace, "true", container={"resources": {"requests": {"cpu": "1000"}}}))

    def message() -> str:
        conditions = cluster.get("pod", "big", "-n", namespace)["status"].get("conditions", [])
        return next((c.get("message", "") for c in conditions if c["type"] == "PodScheduled"), "")

    assert wait_until("condition", message).startswith("0/1 nodes are available: 1 Insufficient cpu")
    assert "FailedScheduling" in cluster.kubectl("describe", "pod", "big", "-n", namespace)


def test_bad_objects_are_refused_with_causes(cluster: Cluster, namespace: str) -> None:
    bad = pod("Bad_Name", namespace, "true")
    output = cluster.kubectl("apply", "-f", "-", stdin=json.dumps(bad), check=False)
    assert 'The Pod "Bad_Name" is invalid' in output
    assert "metadata.name" in output
    empty = pod("empty", namespace, "true")
    empty["spec"]["containers"] = []
    output = cluster.kubectl("apply", "-f", "-", "--validate=false", stdin=json.dumps(empty), check=False)
    assert "spec.containers: Required value" in output


def test_namespace_deletion_takes_its_contents(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "short")
    cluster.apply(*web("short", replicas=1))
    rollout(cluster, "short")
    cluster.kubectl("delete", "namespace", "short", "--timeout=60s")
    assert cluster.get("namespace", "short") is None


def test_ports_are_open_where_they_should_be(cluster: Cluster) -> None:
    listening = cluster.run("ss", "-Hltn")
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening.splitlines()}
    assert {"6443", "10250", "53"} <= ports
    assert "10255" not in ports


def test_lone_socket_is_not_reachable_from_here() -> None:
    """The cluster's namespace is closed: nothing of it is visible on the host's loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        assert probe.connect_ex(("127.0.0.1", 6443)) != 0


def test_kubectl_may_cache_discovery(cluster: Cluster) -> None:
    """The second look is answered with 304, which must not spoil what the cache has."""
    cache = f"--cache-dir={cluster.folder / 'kubectl-cache'}"
    first = cluster.kubectl(cache, "api-resources")
    assert cluster.kubectl(cache, "api-resources") == first
    assert len(first.splitlines()) > 50


def test_image_is_pulled_from_a_registry(cluster: Cluster, namespace: str, test_image: Path) -> None:
    program = Path(__file__).with_name("registry.py")
    registry = subprocess.Popen(cluster.enter(sys.executable, str(program), str(test_image), "5000"))
    try:
        wait_until("registry", lambda: ":5000" in cluster.run("ss", "-Hltn"))
        image = {"image": "127.0.0.1:5000/some/image:1", "imagePullPolicy": "Always"}
        cluster.apply(pod("pulled", namespace, "echo pulled", restartPolicy="Never", container=image))
        wait_until("done", lambda: phase(cluster, namespace, "pulled") in ("Succeeded", "Failed"))
        assert cluster.kubectl("logs", "pulled", "-n", namespace) == "pulled\n"
        assert "Successfully pulled image" in cluster.kubectl("get", "events", "-n", namespace)
    finally:
        registry.terminate()
        registry.wait(timeout=10)


def test_a_load_balancer_is_the_node(cluster: Cluster, namespace: str) -> None:
    objects = web(namespace, replicas=1)
    objects[2]["spec"] |= {"type": "LoadBalancer", "ports": [{"port": 8088, "targetPort": "http"}]}
    cluster.apply(*objects)
    rollout(cluster, namespace)
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    wait_until("its address", lambda: cluster.kubectl("get", "service", "web", "-n", namespace, "-o", path) == NODE_IP)
    url = f"http://{NODE_IP}:8088/"
    wait_until("answers", lambda: cluster.run("busybox", "wget", "-qO-", url, check=False) == "hello\n")
    cluster.kubectl("patch", "service", "web", "-n", namespace, "-p", '{"spec":{"externalTrafficPolicy":"Local"}}')
    wait_until("answers", lambda: cluster.run("busybox", "wget", "-qO-", url, check=False) == "hello\n")
    cluster.kubectl("delete", "service", "web", "-n", namespace)
    wait_until("closed", lambda: "refused" in cluster.run("busybox", "wget", "-qO-", url, check=False))
