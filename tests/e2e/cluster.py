"""A whole pyk3s server in a network namespace of its own, with no route out, for end-to-end tests.

The node's address is 10.88.0.1 on a veth pair that lies inside the namespace. Everything the
server makes (processes, mounts, interfaces, tables) is gone after ``Cluster.remove``; leftovers
fail the session.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NODE_IP = "10.88.0.1"
KUBECTL = Path(sys.prefix) / "share" / "pyk3s" / "tools" / "kubectl"
PYK3S = Path(sys.prefix) / "bin" / "pyk3s"


IMAGE = "docker.io/pyk3s/test:1"
"""The busybox image that the fixture ``test_image`` builds."""


def short_folder() -> Path:
    """A folder with a short path: socket paths are limited to 107 bytes."""
    return Path("/tmp") / f"pk-{secrets.token_hex(3)}"


def empty_config(folder: Path) -> Path:
    """A configuration file that says nothing: what this machine has in /etc must not count."""
    path = folder / "config.yaml"
    path.touch()
    return path


class Timeout(AssertionError):
    """Something did not become true in time."""


def wait_until(what: str, probe: Callable[[], Any], *, seconds: float = 60.0, every: float = 0.1) -> Any:
    """Call ``probe`` until it gives something true; its last value is returned."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Timeout(f"{what}: not within {seconds} s")
        time.sleep(every)


@dataclass
class Cluster:
    """One server; ``folder`` holds its data, kubeconfig and log."""

    folder: Path
    namespace: str
    arguments: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def enter(self, *command: str) -> list[str]:
        """A command line that runs in the namespace (unlike ``ip netns exec`` it keeps /sys)."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def surroundings(self) -> dict[str, str]:
        """The environment of programs beside the server.

        Clusters of tests share an address, so kubectl must not share what it remembers of them; and what a program
        leaves behind when a signal ends it, such as keys in temporary files, goes with the cluster's folder.
        """
        own = {"KUBECACHEDIR": str(self.folder / "kubectl-cache"), "TMPDIR": str(self.folder / "tmp")}
        return {**os.environ, **own}

    def run(self, *command: str, check: bool = True, stdin: str = "", seconds: float = 60) -> str:
        """Run a program in the namespace; its output. A failure shows what the program said."""
        done = subprocess.run(
            self.enter(*command), input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
            env=self.surroundings(),
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "", seconds: float = 90) -> str:
        return self.run(
            str(KUBECTL), f"--kubeconfig={self.kubeconfig}", *arguments, check=check, stdin=stdin, seconds=seconds
        )

    def apply(self, *objects: Mapping[str, Any]) -> str:
        content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.kubectl("apply", "-f", "-", stdin=json.dumps(content))

    def get(self, *arguments: str) -> Any:
        """An object or list as JSON; None when it does not exist."""
        text = self.kubectl("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def command_line(self) -> list[str]:
        return self.enter(
            str(PYK3S), "server", f"--data-dir={self.data_dir}", f"--run-dir={self.folder / 'run'}",
            f"--write-kubeconfig={self.kubeconfig}", f"--node-ip={NODE_IP}", "--node-name=node-1",
            f"--bridge-name=cni{self.namespace[-5:]}", f"--pod-logs-dir={self.folder / 'pods'}",
            f"--config={empty_config(self.folder)}", *self.arguments,
        )  # fmt: skip

    def prepare(self) -> None:
        """Make the namespace and the node's address."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        for command in (
            "ip link set lo up",
            "ip link add node0 type veth peer name node1",
            f"ip address add {NODE_IP}/24 dev node0",
            "ip link set node0 up",
            "ip link set node1 up",
        ):
            self.run(*command.split())

    def start(self, *, wait: bool = True) -> float:
        """Start the server; with ``wait``, return after the node is Ready (seconds it took)."""
        begin = time.monotonic()
        # an installed package has its bytecode; a checkout must be allowed to keep its own
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command_line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**environment, **self.environment},
            )  # fmt: skip
        if wait:
            wait_until("node Ready", self.node_ready, seconds=60, every=0.02)
        return time.monotonic() - begin

    def node_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"server ended with {self.process.returncode}: {self.log_tail()}")
        if not self.kubeconfig.exists():
            return False
        path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "nodes", "-o", path, check=False).strip() == "True"

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """kill -9 of the server process alone."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM and wait."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        self.process = None

    def remove(self) -> None:
        """Take everything away again."""
        if self.process is not None:
            self.stop()
        output = self.run(
            str(PYK3S), "uninstall", "--yes", f"--data-dir={self.data_dir}", f"--run-dir={self.folder / 'run'}",
            f"--bridge-name=cni{self.namespace[-5:]}", seconds=120,
        )  # fmt: skip
        assert "nothing is left behind" in output, output
        subprocess.run(["ip", "netns", "del", self.namespace], check=True)


def new_cluster(folder: Path, *arguments: str) -> Cluster:
    """A cluster in a namespace of its own, not started yet."""
    assert os.geteuid() == 0, "end-to-end tests need root (network namespaces, containerd)"
    made = Cluster(folder, f"pyk3s-{secrets.token_hex(3)}"[:13], arguments)
    made.prepare()
    return made
