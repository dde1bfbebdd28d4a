"""From CRI messages (dicts of set fields) to the kubelet's records. Pure functions."""

from __future__ import annotations

from minikube_py.components.kubelet.runtime.rpc.protobuf import Message
from minikube_py.components.kubelet.runtime.types import (
    Container,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    FilesystemUsage,
    Image,
    Mount,
    NamespaceMode,
    PodIdentity,
    Propagation,
    Resources,
    RuntimeConditions,
    Sandbox,
    SandboxStatus,
)


def sandbox(message: Message) -> Sandbox:
    """PodSandbox, or the same fields of PodSandboxStatus."""
    metadata = message.get("metadata", {})
    identity = PodIdentity(
        metadata.get("name", ""), metadata.get("namespace", ""), metadata.get("uid", ""), metadata.get("attempt", 0)
    )
    return Sandbox(
        id=message["id"],
        identity=identity,
        ready=message.get("state", 0) == 0,
        created_at=message.get("created_at", 0),
        labels=message.get("labels", {}),
        annotations=message.get("annotations", {}),
        runtime_handler=message.get("runtime_handler", ""),
    )


def sandbox_status(message: Message, pid: int = 0) -> SandboxStatus:
    """PodSandboxStatus; an address is missing while the network is being set up or torn down."""
    network = message.get("network", {})
    ips = [network.get("ip", ""), *(item.get("ip", "") for item in network.get("additional_ips", ()))]
    options = message.get("linux", {}).get("namespaces", {}).get("options", {})
    return SandboxStatus(
        sandbox=sandbox(message),
        ips=tuple(ip for ip in ips if ip),
        network=NamespaceMode(options.get("network", 0)),
        pid=pid,
    )


def container(message: Message, sandbox_id: str | None = None) -> Container:
    """Container, or the same fields of ContainerStatus (which does not name the sandbox)."""
    metadata = message.get("metadata", {})
    return Container(
        id=message["id"],
        sandbox_id=message.get("pod_sandbox_id", "") if sandbox_id is None else sandbox_id,
        name=metadata.get("name", ""),
        attempt=metadata.get("attempt", 0),
        image=message.get("image", {}).get("image", ""),
        image_ref=message.get("image_ref", ""),
        state=ContainerState(message.get("state", 0)),
        created_at=message.get("created_at", 0),
        labels=message.get("labels", {}),
        annotations=message.get("annotations", {}),
    )


def container_status(message: Message, sandbox_id: str) -> ContainerStatus:
    """ContainerStatus."""
    limits = message.get("resources", {}).get("linux")
    return ContainerStatus(
        container=container(message, sandbox_id),
        started_at=message.get("started_at", 0),
        finished_at=message.get("finished_at", 0),
        exit_code=message.get("exit_code", 0),
        reason=message.get("reason", ""),
        message=message.get("message", ""),
        log_path=message.get("log_path", ""),
        mounts=tuple(_mount(item) for item in message.get("mounts", ())),
        resources=None if limits is None else _resources(limits),
    )


def image(message: Message) -> Image:
    """Image."""
    uid = message.get("uid")
    return Image(
        id=message["id"],
        repo_tags=tuple(message.get("repo_tags", ())),
        repo_digests=tuple(message.get("repo_digests", ())),
        size_bytes=message.get("size", 0),
        uid=None if uid is None else uid.get("value", 0),
        username=message.get("username", ""),
        pinned=message.get("pinned", False),
    )


def filesystem_usage(message: Message) -> FilesystemUsage:
    """FilesystemUsage."""
    return FilesystemUsage(
        mountpoint=message.get("fs_id", {}).get("mountpoint", ""),
        timestamp=message.get("timestamp", 0),
        used_bytes=_value(message, "used_bytes"),
        inodes_used=_value(message, "inodes_used"),
    )


def container_stats(message: Message) -> ContainerStats:
    """ContainerStats; CRI gives a container's labels, which carry those of its pod."""
    attributes = message.get("attributes", {})
    cpu, memory, layer = message.get("cpu", {}), message.get("memory", {}), message.get("writable_layer", {})
    return ContainerStats(
        container_id=attributes.get("id", ""),
        name=attributes.get("metadata", {}).get("name", ""),
        sandbox_labels=attributes.get("labels", {}),
        timestamp=cpu.get("timestamp", 0) or memory.get("timestamp", 0),
        cpu_core_nanoseconds=_value(cpu, "usage_core_nano_seconds"),
        memory_working_set_bytes=_value(memory, "working_set_bytes"),
        memory_usage_bytes=_value(memory, "usage_bytes"),
        memory_rss_bytes=_value(memory, "rss_bytes"),
        writable_layer_bytes=_value(layer, "used_bytes"),
        writable_layer_inodes=_value(layer, "inodes_used"),
    )


def conditions(message: Message) -> RuntimeConditions:
    """StatusResponse; a condition that is not given counts as false."""
    found = {item["type"]: item for item in message.get("status", {}).get("conditions", ())}
    runtime, network = found.get("RuntimeReady", {}), found.get("NetworkReady", {})
    problems = [item.get("message", "") for item in (runtime, network) if not item.get("status", False)]
    return RuntimeConditions(
        runtime_ready=runtime.get("status", False),
        network_ready=network.get("status", False),
        message="; ".join(text for text in problems if text),
        handlers=tuple(item.get("name", "") for item in message.get("runtime_handlers", ())),
    )


def _value(message: Message, name: str) -> int:
    found: int = message.get(name, {}).get("value", 0)
    return found


def _mount(message: Message) -> Mount:
    return Mount(
        container_path=message.get("container_path", ""),
        host_path=message.get("host_path", ""),
        readonly=message.get("readonly", False),
        selinux_relabel=message.get("selinux_relabel", False),
        propagation=Propagation(message.get("propagation", 0)),
    )


def _resources(message: Message) -> Resources:
    return Resources(
        cpu_period=message.get("cpu_period", 0),
        cpu_quota=message.get("cpu_quota", 0),
        cpu_shares=message.get("cpu_shares", 0),
        memory_limit_bytes=message.get("memory_limit_in_bytes", 0),
        oom_score_adj=message.get("oom_score_adj", 0),
        cpuset_cpus=message.get("cpuset_cpus", ""),
        cpuset_mems=message.get("cpuset_mems", ""),
        hugepage_limits={item["page_size"]: item.get("limit", 0) for item in message.get("hugepage_limits", ())},
        unified=message.get("unified", {}),
    )
