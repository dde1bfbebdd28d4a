"""The scheduler component: follows pods and nodes, decides one pod after the other, binds in parallel.

The decision is synchronous; reserving, volume binding and the binding itself run in a task of
their own, so that slow volumes hold up nobody. State lives in the cache and the queue; a restart
starts from what the API says.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from minikube_py.client.types import Client, DeleteOptions, EventRecorder, PatchType
from minikube_py.components.scheduler import cycle, preemption
from minikube_py.components.scheduler.cache import Cache
from minikube_py.components.scheduler.framework import (
    NO_EVENT,
    SUCCESS,
    ClusterEvent,
    CycleState,
    Plugin,
    Status,
    summary,
)
from minikube_py.components.scheduler.nominations import Nominations
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.components.scheduler.profile import Profile, default_profile
from minikube_py.components.scheduler.queue import QueuedPod, SchedulingQueue
from minikube_py.components.scheduler.watching import start_watching
from minikube_py.machinery import resources
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, labels_of, name_of, namespace_of
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

most_bindings_at_once = 100
yield_after_decisions = 20
"""Decisions in a row without an await would hold the loop: let others run after so many."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """``seed`` fixes the choice between equal nodes (tests); ``plugins`` are added to the default ones."""

    seed: int | None = None
    plugins: Sequence[Plugin] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    """Of the scores among ``plugins``, by name."""


class Metrics:
    """kube-scheduler's names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "scheduler_schedule_attempts_total", "Scheduling attempts", ["result", "profile"], registry=registry
        )
        self.duration = Histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling latency",
            ["result", "profile"],
            registry=registry,
        )
        self.preemptions = Counter("scheduler_preemption_attempts_total", "Preemptions", registry=registry)
        self.pending = Gauge("scheduler_pending_pods", "Pending pods", ["queue"], registry=registry)

    def forget(self, registry: CollectorRegistry) -> None:
        """Give the names free: the component may be started again in this process."""
        for metric in (self.attempts, self.duration, self.preemptions, self.pending):
            registry.unregister(metric)


class Scheduler:
    """Ties queue, cache and profile together."""

    def __init__(
        self,
        client: Client,
        profiles: Mapping[str, Profile],
        cache: Cache,
        queue: SchedulingQueue,
        nominations: Nominations,
        clock: Clock,
        recorder: EventRecorder,
        metrics: Metrics,
        choose: random.Random,
    ) -> None:
        self._client = client
        self.profiles = profiles
        self._cache = cache
        self._queue = queue
        self._nominations = nominations
        self._clock = clock
        self._recorder = recorder
        self._metrics = metrics
        self._choose = choose
        self._budgets = client.informer(resources.POD_DISRUPTION_BUDGETS)
        self._start = 0
        self._slots = asyncio.Semaphore(most_bindings_at_once)

    async def run(self) -> None:
        """Schedule until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            decisions = 0
            while True:
                queued = await self._queue.pop()
                await self._slots.acquire()
                task = tasks.create_task(self._attempt(queued))
                task.add_done_callback(lambda _: self._slots.release())
                decisions += 1
                if decisions % yield_after_decisions == 0:
                    await asyncio.sleep(0)

    async def _attempt(self, queued: QueuedPod) -> None:
        """One pod: decide, then bind or put it back. Never raises an ApiError."""
        pod, profile = queued.pod, self.profiles[queued.pod.scheduler_name]
        started = self._clock.monotonic()
        try:
            result = await self._schedule(queued, pod, profile)
        except ApiError as error:
            result = "error"
            self._cache.forget(pod.uid)
            if is_not_found(error) or is_conflict(error):
                # gone, or bound or deleted by somebody else: the pod's own events say how it goes on
                self._queue.done(pod.uid)
            else:
                log.warning("cannot schedule", extra={"pod": pod.key, "error": error.message})
                self._queue.requeue(queued, ~NO_EVENT, error=True)
        self._metrics.attempts.labels(result, profile.name).inc()
        self._metrics.duration.labels(result, profile.name).observe(self._clock.monotonic() - started)
        for place, count in self._queue.counts().items():
            self._metrics.pending.labels(place).set(count)

    async def _schedule(self, queued: QueuedPod, pod: PodInfo, profile: Profile) -> str:
        nodes = self._cache.schedulable()
        decision = cycle.decide(
            profile, pod, nodes, start=self._start, choose=self._choose, ahead=self._nominations.ahead
        )
        self._start = (self._start + decision.evaluated) % max(1, len(nodes))
        if decision.node is None:
            await self._turn_away(queued, profile, decision, len(nodes))
            return "unschedulable"
        self._cache.assume(pod, decision.node.name)
        if self._nominations.node_of(pod.uid) not in ("", decision.node.name):
            self._queue.happened(ClusterEvent.POD_DELETED)  # the room that was made for it is free for others
        self._nominations.drop(pod.uid)
        failed = await self._bind(pod, profile, decision.state, decision.node.name)
        if failed is not None:
            self._cache.forget(pod.uid)
            self._queue.happened(ClusterEvent.POD_DELETED)
            self._queue.requeue(queued, self._events_of(profile, frozenset({failed.plugin})), error=True)
            return "unschedulable"
        self._queue.done(pod.uid)
        self._recorder.event(
            pod.object, "Normal", "Scheduled", f"Successfully assigned {pod.key} to {decision.node.name}"
        )
        return "scheduled"

    async def _bind(self, pod: PodInfo, profile: Profile, state: CycleState, node_name: str) -> Status | None:
        """Reserve, pre-bind, bind; the status of what refused, or None. Raises ApiError."""
        node = self._cache.nodes[node_name]
        for plugin in profile.reserve:
            status = plugin.reserve(state, pod, node)
            if not status.ok:
                self._unreserve(pod, profile, state, node_name)
                return status
        try:
            status = await self._pre_bind(pod, profile, state, node_name)
            if not status.ok:
                self._unreserve(pod, profile, state, node_name)
                return status
            await self._client.create(
                resources.PODS, _binding(pod, node_name), pod.namespace, name=name_of(pod.object), subresource="binding"
            )
        except ApiError:
            self._unreserve(pod, profile, state, node_name)
            raise
        return None

    async def _pre_bind(self, pod: PodInfo, profile: Profile, state: CycleState, node_name: str) -> Status:
        """The first refusal, or success. A pod that waits for its volumes leaves its slot to others meanwhile."""
        waits = any(plugin.waits(state, node_name) for plugin in profile.waiting)
        if waits:
            self._slots.release()
        try:
            for plugin in profile.pre_bind:
                status = await plugin.pre_bind(state, pod, node_name)
                if not status.ok:
                    return status
            return SUCCESS
        finally:
            if waits:
                await self._slots.acquire()

    def _unreserve(self, pod: PodInfo, profile: Profile, state: CycleState, node_name: str) -> None:
        node = self._cache.nodes.get(node_name)
        if node is not None:
            for plugin in reversed(profile.reserve):
                plugin.unreserve(state, pod, node)

    async def _turn_away(self, queued: QueuedPod, profile: Profile, decision: cycle.Decision, nodes: int) -> None:
        """Say why the pod fits nowhere, try preemption, wait for an event that may help."""
        pod = queued.pod
        message = summary(nodes, decision.rejections) if nodes else "no nodes available to schedule pods"
        why_not, victims = self._choose_victims(pod, profile, decision) if nodes else ("", None)
        waits_for = self._events_of(profile, decision.rejected_by) | ClusterEvent.NODE_ADDED
        if victims is None:
            if nodes:
                message += f" preemption: {why_not}"
            self._queue.requeue(queued, waits_for)
        else:
            self._queue.requeue(queued, waits_for | ClusterEvent.POD_DELETED)
        self._recorder.event(pod.object, "Warning", "FailedScheduling", message)
        await self._report(pod, message, self._nominations.node_of(pod.uid))
        if victims is not None:
            self._metrics.preemptions.inc()
            await self._evict(pod, victims)

    def _choose_victims(
        self, pod: PodInfo, profile: Profile, decision: cycle.Decision
    ) -> tuple[str, preemption.Victims | None]:
        """Who must go for the pod, which is then nominated to their node; or why nobody goes."""
        why_not = preemption.ineligible(pod, self._cache.nodes.get(self._nominations.node_of(pod.uid)))
        if why_not:
            return why_not, None
        nodes, budgets = self._cache.schedulable(), self._budgets.list()
        ahead = self._nominations.ahead
        victims = preemption.find_victims(profile, pod, nodes, decision.rejections, budgets, ahead)
        self._nominations.put(pod, victims.node if victims else "")
        return _no_preemption(len(nodes), decision), victims

    def _events_of(self, profile: Profile, names: frozenset[str]) -> ClusterEvent:
        events = NO_EVENT
        for plugin in profile.plugins:
            if plugin.name in names:
                events |= plugin.events
        return events

    async def _report(self, pod: PodInfo, message: str, nominated: str) -> None:
        """Write the PodScheduled condition (and the nominated node) when it says something new."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        status = pod.object.get("status") or {}
        current: Object = next((c for c in status.get("conditions") or [] if c.get("type") == "PodScheduled"), {})
        same = all(current.get(key) == value for key, value in condition.items())
        if same and (status.get("nominatedNodeName") or "") == nominated:
            return
        now = rfc3339(self._clock.now())
        transition = current.get("lastTransitionTime") if current.get("status") == "False" else now
        content: Object = {"conditions": [{**condition, "lastProbeTime": None, "lastTransitionTime": transition}]}
        if nominated or status.get("nominatedNodeName"):
            content["nominatedNodeName"] = nominated or None
        await self._client.patch(
            resources.PODS,
            name_of(pod.object),
            {"status": content},
            pod.namespace,
            patch_type=PatchType.STRATEGIC,
            subresource="status",
        )

    async def _evict(self, pod: PodInfo, victims: preemption.Victims) -> None:
        for victim in victims.pods:
            self._recorder.event(
                victim.object, "Normal", "Preempted", f"Preempted by pod {pod.uid} on node {victims.node}"
            )
            try:
                if not is_deleting(victim.object):
                    await self._disrupt(victim, pod.scheduler_name)
                await self._client.delete(
                    resources.PODS,
                    name_of(victim.object),
                    victim.namespace,
                    options=DeleteOptions(precondition_uid=victim.uid),
                )
            except ApiError as error:
                if not (is_not_found(error) or is_conflict(error)):
                    raise

    async def _disrupt(self, victim: PodInfo, scheduler_name: str) -> None:
        """Tell the pod's owner, by a condition, that the pod did not fail by itself."""
        condition: Object = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{scheduler_name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": rfc3339(self._clock.now()),
        }
        generation = victim.object["metadata"].get("generation")
        if generation:
            condition["observedGeneration"] = generation
        await self._client.patch(
            resources.PODS,
            name_of(victim.object),
            {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}},
            victim.namespace,
            patch_type=PatchType.STRATEGIC,
            subresource="status",
        )


def _binding(pod: PodInfo, node_name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name_of(pod.object), "namespace": namespace_of(pod.object), "uid": pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node_name},
    }


def _no_preemption(nodes: int, decision: cycle.Decision) -> str:
    """Why preemption did not help, in kube-scheduler's words."""
    helpless = sum(1 for status in decision.rejections.values() if status.code.value != "Unschedulable")
    parts = []
    if helpless:
        parts.append(f"{helpless} Preemption is not helpful for scheduling")
    if nodes - helpless:
        parts.append(f"{nodes - helpless} No preemption victims found for incoming pod")
    return f"0/{nodes} nodes are available: {', '.join(parts)}."


async def run_scheduler(
    client: Client,
    settings: SchedulerSettings,
    clock: Clock,
    recorder: EventRecorder,
    registry: CollectorRegistry,
    ready: Callable[[], None],
) -> None:
    """Schedule pods until cancelled."""
    namespaces = client.informer(resources.NAMESPACES)

    def namespace_labels(name: str) -> Mapping[str, str]:
        namespace = namespaces.get(name)
        return labels_of(namespace) if namespace is not None else {}

    profile = default_profile(client, namespace_labels, further=settings.plugins, weights=settings.weights)
    cache, queue, nominations, metrics = Cache(), SchedulingQueue(clock), Nominations(), Metrics(registry)
    try:
        chooser = random.Random(settings.seed)
        profiles = {profile.name: profile}
        scheduler = Scheduler(client, profiles, cache, queue, nominations, clock, recorder, metrics, chooser)
        stop_watching = await start_watching(client, profiles, cache, queue, nominations)
        try:
            ready()
            await scheduler.run()
        finally:
            stop_watching()
    finally:
        metrics.forget(registry)
