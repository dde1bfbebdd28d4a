"""API statuses of a pod's containers (``convertToAPIContainerStatuses``). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minikube_py.components.kubelet.pods.model import (
    Role,
    container_status_of,
    containers,
    is_sidecar,
    restarts_after_exit,
    spec_of,
)
from minikube_py.components.kubelet.pods.plan import ProbeView, has_initialized
from minikube_py.components.kubelet.pods.state import PodState, restart_count
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import rfc3339

_UNKNOWN = {
    "exitCode": 137,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was terminated",
    "startedAt": None,
    "finishedAt": None,
}
RUNTIME_SCHEME = "containerd"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container waits instead of running."""

    reason: str
    message: str


def container_statuses(
    pod: Object,
    role: Role,
    state: PodState,
    *,
    previous: Object,
    probes: ProbeView,
    problems: Mapping[str, Problem],
    messages: Mapping[str, str],
    ended: bool,
    applied: Mapping[str, Object] | None = None,
) -> list[Object]:
    """One status for each container of the role, in the order of the spec."""
    has_init = bool(containers(pod, Role.INIT))
    initial = "PodInitializing" if has_init and not _past_init(pod, state) else "ContainerCreating"
    if role is Role.INIT:
        initial = "PodInitializing"
    statuses = []
    for container in containers(pod, role):
        if role is Role.EPHEMERAL:
            initial = "ContainerCreating"
        name = container["name"]
        old = container_status_of(previous, role, name) or {}
        history = state.all_of(name)
        status = (
            _from_history(container, history, old, messages)
            if history
            else _without_history(container, old, initial, ended)
        )
        problem = problems.get(name)
        if problem is not None and not ended and _waits(pod, role, container, status["state"]):
            if "terminated" in status["state"]:
                status["lastState"] = status["state"]
            status["state"] = {"waiting": _waiting(problem)}
        status["restartCount"] = max(status["restartCount"], old.get("restartCount") or 0)
        _add_readiness(status, role, container, probes)
        _add_spec_parts(status, container, pod, applied or {})
        statuses.append(status)
    return statuses


def _waits(pod: Object, role: Role, container: Object, state: Object) -> bool:
    """Whether a container that is in this state is to be started."""
    if "terminated" in state:
        return restarts_after_exit(pod, role, container, int(state["terminated"].get("exitCode") or 0))
    return "running" not in state


def _past_init(pod: Object, state: PodState) -> bool:
    return has_initialized(pod, state)


def _waiting(problem: Problem) -> Object:
    return {"reason": problem.reason, "message": problem.message} if problem.message else {"reason": problem.reason}


def _from_history(
    container: Object, history: Sequence[ContainerStatus], old: Object, messages: Mapping[str, str]
) -> Object:
    newest = history[0]
    state = _api_state(newest, messages)
    last: Object = {}
    for item in history[1:]:
        if item.container.state is ContainerState.EXITED:
            last = _api_state(item, messages)
            break
    old_id = old.get("containerID") or ""
    if not last and old_id and old_id != _id(newest) and "terminated" in (old.get("state") or {}):
        # The previous container is gone from the runtime, but its end is on record.
        last = old["state"]
    elif not last and old_id == _id(newest):
        last = old.get("lastState") or {}
    return {
        "name": container["name"],
        "state": state,
        "lastState": last,
        "restartCount": restart_count(newest),
        "image": newest.container.image or container.get("image", ""),
        "imageID": newest.container.image_ref,
        "containerID": _id(newest),
    }


def _without_history(container: Object, old: Object, initial: str, ended: bool) -> Object:
    """A container that the runtime does not know: not made yet, or lost."""
    status: Object = {
        "name": container["name"],
        "state": {"waiting": {"reason": initial}},
        "lastState": old.get("lastState") or {},
        "restartCount": old.get("restartCount") or 0,
        "image": container.get("image", ""),
        "imageID": "",
    }
    before = old.get("state") or {}
    if "terminated" in before:
        return {
            **status,
            **{key: old[key] for key in ("image", "imageID", "containerID") if key in old},
            "state": before,
        }
    if "running" in before:
        lost = {"terminated": {**_UNKNOWN, "containerID": old.get("containerID", "")}}
        if ended:
            return {**status, "state": lost, "containerID": old.get("containerID", "")}
        return {**status, "lastState": lost, "restartCount": status["restartCount"] + 1}
    if "waiting" in before and not ended:
        return {**status, "state": {"waiting": {"reason": initial}}}
    return status


def _id(status: ContainerStatus) -> str:
    return f"{RUNTIME_SCHEME}://{status.container.id}"


def _time(nanoseconds: int) -> str:
    """A runtime's time; 0, for a container that never started, is shown as 1970, as kubelets do."""
    return rfc3339(nanoseconds / 1e9)


def _api_state(status: ContainerStatus, messages: Mapping[str, str]) -> Object:
    if status.container.state is ContainerState.RUNNING:
        return {"running": {"startedAt": _time(status.started_at)}}
    if status.container.state is ContainerState.EXITED:
        ended: Object = {
            "exitCode": status.exit_code,
            "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
            "startedAt": _time(status.started_at),
            "finishedAt": _time(status.finished_at),
            "containerID": _id(status),
        }
        message = messages.get(status.container.id, status.message)
        if message:
            ended["message"] = message
        return {"terminated": ended}
    return {"waiting": {"reason": "ContainerCreating"}}


def _add_readiness(status: Object, role: Role, container: Object, probes: ProbeView) -> None:
    """``ready`` and ``started`` (``UpdatePodStatus`` of the prober)."""
    state, known_id = status["state"], str(status.get("containerID") or "").partition("://")[2]
    running = "running" in state
    if role is Role.INIT and not is_sidecar(role, container):
        done = "terminated" in state and state["terminated"].get("exitCode") == 0
        status["ready"], status["started"] = done, running
        return
    if role is Role.EPHEMERAL:
        status["ready"] = False
        return
    started = running and probes.has_started(container, known_id)
    status["started"] = started
    status["ready"] = started and probes.is_ready(container, known_id)


def _add_spec_parts(status: Object, container: Object, pod: Object, applied: Mapping[str, Object]) -> None:
    """Resources (those it runs with, where that is known) and mounts."""
    own_id = str(status.get("containerID") or "").partition("://")[2]
    resources = applied.get(own_id, container.get("resources") or {})
    if resources.get("requests"):
        status["allocatedResources"] = dict(resources["requests"])
    if own_id:
        status["resources"] = {key: resources[key] for key in ("limits", "requests") if resources.get(key)}
    mounts = []
    known = {item["name"] for item in spec_of(pod).get("volumes") or ()}
    for item in container.get("volumeMounts") or ():
        if item["name"] in known:
            mount = {"name": item["name"], "mountPath": item["mountPath"]}
            if item.get("readOnly"):
                mount |= {"readOnly": True, "recursiveReadOnly": item.get("recursiveReadOnly") or "Disabled"}
            mounts.append(mount)
    if mounts:
        status["volumeMounts"] = mounts
