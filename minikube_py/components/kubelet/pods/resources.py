"""Requests and limits as cgroup values: shares, quota, memory, OOM score (``kuberuntime`` and ``cm``)."""

from __future__ import annotations

from dataclasses import dataclass

from minikube_py.components.kubelet.pods.model import Role, containers, is_sidecar, qos_class, requested, spec_of
from minikube_py.components.kubelet.runtime.types import Resources
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import quantity_milli, quantity_value

cpu_period_microseconds = 100_000
least_quota_microseconds = 1_000
least_shares = 2
most_shares = 262_144
guaranteed_oom_score = -997
best_effort_oom_score = 1000


def milli_to_shares(milli: int) -> int:
    return min(max(milli * 1024 // 1000, least_shares), most_shares) if milli else least_shares


def milli_to_quota(milli: int) -> int:
    return max(milli * cpu_period_microseconds // 1000, least_quota_microseconds) if milli else 0


def _amount(resources: Object, which: str, name: str) -> int | None:
    value = (resources.get(which) or {}).get(name)
    if value is None:
        return None
    return quantity_milli(value) if name == "cpu" else quantity_value(value)


def container_resources(
    pod: Object, container: Object, *, memory_capacity: int, cfs_quota: bool, set_oom_score: bool = True
) -> Resources:
    """Linux resources of one container; a missing CPU request is taken from its limit."""
    resources = container.get("resources") or {}
    limit, request = _amount(resources, "limits", "cpu"), _amount(resources, "requests", "cpu")
    quota = milli_to_quota(limit or 0) if cfs_quota else 0
    hugepages = {
        name.removeprefix("hugepages-"): quantity_value(value)
        for name, value in (resources.get("limits") or {}).items()
        if name.startswith("hugepages-")
    }
    return Resources(
        cpu_period=cpu_period_microseconds if quota else 0,
        cpu_quota=quota,
        cpu_shares=milli_to_shares(limit if request is None and limit else request or 0),
        memory_limit_bytes=_amount(resources, "limits", "memory") or 0,
        oom_score_adj=oom_score_adjust(pod, container, memory_capacity) if set_oom_score else 0,
        hugepage_limits=hugepages,
    )


def oom_score_adjust(pod: Object, container: Object, memory_capacity: int) -> int:
    """``qos.GetContainerOOMScoreAdjust``: the less of its request a container uses, the safer it is."""
    if (spec_of(pod).get("priority") or 0) >= 2_000_000_000:
        return guaranteed_oom_score
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return guaranteed_oom_score
    if quality == "BestEffort" or memory_capacity <= 0:
        return best_effort_oom_score
    request = _amount(container.get("resources") or {}, "requests", "memory") or 0
    score = 1000 - (1000 * request) // memory_capacity
    role_is_sidecar = any(item is container and is_sidecar(Role.INIT, item) for item in containers(pod, Role.INIT))
    if role_is_sidecar:
        regular = [_amount(item.get("resources") or {}, "requests", "memory") or 0 for item in containers(pod)]
        score = min(score, 1000 - (1000 * min(regular, default=0)) // memory_capacity)
    if score < 1000 + guaranteed_oom_score:
        return 1000 + guaranteed_oom_score
    return score - 1 if score == best_effort_oom_score else score


@dataclass(frozen=True, slots=True)
class PodCgroup:
    """Values of the pod's own cgroup; zero leaves the kernel's default."""

    path: str
    cpu_shares: int
    cpu_quota: int
    memory_bytes: int
    pids: int = 0


def pod_cgroup_path(pod: Object, uid: str, root: str = "") -> str:
    """``/kubepods[/burstable|/besteffort]/pod<uid>``, the cgroupfs driver's names."""
    tier = {"Guaranteed": "", "Burstable": "/burstable", "BestEffort": "/besteffort"}[qos_class(pod)]
    return f"{root}/kubepods{tier}/pod{uid}"


def pod_cgroup(pod: Object, uid: str, root: str = "", *, pids: int = 0) -> PodCgroup:
    """Shares from the sum of requests; limits only where every container has one (``ResourceConfigForPod``)."""
    groups = [item.get("resources") or {} for item in containers(pod)]
    groups += [item.get("resources") or {} for item in containers(pod, Role.INIT) if is_sidecar(Role.INIT, item)]
    level = spec_of(pod).get("resources") or {}

    def total(name: str) -> int:
        whole = _amount(level, "limits", name)
        if whole is not None:
            return whole
        each = [_amount(group, "limits", name) for group in groups]
        if any(value is None for value in each):
            return 0
        initial = [_amount(item.get("resources") or {}, "limits", name) or 0 for item in containers(pod, Role.INIT)]
        return max(sum(value or 0 for value in each), *initial, 0)

    return PodCgroup(
        path=pod_cgroup_path(pod, uid, root),
        cpu_shares=milli_to_shares(requested(pod, "cpu")),
        cpu_quota=milli_to_quota(total("cpu")),
        memory_bytes=total("memory"),
        pids=pids,
    )
