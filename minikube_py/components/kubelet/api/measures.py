"""Measures the node and its containers on request: nothing is sampled in the background.

Rates (usageNanoCores) are the difference to the previous request's sample, if that is recent.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.node.facts import Machine, meminfo, memory_available_bytes
from minikube_py.components.kubelet.pods.model import POD_UID_LABEL
from minikube_py.components.kubelet.pods.pods import Pods
from minikube_py.components.kubelet.runtime.types import ContainerStats, FilesystemUsage
from minikube_py.machinery.objects import Object

oldest_sample_seconds = 600.0


@dataclass(frozen=True, slots=True)
class Disk:
    total: int
    free: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement. Times are Unix seconds, CPU is nanoseconds in all."""

    time: float
    cpu_nanoseconds: int
    memory_available: int
    memory_total: int
    memory_rss: int
    swap_used: int
    disk: Disk
    image_systems: Sequence[FilesystemUsage]
    containers: Mapping[str, Sequence[ContainerStats]]
    """By pod uid."""
    pods: Mapping[str, Object]
    """Pod objects by uid."""
    rates: Mapping[str, int]
    """Nanocores by container id; the node's under the empty string."""
    boot_time: float


class Measures:
    """Takes measurements; keeps the last one for rates."""

    def __init__(self, kit: Kit, pods: Pods, machine: Machine) -> None:
        self._kit = kit
        self.pods = pods
        self.machine = machine
        self._last: dict[str, tuple[float, int]] = {}

    async def take(self) -> Measured:
        """Measure now. Raises RuntimeFailure or OSError."""
        stats = await self._kit.runtime.container_stats()
        systems = await self._kit.runtime.image_filesystem()
        cpu, memory, available, disk, boot = await asyncio.to_thread(self._read)
        now = self._kit.clock.now()
        by_pod: dict[str, list[ContainerStats]] = {}
        for item in stats:
            by_pod.setdefault(item.sandbox_labels.get(POD_UID_LABEL, ""), []).append(item)
        samples = {"": (now, cpu)}
        samples |= {item.container_id: (item.timestamp / 1e9 or now, item.cpu_core_nanoseconds) for item in stats}
        rates = self._rates(samples)
        return Measured(
            time=now,
            cpu_nanoseconds=cpu,
            memory_available=available,
            memory_total=memory.get("MemTotal", 0),
            memory_rss=memory.get("AnonPages", 0),
            swap_used=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
            disk=disk,
            image_systems=systems,
            containers=by_pod,
            pods={worker.uid: worker.pod for worker in self.pods.workers},
            rates=rates,
            boot_time=boot,
        )

    def _rates(self, samples: Mapping[str, tuple[float, int]]) -> dict[str, int]:
        rates = {}
        for key, (moment, total) in samples.items():
            before = self._last.get(key)
            if before is not None and 0 < moment - before[0] < oldest_sample_seconds:
                rates[key] = max(int((total - before[1]) / (moment - before[0])), 0)
        self._last = dict(samples)
        return rates

    def _read(self) -> tuple[int, dict[str, int], int, Disk, float]:
        root = self._kit.settings.root_dir
        usage, inodes = shutil.disk_usage(root), os.statvfs(root)
        return (
            _cpu_nanoseconds(),
            meminfo(),
            memory_available_bytes(self._kit.cgroups.base("memory")),
            Disk(usage.total, usage.free, inodes.f_files, inodes.f_ffree),
            _boot_time(),
        )


def _cpu_nanoseconds() -> int:
    """Time that all CPUs have spent on anything but idling."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    busy = sum(fields[:3]) + sum(fields[5:8])
    return busy * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
