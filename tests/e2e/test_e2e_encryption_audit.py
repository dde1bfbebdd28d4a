"""A control plane that encrypts Secrets and audits: keys rotate while it runs, nothing readable is on the disk."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import IMAGE, PYK3S, Cluster, new_cluster, short_folder, wait_until

WORD = "hunter2-in-plain-sight"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:nodes"]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: None}
"""


@pytest.fixture
def control_plane() -> Iterator[Cluster]:
    folder = short_folder()
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    made = new_cluster(
        folder,
        "--disable-agent",
        "--disable-scheduler",
        "--disable-controller-manager",
        "--secrets-encryption",
        f"--audit-policy-file={folder / 'policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
    )
    try:
        made.start(wait=False)
        wait_until("the API", lambda: answers(made), seconds=30)
        yield made
    finally:
        made.remove()
        shutil.rmtree(folder)


def answers(cluster: Cluster) -> bool:
    return cluster.kubeconfig.exists() and cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok"


def on_disk(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((data_dir / "server" / "db").iterdir()))


def secrets_encrypt(cluster: Cluster, *command: str) -> str:
    return cluster.run(
        str(PYK3S), "secrets-encrypt", *command, f"--data-dir={cluster.data_dir}", f"--kubeconfig={cluster.kubeconfig}"
    )


def test_secrets_are_encrypted_and_keys_rotate(control_plane: Cluster) -> None:
    cluster = control_plane
    for number in range(20):
        cluster.kubectl("create", "secret", "generic", f"s{number}", f"--from-literal=word={WORD}")
    encoded = base64.b64encode(WORD.encode())
    assert encoded not in on_disk(cluster.data_dir)
    before = json.loads(secrets_encrypt(cluster, "status", "-o", "json"))
    assert before["enabled"] and before["inUse"]
    assert "20 secrets" in secrets_encrypt(cluster, "rotate-keys")
    after = json.loads(secrets_encrypt(cluster, "status", "-o", "json"))
    assert after["stage"] == "reencrypt_finished"
    assert [key["name"] for key in after["keys"]] != [key["name"] for key in before["keys"]]
    # A kill and a start without the flag: the configuration is there, so it holds.
    cluster.kill()
    cluster.arguments = [part for part in cluster.arguments if part != "--secrets-encryption"]
    cluster.start(wait=False)
    wait_until("the API", lambda: answers(cluster), seconds=30)
    word = cluster.kubectl("get", "secret", "s7", "-o", "jsonpath={.data.word}")
    assert word.encode() == encoded
    assert encoded not in on_disk(cluster.data_dir)


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        (True, "cannot read /registry/core/secrets/default/one: no provider or key matches 'aescbc:v1:"),
        (False, "stored Secrets are encrypted, but "),
    ],
)
def test_a_lost_key_is_named_at_the_start(control_plane: Cluster, flag: bool, text: str) -> None:
    cluster = control_plane
    cluster.kubectl("create", "secret", "generic", "one", f"--from-literal=word={WORD}")
    cluster.kill()
    (cluster.data_dir / "server" / "cred" / "encryption-config.json").unlink()
    cluster.arguments = [part for part in cluster.arguments if flag or part != "--secrets-encryption"]
    cluster.start(wait=False)
    assert cluster.process is not None
    assert cluster.process.wait(30) == 1
    assert text in cluster.log.read_text().splitlines()[-1]


def test_the_audit_log_tells_who_read_a_secret(control_plane: Cluster) -> None:
    cluster = control_plane
    cluster.kubectl("create", "secret", "generic", "one", f"--from-literal=word={WORD}")
    cluster.kubectl("get", "secret", "one", "--as=alice", check=False)
    log = cluster.folder / "audit.log"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert WORD not in log.read_text()
    mine = [event for event in events if event["user"].get("username") == "system:admin"]
    denied = [event for event in mine if event["verb"] == "get"][-1]
    assert denied["impersonatedUser"]["username"] == "alice"
    assert denied["responseStatus"]["code"] == 403
    assert denied["annotations"]["authorization.k8s.io/decision"] == "forbid"


def test_the_audit_log_tells_what_scheduler_and_node_did(own_cluster: Callable[..., Cluster]) -> None:
    """They are in the server's process and ask through no socket; their requests are as much requests as others."""
    cluster = own_cluster()
    policy, log = cluster.folder / "policy.yaml", cluster.folder / "audit.log"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    cluster.arguments = [*cluster.arguments, f"--audit-policy-file={policy}", f"--audit-log-path={log}"]
    cluster.start()
    cluster.kubectl("run", "p", f"--image={IMAGE}", "--image-pull-policy=Never", "--restart=Never", "--", "true")
    done = ("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/p", "--timeout=120s")
    cluster.kubectl(*done, seconds=150)
    wanted = {
        ("system:kube-scheduler", "create", "pods", "binding"),
        ("system:kube-scheduler", "watch", "nodes", ""),
        ("system:node:node-1", "patch", "pods", "status"),
        ("system:node:node-1", "patch", "nodes", "status"),
        ("system:node:node-1", "update", "leases", ""),
        ("system:node:node-1", "create", "serviceaccounts", "token"),
    }

    def told() -> set[tuple[str, ...]]:
        events = [json.loads(line) for line in log.read_text().splitlines()]
        return {
            (event["user"].get("username", ""), event["verb"], about.get("resource", ""), about.get("subresource", ""))
            for event in events
            if (about := event.get("objectRef")) and event["stage"] in ("ResponseStarted", "ResponseComplete")
        }

    deadline = time.monotonic() + 120
    while missing := wanted - told():
        assert time.monotonic() < deadline, missing
        time.sleep(1)
