"""What one pod's worker tells the API: makes the status from what is known and has it written.

Keeps the last status that was made (which is the base of the next one) and the termination messages
of ended containers, each read once from its file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from minikube_py.client.types import Client
from minikube_py.components.kubelet.pods.container_status import Problem
from minikube_py.components.kubelet.pods.plan import NO_PROBES, ProbeView
from minikube_py.components.kubelet.pods.state import PodState
from minikube_py.components.kubelet.pods.status import StatusInput, Verdict, pod_status
from minikube_py.components.kubelet.pods.status_writer import StatusWriter
from minikube_py.components.kubelet.pods.termination import termination_message
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class Situation:
    """What the worker knows besides the pod and the runtime's state."""

    probes: ProbeView = NO_PROBES
    problems: Mapping[str, Problem] = field(default_factory=dict)
    applied: Mapping[str, Object] = field(default_factory=dict)
    verdict: Verdict | None = None
    ending: bool = False
    ended: bool = False


class Report:
    """The status of one pod, made by its worker and written by ``writer``'s task."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        status: Object,
        host_ips: tuple[str, ...],
        *,
        took: Callable[[float], None],
        ended: Callable[[ContainerStatus], None],
    ) -> None:
        """``took``: see ``StatusWriter``. ``ended`` is called once for each container that ends from now on."""
        self.status = status
        self.writer = StatusWriter(client, clock, took)
        self._ended = ended
        self._has_looked = False
        self._clock = clock
        self._host_ips = host_ips
        self._messages: dict[str, str] = {}

    async def read_messages(self, state: PodState) -> None:
        """Read the termination messages of containers that have ended since the last look."""
        for item in state.containers:
            if item.container.state is ContainerState.EXITED and item.container.id not in self._messages:
                self._messages[item.container.id] = await asyncio.to_thread(termination_message, item)
                if self._has_looked:
                    self._ended(item)
        self._has_looked = True
        known = {item.container.id for item in state.containers}
        for gone in self._messages.keys() - known:
            del self._messages[gone]

    def post(self, pod: Object, state: PodState, situation: Situation) -> None:
        """Make the status of the pod as it is now, and have it written."""
        self.status = pod_status(
            StatusInput(
                pod=pod,
                state=state,
                previous=self._previous(),
                now=self._clock.now(),
                host_ips=self._host_ips,
                probes=situation.probes,
                problems=situation.problems,
                messages=self._messages,
                applied=situation.applied,
                ending=situation.ending,
                ended=situation.ended,
                verdict=situation.verdict,
            )
        )
        self.writer.post(self.status)

    def started_at(self) -> str:
        """The status' startTime; empty before the first report."""
        return str(self.writer.known.get("startTime") or self.status.get("startTime") or "")

    def waiting_reason(self, name: str) -> str | None:
        """Why a container waits, as its status says; None when it does not wait."""
        for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            for item in self.status.get(key) or ():
                if item["name"] == name and "waiting" in item["state"]:
                    return str(item["state"]["waiting"].get("reason") or "")
        return None

    def _previous(self) -> Object:
        """The last status: what was posted last, with the conditions that others have set since."""
        known = self.writer.known
        if not self.status:
            return known
        own = {item["type"] for item in self.status.get("conditions") or ()}
        foreign = [item for item in known.get("conditions") or () if item.get("type") not in own]
        return {**known, **self.status, "conditions": [*(self.status.get("conditions") or ()), *foreign]}
