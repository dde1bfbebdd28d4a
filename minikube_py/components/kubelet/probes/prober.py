"""Probes of one pod's containers: one task for each probe, results by container id.

A probe begins when its container runs, waits its initial delay, then repeats; a result counts once
its threshold is reached. While a startup probe has not passed, liveness and readiness wait. A change
of a result calls ``wake``. Before the first result liveness counts as good, readiness as bad,
startup as not yet. A failed liveness or startup probe ends its task: the container will be replaced.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.events import note_container
from minikube_py.components.kubelet.pods.model import Role, all_containers, host_network, is_sidecar
from minikube_py.components.kubelet.pods.plan import ProbeView
from minikube_py.components.kubelet.pods.state import PodState
from minikube_py.components.kubelet.probes.checks import Outcome, Result, Target, named_ports
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus
from minikube_py.machinery.objects import Object, name_of, namespace_of, uid_of

KINDS = ("startup", "liveness", "readiness")
_LABELS = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}
settling_seconds = 10.0
"""A kubelet that has just started spreads its probes over at most this time (or a period)."""


@dataclass(slots=True)
class _Results:
    """Written by the probe tasks."""

    live: dict[str, bool] = field(default_factory=dict)
    ready: dict[str, bool] = field(default_factory=dict)
    started: dict[str, bool] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, bool]:
        return {"startup": self.started, "liveness": self.live, "readiness": self.ready}[kind]


class Probes:
    """All probes of one pod; ``follow`` is called by its worker after every look at the runtime."""

    def __init__(self, kit: Kit, group: asyncio.TaskGroup, wake: Callable[[], None], *, previous: Object) -> None:
        self._kit = kit
        self._group = group
        self._wake = wake
        self._previous = {
            str(item.get("containerID") or "").partition("://")[2]: item
            for role in Role
            for item in previous.get(role.statuses) or ()
        }
        """API statuses by container id from before this kubelet started."""
        self._results = _Results()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._started: dict[str, asyncio.Event] = {}

    def view(self) -> ProbeView:
        """The results as they are now."""
        results = self._results
        return ProbeView(dict(results.live), dict(results.ready), dict(results.started))

    def follow(self, pod: Object, state: PodState, *, ending: bool = False) -> None:
        """Probe the containers that run now, and no others; only readiness when the pod is ending."""
        running = {
            item.container.id: item for item in state.containers if item.container.state is ContainerState.RUNNING
        }
        for (probed, kind), task in list(self._tasks.items()):
            if probed not in running or (ending and kind != "readiness"):
                task.cancel()
                del self._tasks[(probed, kind)]
        for results in (self._results.live, self._results.ready, self._results.started):
            for gone in results.keys() - running.keys():
                del results[gone]
        for gone in self._started.keys() - running.keys():
            del self._started[gone]
        if ending:
            return
        ips = self._kit.node.host_ips if host_network(pod) else state.ips
        for role, container in all_containers(pod):
            status = state.newest(container["name"])
            if status is None or status.container.id not in running:
                continue
            if role is Role.REGULAR or is_sidecar(role, container):
                self._probe_container(pod, container, status, ips[0] if ips else "")

    def stop(self) -> None:
        """End every probe."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _probe_container(self, pod: Object, container: Object, status: ContainerStatus, pod_ip: str) -> None:
        own_id = status.container.id
        if not any((own_id, kind) in self._tasks for kind in KINDS):
            self._carry_over(container, own_id)
        target = Target(own_id, pod_ip, named_ports(container))
        for kind in KINDS:
            probe = container.get(f"{kind}Probe")
            if (
                probe is None
                or (own_id, kind) in self._tasks
                or (kind == "startup" and self._results.started.get(own_id))
            ):
                continue
            gate = self._started.setdefault(own_id, asyncio.Event())
            if "startupProbe" not in container or self._results.started.get(own_id):
                gate.set()
            run = self._repeat(pod, container, kind, probe, target, status.started_at / 1e9, gate)
            name = f"{kind}-{name_of(pod)}-{container['name']}"
            self._tasks[(own_id, kind)] = self._group.create_task(run, name=name)

    def _carry_over(self, container: Object, own_id: str) -> None:
        """A container that was ready before the kubelet restarted stays so until a probe says otherwise."""
        before = self._previous.get(own_id)
        if before is None:
            return
        if before.get("ready") and "readinessProbe" in container:
            self._results.ready.setdefault(own_id, True)
        if before.get("started") and "startupProbe" in container:
            self._results.started.setdefault(own_id, True)

    async def _repeat(
        self,
        pod: Object,
        container: Object,
        kind: str,
        probe: Object,
        target: Target,
        started_at: float,
        gate: asyncio.Event,
    ) -> None:
        """Probe for as long as it makes sense; ends by cancellation or with a final result."""
        clock, own_id = self._kit.clock, target.container_id
        period = float(probe.get("periodSeconds") or 10)
        if own_id in self._previous and clock.now() - started_at > settling_seconds:
            await clock.sleep(random.uniform(0, min(period, settling_seconds)))
        if kind != "startup":
            await gate.wait()
        await clock.sleep(started_at + float(probe.get("initialDelaySeconds") or 0) - clock.now())
        good, bad = int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3)
        results, streak, last = self._results.of(kind), 0, None
        while True:
            begin = clock.monotonic()
            result = await self._check(pod, container, kind, probe, target)
            streak = streak + 1 if result.passed is last else 1
            last = result.passed
            if streak >= (good if last else bad) and results.get(own_id) is not last:
                results[own_id] = last
                if kind == "startup" and last:
                    gate.set()
                self._wake()
                if kind == "startup" or (kind == "liveness" and not last):
                    return
            await clock.sleep(period - (clock.monotonic() - begin))

    async def _check(self, pod: Object, container: Object, kind: str, probe: Object, target: Target) -> Result:
        timeout = float(probe.get("timeoutSeconds") or 1)
        result = await self._kit.checker.check(probe, target, timeout)
        name = container["name"]
        outcome = {Outcome.SUCCESS: "successful", Outcome.FAILURE: "failed", Outcome.WARNING: "successful"}
        self._kit.metrics.probes.labels(
            _LABELS[kind], outcome[result.outcome], name, name_of(pod), namespace_of(pod), uid_of(pod)
        ).inc()
        if result.outcome is Outcome.FAILURE:
            text = f"{_LABELS[kind]} probe failed: {result.text}"
            note_container(self._kit.recorder, pod, name, "Warning", "Unhealthy", text)
        elif result.outcome is Outcome.WARNING:
            text = f"{_LABELS[kind]} probe warning: {result.text}"
            note_container(self._kit.recorder, pod, name, "Warning", "ProbeWarning", text)
        return result
