"""What the kernel has counted for one cgroup, in v1 and v2 trees, and for a network namespace.

In: the node's tree (``Cgroups``) and a path in it. Out: a ``Usage`` whose values carry cAdvisor's metric names, so
that a value is named in one place alone. A file that is not there (a controller that is not mounted, an older
kernel) means that its values are missing, never zero. All functions block; call them in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.components.kubelet.pods.cgroups import Cgroups

_UNLIMITED = 1 << 62
"""v1 shows a limit that was never set as the largest multiple of a page."""
_NANO, _MICRO = 1e-9, 1e-6
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """``values``: by cAdvisor's name, in its units. ``failures``: page faults by (failure_type, scope)."""

    values: Values
    failures: Mapping[tuple[str, str], float] = field(default_factory=dict)
    disks: Mapping[str, Values] = field(default_factory=dict)
    """By device (major:minor)."""
    processes: tuple[int, ...] = ()
    """Of this cgroup itself, not of those below."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a network namespace; ``values`` by cAdvisor's name."""

    name: str
    values: Values


def usage_of(cgroups: Cgroups, path: str) -> Usage:
    """The counters of a cgroup; empty when it is gone."""
    parts = dict(_v2(cgroups, path) if cgroups.version == 2 else _v1(cgroups, path))
    stat = _numbers(cgroups, "memory", path, "memory.stat")
    disks = _disks_v2(cgroups, path) if cgroups.version == 2 else _disks_v1(cgroups, path)
    return Usage(parts, dict(_failures(stat)), disks, _processes(cgroups, path))


def children(cgroups: Cgroups, path: str) -> list[str]:
    """Names of the cgroups right below."""
    folder = cgroups.base("memory") / path.lstrip("/")
    try:
        return [item.name for item in folder.iterdir() if item.is_dir()]
    except OSError:
        return []


def interfaces_of(process: int) -> list[Interface]:
    """The interfaces that a process sees, but for the loopback one; empty when it has ended."""
    try:
        lines = Path(f"/proc/{process}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return []
    found: list[Interface] = []
    for line in lines:
        name, _, rest = line.partition(":")
        fields = [float(word) for word in rest.split()]
        if name.strip() != "lo" and len(fields) >= 12:
            found.append(Interface(name.strip(), dict(zip(_NETWORK, (fields[i] for i in _COLUMNS), strict=True))))
    return found


_NETWORK = tuple(
    f"container_network_{way}_{what}_total"
    for way in ("receive", "transmit")
    for what in ("bytes", "packets", "errors", "packets_dropped")
)
_COLUMNS = (0, 1, 2, 3, 8, 9, 10, 11)


def _v1(cgroups: Cgroups, path: str) -> Iterator[tuple[str, float]]:
    yield from _if_any("container_cpu_usage_seconds_total", _number(cgroups, "cpuacct", path, "cpuacct.usage"), _NANO)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    times = _numbers(cgroups, "cpuacct", path, "cpuacct.stat")
    yield from _if_any("container_cpu_user_seconds_total", times.get("user"), tick)
    yield from _if_any("container_cpu_system_seconds_total", times.get("system"), tick)
    throttled = _numbers(cgroups, "cpu", path, "cpu.stat")
    yield from _throttling(throttled, _number(cgroups, "cpu", path, "cpu.cfs_quota_us"), "throttled_time", _NANO)
    stat = _numbers(cgroups, "memory", path, "memory.stat")
    used = _number(cgroups, "memory", path, "memory.usage_in_bytes")
    yield from _memory(used, stat, cache="total_cache", rss="total_rss", mapped="total_mapped_file", prefix="total_")
    yield from _if_any("container_memory_swap", stat.get("total_swap"))
    for name, file in _MEMORY_V1.items():
        yield from _if_any(name, _number(cgroups, "memory", path, file))
    oom = _numbers(cgroups, "memory", path, "memory.oom_control")
    yield from _if_any("container_oom_events_total", oom.get("oom_kill"))
    yield from _tasks(cgroups, path)
    yield from _if_any("container_spec_cpu_shares", _number(cgroups, "cpu", path, "cpu.shares"))
    yield from _if_any("container_spec_cpu_period", _number(cgroups, "cpu", path, "cpu.cfs_period_us"))
    for name, file in _LIMITS_V1.items():
        limit = _number(cgroups, "memory", path, file)
        yield from _if_any(name, 0 if limit is not None and limit >= _UNLIMITED else limit)


_MEMORY_V1 = {
    "container_memory_max_usage_bytes": "memory.max_usage_in_bytes",
    "container_memory_failcnt": "memory.failcnt",
    "container_memory_kernel_usage": "memory.kmem.usage_in_bytes",
}
_LIMITS_V1 = {
    "container_spec_memory_limit_bytes": "memory.limit_in_bytes",
    "container_spec_memory_reservation_limit_bytes": "memory.soft_limit_in_bytes",
    "container_spec_memory_swap_limit_bytes": "memory.memsw.limit_in_bytes",
}


def _v2(cgroups: Cgroups, path: str) -> Iterator[tuple[str, float]]:
    times = _numbers(cgroups, "cpu", path, "cpu.stat")
    yield from _if_any("container_cpu_usage_seconds_total", times.get("usage_usec"), _MICRO)
    yield from _if_any("container_cpu_user_seconds_total", times.get("user_usec"), _MICRO)
    yield from _if_any("container_cpu_system_seconds_total", times.get("system_usec"), _MICRO)
    quota, _, period = _text(cgroups, "cpu", path, "cpu.max").partition(" ")
    yield from _throttling(times, float(quota) if quota.isdigit() else None, "throttled_usec", _MICRO)
    stat = _numbers(cgroups, "memory", path, "memory.stat")
    used = _number(cgroups, "memory", path, "memory.current")
    yield from _memory(used, stat, cache="file", rss="anon", mapped="file_mapped", prefix="")
    yield from _if_any("container_memory_swap", _number(cgroups, "memory", path, "memory.swap.current"))
    yield from _if_any("container_memory_kernel_usage", stat.get("kernel"))
    yield from _if_any("container_memory_max_usage_bytes", _number(cgroups, "memory", path, "memory.peak"))
    events = _numbers(cgroups, "memory", path, "memory.events")
    yield from _if_any("container_memory_failcnt", events.get("max"))
    yield from _if_any("container_oom_events_total", events.get("oom_kill"))
    yield from _tasks(cgroups, path)
    weight = _number(cgroups, "cpu", path, "cpu.weight")
    yield from _if_any("container_spec_cpu_shares", None if weight is None else 2 + (weight - 1) * 262142 // 9999)
    yield from _if_any("container_spec_cpu_period", float(period) if period.isdigit() else None)
    for name, file in _LIMITS_V2.items():
        text = _text(cgroups, "memory", path, file)
        yield from _if_any(name, 0 if text == "max" else _parsed(text))


_LIMITS_V2 = {
    "container_spec_memory_limit_bytes": "memory.max",
    "container_spec_memory_reservation_limit_bytes": "memory.low",
    "container_spec_memory_swap_limit_bytes": "memory.swap.max",
}


def _throttling(stat: Values, quota: float | None, time: str, unit: float) -> Iterator[tuple[str, float]]:
    """Only what has a quota can be throttled."""
    if quota is None or quota <= 0:
        return
    yield "container_spec_cpu_quota", quota
    yield from _if_any("container_cpu_cfs_periods_total", stat.get("nr_periods"))
    yield from _if_any("container_cpu_cfs_throttled_periods_total", stat.get("nr_throttled"))
    yield from _if_any("container_cpu_cfs_throttled_seconds_total", stat.get(time), unit)


def _memory(
    used: float | None, stat: Values, *, cache: str, rss: str, mapped: str, prefix: str
) -> Iterator[tuple[str, float]]:
    """The working set is what is used, without the file pages that the kernel would drop first."""
    inactive = stat.get(f"{prefix}inactive_file")
    yield from _if_any("container_memory_usage_bytes", used)
    if used is not None:
        yield "container_memory_working_set_bytes", max(used - (inactive or 0), 0)
    yield from _if_any("container_memory_cache", stat.get(cache))
    yield from _if_any("container_memory_rss", stat.get(rss))
    yield from _if_any("container_memory_mapped_file", stat.get(mapped))
    yield from _if_any("container_memory_total_inactive_file_bytes", inactive)
    yield from _if_any("container_memory_total_active_file_bytes", stat.get(f"{prefix}active_file"))


def _failures(stat: Values) -> Iterator[tuple[tuple[str, str], float]]:
    for name, label in (("pgfault", "pgfault"), ("pgmajfault", "pgmajfault")):
        if name in stat:
            yield (label, "container"), stat[name]
        below = stat.get(f"total_{name}", stat.get(name))
        if below is not None:
            yield (label, "hierarchy"), below


def _tasks(cgroups: Cgroups, path: str) -> Iterator[tuple[str, float]]:
    yield from _if_any("container_threads", _number(cgroups, "pids", path, "pids.current"))
    most = _text(cgroups, "pids", path, "pids.max")
    yield from _if_any("container_threads_max", 0 if most == "max" else _parsed(most))


def _processes(cgroups: Cgroups, path: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _text(cgroups, "pids", path, "cgroup.procs").split())


def _disks_v1(cgroups: Cgroups, path: str) -> dict[str, Values]:
    found: dict[str, dict[str, float]] = {}
    for file, names in (
        ("blkio.throttle.io_service_bytes", ("container_fs_reads_bytes_total", "container_fs_writes_bytes_total")),
        ("blkio.throttle.io_serviced", ("container_fs_reads_total", "container_fs_writes_total")),
    ):
        for line in _text(cgroups, "blkio", path, file).splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in ("Read", "Write"):
                found.setdefault(words[0], {})[names[words[1] == "Write"]] = float(words[2])
    return dict(found)


_IO_V2 = {
    "rbytes": "container_fs_reads_bytes_total",
    "wbytes": "container_fs_writes_bytes_total",
    "rios": "container_fs_reads_total",
    "wios": "container_fs_writes_total",
}


def _disks_v2(cgroups: Cgroups, path: str) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for line in _text(cgroups, "io", path, "io.stat").splitlines():
        device, *pairs = line.split()
        counted = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        found[device] = {name: float(counted[key]) for key, name in _IO_V2.items() if counted.get(key, "").isdigit()}
    return found


def _if_any(name: str, value: float | None, unit: float = 1.0) -> Iterator[tuple[str, float]]:
    if value is not None:
        yield name, value * unit


def _numbers(cgroups: Cgroups, controller: str, path: str, name: str) -> dict[str, float]:
    """A file of ``key value`` lines."""
    pairs = (line.split() for line in _text(cgroups, controller, path, name).splitlines())
    return {words[0]: float(words[1]) for words in pairs if len(words) == 2 and words[1].isdigit()}


def _number(cgroups: Cgroups, controller: str, path: str, name: str) -> float | None:
    return _parsed(_text(cgroups, controller, path, name))


def _parsed(text: str) -> float | None:
    return float(text) if text.removeprefix("-").isdigit() else None


def _text(cgroups: Cgroups, controller: str, path: str, name: str) -> str:
    try:
        return (cgroups.base(controller) / path.lstrip("/") / name).read_text().strip()
    except OSError:
        return ""
