"""The audit log of a server process tells what its own controllers do, as kube-apiserver's log does."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from api_process import Running, api_process

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, resources: [{group: "", resources: [events]}, {group: coordination.k8s.io}]}
- {level: RequestResponse, users: ["system:serviceaccount:kube-system:replicaset-controller"], resources: [{group: ""}]}
- {level: Metadata}
"""
ACCOUNT = "system:serviceaccount:kube-system:"
LABELS = {"app": "web"}
DEPLOYMENT = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "a/b"}]}},
    },
}


def events_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_bytes().splitlines()]


def done(events: list[dict[str, Any]], user: str, verb: str, resource: str) -> list[dict[str, Any]]:
    return [
        event
        for event in events
        if event["stage"] == "ResponseComplete"
        and (event["user"].get("username"), event["verb"]) == (f"{ACCOUNT}{user}", verb)
        and event.get("objectRef", {}).get("resource") == resource
    ]


def two_pods_of(server: Running, log: Path) -> list[dict[str, Any]]:
    """Make the Deployment, and wait for the events of its pods' creation."""
    body = json.dumps(DEPLOYMENT).encode()
    reply = asyncio.run(server.send("POST", "/apis/apps/v1/namespaces/default/deployments", body))
    assert reply.code == 201, reply.body
    ends = time.monotonic() + 120
    while True:
        events = events_of(log)
        if len(done(events, "replicaset-controller", "create", "pods")) == 2:
            return events
        assert time.monotonic() < ends, server.log.read_text()[-2000:]
        time.sleep(0.1)


def test_a_deployment_is_audited_from_its_controller_to_its_pods(tmp_path: Path) -> None:
    policy, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    policy.write_text(POLICY)
    flags = f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--disable-admission-plugins=ServiceAccount"
    with api_process(tmp_path, *flags, controllers=True) as server:
        found = two_pods_of(server, log)
    (replica_set,) = done(found, "deployment-controller", "create", "replicasets")
    assert replica_set["objectRef"]["namespace"] == "default"
    assert replica_set["userAgent"].startswith("kube-controller-manager")
    assert replica_set["sourceIPs"] == ["127.0.0.1"]
    assert replica_set["responseStatus"] == {"metadata": {}, "code": 201}
    assert replica_set["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": 'RBAC: allowed by ClusterRoleBinding "system:controller:deployment-controller" '
        'of ClusterRole "system:controller:deployment-controller" to '
        'ServiceAccount "deployment-controller/kube-system"',
    }
    assert "requestObject" not in replica_set
    for pod in done(found, "replicaset-controller", "create", "pods"):
        assert pod["level"] == "RequestResponse"
        assert pod["requestObject"]["metadata"]["generateName"] == pod["responseObject"]["metadata"]["generateName"]
        assert pod["responseObject"]["metadata"]["name"].startswith("web-")
        # who has this account is in the event, whatever the rules of admission leave in it
        assert pod["annotations"]["authorization.k8s.io/decision"] == "allow"
    # each request has its two events, whoever asked; those that were on their way when the server ended have theirs too
    everything = events_of(log)
    received = {event["auditID"] for event in everything if event["stage"] == "RequestReceived"}
    ended = {event["auditID"] for event in everything if event["stage"] in ("ResponseComplete", "Panic")}
    assert received == ended
    assert not [event for event in everything if event["stage"] == "Panic"]
