"""The client libraries' interpreters, programs in the background, and a pod to stream with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from client_programs import CLIENTS, HERE, Background, Clients
from cluster import IMAGE, Cluster, wait_until


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    if not (CLIENTS / "javascript" / "node_modules").is_dir():
        pytest.fail("run .venv/bin/python scripts/fetch_clients first")
    folder = tmp_path_factory.mktemp("javascript")
    for program in (HERE / "javascript").glob("*.mjs"):
        # a copy: Node.js resolves a link before it looks for packages
        (folder / program.name).write_bytes(program.read_bytes())
    (folder / "node_modules").symlink_to(CLIENTS / "javascript" / "node_modules")
    return Clients(folder)


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Callable[..., Background]]:
    """Starts programs in a cluster's network namespace and ends them after the test."""
    running: list[Background] = []

    def start(cluster: Cluster, *command: str, environment: Mapping[str, str] | None = None) -> Background:
        output = tmp_path / f"output-{len(running)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                cluster.enter(*command), stdout=file, stderr=file, start_new_session=True,
                env={**cluster.surroundings(), "PYTHONUNBUFFERED": "1", **(environment or {})},
            )  # fmt: skip
        running.append(Background(process, output))
        return running[-1]

    try:
        yield start
    finally:
        for made in running:
            end_group(made.process)
            print(made.output.read_text(errors="replace"))  # pytest shows it when the test failed


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started: PyPI's ``node`` is a wrapper that passes no signal on."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)


@pytest.fixture
def pod(cluster: Cluster, namespace: str) -> str:
    """A running pod with one container that has said three lines and serves a page on port 8080."""
    script = (
        "for n in 1 2 3; do echo line $n; done; mkdir /www; echo served by the pod > /www/index.html; "
        "exec httpd -f -p 8080 -h /www"
    )
    wait_until("default ServiceAccount", lambda: cluster.get("serviceaccount", "default", "-n", namespace))
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script], "imagePullPolicy": "IfNotPresent"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "-n", namespace, "--timeout=30s")
    wait_until("the page", lambda: "line 3" in cluster.kubectl("logs", "web", "-n", namespace))
    return "web"
