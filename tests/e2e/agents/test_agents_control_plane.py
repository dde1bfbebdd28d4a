"""A server without a node of its own, and a worker: all pods are on another host than the API. Routes, no tunnel."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agents_hosts import Pair, ip, new_server, new_switch, new_worker, wait_ready
from cluster import IMAGE, PYK3S, wait_until


@pytest.fixture
def apart(test_image: Path) -> Iterator[Pair]:
    with ExitStack() as leaving:
        switch = new_switch()
        leaving.callback(ip, "netns", "del", switch)
        server = new_server(switch, ("--disable-agent", "--flannel-backend=host-gw", "--agent-token=joins-agents-only"))
        worker = new_worker(switch, "node-2", "10.88.0.2")
        for host in (server, worker):
            leaving.callback(shutil.rmtree, host.folder)
            leaving.callback(host.remove)
        images = worker.data_dir / "agent" / "images"
        images.mkdir(parents=True)
        shutil.copy(test_image, images / "test.tar")
        server.start(wait=False)
        wait_until("the API", lambda: server.kubeconfig.exists(), seconds=60)
        made = [str(PYK3S), "token", "create", f"--kubeconfig={server.kubeconfig}"]
        wait_until("the tokens", lambda: server.run(*made, check=False).startswith("K10"), seconds=60)
        token = server.run(*made).strip()
        leaving.callback(lambda: print(worker.log_tail()))
        yield Pair(switch, server, worker, token)


def test_control_plane_alone_gets_a_worker(apart: Pair) -> None:
    assert apart.server.get("service", "kube-dns", "-n", "kube-system") is None
    secret = apart.worker.folder / "token"
    secret.write_text(apart.token)
    apart.worker.start(f"--token-file={secret}")
    wait_ready(apart.server, "node-2")
    look = "until nslookup kubernetes.default.svc.cluster.local; do sleep 0.2; done; ip link show eth0; sleep 100000"
    run = ("run", "looks", f"--image={IMAGE}", "--image-pull-policy=Never", "--restart=Never", "--", "sh", "-c", look)
    apart.server.kubectl(*run)
    apart.server.kubectl("wait", "--for=condition=Ready", "pod/looks", "--timeout=120s", seconds=150)
    wait_until("a look-up", lambda: "mtu 1500" in apart.server.kubectl("logs", "looks", check=False), seconds=90)
    assert "Address: 10.43.0.1" in apart.server.kubectl("logs", "looks")
    service = apart.server.get("service", "kube-dns", "-n", "kube-system")
    assert service["spec"]["clusterIP"] == "10.43.0.10"
    assert "pyk3s-vxlan" not in apart.worker.run("ip", "-brief", "link")
    assert apart.server.kubectl("exec", "looks", "--", "hostname") == "looks\n"
    apart.server.kubectl("delete", "pod", "looks", "--grace-period=0", "--force")
    words = Path(f"/proc/{apart.worker.process.pid}/cmdline").read_bytes() if apart.worker.process else b""
    assert b"token-file" in words and apart.token.encode() not in words
