"""The loop of Jobs.

Watches: Jobs and pods. Writes: pods, the Job's status. Holds: every pod is counted once
(``counting``); Complete or Failed is written only when no pod runs or is on its way out any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.expectations import Expectations
from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.batches import all_at_once, slow_start
from minikube_py.components.controllers.claims import claim
from minikube_py.components.controllers.job.counting import TRACKING, is_tracked, tally
from minikube_py.components.controllers.job.drafts import pod_draft
from minikube_py.components.controllers.job.indexes import index_of
from minikube_py.components.controllers.job.planning import (
    Plan,
    Situation,
    Verdict,
    failures_of,
    is_over,
    is_suspended,
    plan,
    sort_out,
    until_deadline,
    verdict,
)
from minikube_py.components.controllers.job.policies import counts_as_failed, creation_wait, failure_rule
from minikube_py.components.controllers.job.status import status_of
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.components.controllers.pods import (
    ExpectedPods,
    index_by_controller,
    is_active,
    orphans,
    owned,
    phase_of,
)
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    resource_version_of,
    split_key,
    uid_of,
)
from minikube_py.machinery.owners import controller_of
from minikube_py.machinery.resources import JOBS, PODS
from minikube_py.machinery.selectors import selector_from_label_selector


class JobController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._jobs = kit.client.informer(JOBS)
        self._pods = kit.client.informer(PODS)
        index_by_controller(self._pods)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="job")
        self._expectations = Expectations(kit.clock)

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit, "job", self._queue, self.reconcile, (self._jobs, self._on_job), (self._pods, self._on_pod)
        )

    def _on_job(self, type: EventType, job: Object, old: Object | None) -> None:
        self._queue.add(key_of(job))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        reference = controller_of(pod)
        if reference is None or reference.get("kind") != "Job":
            return
        key = f"{namespace_of(pod)}/{reference.get('name')}"
        if type is EventType.ADDED:
            self._expectations.creation_seen(key)
        if type is EventType.DELETED or is_deleting(pod):
            self._expectations.deletion_seen(key, uid_of(pod))
        self._queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """Bring one Job up to date; seconds until its deadline or the end of its back-off."""
        namespace, name = split_key(key)
        job = self._jobs.get(name, namespace)
        if job is None:
            self._expectations.forget(key)
            await self._release_orphans(namespace, name)
            return None
        if job["spec"].get("managedBy") not in (None, "kubernetes.io/job-controller"):
            return None
        pods = await self._claim(job)
        if is_over(job) or is_deleting(job):
            await self._release(pods if is_over(job) else [pod for pod in pods if not is_active(pod)])
            return None
        return await self._advance(key, job, pods)

    async def _advance(self, key: str, job: Object, pods: Sequence[Object]) -> float | None:
        now = self._kit.clock.now()
        counts = tally(job, pods, lambda pod: counts_as_failed(job, pod), ignored=_ignored(job, pods))
        now_is = sort_out(job, pods, counts)
        ends = verdict(now_is, pods, now)
        wait, failure, planned = None, None, Plan()
        if self._expectations.satisfied(key):
            planned = Plan(delete=now_is.active) if ends is not None else plan(now_is, now)
            if planned.create:
                failed = [pod for pod in pods if phase_of(pod) == "Failed"]
                done = [pod for pod in pods if phase_of(pod) == "Succeeded"]
                wait = creation_wait(failed, done, now) or None
            if wait is not None:
                planned = Plan()
            failure = await self._apply(key, job, planned, pods)
        if planned.create or planned.delete:
            pods = list(owned(self._pods, job))
            now_is = sort_out(job, pods, counts)
        await self._write(now_is, ends, now)
        await self._release(counts.release)
        if failure is not None:
            raise failure
        waits = [each for each in (wait, until_deadline(self._jobs.get(*_name(job)) or job, now)) if each is not None]
        return max(0.0, min(waits)) if waits and ends is None else None

    async def _claim(self, job: Object) -> list[Object]:
        selector = selector_from_label_selector(job["spec"].get("selector"))
        return await claim(
            self._kit,
            owner=job,
            owner_resource=JOBS,
            child_resource=PODS,
            candidates=[*owned(self._pods, job), *orphans(self._pods, namespace_of(job))],
            matches=lambda pod: selector.matches(labels_of(pod)),
        )

    async def _write(self, now_is: Situation, ends: Verdict | None, now: float) -> None:
        job = now_is.job
        status, notes = status_of(now_is, ends, now)
        await write_status(self._kit, JOBS, job, status)
        for kind, reason, message in notes:
            self._kit.recorder.event(job, kind, reason, message)

    async def _apply(self, key: str, job: Object, planned: Plan, pods: Sequence[Object]) -> Exception | None:
        expected = ExpectedPods(self._kit, self._expectations, key, job)
        failure = await all_at_once(planned.delete, expected.delete)
        if failure is not None or not planned.create:
            return failure
        indexes: Sequence[int | None] = planned.indexes or [None] * planned.create
        drafts = [pod_draft(job, index, _past_failures(job, index, pods)) for index in indexes]
        _, failure = await slow_start(drafts, expected.create)
        return failure

    async def _release(self, pods: Sequence[Object]) -> None:
        """Take the tracking finalizer off counted pods."""
        failure = await all_at_once([pod for pod in pods if is_tracked(pod)], self._release_one)
        if failure is not None:
            raise failure

    async def _release_one(self, pod: Object) -> None:
        rest = [name for name in metadata(pod).get("finalizers") or () if name != TRACKING]
        guard = {"uid": uid_of(pod), "resourceVersion": resource_version_of(pod)}
        patch: Object = {"metadata": {**guard, "finalizers": rest or None}}
        try:
            await self._kit.client.patch(PODS, name_of(pod), patch, namespace_of(pod), options=WRITE)
        except ApiError as error:
            if not is_not_found(error):
                raise

    async def _release_orphans(self, namespace: str, job_name: str) -> None:
        """Pods of a Job that is gone must not be held by our finalizer."""
        left = [
            pod
            for pod in self._pods.list(namespace)
            if is_tracked(pod)
            and (controller_of(pod) or {}).get("name") == job_name
            and (controller_of(pod) or {}).get("kind") == "Job"
        ]
        await self._release(left)


def _name(job: Object) -> tuple[str, str]:
    return name_of(job), namespace_of(job)


def _ignored(job: Object, pods: Sequence[Object]) -> set[str]:
    """Failed pods that the pod failure policy does not count."""
    found: set[str] = set()
    for pod in pods:
        rule = failure_rule(job, pod) if phase_of(pod) == "Failed" else None
        if rule is not None and rule[0] == "Ignore":
            found.add(uid_of(pod))
    return found


def _past_failures(job: Object, index: int | None, pods: Sequence[Object]) -> int:
    """How often an index has failed so far (``backoffLimitPerIndex``)."""
    if index is None or job["spec"].get("backoffLimitPerIndex") is None or is_suspended(job):
        return 0
    ignored = _ignored(job, pods)
    counts = [
        failures_of(pod) + (0 if uid_of(pod) in ignored else 1)
        for pod in pods
        if index_of(pod) == index and counts_as_failed(job, pod)
    ]
    return max(counts, default=0)
