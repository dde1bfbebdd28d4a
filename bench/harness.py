"""What the benchmarks share: a throw-away cluster, process figures from /proc, a printed table."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]

from cluster import Cluster  # noqa: E402

IMAGE = "docker.io/pyk3s/bench:1"
ticks_per_second = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``aim`` is section 8 of the design, ``limit`` what this issue allows."""

    measure: str
    value: str
    reference: str
    aim: str


def print_table(title: str, rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in ("measure", "pyk3s, measured", "Kubernetes 1.36", "aim"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.measure, row.value, row.reference, row.aim)
    Console(width=110).print(table)


@contextmanager
def throw_away_cluster(*arguments: str) -> Iterator[Cluster]:
    """A prepared, not yet started cluster with the benchmark image in its images folder."""
    from minikube_py.components.kubelet.runtime.images.build import ImageSpec, build_archive, busybox_files

    folder = Path("/tmp") / f"pk-{secrets.token_hex(3)}"
    cluster = Cluster(folder, f"pyk3s-{secrets.token_hex(3)}"[:13], arguments)
    cluster.prepare()
    try:
        applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
        spec = ImageSpec(name=IMAGE, files=busybox_files(Path("/bin/busybox"), applets), cmd=("/bin/sh",))
        build_archive(cluster.data_dir / "agent" / "images" / "bench.tar", spec)
        yield cluster
    finally:
        cluster.remove()
        shutil.rmtree(folder)


def server_pid(cluster: Cluster) -> int:
    assert cluster.process is not None
    return cluster.process.pid


def containerd_pid(cluster: Cluster) -> int:
    return int((cluster.folder / "run" / "containerd" / "containerd.pid").read_text())


def resident_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / ticks_per_second


def written_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def voluntary_switches(pid: int) -> int:
    """How often the threads of a process went to sleep, all together."""
    return sum(_voluntary(task / "status") for task in Path(f"/proc/{pid}/task").iterdir())


def _voluntary(status: Path) -> int:
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
