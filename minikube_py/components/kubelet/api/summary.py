"""The body of ``/stats/summary`` (the kubelet's stats API v1alpha1) from a measurement. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.kubelet.api.measures import Disk, Measured
from minikube_py.components.kubelet.runtime.types import ContainerStats
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.times import rfc3339


def summary(seen: Measured, node_name: str) -> Object:
    time = rfc3339(seen.time)
    filesystem = _filesystem(seen.disk, time, seen.disk.total - seen.disk.free)
    images = sum(item.used_bytes for item in seen.image_systems)
    node: Object = {
        "nodeName": node_name,
        "startTime": rfc3339(seen.boot_time),
        "cpu": _cpu(time, seen.cpu_nanoseconds, seen.rates.get("")),
        "memory": {
            "time": time,
            "availableBytes": seen.memory_available,
            "usageBytes": seen.memory_total - seen.memory_available,
            "workingSetBytes": seen.memory_total - seen.memory_available,
            "rssBytes": seen.memory_rss,
        },
        "fs": filesystem,
        "runtime": {"imageFs": _filesystem(seen.disk, time, images)},
    }
    pods = [_pod(pod, seen.containers.get(uid, ()), seen) for uid, pod in seen.pods.items() if seen.containers.get(uid)]
    return {"node": node, "pods": pods}


def _cpu(time: str, total: int, rate: int | None) -> Object:
    found: Object = {"time": time, "usageCoreNanoSeconds": total}
    if rate is not None:
        found["usageNanoCores"] = rate
    return found


def _filesystem(disk: Disk, time: str, used: int) -> Object:
    return {
        "time": time,
        "availableBytes": disk.free,
        "capacityBytes": disk.total,
        "usedBytes": used,
        "inodesFree": disk.inodes_free,
        "inodes": disk.inodes,
        "inodesUsed": disk.inodes - disk.inodes_free,
    }


def _pod(pod: Object, containers: Sequence[ContainerStats], seen: Measured) -> Object:
    time = rfc3339(seen.time)
    rates = [seen.rates[item.container_id] for item in containers if item.container_id in seen.rates]
    reference = {"name": name_of(pod), "namespace": namespace_of(pod), "uid": pod["metadata"].get("uid", "")}
    started = (pod.get("status") or {}).get("startTime")
    found: Object = {
        "podRef": reference,
        "containers": [_container(item, seen) for item in containers],
        "cpu": _cpu(time, sum(item.cpu_core_nanoseconds for item in containers), sum(rates) if rates else None),
        "memory": {
            "time": time,
            "usageBytes": sum(item.memory_usage_bytes for item in containers),
            "workingSetBytes": sum(item.memory_working_set_bytes for item in containers),
            "rssBytes": sum(item.memory_rss_bytes for item in containers),
        },
        "ephemeral-storage": {"time": time, "usedBytes": sum(item.writable_layer_bytes for item in containers)},
    }
    if started:
        found["startTime"] = started
    return found


def _container(item: ContainerStats, seen: Measured) -> Object:
    time = rfc3339(item.timestamp / 1e9) if item.timestamp else rfc3339(seen.time)
    return {
        "name": item.name,
        "cpu": _cpu(time, item.cpu_core_nanoseconds, seen.rates.get(item.container_id)),
        "memory": {
            "time": time,
            "usageBytes": item.memory_usage_bytes,
            "workingSetBytes": item.memory_working_set_bytes,
            "rssBytes": item.memory_rss_bytes,
        },
        "rootfs": {"time": time, "usedBytes": item.writable_layer_bytes, "inodesUsed": item.writable_layer_inodes},
    }
