"""What this machine is and has, read from /proc, /sys and /etc. Blocking, quick, raises OSError."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Amounts in units of Kubernetes: CPUs, bytes."""

    cpus: int
    memory_bytes: int
    swap_bytes: int
    disk_bytes: int
    hugepages: Mapping[str, int]
    """Page size as Kubernetes writes it (``2Mi``) -> bytes in all."""
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


def read_machine(disk: Path) -> Machine:
    """The machine's facts; ``disk`` is a folder on the file system that holds the node's data."""
    memory = meminfo()
    place = disk
    while not place.exists():
        place = place.parent
    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=memory.get("MemTotal", 0),
        swap_bytes=memory.get("SwapTotal", 0),
        disk_bytes=shutil.disk_usage(place).total,
        hugepages=_hugepages(Path("/sys/kernel/mm/hugepages")),
        machine_id=_line("/etc/machine-id") or _line("/var/lib/dbus/machine-id"),
        system_uuid=_line("/sys/class/dmi/id/product_uuid") or _line("/etc/machine-id"),
        boot_id=_line("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_os_image(),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
    )


def meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def memory_available_bytes(cgroup_memory: Path) -> int:
    """What the eviction signal memory.available measures: total less the root's working set.

    Falls back to MemAvailable where the memory controller's root is not readable.
    """
    total = meminfo()
    try:
        inactive = _stat(cgroup_memory / "memory.stat", "total_inactive_file", "inactive_file")
        usage = int((cgroup_memory / "memory.usage_in_bytes").read_text())
    except (OSError, ValueError):
        return total.get("MemAvailable", 0)
    return total.get("MemTotal", 0) - max(usage - inactive, 0)


def _stat(path: Path, *names: str) -> int:
    values = dict(line.split() for line in path.read_text().splitlines() if len(line.split()) == 2)
    return next((int(values[name]) for name in names if name in values), 0)


def _hugepages(folder: Path) -> dict[str, int]:
    found = {}
    for entry in sorted(folder.glob("hugepages-*kB")) if folder.is_dir() else ():
        kib = int(entry.name.removeprefix("hugepages-").removesuffix("kB"))
        count = int((entry / "nr_hugepages").read_text())
        size = f"{kib // 1048576}Gi" if kib % 1048576 == 0 else f"{kib // 1024}Mi" if kib % 1024 == 0 else f"{kib}Ki"
        found[size] = count * kib * 1024
    return found


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    for line in _line("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"
