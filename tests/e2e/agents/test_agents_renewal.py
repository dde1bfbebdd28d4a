"""Certificates that live for a minute and a half, on two hosts, by the wall clock: all are renewed while they run."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from agents_hosts import PORT, Pair, condition, ip, new_server, new_switch, new_worker, wait_ready
from cluster import IMAGE, KUBECTL, PYK3S, wait_until

LIFE = "90s"
ETCD_PORT = 21502
RENEWALS = 2
HEALTH = ("get", "--raw", "/api/v1/nodes/node-2/proxy/healthz")


@pytest.fixture
def short_lived(test_image: Path) -> Iterator[Pair]:
    with ExitStack() as leaving:
        switch = new_switch()
        leaving.callback(ip, "netns", "del", switch)
        lives = (f"--certificate-duration={LIFE}", f"--cluster-signing-duration={LIFE}")
        server = new_server(switch, (*lives, f"--etcd-listen=127.0.0.1:{ETCD_PORT}"))
        worker = new_worker(switch, "node-2", "10.88.0.2")
        for host in (server, worker):
            leaving.callback(shutil.rmtree, host.folder)
            leaving.callback(host.remove)
        images = worker.data_dir / "agent" / "images"
        images.mkdir(parents=True)
        shutil.copy(test_image, images / "test.tar")
        server.start()
        leaving.callback(lambda: print(worker.log_tail(), server.log_tail()))
        worker.start(f"--token={(server.data_dir / 'server' / 'node-token').read_text().strip()}")
        wait_ready(server, "node-1", "node-2")
        wait_until("the node API of node-2", lambda: server.kubectl(*HEALTH, check=False) == "ok", seconds=120)
        yield Pair(switch, server, worker, "")


def serial(pem: str) -> str:
    """Of the first certificate in a text; empty where there is none."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def serials(pair: Pair) -> dict[str, str]:
    """What new connections are shown, and what is shown to others, by name."""
    ports = {"API": f"10.88.0.1:{PORT}", "etcd face": f"127.0.0.1:{ETCD_PORT}"}
    ports |= {"node API of node-1": "10.88.0.1:10250", "node API of node-2": "10.88.0.2:10250"}
    shown = {
        name: serial(pair.server.run("openssl", "s_client", "-connect", address, check=False))
        for name, address in ports.items()
    }
    kubeconfig = yaml.safe_load(pair.server.kubeconfig.read_text())
    admin = base64.b64decode(kubeconfig["users"][0]["user"]["client-certificate-data"]).decode()
    tls = pair.server.data_dir / "server" / "tls"
    return {
        **shown,
        "client of node-2": serial((pair.worker.data_dir / "agent" / "client-kubelet.crt").read_text()),
        "kubeconfig": serial(admin),
        "API as a client of kubelets": serial((tls / "client-kube-apiserver.crt").read_text()),
    }


@pytest.mark.timeout(1500)
def test_everything_is_renewed_while_it_runs(short_lived: Pair) -> None:
    server, worker = short_lived.server, short_lived.worker
    count = "i=0; while :; do i=$((i+1)); echo $i; sleep 1; done"
    placed = '{"spec": {"nodeName": "node-2"}}'
    server.kubectl(
        "run", "counts", f"--image={IMAGE}", "--image-pull-policy=Never", f"--overrides={placed}", "--",
        "sh", "-c", count,
    )  # fmt: skip
    server.kubectl("wait", "--for=condition=Ready", "pod/counts", "--timeout=120s", seconds=150)
    follows = server.enter(str(KUBECTL), f"--kubeconfig={server.kubeconfig}", "logs", "-f", "counts")
    with subprocess.Popen(follows, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as stream:
        try:
            seen: dict[str, set[str]] = {}

            def renewed() -> bool:
                for name, found in serials(short_lived).items():
                    seen.setdefault(name, set()).update([found] if found else [])
                # what is new is good: by the newest kubeconfig, through the API, to the worker's node API
                wait_until("the node API by way of the API", lambda: server.kubectl(*HEALTH, check=False) == "ok")
                return all(len(found) > RENEWALS for found in seen.values())

            wait_until(f"{RENEWALS} renewals of everything", renewed, seconds=1000, every=2)
            assert stream.poll() is None, "a stream goes on, whatever happens to certificates"
        finally:
            stream.terminate()
        lines = [int(line) for line in stream.communicate()[0].split()]
    assert lines == list(range(1, len(lines) + 1)), "no line of the log is missing"
    assert server.kubectl("exec", "counts", "--", "hostname") == "counts\n"
    assert [condition(server, node) for node in ("node-1", "node-2")] == ["True", "True"]
    for process in (server.process, worker.process):
        assert process is not None and process.poll() is None
    checked = server.run(str(PYK3S), "certificate", "check", f"--data-dir={server.data_dir}", "-o", "text")
    assert "EXPIRED" not in checked
    # each request of the worker was decided, and none was asked for without need
    requests = server.get("csr")["items"]
    assert all((request.get("status") or {}).get("certificate") for request in requests)
