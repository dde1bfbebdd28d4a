"""The disk under the datastore hangs: nothing ends, nothing is evicted, and everybody is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster import KUBECTL, Cluster, wait_until
from test_e2e_workloads import rollout, web

_SHIM = Path(__file__).resolve().parents[1] / "integration" / "datastore" / "stalling_disk.c"
_STALL_SECONDS = 60.0
"""Longer than a node without heartbeats is trusted (40 s)."""


def condition(cluster: Cluster, type: str) -> dict[str, Any]:
    conditions = cluster.get("node", "node-1")["status"]["conditions"]
    return next((item for item in conditions if item["type"] == type), {})


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler for the stalling shim")
def test_a_disk_that_hangs_for_a_minute(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster()
    shim, marker = cluster.folder / "stall.so", cluster.folder / "stalled"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", shim, _SHIM, "-ldl"], check=True)
    cluster.environment = {
        "LD_PRELOAD": str(shim),
        "STALL_PREFIX": f"{cluster.data_dir}/server/db/",
        "STALL_WHILE": str(marker),
    }
    cluster.start()
    assert cluster.process is not None
    pid = cluster.process.pid
    cluster.apply(*web("default"))
    rollout(cluster, "default")
    before = _pods(cluster)
    with watching_node(cluster) as events:
        marker.touch()
        began = time.monotonic()
        said = cluster.kubectl("create", "configmap", "hangs", "--from-literal=a=b", check=False)
        took = time.monotonic() - began
        assert "etcdserver: request timed out" in said and took < 40, (took, said)
        said = cluster.kubectl("create", "configmap", "refused", "--from-literal=a=b", check=False)
        assert "reads go on" in said
        assert "[-]etcd-readiness failed" in cluster.kubectl("get", "--raw", "/readyz?verbose", check=False)
        assert cluster.kubectl("get", "--raw", "/livez") == "ok"
        wait_until("the condition", lambda: condition(cluster, "DatastoreStalled").get("status") == "True")
        while time.monotonic() < began + _STALL_SECONDS:
            assert condition(cluster, "Ready")["status"] == "True"
            assert cluster.process.poll() is None
            time.sleep(2)
        assert _pods(cluster) == before
        address = next(iter(before.values()))[2]
        assert cluster.run("busybox", "wget", "-qO-", f"http://{address}:8080/") == "hello\n"
        marker.unlink()
        wait_until("readiness", lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok")
        cluster.kubectl("create", "configmap", "after", "--from-literal=a=b")
        wait_until("the condition's end", lambda: condition(cluster, "DatastoreStalled").get("status") == "False")
        assert cluster.get("configmap", "hangs")["data"] == {"a": "b"}  # it came through after all
        assert cluster.get("configmap", "refused") is None
        assert (_pods(cluster), cluster.process.pid) == (before, pid)
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert len(revisions) >= 2 and revisions == sorted(set(revisions))
    cluster.stop()
    cluster.start()  # what was overtaken is on the disk as it was shown
    rollout(cluster, "default")
    assert _pods(cluster) == before
    assert cluster.get("configmap", "hangs")["data"] == {"a": "b"}


@contextmanager
def watching_node(cluster: Cluster) -> Iterator[list[dict[str, Any]]]:
    """Watch the node meanwhile; the events are in the list afterwards."""
    events: list[dict[str, Any]] = []
    command = (
        str(KUBECTL), f"--kubeconfig={cluster.kubeconfig}", "get", "node", "node-1", "--watch-only",
        "--output-watch-events", "-o", "json",
    )  # fmt: skip
    watch = subprocess.Popen(cluster.enter(*command), stdout=subprocess.PIPE, text=True)
    try:
        yield events
    finally:
        watch.terminate()
        events += _objects(watch.communicate()[0])


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON values that follow each other in ``text``; the last may be cut off."""
    found, at, decoder = [], 0, json.JSONDecoder()
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        found.append(value)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def _pods(cluster: Cluster) -> dict[str, tuple[str, int, str]]:
    """Name -> (container, its restarts, address) of the web pods."""
    found = {}
    for item in cluster.get("pods", "-l", "app=web")["items"]:
        status = item["status"]["containerStatuses"][0]
        found[item["metadata"]["name"]] = (status["containerID"], status["restartCount"], item["status"]["podIP"])
    return found
