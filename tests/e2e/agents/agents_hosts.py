"""Hosts as network namespaces on one switch (a bridge in a namespace of its own), with no route out.

The server's host is a ``Cluster`` whose namespace is wired to the switch; ``Worker`` is a host that runs
``pyk3s agent``. Each has its own data folder and its own containerd.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import NODE_IP, PYK3S, Cluster, empty_config, short_folder, wait_until

PORT = 21500
SERVER = f"https://{NODE_IP}:{PORT}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def new_namespace(prefix: str) -> str:
    name = f"{prefix}-{secrets.token_hex(3)}"
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    return name


def new_switch() -> str:
    """A namespace with a bridge; its name."""
    name = new_namespace("pk3sw")
    ip("-n", name, "link", "add", "switch", "type", "bridge")
    ip("-n", name, "link", "set", "switch", "up")
    return name


def wire(switch: str, namespace: str, address: str) -> None:
    """Give a namespace the interface node0 on the switch, with an address."""
    port = f"p{secrets.token_hex(4)}"
    ip("link", "add", "node0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", switch)
    ip("-n", switch, "link", "set", port, "master", "switch", "up")
    ip("-n", namespace, "address", "add", f"{address}/24", "dev", "node0")
    ip("-n", namespace, "link", "set", "node0", "up")


def unwire(namespace: str, *, up: bool) -> None:
    """Take a host off the network, or bring it back."""
    ip("-n", namespace, "link", "set", "node0", "up" if up else "down")


@dataclass
class Worker:
    """One host that joins; ``folder`` holds its data and its log."""

    folder: Path
    namespace: str
    name: str
    address: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    def enter(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def run(self, *command: str, check: bool = True, seconds: float = 60) -> str:
        """Run a program on this host; its output. A failure shows what the program said."""
        done = subprocess.run(
            self.enter(*command), capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    @property
    def places(self) -> list[str]:
        return [
            f"--data-dir={self.data_dir}", f"--run-dir={self.folder / 'run'}",
            f"--bridge-name=cni{self.namespace[-5:]}", f"--config={empty_config(self.folder)}",
        ]  # fmt: skip

    def command_line(self, *arguments: str, server: str = SERVER) -> list[str]:
        return [
            str(PYK3S), "agent", f"--server={server}", *self.places, f"--node-ip={self.address}",
            f"--node-name={self.name}", f"--pod-logs-dir={self.folder / 'pods'}", *arguments,
        ]  # fmt: skip

    def start(self, *arguments: str) -> None:
        """Start the agent; it is not waited for."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.enter(*self.command_line(*arguments)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=environment,
            )  # fmt: skip

    def refused(self, *arguments: str, server: str = SERVER) -> str:
        """Start an agent that cannot start; its one line."""
        done = subprocess.run(
            self.enter(*self.command_line(*arguments, server=server)), capture_output=True, text=True, timeout=120,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 1, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("pyk3s: "), done.stderr
        assert "Traceback" not in done.stderr
        return last

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """A clean end: exit code 0."""
        assert self._signal(signal.SIGTERM) == 0, self.log_tail()

    def _signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(timeout=60)

    def remove(self) -> None:
        """Take everything away again; what stays behind fails."""
        if self.process is not None:
            self.stop()
        output = self.run(str(PYK3S), "uninstall", "--yes", *self.places, seconds=120)
        assert "nothing is left behind" in output, output
        links = self.run("ip", "-brief", "link")
        routes = self.run("ip", "route")
        ip("netns", "del", self.namespace)
        assert len(links.splitlines()) == 2, links
        assert routes.split() == f"10.88.0.0/24 dev node0 proto kernel scope link src {self.address}".split(), routes


def new_worker(switch: str, name: str, address: str) -> Worker:
    """A host on the switch that has not joined yet."""
    folder = short_folder()
    folder.mkdir()
    namespace = new_namespace("pk3w")
    wire(switch, namespace, address)
    return Worker(folder, namespace, name, address)


def new_server(switch: str, arguments: Sequence[str] = ()) -> Cluster:
    """The server's host on the switch; not started."""
    folder = short_folder()
    folder.mkdir()
    namespace = new_namespace("pk3s")
    wire(switch, namespace, NODE_IP)
    return Cluster(folder, namespace, (f"--https-listen-port={PORT}", *arguments))


@dataclass(frozen=True)
class Pair:
    """A server and a worker that has joined. ``token`` is the server's own for nodes (k3s's form)."""

    switch: str
    server: Cluster
    worker: Worker
    token: str


def condition(server: Cluster, node: str, type: str = "Ready") -> str:
    """The status of a node's condition; empty for none."""
    path = f'jsonpath={{.status.conditions[?(@.type=="{type}")].status}}'
    return server.kubectl("get", "node", node, "--ignore-not-found", "-o", path, check=False).strip()


def wait_ready(server: Cluster, *nodes: str, seconds: float = 120) -> None:
    for node in nodes:
        wait_until(f"{node} Ready", lambda node=node: condition(server, node) == "True", seconds=seconds)
