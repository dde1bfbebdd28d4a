"""The conditions of a pod that the kubelet owns (``status/generate.go``). Pure."""

from __future__ import annotations

from typing import Any

from minikube_py.components.kubelet.pods.model import Role, containers, host_network, is_sidecar, is_static, spec_of
from minikube_py.components.kubelet.pods.state import PodState
from minikube_py.machinery.conditions import condition_is_true, find_condition
from minikube_py.machinery.objects import Object, metadata
from minikube_py.machinery.times import rfc3339


def pod_conditions(
    pod: Object, status: Object, state: PodState, *, previous: Object, now: float, disrupted: bool, reason: Any
) -> list[Object]:
    """The owned conditions, each with the time of its last change; plus PodScheduled for static pods."""
    ready_containers = _containers_ready(pod, status)
    wanted = [
        _condition("PodReadyToStartContainers", _sandbox_ready(pod, state)),
        _initialized(pod, status),
        _ready(pod, status, ready_containers, previous),
        ready_containers,
    ]
    known = previous.get("conditions") or []
    if is_static(pod) and find_condition(known, "PodScheduled") is None:
        wanted.append(_condition("PodScheduled", True))
    if disrupted and not condition_is_true(known, "DisruptionTarget"):
        wanted.append(_condition("DisruptionTarget", True, "TerminationByKubelet", reason.message if reason else ""))
    generation = metadata(pod).get("generation")
    for item in wanted:
        before = find_condition(known, item["type"])
        same = before is not None and before.get("status") == item["status"]
        item["lastTransitionTime"] = before["lastTransitionTime"] if before and same else rfc3339(now)
        item["lastProbeTime"] = None
        if generation:
            item["observedGeneration"] = generation
    return wanted


def _condition(type: str, true: bool, reason: str = "", message: str = "") -> Object:
    found: Object = {"type": type, "status": "True" if true else "False"}
    if reason:
        found["reason"] = reason
    if message:
        found["message"] = message
    return found


def _sandbox_ready(pod: Object, state: PodState) -> bool:
    sandbox = state.ready_sandbox
    return sandbox is not None and (host_network(pod) or bool(sandbox.ips))


def _initialized(pod: Object, status: Object) -> Object:
    inits = containers(pod, Role.INIT)
    if not inits:
        return _condition("Initialized", True)
    known = {item["name"]: item for item in status.get("initContainerStatuses") or ()}
    unknown, incomplete = [], []
    for item in inits:
        found = known.get(item["name"])
        if found is None:
            unknown.append(item["name"])
        elif is_sidecar(Role.INIT, item):
            if not found.get("started") and "terminated" not in found["state"]:
                incomplete.append(item["name"])
        elif not found.get("ready"):
            incomplete.append(item["name"])
    if status["phase"] == "Succeeded" and not unknown:
        return _condition("Initialized", True, "PodCompleted")
    # Once a regular container has run, the init containers were through, whatever became of them.
    begun = any(
        "running" in item["state"] or "terminated" in item["state"] or item.get("lastState")
        for item in status.get("containerStatuses") or ()
    )
    texts = _listing("unknown", unknown) + _listing("incomplete", incomplete)
    if not texts or begun:
        return _condition("Initialized", True)
    return _condition("Initialized", False, "ContainersNotInitialized", ", ".join(texts))


def _listing(what: str, names: list[str]) -> list[str]:
    return [f"containers with {what} status: [{' '.join(names)}]"] if names else []


def _containers_ready(pod: Object, status: Object) -> Object:
    kind = "ContainersReady"
    if status["phase"] == "Succeeded":
        return _condition(kind, False, "PodCompleted")
    if status["phase"] == "Failed":
        return _condition(kind, False, "PodFailed")
    known = {item["name"]: item for role in (Role.INIT, Role.REGULAR) for item in status.get(role.statuses) or ()}
    watched = [item for item in containers(pod, Role.INIT) if is_sidecar(Role.INIT, item)] + list(containers(pod))
    unknown = [item["name"] for item in watched if item["name"] not in known]
    unready = [item["name"] for item in watched if item["name"] in known and not known[item["name"]].get("ready")]
    texts = _listing("unknown", unknown) + _listing("unready", unready)
    return _condition(kind, not texts, "ContainersNotReady" if texts else "", ", ".join(texts))


def _ready(pod: Object, status: Object, containers_ready: Object, previous: Object) -> Object:
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    messages = []
    known = previous.get("conditions") or []
    for gate in spec_of(pod).get("readinessGates") or ():
        found = find_condition(known, gate["conditionType"])
        if found is None:
            messages.append(f'corresponding condition of pod readiness gate "{gate["conditionType"]}" does not exist.')
        elif found.get("status") != "True":
            messages.append(
                f'the status of pod readiness gate "{gate["conditionType"]}" is not "True", but {found.get("status")}'
            )
    if messages:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(messages))
    return _condition("Ready", True)
