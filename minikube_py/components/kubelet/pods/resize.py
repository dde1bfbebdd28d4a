"""In-place resize: brings the limits of running containers to what the pod's spec says by now.

What a container runs with (its *applied* resources) starts as the spec it was made from and is kept
in the API status across restarts of the kubelet. A resource whose resizePolicy asks for it restarts
the container; the others are changed in the cgroups while it runs, pod first when growing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.kill import kill_container
from minikube_py.components.kubelet.pods.model import Role, containers, grace_seconds, is_sidecar
from minikube_py.components.kubelet.pods.resources import PodCgroup, container_resources, pod_cgroup
from minikube_py.components.kubelet.pods.state import PodState, container_name
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus
from minikube_py.machinery.objects import Object, uid_of


class Applied:
    """The resources that each container runs with, by container id; written by the pod's worker."""

    __slots__ = ("_by_id",)

    def __init__(self, previous: Object) -> None:
        self._by_id: dict[str, Object] = {}
        for role in Role:
            for item in previous.get(role.statuses) or ():
                known = str(item.get("containerID") or "").partition("://")[2]
                if known and "resources" in item:
                    self._by_id[known] = _plain(item["resources"])

    def follow(self, pod: Object, state: PodState) -> None:
        """Take in containers that were made since the last look, with the spec they were made from."""
        present = set()
        for role in Role:
            for item in containers(pod, role):
                status = state.newest(item["name"])
                if status is not None:
                    present.add(status.container.id)
                    self._by_id.setdefault(status.container.id, _plain(item.get("resources") or {}))
        for gone in self._by_id.keys() - present:
            del self._by_id[gone]

    def of(self, container_id: str) -> Object:
        return self._by_id.get(container_id, {})

    def view(self) -> Mapping[str, Object]:
        return dict(self._by_id)

    def set(self, container_id: str, resources: Object) -> None:
        self._by_id[container_id] = _plain(resources)


def _plain(resources: Mapping[str, object]) -> Object:
    return {key: resources[key] for key in ("limits", "requests") if resources.get(key)}


def pending_resizes(pod: Object, state: PodState, applied: Applied) -> list[tuple[Object, ContainerStatus]]:
    """Running containers whose spec differs from what they run with. Pure."""
    found = []
    for role in (Role.INIT, Role.REGULAR):
        for item in containers(pod, role):
            if role is Role.INIT and not is_sidecar(role, item):
                continue
            status = state.newest(item["name"])
            if status is None or status.container.state is not ContainerState.RUNNING:
                continue
            if applied.of(status.container.id) != _plain(item.get("resources") or {}):
                found.append((item, status))
    return found


def needs_restart(container: Object, before: Object) -> bool:
    """Whether a changed resource has a resizePolicy of RestartContainer. Pure."""
    now = container.get("resources") or {}
    for rule in container.get("resizePolicy") or ():
        name = rule.get("resourceName")
        changed = any(
            (now.get(key) or {}).get(name) != (before.get(key) or {}).get(name) for key in ("limits", "requests")
        )
        if changed and rule.get("restartPolicy") == "RestartContainer":
            return True
    return False


async def _set_cgroup(kit: Kit, group: PodCgroup) -> None:
    begin = kit.clock.monotonic()
    await asyncio.to_thread(kit.cgroups.ensure_pod, group)
    kit.metrics.cgroup_seconds.labels("update").observe(kit.clock.monotonic() - begin)


async def resize(kit: Kit, pod: Object, state: PodState, applied: Applied) -> bool:
    """Carry out every pending resize; whether there was one. Raises RuntimeFailure."""
    pending = pending_resizes(pod, state, applied)
    if not pending:
        return False
    group = pod_cgroup(pod, uid_of(pod), kit.settings.cgroup_root, pids=kit.settings.pod_pids_limit)
    await _set_cgroup(kit, group)
    for container, status in pending:
        own_id = status.container.id
        if needs_restart(container, applied.of(own_id)):
            text = f"Container {container_name(status)} resize requires restart"
            pod_ip = state.ips[0] if state.ips else ""
            await kill_container(kit, pod, status, grace_seconds=grace_seconds(pod), message=text, pod_ip=pod_ip)
            continue
        wanted = container_resources(
            pod, container, memory_capacity=kit.memory_capacity, cfs_quota=kit.settings.cpu_cfs_quota
        )
        await kit.runtime.update_resources(own_id, wanted)
        applied.set(own_id, container.get("resources") or {})
    # Once more: a shrinking pod's limits can only be set after those of its containers.
    await _set_cgroup(kit, group)
    return True
