"""The Node object: what a new one looks like and what its status should say now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minikube_py.components.kubelet.node.facts import Machine
from minikube_py.components.kubelet.runtime.types import Image, RuntimeConditions, RuntimeVersion
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.times import rfc3339

most_images = 50
most_image_names = 5


@dataclass(frozen=True, slots=True)
class Pressure:
    """Which resources run short."""

    memory: bool = False
    disk: bool = False
    pid: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What the status is made from."""

    machine: Machine
    runtime: RuntimeVersion
    conditions: RuntimeConditions
    images: Sequence[Image]
    pressure: Pressure
    port: int
    """The port that the node API is served on; 0 when it is not."""


def capacity(machine: Machine, max_pods: int) -> dict[str, str]:
    found = {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(max_pods),
    }
    found |= {f"hugepages-{size}": _bytes(total) for size, total in machine.hugepages.items()}
    return dict(sorted(found.items()))


def _bytes(amount: int) -> str:
    return f"{amount // 1048576}Mi" if amount and amount % 1048576 == 0 else str(amount)


def allocatable(machine: Machine, settings: KubeletSettings) -> dict[str, str]:
    """Capacity less what is reserved and less the hard eviction thresholds."""
    found = capacity(machine, settings.max_pods)
    if settings.reserved_cpu_milli:
        found["cpu"] = f"{machine.cpus * 1000 - settings.reserved_cpu_milli}m"
    held = settings.reserved_memory_bytes + settings.eviction_memory_available_bytes + sum(machine.hugepages.values())
    found["memory"] = f"{max(machine.memory_bytes - held, 0) // 1024}Ki"
    found["ephemeral-storage"] = str(machine.disk_bytes * (100 - settings.eviction_nodefs_available_percent) // 100)
    return found


def new_node(settings: KubeletSettings, machine: Machine) -> Object:
    """The object that a node registers itself with, without status."""
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": settings.node_name,
            "labels": node_labels(settings, machine),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
    }
    if settings.provider_id:
        node["spec"]["providerID"] = settings.provider_id
    if settings.node_taints:
        node["spec"]["taints"] = [parse_taint(text) for text in settings.node_taints]
    return node


def node_labels(settings: KubeletSettings, machine: Machine) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
        **settings.node_labels,
    }


def parse_taint(text: str) -> Object:
    """``key=value:Effect`` or ``key:Effect``. Raises ValueError."""
    rest, colon, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    if not colon or not key or not effect:
        raise ValueError(f"invalid taint {text!r}: it must be key=value:Effect")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}


def node_status(previous: Mapping[str, object], settings: KubeletSettings, seen: Observed, now: float) -> Object:
    """The whole status as it should be now; heartbeat times are ``now``."""
    machine = seen.machine
    status: Object = thaw(dict(previous))
    status["addresses"] = [
        {"type": "InternalIP", "address": settings.node_ip},
        {"type": "Hostname", "address": settings.node_name},
    ]
    known_capacity = {key: value for key, value in (status.get("capacity") or {}).items() if "/" in key}
    known_allocatable = {key: value for key, value in (status.get("allocatable") or {}).items() if "/" in key}
    # Names with a slash are extended resources, set by device plugins or by hand: not ours to drop.
    status["capacity"] = {**capacity(machine, settings.max_pods), **known_capacity}
    status["allocatable"] = {**allocatable(machine, settings), **known_allocatable}
    status["nodeInfo"] = {
        "architecture": machine.architecture,
        "bootID": machine.boot_id,
        "containerRuntimeVersion": f"{seen.runtime.name}://{seen.runtime.version}",
        "kernelVersion": machine.kernel,
        "kubeProxyVersion": "",
        "kubeletVersion": settings.version,
        "machineID": machine.machine_id,
        "operatingSystem": "linux",
        "osImage": machine.os_image,
        "systemUUID": machine.system_uuid,
    }
    if machine.swap_bytes:
        status["nodeInfo"]["swap"] = {"capacity": machine.swap_bytes}
    if seen.port:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": seen.port}}
    status["images"] = [_image(item) for item in sorted(seen.images, key=lambda item: -item.size_bytes)[:most_images]]
    handlers = [{"name": name} if name else {"name": ""} for name in seen.conditions.handlers]
    if handlers:
        status["runtimeHandlers"] = handlers
    status["conditions"] = _conditions(status.get("conditions") or [], seen, now)
    return status


def _image(image: Image) -> Object:
    names = [*image.repo_digests, *image.repo_tags][:most_image_names]
    return {"names": names, "sizeBytes": image.size_bytes}


def _conditions(known: Sequence[Object], seen: Observed, now: float) -> list[Object]:
    pressure = seen.pressure
    wanted = [
        _pressure(
            "MemoryPressure",
            pressure.memory,
            "KubeletHasInsufficientMemory",
            "KubeletHasSufficientMemory",
            "kubelet has insufficient memory available",
            "kubelet has sufficient memory available",
        ),
        _pressure(
            "DiskPressure",
            pressure.disk,
            "KubeletHasDiskPressure",
            "KubeletHasNoDiskPressure",
            "kubelet has disk pressure",
            "kubelet has no disk pressure",
        ),
        _pressure(
            "PIDPressure",
            pressure.pid,
            "KubeletHasInsufficientPID",
            "KubeletHasSufficientPID",
            "kubelet has insufficient PID available",
            "kubelet has sufficient PID available",
        ),
        _ready(seen.conditions),
    ]
    own = {item["type"] for item in wanted}
    for item in wanted:
        before = find_condition(list(known), item["type"])
        same = before is not None and before.get("status") == item["status"]
        item["lastHeartbeatTime"] = rfc3339(now)
        item["lastTransitionTime"] = before["lastTransitionTime"] if before and same else rfc3339(now)
    return [*(thaw(dict(item)) for item in known if item.get("type") not in own), *wanted]


def _pressure(type: str, bad: bool, bad_reason: str, good_reason: str, bad_text: str, good_text: str) -> Object:
    return {
        "type": type,
        "status": "True" if bad else "False",
        "reason": bad_reason if bad else good_reason,
        "message": bad_text if bad else good_text,
    }


def _ready(conditions: RuntimeConditions) -> Object:
    if conditions.runtime_ready and conditions.network_ready:
        return {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
        }
    if not conditions.runtime_ready:
        text = f"container runtime is down, or not ready: {conditions.message}".removesuffix(": ")
    else:
        text = (
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            f"message:{conditions.message or 'Network plugin returns error: cni plugin not initialized'}"
        )
    return {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": text}


def differs(old: Mapping[str, object], new: Mapping[str, object]) -> bool:
    """Whether two statuses say different things; heartbeat times do not count."""
    return _without_heartbeats(old) != _without_heartbeats(new)


def _without_heartbeats(status: Mapping[str, object]) -> Object:
    plain = dict(status)
    conditions = plain.get("conditions")
    plain["conditions"] = {
        str(item["type"]): {key: value for key, value in item.items() if key != "lastHeartbeatTime"}
        for item in (conditions if isinstance(conditions, list) else ())
    }
    return plain
