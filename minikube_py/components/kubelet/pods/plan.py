"""Decides what to do about a pod: a pure function of its spec, the runtime's state and the probes.

``decide`` does what kuberuntime's ``computePodActions`` does, for a pod that shall run. It looks at
nothing else and changes nothing; carrying the plan out (and back-off, which depends on time) is
``execution``'s business. Init containers run one after the other; a restartable one (sidecar) lets
the next begin once it has started, and is restarted for as long as the pod lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minikube_py.components.kubelet.pods.model import (
    Role,
    all_containers,
    container_hash,
    containers,
    host_network,
    is_sidecar,
    restart_policy,
    restarts_after_exit,
)
from minikube_py.components.kubelet.pods.state import PodState, hash_of
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus, NamespaceMode
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class ProbeView:
    """Results of probes by container id; a container without an entry has not been probed yet."""

    live: Mapping[str, bool] = field(default_factory=dict)
    ready: Mapping[str, bool] = field(default_factory=dict)
    started: Mapping[str, bool] = field(default_factory=dict)

    def has_started(self, container: Object, id: str) -> bool:
        return "startupProbe" not in container or self.started.get(id, False)

    def is_ready(self, container: Object, id: str) -> bool:
        return "readinessProbe" not in container or self.ready.get(id, False)


NO_PROBES = ProbeView()


@dataclass(frozen=True, slots=True)
class Start:
    """Make and start a new container of this name."""

    role: Role
    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End a running container; ``grace_seconds`` None leaves it to the pod."""

    id: str
    name: str
    message: str
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order: kill the pod, kill containers, make the sandbox, start containers."""

    kill_pod: bool = False
    create_sandbox: bool = False
    sandbox_attempt: int = 0
    kill: tuple[Kill, ...] = ()
    start: tuple[Start, ...] = ()
    finished: bool = False
    """Nothing runs and nothing will: the pod goes on to its end."""

    @property
    def changes_nothing(self) -> bool:
        return not (self.kill_pod or self.create_sandbox or self.kill or self.start)


def decide(pod: Object, state: PodState, probes: ProbeView = NO_PROBES) -> Plan:
    """The plan for a pod that shall run."""
    replace, attempt = _sandbox_need(pod, state)
    if replace:
        return _with_new_sandbox(pod, state, attempt)
    kill: list[Kill] = []
    start: list[Start] = [
        Start(Role.EPHEMERAL, item["name"])
        for item in containers(pod, Role.EPHEMERAL)
        if state.newest(item["name"]) is None
    ]
    initialized, failed = _init_steps(pod, state, probes, kill, start)
    if failed:
        return Plan(kill_pod=bool(state.alive), finished=True)
    if not initialized:
        return Plan(kill=tuple(kill), start=tuple(start))
    keep = _regular_steps(pod, state, probes, kill, start)
    if not keep and not any(item.role is Role.REGULAR for item in start):
        return Plan(kill_pod=bool(state.alive), finished=True)
    return Plan(kill=tuple(kill), start=tuple(start))


def _sandbox_need(pod: Object, state: PodState) -> tuple[bool, int]:
    """Whether a new sandbox is needed, and its attempt (``PodSandboxChanged``)."""
    if not state.sandboxes:
        return True, 0
    newest = state.sandboxes[0]
    attempt = newest.sandbox.identity.attempt + 1
    if sum(item.sandbox.ready for item in state.sandboxes) > 1 or not newest.sandbox.ready:
        return True, attempt
    wanted = NamespaceMode.NODE if host_network(pod) else NamespaceMode.POD
    if newest.network is not wanted:
        return True, attempt
    return wanted is NamespaceMode.POD and not newest.ips, attempt


def _with_new_sandbox(pod: Object, state: PodState, attempt: int) -> Plan:
    kill_pod = bool(state.sandboxes)
    if restart_policy(pod) == "Never" and attempt and state.containers and not _may_restart_in_place(pod):
        return Plan(kill_pod=kill_pod, finished=True)
    wanted = [item for item in containers(pod) if not _is_done(pod, state, item)]
    if not wanted:
        # All have succeeded; a sandbox would only serve init containers that are done as well.
        return Plan(kill_pod=kill_pod, finished=True)
    inits = containers(pod, Role.INIT)
    if inits:
        start = [Start(Role.INIT, inits[0]["name"])]
    else:
        start = [Start(Role.REGULAR, item["name"]) for item in wanted]
    return Plan(kill_pod=kill_pod, create_sandbox=True, sandbox_attempt=attempt, start=tuple(start))


def _may_restart_in_place(pod: Object) -> bool:
    """Whether some container has a restart rule of its own that overrides the pod's Never."""
    return any(item.get("restartPolicyRules") or item.get("restartPolicy") for item in containers(pod))


def _is_done(pod: Object, state: PodState, container: Object) -> bool:
    status = state.newest(container["name"])
    return (
        status is not None
        and status.container.state is ContainerState.EXITED
        and not restarts_after_exit(pod, Role.REGULAR, container, status.exit_code)
    )


def has_initialized(pod: Object, state: PodState) -> bool:
    """Whether a regular container was ever made in this sandbox: then all init containers are through."""
    sandbox = state.ready_sandbox
    return any(
        status is not None and (sandbox is None or status.container.sandbox_id == sandbox.sandbox.id)
        for status in (state.newest(item["name"]) for item in containers(pod))
    )


def _init_steps(
    pod: Object, state: PodState, probes: ProbeView, kill: list[Kill], start: list[Start]
) -> tuple[bool, bool]:
    """Adds what the init containers need. Returns (all are through, one has failed for good)."""
    inits = containers(pod, Role.INIT)
    if has_initialized(pod, state):
        for item in inits:
            if is_sidecar(Role.INIT, item):
                _tend_sidecar(pod, item, state, probes, kill, start)
        return True, False
    current = [_in_this_sandbox(state, item["name"]) for item in inits]
    reached = max((index for index, status in enumerate(current) if status is not None), default=-1)
    for index in range(reached):
        if is_sidecar(Role.INIT, inits[index]):
            _tend_sidecar(pod, inits[index], state, probes, kill, start)
    if reached >= 0:
        item, status = inits[reached], current[reached]
        assert status is not None
        if is_sidecar(Role.INIT, item):
            started = _tend_sidecar(pod, item, state, probes, kill, start)
            if not started:
                return False, False
        elif status.container.state is ContainerState.RUNNING:
            return False, False
        elif status.container.state is not ContainerState.EXITED or status.exit_code != 0:
            known = status.container.state is ContainerState.EXITED
            if known and not restarts_after_exit(pod, Role.INIT, item, status.exit_code):
                return False, True
            start.append(Start(Role.INIT, item["name"]))
            return False, False
    if reached + 1 == len(inits):
        return True, False
    start.append(Start(Role.INIT, inits[reached + 1]["name"]))
    return False, False


def _in_this_sandbox(state: PodState, name: str) -> ContainerStatus | None:
    status, sandbox = state.newest(name), state.ready_sandbox
    if status is None or (sandbox is not None and status.container.sandbox_id != sandbox.sandbox.id):
        return None
    return status


def _tend_sidecar(
    pod: Object, container: Object, state: PodState, probes: ProbeView, kill: list[Kill], start: list[Start]
) -> bool:
    """Restart or kill a sidecar where needed; whether it has started."""
    status = _in_this_sandbox(state, container["name"])
    if status is None or status.container.state is not ContainerState.RUNNING:
        start.append(Start(Role.INIT, container["name"]))
        return False
    doomed = _reason_to_kill(container, status, probes)
    if doomed is not None:
        kill.append(doomed)
        start.append(Start(Role.INIT, container["name"]))
        return False
    return probes.has_started(container, status.container.id)


def _regular_steps(pod: Object, state: PodState, probes: ProbeView, kill: list[Kill], start: list[Start]) -> int:
    """Adds what the regular containers need; returns how many go on as they are."""
    keep = 0
    for item in containers(pod):
        status = _in_this_sandbox(state, item["name"])
        if status is None or status.container.state is not ContainerState.RUNNING:
            if status is not None and status.container.state is ContainerState.UNKNOWN:
                # It may still run: end it before another one starts.
                kill.append(Kill(status.container.id, item["name"], "Container is in unknown state, try killing it"))
            previous = status or state.newest(item["name"])
            if (
                previous is None
                or previous.container.state is not ContainerState.EXITED
                or restarts_after_exit(pod, Role.REGULAR, item, previous.exit_code)
            ):
                start.append(Start(Role.REGULAR, item["name"]))
            continue
        doomed = _reason_to_kill(item, status, probes)
        if doomed is None:
            keep += 1
            continue
        kill.append(doomed)
        changed = hash_of(status) != container_hash(item)
        if changed or restarts_after_exit(pod, Role.REGULAR, item, 137):
            start.append(Start(Role.REGULAR, item["name"]))
        else:
            keep += 1
    return keep


def _reason_to_kill(container: Object, status: ContainerStatus, probes: ProbeView) -> Kill | None:
    """Why a running container must be ended: a changed definition or a failed probe."""
    own_id, name = status.container.id, container["name"]
    known = hash_of(status)
    if known and known != container_hash(container):
        return Kill(own_id, name, f"Container {name} definition changed, will be restarted")
    for kind, results, label in (
        ("livenessProbe", probes.live, "liveness"),
        ("startupProbe", probes.started, "startup"),
    ):
        # A startup probe that has not passed yet is absent; False means that it gave up.
        if results.get(own_id) is False and kind in container:
            grace = container[kind].get("terminationGracePeriodSeconds")
            return Kill(own_id, name, f"Container {name} failed {label} probe, will be restarted", grace)
    return None


def names_in_spec(pod: Object) -> frozenset[str]:
    return frozenset(item["name"] for _, item in all_containers(pod))
