"""``/metrics/cadvisor``: what the kernel counts for each container, pod and tier of pods, under cAdvisor's names.

In: a measurement (which pods and containers there are) and the node's cgroups. Out: the text that Prometheus reads.
Only what somebody asks for is read, and nothing is kept. A sandbox is a container without a name, as there; a pod's
own cgroup has the pod's labels. Values that a kernel does not have are left out. Blocks; call it in a thread.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from minikube_py.components.kubelet.api.exposition import head, line
from minikube_py.components.kubelet.api.measures import Measured
from minikube_py.components.kubelet.node.cgroup_stats import Interface, Usage, children, interfaces_of, usage_of
from minikube_py.components.kubelet.node.facts import Machine
from minikube_py.components.kubelet.pods.cgroups import Cgroups
from minikube_py.components.kubelet.pods.model import host_network
from minikube_py.components.kubelet.pods.resources import pod_cgroup_path
from minikube_py.components.kubelet.runtime.types import ContainerStats
from minikube_py.machinery.objects import Object, name_of, namespace_of

_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_CPU = "container_cpu_usage_seconds_total"


@dataclass(frozen=True, slots=True)
class Subject:
    """One cgroup whose counters are shown."""

    labels: Mapping[str, str]
    usage: Usage
    interfaces: tuple[Interface, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    """What does not come from the cgroup's own files."""
    layer: Mapping[str, float] = field(default_factory=dict)
    """Of the container's writable layer, which lies on ``device``."""
    device: str = ""


Sample = tuple[Mapping[str, str], float]


def cadvisor_text(seen: Measured, cgroups: Cgroups, root: str, machine: Machine) -> str:
    """The page. ``root``: the path above ``/kubepods``, "" as a rule."""
    families: dict[str, list[Sample]] = {}
    for subject in _subjects(seen, cgroups, root):
        for name, labels, value in _samples(subject):
            families.setdefault(name, []).append((labels, value))
    moment = int(seen.time * 1000)
    parts: list[str] = []
    for name in sorted(families):
        parts.append(head(name, _kind(name), _TEXTS.get(name, name)))
        parts += [line(name, labels, value, moment) for labels, value in families[name]]
    return "".join([*parts, *_machine(machine, seen)])


def _subjects(seen: Measured, cgroups: Cgroups, root: str) -> Iterator[Subject]:
    for path in ("/", *(f"{root}/kubepods{tier}" for tier in ("", "/burstable", "/besteffort"))):
        usage = usage_of(cgroups, path)
        if usage.values:
            yield Subject(_labels(path), usage, values={"container_last_seen": seen.time})
    for uid, pod in seen.pods.items():
        path = pod_cgroup_path(pod, uid, root)
        usage = usage_of(cgroups, path)
        if usage.values:
            yield Subject(_labels(path, pod), usage, values={"container_last_seen": seen.time})
        known = {item.container_id: item for item in seen.containers.get(uid, ())}
        for identifier, item in known.items():
            yield _container(seen, cgroups, f"{path}/{identifier}", pod, item)
        for name in children(cgroups, path):
            if name not in known:
                yield _sandbox(seen, cgroups, f"{path}/{name}", pod)


def _container(seen: Measured, cgroups: Cgroups, path: str, pod: Object, item: ContainerStats) -> Subject:
    """What the runtime says, and what the kernel says where the container's cgroup is the node's to read."""
    usage = usage_of(cgroups, path)
    told = {
        _CPU: item.cpu_core_nanoseconds / 1e9,
        "container_memory_usage_bytes": item.memory_usage_bytes,
        "container_memory_working_set_bytes": item.memory_working_set_bytes,
        "container_memory_rss": item.memory_rss_bytes,
    }
    values = {name: value for name, value in told.items() if name not in usage.values}
    values |= _common(seen, cgroups, path, usage)
    layer = {
        "container_fs_usage_bytes": item.writable_layer_bytes,
        "container_fs_inodes_used": item.writable_layer_inodes,
    }
    device = _device(seen.image_systems[0].mountpoint) if seen.image_systems else ""
    return Subject(_labels(path, pod, item.name, _image(pod, item.name)), usage, (), values, layer, device)


def _sandbox(seen: Measured, cgroups: Cgroups, path: str, pod: Object) -> Subject:
    """The pod's network is the sandbox's, unless it is the node's."""
    usage = usage_of(cgroups, path)
    shown = usage.processes and not host_network(pod)
    interfaces = interfaces_of(usage.processes[0]) if shown else []
    return Subject(_labels(path, pod), usage, tuple(interfaces), _common(seen, cgroups, path, usage))


def _common(seen: Measured, cgroups: Cgroups, path: str, usage: Usage) -> dict[str, float]:
    values = {"container_last_seen": seen.time}
    if usage.values:
        values |= _of_processes(usage.processes)
        started = _made(cgroups, path)
        values |= {"container_start_time_seconds": started} if started else {}
    return values


def _labels(path: str, pod: Object | None = None, container: str = "", image: str = "") -> dict[str, str]:
    """The last part of a path below a pod's is the container's identifier, which is called its name here."""
    last = path.rpartition("/")[2]
    return {
        "container": container,
        "id": path,
        "image": image,
        "name": last if pod is not None and not last.startswith("pod") else "",
        "namespace": namespace_of(pod) if pod is not None else "",
        "pod": name_of(pod) if pod is not None else "",
    }


def _image(pod: Object, container: str) -> str:
    spec = pod.get("spec") or {}
    every = (item for key in _CONTAINER_LISTS for item in spec.get(key) or ())
    return next((str(item.get("image") or "") for item in every if item.get("name") == container), "")


@lru_cache(maxsize=8)
def _device(folder: str) -> str:
    """The device of the file system that a folder is on; "" when that cannot be told."""
    best, device = "", ""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    for mounted in lines:
        source, point = mounted.split()[:2]
        if len(point) >= len(best) and f"{folder}/".startswith(f"{point.rstrip('/')}/"):
            best, device = point, source
    return device


def _made(cgroups: Cgroups, path: str) -> float:
    """When a cgroup without others below it was made."""
    try:
        return (cgroups.base("memory") / path.lstrip("/")).stat().st_mtime
    except OSError:
        return 0.0


def _of_processes(processes: tuple[int, ...]) -> dict[str, float]:
    """How many there are, and what files they have open. One that has ended meanwhile has none."""
    files = sockets = 0
    for process in processes:
        try:
            entries = list(os.scandir(f"/proc/{process}/fd"))
        except OSError:
            continue
        files += len(entries)
        sockets += sum(_target(Path(entry.path)).startswith("socket:") for entry in entries)
    return {
        "container_processes": len(processes),
        "container_file_descriptors": files,
        "container_sockets": sockets,
    }


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _samples(subject: Subject) -> Iterator[tuple[str, Mapping[str, str], float]]:
    labels = subject.labels
    for name, value in (*subject.usage.values.items(), *subject.values.items()):
        yield name, {**labels, "cpu": "total"} if name == _CPU else labels, value
    for name, value in subject.layer.items():
        yield name, {**labels, "device": subject.device}, value
    for (failure, scope), value in subject.usage.failures.items():
        yield "container_memory_failures_total", {**labels, "failure_type": failure, "scope": scope}, value
    for device, values in subject.usage.disks.items():
        for name, value in values.items():
            yield name, {**labels, "device": device}, value
    for interface in subject.interfaces:
        for name, value in interface.values.items():
            yield name, {**labels, "interface": interface.name}, value


def _kind(name: str) -> str:
    return "counter" if name.endswith(("_total", "_failcnt")) else "gauge"


def _machine(machine: Machine, seen: Measured) -> Iterator[str]:
    version = {
        "cadvisorRevision": "", "cadvisorVersion": "", "dockerVersion": "", "kernelVersion": platform.release(),
        "osVersion": machine.os_image,
    }  # fmt: skip
    yield head("cadvisor_version_info", "gauge", "A metric with a constant '1' value labeled by kernel and OS version.")
    yield line("cadvisor_version_info", version, 1, None)
    labels = {"boot_id": machine.boot_id, "machine_id": machine.machine_id, "system_uuid": machine.system_uuid}
    values = {
        "machine_cpu_cores": machine.cpus,
        "machine_memory_bytes": seen.memory_total,
        "machine_swap_bytes": machine.swap_bytes,
        **_processors(),
    }
    for name, value in values.items():
        yield head(name, "gauge", _TEXTS[name])
        yield line(name, labels, value, None)
    for name in ("container_scrape_error", "machine_scrape_error"):
        yield head(name, "gauge", _TEXTS[name])
        yield line(name, {}, 0, None)


def _processors() -> dict[str, float]:
    """Sockets and their cores, where the kernel tells of them."""
    sockets: set[str] = set()
    cores: set[tuple[str, str]] = set()
    for folder in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        try:
            socket = (folder / "physical_package_id").read_text().strip()
            cores.add((socket, (folder / "core_id").read_text().strip()))
        except OSError:
            continue
        sockets.add(socket)
    return {"machine_cpu_sockets": len(sockets), "machine_cpu_physical_cores": len(cores)} if sockets else {}


_TEXTS = {
    "container_cpu_cfs_periods_total": "Number of elapsed enforcement period intervals.",
    "container_cpu_cfs_throttled_periods_total": "Number of throttled period intervals.",
    "container_cpu_cfs_throttled_seconds_total": "Total time duration the container has been throttled.",
    "container_cpu_system_seconds_total": "Cumulative system cpu time consumed in seconds.",
    "container_cpu_usage_seconds_total": "Cumulative cpu time consumed in seconds.",
    "container_cpu_user_seconds_total": "Cumulative user cpu time consumed in seconds.",
    "container_file_descriptors": "Number of open file descriptors for the container.",
    "container_fs_inodes_used": "Number of inodes that are used by the container.",
    "container_fs_reads_bytes_total": "Cumulative count of bytes read",
    "container_fs_reads_total": "Cumulative count of reads completed",
    "container_fs_usage_bytes": "Number of bytes that are consumed by the container on this filesystem.",
    "container_fs_writes_bytes_total": "Cumulative count of bytes written",
    "container_fs_writes_total": "Cumulative count of writes completed",
    "container_last_seen": "Last time a container was seen by the exporter",
    "container_memory_cache": "Number of bytes of page cache memory.",
    "container_memory_failcnt": "Number of memory usage hits limits",
    "container_memory_failures_total": "Cumulative count of memory allocation failures.",
    "container_memory_kernel_usage": "Size of kernel memory allocated in bytes.",
    "container_memory_mapped_file": "Size of memory mapped files in bytes.",
    "container_memory_max_usage_bytes": "Maximum memory usage recorded in bytes",
    "container_memory_rss": "Size of RSS in bytes.",
    "container_memory_swap": "Container swap usage in bytes.",
    "container_memory_total_active_file_bytes": "Current total active file in bytes.",
    "container_memory_total_inactive_file_bytes": "Current total inactive file in bytes.",
    "container_memory_usage_bytes": "Current memory usage in bytes, including all memory.",
    "container_memory_working_set_bytes": "Current working set in bytes.",
    "container_network_receive_bytes_total": "Cumulative count of bytes received",
    "container_network_receive_errors_total": "Cumulative count of errors encountered while receiving",
    "container_network_receive_packets_dropped_total": "Cumulative count of packets dropped while receiving",
    "container_network_receive_packets_total": "Cumulative count of packets received",
    "container_network_transmit_bytes_total": "Cumulative count of bytes transmitted",
    "container_network_transmit_errors_total": "Cumulative count of errors encountered while transmitting",
    "container_network_transmit_packets_dropped_total": "Cumulative count of packets dropped while transmitting",
    "container_network_transmit_packets_total": "Cumulative count of packets transmitted",
    "container_oom_events_total": "Count of out of memory events observed for the container",
    "container_processes": "Number of processes running inside the container.",
    "container_scrape_error": "1 if there was an error while getting container metrics, 0 otherwise",
    "container_sockets": "Number of open sockets for the container.",
    "container_spec_cpu_period": "CPU period of the container.",
    "container_spec_cpu_quota": "CPU quota of the container.",
    "container_spec_cpu_shares": "CPU share of the container.",
    "container_spec_memory_limit_bytes": "Memory limit for the container.",
    "container_spec_memory_reservation_limit_bytes": "Memory reservation limit for the container.",
    "container_spec_memory_swap_limit_bytes": "Memory swap limit for the container.",
    "container_start_time_seconds": "Start time of the container since unix epoch in seconds.",
    "container_threads": "Number of threads running inside the container",
    "container_threads_max": "Maximum number of threads allowed inside the container, infinity if value is zero",
    "machine_cpu_cores": "Number of logical CPU cores.",
    "machine_cpu_physical_cores": "Number of physical CPU cores.",
    "machine_cpu_sockets": "Number of CPU sockets.",
    "machine_memory_bytes": "Amount of memory installed on the machine.",
    "machine_scrape_error": "1 if there was an error while getting machine metrics, 0 otherwise.",
    "machine_swap_bytes": "Amount of swap memory available on the machine.",
}
