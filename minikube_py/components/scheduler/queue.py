"""The scheduling queue: active, backing off, unschedulable.

Promises: the pod with the highest priority that has waited longest comes first; a pod is in one of
the three places or in the hands of the scheduler; a pod that was turned away comes back when an
event happens that one of the plugins that rejected it registered for (also when the event fell
into the very cycle that rejected it), after its back-off (1 s doubling to 10 s), or after five
minutes at the latest. Source: kube-scheduler's ``backend/queue``.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field

from minikube_py.components.scheduler.framework import ClusterEvent
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.clock import Clock

first_backoff_seconds = 1.0
longest_backoff_seconds = 10.0
longest_unschedulable_seconds = 300.0


@dataclass(slots=True)
class QueuedPod:
    """A pod that waits; written by the queue and, while popped, by the scheduler."""

    pod: PodInfo
    added: float
    attempts: int = 0
    gated: bool = False
    waits_for: ClusterEvent = field(default=ClusterEvent(0))
    """Events that may help; ``None``-like zero with ``attempts`` means an error: any event."""
    backoff_until: float = 0.0
    popped_at_event: int = 0


class SchedulingQueue:
    """Pods by uid in three places; one consumer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: list[tuple[int, float, int, str]] = []
        self._pods: dict[str, QueuedPod] = {}
        self._place: dict[str, str] = {}
        self._sequence = 0
        self._wake = asyncio.Event()
        self._events: list[ClusterEvent] = []
        self._events_dropped = 0
        self._in_flight: dict[str, QueuedPod] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def counts(self) -> dict[str, int]:
        """Pods by place, for the metric ``scheduler_pending_pods``."""
        found = {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0}
        for uid, place in self._place.items():
            found["gated" if self._pods[uid].gated else place] += 1
        return found

    def get(self, uid: str) -> QueuedPod | None:
        return self._pods.get(uid) or self._in_flight.get(uid)

    def add(self, pod: PodInfo, *, gated: bool = False) -> None:
        """A pod that needs a node, or a new revision of one."""
        known = self.get(pod.uid)
        if known is not None:
            known.pod = pod
            if pod.uid in self._pods and known.gated and not gated:
                known.gated = False
                self._activate(known)
            return
        queued = QueuedPod(pod, self._clock.monotonic(), gated=gated)
        self._pods[pod.uid] = queued
        if gated:
            self._place[pod.uid] = "unschedulable"
        else:
            self._activate(queued)

    def remove(self, uid: str) -> None:
        """The pod is bound or gone. Heap entries that are left over are skipped when popped.

        A pod that the scheduler has in hand is forgotten as well: its ``requeue`` does nothing.
        """
        self._in_flight.pop(uid, None)
        self._pods.pop(uid, None)
        self._place.pop(uid, None)

    async def pop(self) -> QueuedPod:
        """Wait for the next pod; it is the caller's until ``done`` or ``requeue``."""
        while True:
            self._end_backoffs()
            while self._active:
                _, _, _, uid = heapq.heappop(self._active)
                if self._place.get(uid) == "active":
                    queued = self._pods.pop(uid)
                    del self._place[uid]
                    queued.attempts += 1
                    queued.popped_at_event = self._events_dropped + len(self._events)
                    self._in_flight[uid] = queued
                    return queued
            await self._wait()

    async def _wait(self) -> None:
        """Until something is activated, or the next back-off or the five minutes end."""
        self._wake.clear()
        deadline = self._next_deadline()
        if deadline is None:
            await self._wake.wait()
            return
        waiting = asyncio.ensure_future(self._wake.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(max(0.0, deadline - self._clock.monotonic())))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()

    def _next_deadline(self) -> float | None:
        return min(
            (
                self._deadline(queued)
                for uid, queued in self._pods.items()
                if self._place[uid] != "active" and not queued.gated
            ),
            default=None,
        )

    def _deadline(self, queued: QueuedPod) -> float:
        if self._place[queued.pod.uid] == "backoff":
            return queued.backoff_until
        return queued.added + longest_unschedulable_seconds

    def _end_backoffs(self) -> None:
        now = self._clock.monotonic()
        for uid, queued in list(self._pods.items()):
            if self._place[uid] != "active" and not queued.gated and self._deadline(queued) <= now:
                self._activate(queued)

    def done(self, uid: str) -> None:
        """The popped pod needs no more scheduling."""
        self._in_flight.pop(uid, None)
        self._trim_events()

    def requeue(self, queued: QueuedPod, waits_for: ClusterEvent, *, error: bool = False) -> None:
        """The popped pod found no node (or an error happened): put it where it must wait."""
        uid = queued.pod.uid
        if self._in_flight.pop(uid, None) is None:
            return
        missed = self._events[max(0, queued.popped_at_event - self._events_dropped) :]
        self._trim_events()
        queued.waits_for = waits_for
        queued.added = self._clock.monotonic()
        delay = min(first_backoff_seconds * 2 ** (queued.attempts - 1), longest_backoff_seconds)
        queued.backoff_until = queued.added + delay
        self._pods[uid] = queued
        helped = any(event & waits_for for event in missed)
        self._place[uid] = "backoff" if error or helped else "unschedulable"
        self._wake.set()

    def happened(self, event: ClusterEvent) -> None:
        """The cluster changed: move the pods that it may help."""
        if self._in_flight:
            self._events.append(event)
        now = self._clock.monotonic()
        for uid, queued in self._pods.items():
            if self._place[uid] != "unschedulable" or queued.gated or not event & queued.waits_for:
                continue
            if queued.backoff_until <= now:
                self._activate(queued)
            else:
                self._place[uid] = "backoff"
                self._wake.set()

    def _activate(self, queued: QueuedPod) -> None:
        uid = queued.pod.uid
        self._place[uid] = "active"
        self._sequence += 1
        heapq.heappush(self._active, (-queued.pod.priority, queued.added, self._sequence, uid))
        self._wake.set()

    def _trim_events(self) -> None:
        """Forget events that no pod in flight can have missed."""
        if not self._in_flight:
            self._events_dropped += len(self._events)
            self._events.clear()
