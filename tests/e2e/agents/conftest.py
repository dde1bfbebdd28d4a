"""A cluster of two hosts for the session: a server with a node of its own, and a worker that has joined it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agents_hosts import Pair, ip, new_server, new_switch, new_worker, wait_ready
from cluster import wait_until


@pytest.fixture(scope="session")
def pair(test_image: Path) -> Iterator[Pair]:
    with ExitStack() as leaving:  # each step is taken back, whatever the others say
        switch = new_switch()
        leaving.callback(ip, "netns", "del", switch)
        server, worker = (
            new_server(switch, ("--node-monitor-grace-period=25s",)),
            new_worker(switch, "node-2", "10.88.0.2"),
        )
        for host in (server, worker):
            leaving.callback(shutil.rmtree, host.folder)
            leaving.callback(host.remove)
            images = host.data_dir / "agent" / "images"
            images.mkdir(parents=True)
            shutil.copy(test_image, images / "test.tar")
        server.start()
        token = (server.data_dir / "server" / "node-token").read_text().strip()
        worker.start(f"--token={token}")
        wait_ready(server, "node-2")
        reached = ("get", "--raw", "/api/v1/nodes/node-2/proxy/healthz")  # by a certificate that the server signed
        wait_until("the node API of node-2", lambda: server.kubectl(*reached, check=False) == "ok", seconds=120)
        leaving.callback(lambda: print(worker.log_tail()))
        yield Pair(switch, server, worker, token)
