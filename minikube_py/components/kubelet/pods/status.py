"""The pod's API status from what the runtime and the probes say: a pure function.

Phases, conditions and container states follow ``kubelet_pods.go`` (getPhase,
convertToAPIContainerStatuses) and ``status/generate.go``. Invariants: a phase of Succeeded or Failed
never changes again; restart counts never go down; conditions of others (readiness gates, PodScheduled)
are left out here and kept by the writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minikube_py.components.kubelet.pods.conditions import pod_conditions
from minikube_py.components.kubelet.pods.container_status import Problem, container_statuses
from minikube_py.components.kubelet.pods.model import (
    Role,
    containers,
    host_network,
    is_sidecar,
    qos_class,
    restart_policy,
)
from minikube_py.components.kubelet.pods.plan import NO_PROBES, ProbeView
from minikube_py.components.kubelet.pods.state import PodState
from minikube_py.machinery.objects import Object, metadata
from minikube_py.machinery.times import rfc3339

TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The kubelet's own decision about a pod, such as an eviction; it ends the pod as Failed."""

    reason: str
    message: str
    disruption: bool = False
    """Whether the pod gets a DisruptionTarget condition (reason TerminationByKubelet)."""


@dataclass(frozen=True, slots=True)
class StatusInput:
    """Everything that a status is made from. ``previous`` is the last known API status."""

    pod: Object
    state: PodState
    previous: Object
    now: float
    host_ips: tuple[str, ...] = ()
    probes: ProbeView = NO_PROBES
    problems: Mapping[str, Problem] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    """Termination messages by container id."""
    applied: Mapping[str, Object] = field(default_factory=dict)
    """Resources that containers run with, by container id."""
    ending: bool = False
    """Nothing is restarted any more."""
    ended: bool = False
    """Everything has stopped for good: the phase becomes a terminal one."""
    verdict: Verdict | None = None


def pod_status(given: StatusInput) -> Object:
    """The complete status that the kubelet owns."""
    pod, previous = given.pod, given.previous
    status: Object = {"observedGeneration": metadata(pod).get("generation") or 0}
    if not status["observedGeneration"]:
        del status["observedGeneration"]
    for role in Role:
        made = container_statuses(
            pod,
            role,
            given.state,
            previous=previous,
            probes=given.probes,
            problems=given.problems,
            messages=given.messages,
            ended=given.ended,
            applied=given.applied,
        )
        if made:
            status[role.statuses] = made
    status["phase"] = _final_phase(given, phase(pod, status, ending=given.ending or given.ended))
    if given.verdict is not None:
        status["reason"], status["message"] = given.verdict.reason, given.verdict.message
    elif previous.get("phase") in TERMINAL:
        for key in ("reason", "message"):
            if previous.get(key):
                status[key] = previous[key]
    _add_addresses(status, given)
    status["qosClass"] = previous.get("qosClass") or qos_class(pod)
    status["startTime"] = previous.get("startTime") or rfc3339(given.now)
    status["conditions"] = pod_conditions(
        pod,
        status,
        given.state,
        previous=previous,
        now=given.now,
        disrupted=given.verdict is not None and given.verdict.disruption,
        reason=given.verdict,
    )
    return status


def _final_phase(given: StatusInput, computed: str) -> str:
    before = given.previous.get("phase")
    if before in TERMINAL:
        return str(before)
    if given.verdict is not None:
        return "Failed"
    if given.ended and computed not in TERMINAL:
        return "Failed"
    return computed


def _add_addresses(status: Object, given: StatusInput) -> None:
    if given.host_ips:
        status["hostIP"] = given.host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in given.host_ips]
    ips = given.state.ips
    if host_network(given.pod) and given.state.ready_sandbox is not None:
        ips = given.host_ips
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]
    elif given.previous.get("podIP"):
        # An ended pod keeps its last addresses.
        status["podIP"] = given.previous["podIP"]
        status["podIPs"] = given.previous.get("podIPs") or [{"ip": given.previous["podIP"]}]


def phase(pod: Object, status: Object, *, ending: bool) -> str:
    """``getPhase``: from the containers' states; ``ending`` means that nothing will be restarted."""
    pending, failed = _init_progress(pod, status)
    policy = restart_policy(pod)
    if failed and policy == "Never":
        return "Failed"
    waiting = running = stopped = succeeded = unknown = 0
    known = {item["name"]: item for item in status.get("containerStatuses") or ()}
    for item in containers(pod):
        state = (known.get(item["name"]) or {}).get("state") or {}
        if "running" in state:
            running += 1
        elif "terminated" in state:
            stopped += 1
            succeeded += state["terminated"].get("exitCode") == 0
        elif "waiting" in state:
            ended_before = "terminated" in ((known[item["name"]].get("lastState")) or {})
            stopped, waiting = stopped + ended_before, waiting + (not ended_before)
        else:
            unknown += 1
    if pending and not running and not stopped:
        return "Pending"
    if waiting:
        return "Pending"
    if running and not unknown:
        return "Running"
    if stopped and not running and not unknown:
        return _stopped_phase(policy, stopped, succeeded, ending)
    return "Pending"


def _stopped_phase(policy: str, stopped: int, succeeded: int, ending: bool) -> str:
    if ending:
        return "Succeeded" if stopped == succeeded else "Failed"
    if policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _init_progress(pod: Object, status: Object) -> tuple[int, int]:
    """How many init containers still have to be done, and how many have failed."""
    pending = failed = 0
    known = {item["name"]: item for item in status.get("initContainerStatuses") or ()}
    for item in containers(pod, Role.INIT):
        found = known.get(item["name"]) or {}
        state, last = found.get("state") or {}, found.get("lastState") or {}
        if is_sidecar(Role.INIT, item):
            pending += not found.get("started") and "terminated" not in state and "terminated" not in last
        elif "terminated" in state:
            failed += state["terminated"].get("exitCode") != 0
        elif "waiting" in state and "terminated" in last:
            failed += last["terminated"].get("exitCode") != 0
            pending += last["terminated"].get("exitCode") == 0
        else:
            pending += 1
    return pending, failed
