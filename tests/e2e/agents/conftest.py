"""A cluster of two hosts for the session: a server with a node of its own, and a worker that has joined it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents_hosts import Pair, ip, new_server, new_switch, new_worker, wait_ready


@pytest.fixture(scope="session")
def pair(test_image: Path) -> Iterator[Pair]:
    switch = new_switch()
    server, worker = new_server(switch), new_worker(switch, "node-2", "10.88.0.2")
    try:
        for host in (server, worker):
            images = host.data_dir / "agent" / "images"
            images.mkdir(parents=True)
            shutil.copy(test_image, images / "test.tar")
        server.start()
        token = (server.data_dir / "server" / "node-token").read_text().strip()
        worker.start(f"--token={token}")
        wait_ready(server, "node-2")
        yield Pair(switch, server, worker, token)
    finally:
        print(worker.log_tail())
        worker.remove()
        server.remove()
        ip("netns", "del", switch)
        for host in (server, worker):
            shutil.rmtree(host.folder)
