"""Bad starts and hard stops: one clear line, nothing damaged, nothing lost."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import PYK3S, Cluster, short_folder, wait_until
from test_e2e_workloads import pod, rollout, web


def attempt(*arguments: str) -> tuple[int, str]:
    """Start a server that is expected to refuse: (exit code, what it said)."""
    done = subprocess.run([str(PYK3S), "server", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.strip()


def one_line(text: str) -> str:
    """The one line that says what is wrong (log lines may precede it)."""
    last = text.splitlines()[-1]
    assert last.startswith("pyk3s: "), text
    assert "Traceback" not in text
    return last


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--no-such-flag"], "No such option", id="unknown flag"),
        pytest.param(["--https-listen-port=x"], "is not a valid integer", id="port that is no number"),
        pytest.param(["--cluster-cidr=nonsense"], "--cluster-cidr", id="range that is no range"),
        pytest.param(["--config=/nowhere.yaml"], "does not exist", id="missing configuration"),
        pytest.param(["--token-auth-file=/nowhere.csv", "--disable-agent"], "/nowhere.csv", id="missing token file"),
    ],
)
def test_wrong_settings(arguments: list[str], says: str) -> None:
    folder = short_folder()
    code, text = attempt(f"--data-dir={folder}", f"--write-kubeconfig={folder}/kc", *arguments)
    _discard(folder)
    assert code == 1
    assert says in one_line(text)


def test_busy_port() -> None:
    folder = short_folder()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        code, text = attempt(
            f"--data-dir={folder}", f"--write-kubeconfig={folder}/kc", "--disable-agent", "--bind-address=127.0.0.1",
            f"--https-listen-port={port}", "--disable-scheduler", "--disable-controller-manager",
        )  # fmt: skip
    assert code == 1
    assert str(port) in one_line(text)
    _discard(folder)


def test_missing_containerd() -> None:
    folder = short_folder()
    hide = 'mount --bind /dev/null /usr/bin/containerd && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", str(PYK3S), "server", f"--data-dir={folder}",
         f"--write-kubeconfig={folder}/kc"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "apt-get install containerd" in one_line(done.stderr.strip())
    _discard(folder)


def test_broken_database_is_not_touched() -> None:
    folder = short_folder()
    database = folder / "server" / "db" / "state.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is not a database" * 1000)
    code, text = attempt(f"--data-dir={folder}", f"--write-kubeconfig={folder}/kc", "--disable-agent")
    assert code == 1
    assert str(database) in one_line(text)
    assert database.read_bytes() == b"this is not a database" * 1000
    _discard(folder)


def test_second_server_on_the_same_folder(cluster: Cluster) -> None:
    code, text = attempt(
        f"--data-dir={cluster.data_dir}",
        f"--write-kubeconfig={cluster.folder}/second",
        "--disable-agent",
        "--https-listen-port=16443",
    )
    assert code == 1
    assert str(cluster.data_dir) in one_line(text)
    assert cluster.node_ready()


def _discard(folder: Path) -> None:
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_kill_9_under_load_loses_nothing_and_stops_no_pod(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster()
    cluster.start()
    cluster.apply(*web("default"))
    rollout(cluster, "default")
    before = _containers(cluster)
    acknowledged: list[str] = []
    stop = threading.Event()

    def load() -> None:
        number = 0
        while not stop.is_set() and number < 2000:
            name = f"load-{number}"
            if "created" in cluster.kubectl("create", "configmap", name, "--from-literal=a=b", check=False):
                acknowledged.append(name)
            number += 1

    writer = threading.Thread(target=load)
    writer.start()
    wait_until("some writes", lambda: len(acknowledged) > 10)
    cluster.kill()
    address = _address_of_a_pod(before)
    assert cluster.run("busybox", "wget", "-qO-", f"http://{address}:8080/") == "hello\n"
    stop.set()
    writer.join()
    cluster.start()
    stored = {item["metadata"]["name"] for item in cluster.get("configmaps")["items"]}
    assert set(acknowledged) <= stored
    rollout(cluster, "default")
    assert _containers(cluster) == before
    cluster.apply(pod("after", "default", "exec sleep 600"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/after", "--timeout=60s")


def _containers(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Pod name -> (container id, pod address) of the web pods."""
    items = cluster.get("pods", "-l", "app=web")["items"]
    return {
        item["metadata"]["name"]: (item["status"]["containerStatuses"][0]["containerID"], item["status"]["podIP"])
        for item in items
    }


def _address_of_a_pod(containers: dict[str, tuple[str, str]]) -> str:
    return next(iter(containers.values()))[1]


def test_clean_stop_keeps_pods_running(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster()
    cluster.start()
    cluster.apply(*web("default", replicas=1))
    rollout(cluster, "default")
    before = _containers(cluster)
    cluster.stop()
    cluster.start()
    rollout(cluster, "default")
    assert _containers(cluster) == before


def test_control_plane_only(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster("--disable-agent", "--disable-scheduler", "--disable-controller-manager")
    cluster.start(wait=False)
    wait_until(
        "API", lambda: cluster.kubeconfig.exists() and cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok"
    )
    assert "No resources found" in cluster.kubectl("get", "nodes", check=False)
    cluster.kubectl("create", "configmap", "x", "--from-literal=a=b")
