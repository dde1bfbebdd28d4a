"""Rows of pods as ``printPod`` of kube-apiserver's printers makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.kind import Cell
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, human_duration, name, part
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import parse_time

_CORE = "io.k8s.api.core.v1"
COLUMNS = (
    NAME,
    column("Ready", text="The aggregate readiness state of this pod for accepting traffic."),
    column("Status", text="The aggregate status of the containers in this pod."),
    column(
        "Restarts",
        text="The number of times the containers in this pod have been restarted and when the last container in this "
        "pod has restarted.",
    ),
    AGE,
    column("IP", f"{_CORE}.PodStatus.podIP", wide=True),
    column("Node", f"{_CORE}.PodSpec.nodeName", wide=True),
    column("Nominated Node", f"{_CORE}.PodStatus.nominatedNodeName", wide=True),
    column("Readiness Gates", f"{_CORE}.PodSpec.readinessGates", wide=True),
)


@dataclass(slots=True)
class _Tally:
    """What is counted while going over container statuses."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: float = 0.0  # Unix seconds; 0 means never


def row(pod: Object, now: float) -> Sequence[Cell]:
    """The cells of one pod."""
    spec, status = part(pod, "spec"), part(pod, "status")
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    tally = _Tally(_first_reason(status))
    initializing, sidecar_tally = _init_containers(spec, status, sidecars, tally)
    if not initializing or condition_is_true(status.get("conditions") or [], "Initialized"):
        tally.restarts, tally.last_restart = sidecar_tally.restarts, sidecar_tally.last_restart
        _containers(status, tally)
    return (
        name(pod),
        f"{tally.ready}/{len(spec.get('containers') or ()) + len(sidecars)}",
        _deletion_reason(pod, status) or tally.reason,
        _restarts(tally, now),
        age(pod, now),
        next((ip.get("ip", "") for ip in status.get("podIPs") or ()), "") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _readiness_gates(spec, status),
    )


def _first_reason(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return str(status.get("reason") or status.get("phase") or "")


def _init_containers(
    spec: Mapping[str, Any], status: Mapping[str, Any], sidecars: set[str], tally: _Tally
) -> tuple[bool, _Tally]:
    """Whether the pod is still initializing, and what sidecars count on their own."""
    sidecar_tally = _Tally("")
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        _count_restarts(container, tally)
        sidecar = container.get("name") in sidecars
        if sidecar:
            _count_restarts(container, sidecar_tally)
        terminated = part(container, "state").get("terminated")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            tally.ready += 1 if container.get("ready") else 0
            continue
        waiting = part(container, "state", "waiting").get("reason", "")
        if terminated is not None:
            tally.reason = "Init:" + _terminated_reason(terminated)
        elif waiting and waiting != "PodInitializing":
            tally.reason = f"Init:{waiting}"
        else:
            tally.reason = f"Init:{index}/{len(spec.get('initContainers') or ())}"
        return True, sidecar_tally
    return False, sidecar_tally


def _containers(status: Mapping[str, Any], tally: _Tally) -> None:
    running = False
    for container in reversed(status.get("containerStatuses") or ()):
        _count_restarts(container, tally)
        state = part(container, "state")
        waiting, terminated = part(state, "waiting").get("reason", ""), state.get("terminated")
        if waiting:
            tally.reason = waiting
        elif terminated is not None:
            tally.reason = _terminated_reason(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            tally.ready += 1
    if tally.reason == "Completed" and running:
        tally.reason = "Running" if condition_is_true(status.get("conditions") or [], "Ready") else "NotReady"


def _count_restarts(container: Mapping[str, Any], tally: _Tally) -> None:
    tally.restarts += int(container.get("restartCount") or 0)
    finished = part(container, "lastState", "terminated").get("finishedAt")
    if finished:
        tally.last_restart = max(tally.last_restart, parse_time(finished))


def _terminated_reason(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _deletion_reason(pod: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    if not part(pod, "metadata").get("deletionTimestamp"):
        return ""
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return "" if status.get("phase") in ("Failed", "Succeeded") else "Terminating"


def _restarts(tally: _Tally, now: float) -> str:
    if tally.restarts and tally.last_restart:
        return f"{tally.restarts} ({human_duration(now - tally.last_restart)} ago)"
    return str(tally.restarts)


def _readiness_gates(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return "<none>"
    conditions = status.get("conditions") or []
    return f"{sum(condition_is_true(conditions, gate.get('conditionType', '')) for gate in gates)}/{len(gates)}"


def row_conditions(pod: Mapping[str, Any]) -> list[Object]:
    """Conditions of the table row: pods that ended are marked as completed."""
    phase = part(pod, "status").get("phase")
    if phase == "Succeeded":
        reason, message = "Succeeded", "The pod has completed successfully."
    elif phase == "Failed":
        reason, message = "Failed", "The pod failed."
    else:
        return []
    return [{"type": "Completed", "status": "True", "reason": reason, "message": message}]
