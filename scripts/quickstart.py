"""The second half of scripts/quickstart: start the server, deploy the demo, show it; or remove it all.

Runs inside the virtual environment that scripts/quickstart made. Every step is idempotent.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

UNIT = Path("/etc/systemd/system/pyk3s.service")
LINK = Path("/usr/local/bin/pyk3s")
PID_FILE = Path("/run/pyk3s/pyk3s.pid")
LOG_FILE = Path("/var/log/pyk3s.log")
MANIFEST = Path(__file__).parent / "demo.yaml"
IMAGE = "docker.io/pyk3s/demo:1"
ready_within_seconds = 60.0
demo_within_seconds = 120.0

console = Console()


class StepFailed(Exception):
    """A step did not work; the text says why and where to look."""


def run(*command: str, check: bool = True, stdin: str = "") -> str:
    """Run a program and return what it prints. Raises StepFailed with its last words."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise StepFailed(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def wait_for(what: str, within_seconds: float, probe: Callable[[], str | None]) -> str:
    """Call ``probe`` until it gives text; StepFailed at the time limit."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.1)
    raise StepFailed(f"{what} did not happen within {within_seconds:.0f} s; see {LOG_FILE} or journalctl -u pyk3s")


def systemd_runs() -> bool:
    """Whether to use systemd: this machine was booted with it (sd_booted's test) and nobody said no."""
    return Path("/run/systemd/system").is_dir() and "PYK3S_NO_SYSTEMD" not in os.environ


def alive() -> int:
    """The pid of the server that we started in the background, or 0.

    In the moment of its start a program has no command line yet, as an ended one has none any more.
    """
    try:
        pid = int(PID_FILE.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return 0
    ours = words == [b""] or (b"server" in words and any(word.endswith(b"pyk3s") for word in words))
    return pid if ours and state != "Z" else 0


def start(program: Path) -> None:
    """Start the server: a systemd unit where systemd runs, else a background process."""
    if systemd_runs():
        UNIT.write_text(
            "[Unit]\nDescription=pyk3s, lightweight Kubernetes\nWants=network-online.target\n"
            "After=network-online.target\n\n[Service]\nType=exec\n"
            f"ExecStart={program} server\nKillMode=process\nDelegate=yes\nRestart=always\nRestartSec=2s\n"
            "LimitNOFILE=1048576\nTasksMax=infinity\nTimeoutStartSec=0\n\n[Install]\nWantedBy=multi-user.target\n"
        )
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--now", "pyk3s.service")
        return
    if alive():
        return
    PID_FILE.parent.mkdir(parents=True, exist_ok=True)
    with LOG_FILE.open("ab") as log:
        process = subprocess.Popen(
            [str(program), "server"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    PID_FILE.write_text(f"{process.pid}\n")


def last_log_line() -> str:
    try:
        lines = LOG_FILE.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def node_ready(program: Path) -> str | None:
    """The node's name once it is Ready. Raises StepFailed when the server has ended."""
    if not systemd_runs() and not alive():
        raise StepFailed(f"the server ended: {last_log_line()}")
    jsonpath = '{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    lines = run(str(program), "kubectl", "get", "nodes", "-o", f"jsonpath={jsonpath}", check=False).splitlines()
    return next((line.split()[0] for line in lines if line.endswith(" True")), None)


def build_and_import(program: Path, home: Path) -> None:
    """Make the demo image from Debian's busybox-static and import it; no registry is involved."""
    from minikube_py.components.kubelet.runtime.images.build import ImageSpec, build_archive, busybox_files

    archive = home / "demo-image.tar"
    files = busybox_files(Path("/bin/busybox"), run("/bin/busybox", "--list").split())
    build_archive(archive, ImageSpec(name=IMAGE, files=files, cmd=("/bin/sh",)))
    run(str(program), "images", "import", str(archive))
    archive.unlink()


def fetch_page(program: Path) -> str | None:
    """The demo's page, fetched through the Service's cluster IP from this host."""
    address = run(str(program), "kubectl", "get", "service", "demo", "-o", "jsonpath={.spec.clusterIP}", check=False)
    if not address:
        return None
    page = run("timeout", "5", "busybox", "wget", "-q", "-O", "-", f"http://{address}/", check=False)
    return page or None


def up(home: Path) -> None:
    program = home / "bin" / "pyk3s"
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:

        def step(text: str, action: Callable[[], object]) -> object:
            task = progress.add_task(text, total=1)
            result = action()
            progress.update(task, completed=1)
            return result

        step("link pyk3s into /usr/local/bin", lambda: link(program))
        step("start pyk3s server", lambda: start(program))
        node = step(
            "wait until the node is Ready",
            lambda: wait_for("a Ready node", ready_within_seconds, lambda: node_ready(program)),
        )
        step("build and import the demo image", lambda: build_and_import(program, home))
        step("apply Deployment, Service and Job", lambda: run(str(program), "kubectl", "apply", "-f", str(MANIFEST)))
        step(
            "wait for the Deployment",
            lambda: run(
                str(program), "kubectl", "rollout", "status", "deployment/demo", f"--timeout={demo_within_seconds:.0f}s"
            ),
        )
        step(
            "wait for the Job",
            lambda: run(
                str(program),
                "kubectl",
                "wait",
                "--for=condition=complete",
                "job/demo",
                f"--timeout={demo_within_seconds:.0f}s",
            ),
        )
        page = step(
            "fetch the page through the Service",
            lambda: wait_for("the page", demo_within_seconds, lambda: fetch_page(program)),
        )
    report(program, str(node), str(page))


def link(program: Path) -> None:
    if LINK.is_symlink() or not LINK.exists():
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(program)


def report(program: Path, node: str, page: str) -> None:
    console.print(f"\nNode [bold]{node}[/bold] is Ready. The Service answered: [bold]{page.strip()}[/bold]\n")
    print(run(str(program), "kubectl", "get", "pods,services,jobs"))
    console.print(
        "\nTry next:\n"
        "  pyk3s kubectl get pods -A\n"
        "  pyk3s kubectl exec -it deploy/demo -- sh\n"
        "  pyk3s kubectl scale deployment demo --replicas=4\n"
        "  pyk3s kubectl logs job/demo\n"
        "  export KUBECONFIG=/etc/pyk3s/pyk3s.yaml     (for your own kubectl or helm)\n"
        "  scripts/quickstart --down                   (removes everything)\n",
        highlight=False,
    )


def stop_server() -> None:
    """End the server and wait for it."""
    if UNIT.exists():
        run("systemctl", "disable", "--now", "pyk3s.service", check=False)
        UNIT.unlink(missing_ok=True)
        run("systemctl", "daemon-reload", check=False)
    pid = alive()
    if pid:
        os.kill(pid, signal.SIGTERM)
        wait_for("the end of the server", 30, lambda: None if alive() else "ended")


def down(home: Path) -> None:
    """Stop and remove everything that quickstart made; Debian's packages stay."""
    program = home / "bin" / "pyk3s"
    with console.status("stopping the server"):
        stop_server()
    with console.status("removing pods, network and data"):
        console.print(run(str(program), "uninstall", "--yes"), highlight=False)
    for path in (PID_FILE, LOG_FILE):
        path.unlink(missing_ok=True)
    if LINK.is_symlink():
        LINK.unlink()
    for folder in (PID_FILE.parent, Path("/etc/pyk3s")):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    shutil.rmtree(home)
    console.print("pyk3s is gone; Debian's packages (containerd, nftables, ...) were left installed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--down", action="store_true")
    options = parser.parse_args()
    try:
        down(options.home) if options.down else up(options.home)
    except StepFailed as error:
        console.print(f"[red]failed:[/red] {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
