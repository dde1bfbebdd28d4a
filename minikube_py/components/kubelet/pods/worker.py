"""One pod's worker: the only task that acts on that pod (stages in ``lifecycle``).

It is woken by changes of the pod object, of ConfigMaps and Secrets it uses, of probe results, by
runtime events and by its own deadlines; otherwise it sleeps. Every sync reads the runtime anew,
decides (``plan``), acts (``execution``) and posts the status. What the runtime refuses is retried;
only cancellation ends a worker before its pod is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.cleanup import delete_object, forget_pod, free_node, prune_dead
from minikube_py.components.kubelet.pods.container_status import Problem
from minikube_py.components.kubelet.pods.events import note_pod
from minikube_py.components.kubelet.pods.execution import Execution, type_in_metrics
from minikube_py.components.kubelet.pods.kill import kill_containers, stop_sandboxes
from minikube_py.components.kubelet.pods.lifecycle import Stage, advance
from minikube_py.components.kubelet.pods.model import describe, grace_seconds, host_network, is_finished, spec_of
from minikube_py.components.kubelet.pods.plan import ProbeView, decide, names_in_spec
from minikube_py.components.kubelet.pods.report import Report, Situation
from minikube_py.components.kubelet.pods.resize import Applied, resize
from minikube_py.components.kubelet.pods.resources import pod_cgroup
from minikube_py.components.kubelet.pods.state import PodState, container_name, init_seconds, read_pod_state
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.components.kubelet.probes.prober import Probes
from minikube_py.components.kubelet.runtime.types import (
    ContainerStatus,
    EventKind,
    RuntimeEvent,
    RuntimeFailure,
    SandboxStatus,
)
from minikube_py.components.kubelet.volumes.volumes import MountFailure
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, is_deleting, metadata, name_of, uid_of
from minikube_py.machinery.times import parse_time

log = logging.getLogger(__name__)

retry_seconds = 2.0
mount_retry_seconds = 10.0
cleanup_retry_seconds = 1.0

Admit = Callable[[Object], Awaitable[Verdict | None]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pod comes from."""

    static: bool = False
    """From a file: its API object (the mirror) is not the worker's to delete."""
    orphan: bool = False
    """Found in the runtime only: it is ended and cleaned away."""


class PodWorker:
    """Keeps one pod as it should be. All fields are written on the event loop by ``run`` and the
    short, non-waiting methods below."""

    def __init__(
        self, kit: Kit, pod: Object, *, gate: asyncio.Semaphore, admit: Admit, origin: Origin = Origin()
    ) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.stage = Stage.SYNC
        self.state = PodState(self.uid)
        self.origin = origin
        self._kit = kit
        self._admit = admit
        self._woken = asyncio.Event()
        self._seen = asyncio.Event()
        """Set, and replaced by a new one, at every look at the runtime."""
        self._stopping = asyncio.Event()
        self._deleted = asyncio.Event()
        self._shorter = asyncio.Event()
        self._verdict: Verdict | None = None
        self._grace: int | None = None
        self._report = Report(
            kit.client,
            kit.clock,
            pod.get("status") or {},
            kit.node.host_ips,
            took=kit.metrics.status_sync_seconds.observe,
            ended=self._count_ended,
        )
        self._writer = self._report.writer
        self._execution = Execution(kit, gate, self.wake)
        self._applied = Applied(self.status)
        self._probes: Probes | None = None
        self._deadline: float | None = None
        self.admitted = False
        """Whether the node has let the pod in (or is about to end it for not letting it in)."""
        self._cgroup_made = False
        self._first_seen = kit.clock.monotonic()
        self._started_seen = (pod.get("status") or {}).get("phase") == "Running"
        self._problems: dict[str, Problem] = {}
        if not origin.static:
            self._writer.observe(pod)
        if is_deleting(pod) or origin.orphan:
            self.stop()

    @property
    def status(self) -> Object:
        """The status as the kubelet knows it (it may not be written yet)."""
        return self._report.status

    # -- what others may do to a worker; none of these waits --

    def wake(self) -> None:
        """Look at the pod again soon."""
        self._woken.set()

    def update(self, pod: Object) -> None:
        """The pod object has changed."""
        before, self.pod = self.pod, pod
        if not self.origin.static:
            self._writer.observe(pod)
        if is_deleting(pod):
            self.stop(grace_seconds(pod))
        if _matters(before, pod):
            self._woken.set()

    def observe_mirror(self, mirror: Object) -> None:
        """The API's picture of this static pod has changed."""
        self._writer.observe(mirror)

    def removed(self) -> None:
        """The pod object is gone (or the static pod's file): end the pod."""
        if not self.origin.static:
            self._writer.gone = True
            self._writer.wake()
        self._deleted.set()
        self.stop()

    def stop(self, grace: int | None = None) -> None:
        """Begin to end the pod; a grace shorter than the one under way takes effect at once."""
        if grace is not None and (self._grace is None or grace < self._grace):
            if self._grace is not None:
                self._shorter.set()
            self._grace = grace
        self._stopping.set()
        self._woken.set()

    def evict(self, verdict: Verdict, grace: int | None = None) -> None:
        """End the pod as Failed for the node's own reasons."""
        if self._verdict is None:
            self._verdict = verdict
        self.stop(grace)

    def on_event(self, event: RuntimeEvent) -> None:
        """A runtime event about this pod; what is known already wakes nobody."""
        if event.kind is EventKind.CREATED:
            return
        if event.kind is EventKind.STARTED and self.state.knows_running(event.container_id):
            return
        if event.kind in (EventKind.STOPPED, EventKind.DELETED) and self.state.knows_ended(event.container_id):
            return
        self._woken.set()

    # -- what others may ask --

    def waiting_reason(self, name: str) -> str | None:
        """Why a container waits, as its status says; None when it does not wait."""
        return self._report.waiting_reason(name)

    def container_names(self) -> frozenset[str]:
        return names_in_spec(self.pod)

    async def container_ended(self, container_id: str) -> None:
        """Return once the container does not run any more (or the pod is gone)."""
        while self.stage is not Stage.GONE and any(item.container.id == container_id for item in self.state.alive):
            await self._seen.wait()

    # -- the life of the pod --

    async def run(self) -> None:
        """Live until nothing of the pod is left on the node."""
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._writer.run(), name=f"status-{name_of(self.pod)}")
            self._probes = Probes(self._kit, group, self.wake, previous=self.status)
            try:
                await self._live()
                self.stage = advance(self.stage, Stage.TERMINATING)
                await self._terminate()
                self.stage = advance(self.stage, Stage.TERMINATED)
                await self._rest()
                self.stage = advance(self.stage, Stage.GONE)
            finally:
                self._tell_seen()
                self._probes.stop()
                writing.cancel()

    async def _live(self) -> None:
        """Stage SYNC: sync whenever woken, until the pod is to end or has finished."""
        if is_finished(self.pod) and not self.origin.orphan:
            return
        self._kit.metrics.worker_start_seconds.observe(self._kit.clock.monotonic() - self._first_seen)
        while not self._stopping.is_set():
            self._woken.clear()
            self._deadline = None
            finished = await self._interruptible_sync()
            if finished or self._stopping.is_set():
                return
            await self._sleep()

    async def _interruptible_sync(self) -> bool:
        """One sync, given up as soon as the pod is to end. Whether the pod has finished by itself."""
        begin = self._kit.clock.monotonic()
        sync = asyncio.create_task(self._guarded_sync(), name=f"sync-{name_of(self.pod)}")
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({sync, stop}, return_when=asyncio.FIRST_COMPLETED)
            return sync.result() if sync.done() else False
        finally:
            for task in (sync, stop):
                task.cancel()
            await asyncio.gather(sync, stop, return_exceptions=True)
            self._kit.metrics.worker_seconds.labels("sync").observe(self._kit.clock.monotonic() - begin)

    async def _guarded_sync(self) -> bool:
        """A sync whose failures are logged and retried: no pod may take the kubelet down."""
        try:
            return await self._sync()
        except RuntimeFailure as failure:
            log.warning("pod sync failed", extra={"pod": describe(self.pod), "error": str(failure)})
        except (ApiError, OSError) as error:
            log.warning("pod sync failed", extra={"pod": describe(self.pod), "error": str(error)})
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("pod sync failed", extra={"pod": describe(self.pod)})
        self._wake_in(retry_seconds)
        return False

    async def _sync(self) -> bool:
        """Read, decide, act, report (``SyncPod``). Whether the pod has finished by itself."""
        pod, kit = self.pod, self._kit
        await self._read()
        if not self.admitted:
            self._verdict = self._verdict or await self._admission(pod)
            self.admitted = True
        if self._verdict is not None or self._past_deadline():
            self.stop()
            return False
        self._post()
        await self._prepare()
        if not await self._mount():
            return False
        plan = decide(pod, self.state, self._view())
        if plan.finished and not self.state.alive:
            return True
        outcome = await self._execution.carry_out(pod, plan, self.state, self._on_sandbox)
        self._problems = dict(outcome.problems)
        if outcome.retry_after is not None:
            self._wake_in(outcome.retry_after)
        resized = await resize(kit, pod, self.state, self._applied)
        if not plan.changes_nothing or resized:
            await self._read()
            self._post()
            self._observe_start()
            await prune_dead(kit, pod, self.state)
        elif outcome.problems:
            self._post()
        following = decide(pod, self.state, self._view())
        if following.finished and not self.state.alive:
            return True
        if not following.changes_nothing and not outcome.problems and outcome.retry_after is None:
            self._woken.set()
        refresh = kit.volumes.next_refresh(self.uid)
        if refresh is not None:
            self._wake_in(refresh - kit.clock.now())
        return False

    async def _admission(self, pod: Object) -> Verdict | None:
        """The node's own check, once, and only for pods that have not run here before."""
        if self.origin.static or self.state.sandboxes or self.state.containers:
            return None
        verdict = await self._admit(pod)
        if verdict is not None:
            note_pod(self._kit.recorder, pod, "Warning", verdict.reason, verdict.message)
        return verdict

    def _past_deadline(self) -> bool:
        """activeDeadlineSeconds, counted from the status' startTime."""
        allowed = spec_of(self.pod).get("activeDeadlineSeconds")
        started = self._report.started_at()
        if not allowed or not started:
            return False
        left = parse_time(started) + float(allowed) - self._kit.clock.now()
        if left > 0:
            self._wake_in(left)
            return False
        text = "Pod was active on the node longer than the specified deadline"
        note_pod(self._kit.recorder, self.pod, "Normal", "DeadlineExceeded", text)
        self._verdict = Verdict("DeadlineExceeded", text)
        return True

    async def _prepare(self) -> None:
        """The pod's cgroup and folder."""
        if self._cgroup_made:
            return
        settings = self._kit.settings
        group = pod_cgroup(self.pod, self.uid, settings.cgroup_root, pids=settings.pod_pids_limit)
        begin = self._kit.clock.monotonic()
        await asyncio.to_thread(self._kit.cgroups.ensure_pod, group)
        self._kit.metrics.cgroup_seconds.labels("create").observe(self._kit.clock.monotonic() - begin)
        await asyncio.to_thread(settings.pod_dir(self.uid).mkdir, parents=True, exist_ok=True, mode=0o750)
        self._cgroup_made = True

    async def _mount(self) -> bool:
        """Volumes in their desired state; False (and a time to try again) when some cannot be had."""
        ips = self._kit.node.host_ips if host_network(self.pod) else self.state.ips
        try:
            await self._kit.volumes.ensure(self.pod, pod_ips=tuple(ips), wake=self.wake)
        except MountFailure as failure:
            for text in failure.problems.values():
                note_pod(self._kit.recorder, self.pod, "Warning", "FailedMount", text)
            self._wake_in(mount_retry_seconds)
            # What runs already goes on, and is probed and reported as ever.
            return bool(self.state.containers)
        return True

    def _on_sandbox(self, sandbox: SandboxStatus) -> None:
        """A new sandbox is there: its address is reported before the containers start."""
        self.state = PodState(self.uid, (sandbox, *self.state.sandboxes), self.state.containers)
        self._post()

    async def _read(self) -> None:
        """Take in the runtime's state, termination messages of newly ended containers, and probe what runs."""
        self.state = await read_pod_state(self._kit.runtime, self.uid)
        self._tell_seen()
        self._applied.follow(self.pod, self.state)
        await self._report.read_messages(self.state)
        if self._probes is not None:
            self._probes.follow(self.pod, self.state, ending=self._stopping.is_set())

    def _tell_seen(self) -> None:
        seen, self._seen = self._seen, asyncio.Event()
        seen.set()

    def _view(self) -> ProbeView:
        assert self._probes is not None
        return self._probes.view()

    def _post(self, *, ended: bool = False) -> None:
        """Report the pod as it is now."""
        if self.origin.orphan:
            return
        situation = Situation(
            probes=self._view(),
            problems=self._problems,
            applied=self._applied.view(),
            verdict=self._verdict,
            ending=self._stopping.is_set(),
            ended=ended,
        )
        self._report.post(self.pod, self.state, situation)

    def _observe_start(self) -> None:
        if not self._started_seen and self.status.get("phase") == "Running":
            self._started_seen = True
            self._kit.metrics.pod_start_seconds.observe(self._kit.clock.monotonic() - self._first_seen)
            created = self.pod["metadata"].get("creationTimestamp")
            if created and not self.origin.static:
                total = self._kit.clock.now() - parse_time(created)
                self._kit.metrics.pod_start_total_seconds.observe(max(total, 0))
                spent = self._execution.pull_seconds + init_seconds(self.pod, self.state)
                self._kit.metrics.pod_start_sli_seconds.observe(max(total - spent, 0))

    def _count_ended(self, status: ContainerStatus) -> None:
        kind = type_in_metrics(self.pod, container_name(status))
        labels = (kind, str(status.exit_code), status.reason)
        self._kit.metrics.terminated_containers.labels(*labels).inc()

    def _wake_in(self, seconds: float) -> None:
        """Have the pod looked at again after this time at the latest."""
        moment = self._kit.clock.monotonic() + max(seconds, 0)
        self._deadline = moment if self._deadline is None else min(self._deadline, moment)

    async def _sleep(self) -> None:
        """Until woken or the next deadline."""
        if self._deadline is None:
            await self._woken.wait()
            return
        timer = asyncio.create_task(self._kit.clock.sleep(self._deadline - self._kit.clock.monotonic()))
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()
            await asyncio.gather(timer, woken, return_exceptions=True)

    async def _terminate(self) -> None:
        """Stage TERMINATING: end everything that runs; retried until it has."""
        self._stopping.set()
        begin = self._kit.clock.monotonic()
        while True:
            try:
                await self._read()
                self._problems = {}
                self._post()
                await self._kill_all()
                await stop_sandboxes(self._kit, self.state)
                await self._read()
                if not self.state.alive:
                    break
            except RuntimeFailure as failure:
                log.warning("cannot end pod", extra={"pod": describe(self.pod), "error": str(failure)})
            await self._kit.clock.sleep(cleanup_retry_seconds)
        self._kit.metrics.worker_seconds.labels("terminating").observe(self._kit.clock.monotonic() - begin)

    async def _kill_all(self) -> None:
        """End all containers; begun anew when the grace is shortened meanwhile."""
        while self.state.alive:
            self._shorter.clear()
            grace = self._grace if self._grace is not None else grace_seconds(self.pod)
            kill = asyncio.create_task(kill_containers(self._kit, self.pod, self.state, grace_seconds=max(grace, 1)))
            shorter = asyncio.create_task(self._shorter.wait())
            try:
                await asyncio.wait({kill, shorter}, return_when=asyncio.FIRST_COMPLETED)
                if kill.done():
                    kill.result()
                    return
            finally:
                kill.cancel()
                shorter.cancel()
                await asyncio.gather(kill, shorter, return_exceptions=True)
            await self._read()

    async def _rest(self) -> None:
        """Stage TERMINATED: final status, volumes and cgroup away, then wait to be deleted."""
        self._post(ended=True)
        await self._clean(lambda: free_node(self._kit, self.pod, self.uid))
        if not self.origin.orphan:
            await self._until_deletable()
            if not self._deleted.is_set():
                await self._writer.flush()
                if not self.origin.static:
                    await delete_object(self._kit, self.pod, self.uid, self._deleted)
        await self._clean(lambda: forget_pod(self._kit, self.pod, self.uid))

    async def _until_deletable(self) -> None:
        """Return once the pod is marked for deletion (or gone already). Its status is kept right meanwhile."""
        while not (self._deleted.is_set() or is_deleting(self.pod)):
            self._woken.clear()
            await self._woken.wait()

    async def _clean(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a clean-up step until it succeeds."""
        while True:
            try:
                await step()
                return
            except (RuntimeFailure, OSError) as error:
                log.info("cannot clean up pod", extra={"pod": describe(self.pod), "error": str(error)})
            await self._kit.clock.sleep(cleanup_retry_seconds)


def _matters(before: Object, after: Object) -> bool:
    """Whether a change of the pod object can change what is to be done; our own status writes cannot."""
    if spec_of(after).get("readinessGates"):
        return True
    keys = ("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "generation")
    old, new = metadata(before), metadata(after)
    return any(old.get(key) != new.get(key) for key in keys) or spec_of(before) != spec_of(after)
