"""Conditions and taints of a node that may have fallen silent; pure (``pkg/controller/nodelifecycle``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.objects import Object, metadata, thaw
from minikube_py.machinery.times import rfc3339

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURE_TAINTS = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURE_TAINTS.values()})


def readiness(node: Object) -> str:
    """``True``, ``False`` or ``Unknown``; empty when the node has never said."""
    found = find_condition((node.get("status") or {}).get("conditions"), "Ready")
    return str(found.get("status")) if found is not None else ""


def silenced(node: Object, now: float) -> Object | None:
    """The status of a node that has been silent for too long; None when it says so already."""
    status = thaw(node.get("status") or {})
    conditions = status.setdefault("conditions", [])
    stamp, changed = rfc3339(now), False
    for kind in _REPORTED:
        known = find_condition(conditions, kind)
        if known is None:
            conditions.append(
                {
                    "type": kind,
                    "status": "Unknown",
                    "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                    "lastHeartbeatTime": metadata(node).get("creationTimestamp"),
                    "lastTransitionTime": stamp,
                }
            )
            changed = True
        elif known.get("status") != "Unknown":
            known |= {
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": stamp,
            }
            changed = True
    return status if changed else None


def wanted_taints(node: Object, *, evict: bool) -> list[tuple[str, str]]:
    """(key, effect) of the taints that the node's conditions ask for; ``evict`` allows NoExecute."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    wanted: list[tuple[str, str]] = []
    ready = readiness(node)
    if ready != "True":
        key = UNREACHABLE if ready == "Unknown" else NOT_READY
        wanted.append((key, "NoSchedule"))
        if evict:
            wanted.append((key, "NoExecute"))
    for kind, key in _PRESSURE_TAINTS.items():
        found = find_condition(conditions, kind)
        if found is not None and found.get("status") == "True":
            wanted.append((key, "NoSchedule"))
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    return wanted


def retainted(node: Object, *, evict: bool, now: float) -> list[Object] | None:
    """The node's taints with ours brought up to date; None when they are."""
    present: Sequence[Mapping[str, Any]] = (node.get("spec") or {}).get("taints") or ()
    wanted = wanted_taints(node, evict=evict)
    kept = [taint for taint in present if taint.get("key") not in _OURS or _pair(taint) in wanted]
    have = {_pair(taint) for taint in kept}
    added = [pair for pair in wanted if pair not in have]
    if not added and len(kept) == len(present):
        return None
    fresh: list[Object] = []
    for key, effect in added:
        taint: Object = {"key": key, "effect": effect}
        if effect == "NoExecute" or key in (UNREACHABLE, NOT_READY):
            taint["timeAdded"] = rfc3339(now)
        fresh.append(taint)
    return [*(dict(taint) for taint in kept), *fresh]


def _pair(taint: Mapping[str, Any]) -> tuple[str, str]:
    return str(taint.get("key")), str(taint.get("effect"))


def unready_pod_status(pod: Object, now: float) -> Object | None:
    """The status of a ready pod whose node is not ready; None when the pod is not ready anyway."""
    condition = find_condition((pod.get("status") or {}).get("conditions"), "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    status: Object = thaw(pod["status"])
    draft = find_condition(status["conditions"], "Ready")
    assert draft is not None
    draft |= {"status": "False", "lastTransitionTime": rfc3339(now)}
    return status
