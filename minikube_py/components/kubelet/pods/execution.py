"""Carries a plan out for one pod: kills, sandbox, containers, hooks, with events and back-off.

Input: a plan and the state it was made from. Output: an ``Outcome``: which containers wait and why
(shown in the pod's status), and when to try again. Failures of the runtime end the step, never the
pod: the next sync decides anew from what the runtime then says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.components.kubelet.gotext import go_duration, rpc_text
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.backoff import Backoff
from minikube_py.components.kubelet.pods.container_config import Making, container_config
from minikube_py.components.kubelet.pods.container_status import Problem
from minikube_py.components.kubelet.pods.env import ConfigProblem
from minikube_py.components.kubelet.pods.events import note_container, note_pod
from minikube_py.components.kubelet.pods.hooks import HookFailure, run_hook
from minikube_py.components.kubelet.pods.images import ImageProblem
from minikube_py.components.kubelet.pods.kill import kill_container, kill_containers, stop_sandboxes
from minikube_py.components.kubelet.pods.model import (
    Role,
    container_hash,
    containers,
    describe,
    find_container,
    grace_seconds,
    host_network,
    log_directory,
    spec_of,
)
from minikube_py.components.kubelet.pods.plan import Plan, Start
from minikube_py.components.kubelet.pods.sandbox_config import sandbox_config
from minikube_py.components.kubelet.pods.state import PodState, restart_count
from minikube_py.components.kubelet.probes.checks import Target, named_ports
from minikube_py.components.kubelet.runtime.types import (
    ContainerConfig,
    ContainerStatus,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from minikube_py.components.kubelet.volumes.types import VolumeProblem
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, name_of, namespace_of, uid_of
from minikube_py.machinery.resources import RUNTIME_CLASSES

log = logging.getLogger(__name__)

retry_seconds = 10.0
"""When a failed step is tried again if nothing else wakes the pod (the kubelet's back-off period)."""


@dataclass(slots=True)
class Outcome:
    """What came of a plan; written by ``Execution`` while it goes through the plan."""

    retry_after: float | None = None
    problems: dict[str, Problem] = field(default_factory=dict)

    def retry(self, seconds: float) -> None:
        self.retry_after = seconds if self.retry_after is None else min(self.retry_after, seconds)


class Execution:
    """The hands of one pod's worker."""

    def __init__(self, kit: Kit, gate: asyncio.Semaphore, wake: Callable[[], None]) -> None:
        self._kit = kit
        self._gate = gate
        self._wake = wake
        self._backoff = Backoff(kit.clock)
        self.pull_seconds = 0.0
        """What was spent on images so far."""

    async def carry_out(
        self, pod: Object, plan: Plan, state: PodState, on_sandbox: Callable[[SandboxStatus], None]
    ) -> Outcome:
        """Do what the plan says, in its order. ``on_sandbox`` is told of a new sandbox at once.

        Raises RuntimeFailure when the pod cannot be ended or its sandbox cannot be asked.
        """
        outcome = Outcome()
        if plan.kill_pod:
            if plan.create_sandbox and plan.sandbox_attempt:
                text = "Pod sandbox changed, it will be killed and re-created."
                note_pod(self._kit.recorder, pod, "Normal", "SandboxChanged", text)
            await kill_containers(self._kit, pod, state, grace_seconds=grace_seconds(pod))
            await stop_sandboxes(self._kit, state)
        await self._kill(pod, plan, state)
        if not plan.start:
            return outcome
        try:
            attempt = _attempt(plan, state)
            config = await self._sandbox_config(pod, attempt)
        except ApiError as error:
            note_pod(
                self._kit.recorder,
                pod,
                "Warning",
                "FailedCreatePodSandBox",
                f"Failed to create pod sandbox: {error.message}",
            )
            outcome.retry(retry_seconds)
            return outcome
        sandbox = state.ready_sandbox
        if plan.create_sandbox or sandbox is None:
            sandbox = await self._run_sandbox(pod, config, outcome)
            if sandbox is None:
                return outcome
            on_sandbox(sandbox)
        secrets = await self._pull_secrets(pod)
        for start in plan.start:
            await self._start(pod, start, state, config, sandbox, secrets, outcome)
        return outcome

    async def _kill(self, pod: Object, plan: Plan, state: PodState) -> None:
        by_id = {item.container.id: item for item in state.containers}
        pod_ip = state.ips[0] if state.ips else ""
        for item in plan.kill:
            grace = grace_seconds(pod) if item.grace_seconds is None else item.grace_seconds
            await kill_container(
                self._kit, pod, by_id[item.id], grace_seconds=grace, message=item.message, pod_ip=pod_ip
            )

    async def _sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        handler = ""
        name = spec_of(pod).get("runtimeClassName")
        if name:
            found = await self._kit.client.get(RUNTIME_CLASSES, name)
            handler = str(found.get("handler") or "")
        settings = self._kit.settings
        text = await asyncio.to_thread(_read_or_empty, settings.resolv_conf)
        return sandbox_config(pod, attempt=attempt, settings=settings, resolv_conf=text, runtime_handler=handler)

    async def _run_sandbox(self, pod: Object, config: SandboxConfig, outcome: Outcome) -> SandboxStatus | None:
        """Start the sandbox; None (and a time to try again) when that fails."""
        kit = self._kit
        await asyncio.to_thread(_make_log_directory, log_directory(kit.settings.pod_logs_dir, pod))
        begin = kit.clock.monotonic()
        kit.metrics.started_pods.inc()
        try:
            async with self._gate:
                sandbox_id = await kit.runtime.run_sandbox(config)
            status = await kit.runtime.sandbox_status(sandbox_id)
        except RuntimeFailure as failure:
            kit.metrics.started_pods_errors.inc()
            text = f"Failed to create pod sandbox: {rpc_text(failure.code, failure.message)}"
            note_pod(kit.recorder, pod, "Warning", "FailedCreatePodSandBox", text)
            outcome.retry(retry_seconds)
            return None
        kit.metrics.sandbox_seconds.labels(config.runtime_handler).observe(kit.clock.monotonic() - begin)
        return status

    async def _pull_secrets(self, pod: Object) -> list[Object]:
        """The imagePullSecrets that exist; a missing one is told and left out."""
        found = []
        for item in spec_of(pod).get("imagePullSecrets") or ():
            try:
                secret = await self._kit.references.config(
                    "secret", namespace_of(pod), item.get("name") or "", owner=uid_of(pod), wake=self._wake
                )
            except ApiError as error:
                log.info("cannot read pull secret", extra={"pod": describe(pod), "error": error.message})
                continue
            if secret is not None:
                found.append(secret)
            else:
                text = (
                    f"Unable to retrieve some image pull secrets ({item.get('name')}); "
                    "attempting to pull the image may not succeed."
                )
                note_pod(self._kit.recorder, pod, "Warning", "FailedToRetrieveImagePullSecret", text)
        return found

    async def _start(
        self,
        pod: Object,
        start: Start,
        state: PodState,
        config: SandboxConfig,
        sandbox: SandboxStatus,
        secrets: list[Object],
        outcome: Outcome,
    ) -> None:
        """Start one container, or note why it waits."""
        found = find_container(pod, start.name)
        if found is None:
            return
        role, container = found
        previous = state.newest(start.name)
        key = (start.name, container_hash(container))
        ended = state.newest_ended(start.name)  # what this pass has just killed counts when the next one ends
        if ended is not None and self._crash_wait(pod, container, ended, key, outcome):
            return
        try:
            await self._make_and_start(pod, role, container, previous, config, sandbox, secrets, state)
        except _StartFailure as failure:
            note_container(self._kit.recorder, pod, start.name, "Warning", "Failed", f"Error: {failure.event}")
            self._failed(role, failure, start.name, outcome)
        except ImageProblem as problem:
            note_container(self._kit.recorder, pod, start.name, "Warning", "Failed", f"Error: {problem.reason}")
            self._failed(
                role, _StartFailure(problem.reason, problem.message, problem.retry_seconds), start.name, outcome
            )

    def _failed(self, role: Role, failure: _StartFailure, name: str, outcome: Outcome) -> None:
        kind = metric_type(role)
        self._kit.metrics.started_containers_errors.labels(kind, failure.reason).inc()
        outcome.problems[name] = Problem(failure.reason, failure.message)
        outcome.retry(retry_seconds if failure.retry_after is None else failure.retry_after)

    def _crash_wait(
        self, pod: Object, container: Object, previous: ContainerStatus, key: tuple[str, str], outcome: Outcome
    ) -> bool:
        """Whether the container must wait before it is started again (CrashLoopBackOff)."""
        ended = previous.finished_at / 1e9
        remaining = self._backoff.remaining(key, ended)
        if remaining > 0:
            name = container["name"]
            note_container(
                self._kit.recorder,
                pod,
                name,
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {name} in pod {describe(pod)}",
            )
            delay = go_duration(self._backoff.current(key))
            text = f"back-off {delay} restarting failed container={name} pod={describe(pod)}"
            outcome.problems[name] = Problem("CrashLoopBackOff", text)
            outcome.retry(remaining)
            return True
        self._backoff.advance(key, ended)
        return False

    async def _make_and_start(
        self,
        pod: Object,
        role: Role,
        container: Object,
        previous: ContainerStatus | None,
        config: SandboxConfig,
        sandbox: SandboxStatus,
        secrets: list[Object],
        state: PodState,
    ) -> None:
        kit, name = self._kit, container["name"]

        def note(type: str, reason: str, message: str) -> None:
            note_container(kit.recorder, pod, name, type, reason, message)

        begin = kit.clock.monotonic()
        try:
            pulled = await kit.images.ensure(pod, container, secrets, config, note)
        finally:
            self.pull_seconds += kit.clock.monotonic() - begin
        ips = kit.node.host_ips if host_network(pod) else sandbox.ips
        target = state.newest(container.get("targetContainerName") or "") if role is Role.EPHEMERAL else None
        making = Making(
            pod,
            container,
            await self._attempt_of(pod, name, previous),
            pulled.reference,
            pulled.image,
            tuple(ips),
            kit.volumes.of(uid_of(pod)),
            target.container.id if target else "",
        )
        try:
            wanted = await container_config(kit, making, self._wake)
        except (ConfigProblem, VolumeProblem, OSError) as problem:
            raise _StartFailure("CreateContainerConfigError", str(problem)) from problem
        except ApiError as error:
            raise _StartFailure("CreateContainerConfigError", error.message) from error
        async with self._gate:
            made = await self._create(sandbox, wanted, config)
            note("Normal", "Created", "Container created")
            await self._run(made)
        note("Normal", "Started", "Container started")
        kit.metrics.started_containers.labels(metric_type(role)).inc()
        await asyncio.to_thread(_link_log, kit.settings.pod_logs_dir, pod, config.log_directory, wanted, made)
        await self._post_start(pod, container, made, ips[0] if ips else "")

    async def _attempt_of(self, pod: Object, name: str, previous: ContainerStatus | None) -> int:
        if previous is not None:
            return restart_count(previous) + 1
        # Containers that are gone from the runtime still count by the logs they left.
        folder = log_directory(self._kit.settings.pod_logs_dir, pod) / name
        return await asyncio.to_thread(_next_attempt, folder)

    async def _create(self, sandbox: SandboxStatus, wanted: ContainerConfig, config: SandboxConfig) -> str:
        try:
            return await self._kit.runtime.create_container(sandbox.sandbox.id, wanted, config)
        except RuntimeFailure as failure:
            raise _StartFailure("CreateContainerError", failure.message) from failure

    async def _run(self, id: str) -> None:
        try:
            await self._kit.runtime.start_container(id)
        except RuntimeFailure as failure:
            raise _StartFailure("RunContainerError", failure.message) from failure

    async def _post_start(self, pod: Object, container: Object, id: str, pod_ip: str) -> None:
        """Run the postStart hook; when it fails the container is ended again."""
        hook = (container.get("lifecycle") or {}).get("postStart")
        if not hook:
            return
        kit, name = self._kit, container["name"]
        try:
            target = Target(id, pod_ip, named_ports(container))
            await run_hook(hook, target, checker=kit.checker, clock=kit.clock)
        except HookFailure as failure:
            note_container(kit.recorder, pod, name, "Warning", "FailedPostStartHook", "PostStartHook failed")
            log.info("postStart hook failed", extra={"container": name, "error": str(failure)})
            status = await kit.runtime.container_status(id)
            await kill_container(
                kit, pod, status, grace_seconds=grace_seconds(pod), message="FailedPostStartHook", pod_ip=pod_ip
            )
            raise _StartFailure("PostStartHookError", "PostStartHook failed") from failure


class _StartFailure(Exception):
    """A container could not be started: the reason and message of its waiting state."""

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def event(self) -> str:
        return self.message or self.reason


def _attempt(plan: Plan, state: PodState) -> int:
    if plan.create_sandbox or not state.sandboxes:
        return plan.sandbox_attempt
    return state.sandboxes[0].sandbox.identity.attempt


def type_in_metrics(pod: Object, name: str) -> str:
    """What metrics call a container's type; one that the pod does not have (any more) is an ordinary one."""
    found = (role for role in Role if any(item.get("name") == name for item in containers(pod, role)))
    return metric_type(next(found, Role.REGULAR))


def metric_type(role: Role) -> str:
    return {Role.INIT: "init_container", Role.REGULAR: "container", Role.EPHEMERAL: "ephemeral_container"}[role]


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _make_log_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o755)


def _next_attempt(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    attempts = [int(item.name.split(".", 1)[0]) for item in folder.iterdir() if item.name.split(".", 1)[0].isdigit()]
    return max(attempts, default=-1) + 1


def legacy_log_link(logs: Path, pod: Object, container: str, id: str) -> Path:
    """``/var/log/containers/<pod>_<namespace>_<container>-<id>.log``, where log collectors look."""
    return logs.parent / "containers" / f"{name_of(pod)}_{namespace_of(pod)}_{container}-{id}.log"


def _link_log(logs: Path, pod: Object, directory: str, config: ContainerConfig, id: str) -> None:
    """Make the link; only below the usual ``/var/log/pods``, which is the place that collectors know."""
    if logs.name != "pods":
        return
    link = legacy_log_link(logs, pod, config.name, id)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path(directory) / config.log_path)
