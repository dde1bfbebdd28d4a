"""The cgroups of pods, made through files: v1, v2 and hybrid trees, driver cgroupfs.

The tree is ``/kubepods`` with ``burstable`` and ``besteffort`` below and one ``pod<uid>`` for each
pod. What the host does not offer (a controller that is not mounted, a file that is not writable) is
skipped: limits of single containers are the runtime's and always hold. Blocking; call in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.kubelet.pods.resources import PodCgroup, cpu_period_microseconds

log = logging.getLogger(__name__)

_V1_CONTROLLERS = (
    "cpu",
    "cpuacct",
    "memory",
    "cpuset",
    "pids",
    "devices",
    "freezer",
    "blkio",
    "hugetlb",
    "systemd",
    "net_cls",
    "net_prio",
    "perf_event",
)
_V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")


def detect_version(mount: Path) -> int:
    """2 for a unified tree, else 1 (hybrid trees carry their controllers in v1)."""
    return 2 if (mount / "cgroup.controllers").exists() else 1


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The node's cgroup tree. All methods block and are idempotent."""

    mount: Path
    version: int

    def bases(self) -> Sequence[Path]:
        """The folders under which a cgroup path exists: one in v2, one for each controller in v1."""
        if self.version == 2:
            return (self.mount,)
        found: dict[Path, Path] = {}
        for name in _V1_CONTROLLERS:
            base = self.mount / name
            if base.is_dir():
                found.setdefault(base.resolve(), base)
        return tuple(found.values())

    def base(self, controller: str) -> Path:
        return self.mount if self.version == 2 else self.mount / controller

    def ensure_tree(self, root: str) -> None:
        """Make ``/kubepods`` and its two tiers."""
        for path in (f"{root}/kubepods", f"{root}/kubepods/burstable", f"{root}/kubepods/besteffort"):
            self._make(path)
        self._write("cpu", f"{root}/kubepods/besteffort", *self._shares(2))

    def ensure_pod(self, group: PodCgroup) -> None:
        """Make the pod's cgroup and set its values."""
        self._make(group.path)
        self._write("cpu", group.path, *self._shares(group.cpu_shares))
        if self.version == 2:
            quota = str(group.cpu_quota) if group.cpu_quota else "max"
            self._write("cpu", group.path, "cpu.max", f"{quota} {cpu_period_microseconds}")
            self._write("memory", group.path, "memory.max", str(group.memory_bytes or "max"))
        else:
            self._write("cpu", group.path, "cpu.cfs_quota_us", str(group.cpu_quota or -1))
            if group.memory_bytes:
                self._write("memory", group.path, "memory.limit_in_bytes", str(group.memory_bytes))
        if group.pids:
            self._write("pids", group.path, "pids.max", str(group.pids))

    def remove_pod(self, path: str) -> bool:
        """Kill what is left in the pod's cgroup and remove it; False when it is still busy."""
        gone = True
        for base in self.bases():
            gone = _remove_tree(base / path.lstrip("/")) and gone
        return gone

    def pod_uids(self, root: str) -> set[str]:
        """Uids of pods that have a cgroup."""
        found: set[str] = set()
        for base in self.bases():
            for tier in ("", "burstable", "besteffort"):
                folder = base / f"{root}/kubepods/{tier}".strip("/")
                if folder.is_dir():
                    found |= {item.name[3:] for item in folder.iterdir() if item.name.startswith("pod")}
        return found

    def _shares(self, shares: int) -> tuple[str, str]:
        if self.version == 2:
            # The kubelet's conversion of cgroup v1 shares (2..262144) to v2 weights (1..10000).
            return "cpu.weight", str(1 + ((shares - 2) * 9999) // 262142)
        return "cpu.shares", str(shares)

    def _make(self, path: str) -> None:
        for base in self.bases():
            folder = base / path.lstrip("/")
            if self.version == 2:
                self._delegate(base, path)
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                log.warning("cannot make cgroup", extra={"path": str(folder), "error": str(error)})
                continue
            if self.version == 1 and base.name == "cpuset":
                self._inherit_cpuset(base, path)

    def _delegate(self, base: Path, path: str) -> None:
        """v2: controllers must be enabled in every ancestor before a child can use them."""
        current = base
        for part in Path(path.lstrip("/")).parts:
            available = (current / "cgroup.controllers").read_text().split()
            for name in _V2_CONTROLLERS:
                if name in available:
                    with contextlib.suppress(OSError):
                        (current / "cgroup.subtree_control").write_text(f"+{name}")
            current = current / part
            current.mkdir(exist_ok=True)

    def _inherit_cpuset(self, base: Path, path: str) -> None:
        """v1: a new cpuset is empty and refuses processes until it has CPUs and memory nodes."""
        current = base
        for part in Path(path.lstrip("/")).parts:
            child = current / part
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not (child / name).read_text().strip():
                    (child / name).write_text((current / name).read_text())
            current = child

    def _write(self, controller: str, path: str, name: str, value: str) -> None:
        file = self.base(controller) / path.lstrip("/") / name
        try:
            file.write_text(value)
        except OSError as error:
            log.debug("cgroup value not set", extra={"file": str(file), "value": value, "error": str(error)})


def _remove_tree(folder: Path) -> bool:
    if not folder.is_dir():
        return True
    gone = True
    for child in list(folder.iterdir()):
        if child.is_dir():
            gone = _remove_tree(child) and gone
    for text in _read(folder / "cgroup.procs").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(text), signal.SIGKILL)
    try:
        folder.rmdir()
    except OSError as error:
        return error.errno == errno.ENOENT
    return gone


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
