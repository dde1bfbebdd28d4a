"""Claims and volumes on a real node: what a chart with a database expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster import IMAGE, Cluster, wait_until


def claim_spec(**spec: Any) -> dict[str, Any]:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}, **spec}


def container(command: str) -> dict[str, Any]:
    return {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", command],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


def pod(name: str, namespace: str, command: str, volume: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [container(command)],
            "volumes": [{"name": "data", **volume}],
            **spec,
        },
    }


def database(namespace: str) -> dict[str, Any]:
    labels = {"app": "db"}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
            "containers": [container("echo started >>/data/log; exec sleep 3600")],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": namespace},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim_spec()}],
        },
    }


def folders(cluster: Cluster, namespace: str) -> list[Path]:
    root = cluster.data_dir / "storage"
    return [path for path in root.iterdir() if f"_{namespace}_" in path.name] if root.exists() else []


def phase(cluster: Cluster, *what: str) -> str:
    found = cluster.get(*what)
    return str(found["status"].get("phase")) if found else ""


def test_a_database_keeps_its_data_and_leaves_nothing(cluster: Cluster, namespace: str) -> None:
    wait_until("the class", lambda: "local-path (default)" in cluster.kubectl("get", "storageclass"))
    cluster.apply(database(namespace))
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=90s")
    cluster.kubectl("delete", "pod", "db-0", "-n", namespace)
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=90s")
    [folder] = folders(cluster, namespace)
    wait_until("second start", lambda: (folder / "log").read_text() == "started\nstarted\n")
    claim = cluster.get("pvc", "data-db-0", "-n", namespace)
    assert (claim["status"]["phase"], claim["spec"]["storageClassName"]) == ("Bound", "local-path")
    volume = claim["spec"]["volumeName"]
    assert volume in cluster.kubectl("get", "pv")

    cluster.kubectl("delete", "pvc", "data-db-0", "-n", namespace, "--wait=false")
    assert "pvc-protection" in cluster.kubectl("describe", "pvc", "data-db-0", "-n", namespace)
    cluster.kubectl("delete", "statefulset", "db", "-n", namespace)
    wait_until("the volume and its folder are gone", lambda: not cluster.get("pv", volume) and not folder.exists())


def test_an_ephemeral_volume_goes_with_its_pod(cluster: Cluster, namespace: str) -> None:
    template = {"metadata": {"labels": {"of": "scratch"}}, "spec": claim_spec()}
    cluster.apply(pod("scratch", namespace, "sleep 3600", {"ephemeral": {"volumeClaimTemplate": template}}))
    wait_until("running", lambda: phase(cluster, "pod", "scratch", "-n", namespace) == "Running", seconds=90)
    assert phase(cluster, "pvc", "scratch-data", "-n", namespace) == "Bound"
    [folder] = folders(cluster, namespace)
    cluster.kubectl("delete", "pod", "scratch", "-n", namespace)
    wait_until(
        "nothing is left", lambda: not cluster.get("pvc", "scratch-data", "-n", namespace) and not folder.exists()
    )


def test_a_volume_made_by_hand(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """A claim with a class of its own takes it; its data outlives the claim."""
    name = f"by-hand-{namespace}"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "hostPath": {"path": str(tmp_path)},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "mine", "namespace": namespace},
        "spec": claim_spec(storageClassName=name),
    }
    mounted = {"persistentVolumeClaim": {"claimName": "mine"}}
    try:
        cluster.apply(claim, pod("early", namespace, "echo hello >/data/file", mounted, restartPolicy="Never"))
        wait_until(
            "the pod waits for the claim",
            lambda: (
                "unbound immediate PersistentVolumeClaims"
                in cluster.kubectl("get", "events", "-n", namespace, "-o", "wide")
            ),
        )
        cluster.apply(volume)
        wait_until("done", lambda: phase(cluster, "pod", "early", "-n", namespace) == "Succeeded", seconds=90)
        assert (tmp_path / "file").read_text() == "hello\n"
        cluster.kubectl("delete", "pod/early", "pvc/mine", "-n", namespace)
        wait_until("released", lambda: phase(cluster, "pv", name) == "Released")
        assert (tmp_path / "file").exists()
    finally:
        cluster.kubectl("delete", "pv", name, "--ignore-not-found")


def test_what_cannot_be_had_is_said(cluster: Cluster, namespace: str) -> None:
    shared = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shared", "namespace": namespace},
        "spec": claim_spec(accessModes=["ReadWriteMany"]),
    }
    cluster.apply(shared, pod("p", namespace, "sleep 3600", {"persistentVolumeClaim": {"claimName": "shared"}}))
    text = "access modes ReadWriteMany are not supported"
    wait_until("said", lambda: text in cluster.kubectl("describe", "pvc", "shared", "-n", namespace))


def test_a_folder_made_for_a_subpath_is_the_users(cluster: Cluster, namespace: str) -> None:
    """Charts give programs without root a writable /tmp this way."""
    made = pod(
        "scratch", namespace, "echo hello >/data/file && cat /data/file", {"emptyDir": {}}, restartPolicy="Never"
    )
    made["spec"]["securityContext"] = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}
    made["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "deep/tmp-dir"
    cluster.apply(made)
    wait_until(
        "ended", lambda: phase(cluster, "pod", "scratch", "-n", namespace) in ("Succeeded", "Failed"), seconds=90
    )
    assert cluster.kubectl("logs", "scratch", "-n", namespace) == "hello\n"
