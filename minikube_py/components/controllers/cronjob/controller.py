"""The loop of CronJobs.

Watches: CronJobs and Jobs. Writes: Jobs, the status. Holds: one Job for each due time (its name is
made of the time, so a repeated attempt finds it), at most 100 missed times are made good by one run.
"""

from __future__ import annotations

from dataclasses import dataclass

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.cronjob.schedule import Schedule, parse_schedule
from minikube_py.components.controllers.job.planning import is_over
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.components.controllers.pods import index_by_controller, namespace_is_terminating, owned
from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    metadata,
    name_of,
    namespace_of,
    resource_version_of,
    split_key,
    thaw,
    uid_of,
)
from minikube_py.machinery.owners import controller_of, owner_reference
from minikube_py.machinery.resources import CRON_JOBS, JOBS
from minikube_py.machinery.times import parse_time, rfc3339

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
most_missed = 100


@dataclass(frozen=True, slots=True)
class Due:
    """The newest due time that has not been served (None: none), how many were missed, and the next one."""

    time: float | None
    missed: int
    next: float | None


def due_times(cron: Object, schedule: Schedule, now: float) -> Due:
    """Look at the time since the last run, or since the creation, but not beyond the starting deadline."""
    last = (cron.get("status") or {}).get("lastScheduleTime")
    since = parse_time(last or metadata(cron)["creationTimestamp"])
    deadline = cron["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - float(deadline))
    found: float | None = None
    missed, moment = 0, schedule.after(since)
    while moment is not None and moment <= now:
        found, missed = moment, missed + 1
        if missed > most_missed:
            # Too many to walk through: the newest one lies between here and now.
            step = max(60.0, (now - moment) / 2)
            ahead = schedule.after(now - step)
            moment = ahead if ahead is not None and moment < ahead <= now else schedule.after(moment)
        else:
            moment = schedule.after(moment)
    return Due(found, missed, moment)


def job_draft(cron: Object, moment: float) -> Object:
    """The Job of a due time; its name tells the minute."""
    template = cron["spec"].get("jobTemplate") or {}
    given = metadata(template)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name_of(cron)}-{int(moment) // 60}",
            "namespace": namespace_of(cron),
            "labels": dict(given.get("labels") or {}),
            "annotations": {**(given.get("annotations") or {}), SCHEDULED_AT: rfc3339(moment)},
            "ownerReferences": [owner_reference(cron, "batch/v1", "CronJob")],
        },
        "spec": thaw(template.get("spec") or {}),
    }


class CronJobController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._crons = kit.client.informer(CRON_JOBS)
        self._jobs = kit.client.informer(JOBS)
        index_by_controller(self._jobs)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="cronjob")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit, "cronjob", self._queue, self.reconcile, (self._crons, self._on_cron), (self._jobs, self._on_job)
        )

    def _on_cron(self, type: EventType, cron: Object, old: Object | None) -> None:
        self._queue.add(key_of(cron))

    def _on_job(self, type: EventType, job: Object, old: Object | None) -> None:
        reference = controller_of(job)
        if reference is not None and reference.get("kind") == "CronJob":
            self._queue.add(f"{namespace_of(job)}/{reference.get('name')}")

    async def reconcile(self, key: str) -> float | None:
        """Serve one CronJob; seconds until the next due time."""
        namespace, name = split_key(key)
        cron = self._crons.get(name, namespace)
        if cron is None or is_deleting(cron):
            return None
        status: Object = thaw(cron.get("status") or {})
        await self._tidy(cron, status)
        wait = await self._serve(cron, status)
        if not status.get("active"):
            status.pop("active", None)
        await write_status(self._kit, CRON_JOBS, self._crons.get(name, namespace) or cron, status)
        return wait

    async def _tidy(self, cron: Object, status: Object) -> None:
        """Bring the list of active Jobs up to date and delete old finished ones."""
        jobs = owned(self._jobs, cron)
        there = {uid_of(job): job for job in jobs}
        active: list[Object] = []
        for reference in status.get("active") or ():
            job = there.get(str(reference.get("uid")))
            if job is None:
                message = f"Active job went missing: {reference.get('name')}"
                self._kit.recorder.event(cron, "Normal", "MissingJob", message)
            elif is_over(job):
                state = "Complete" if _succeeded(job) else "Failed"
                message = f"Saw completed job: {name_of(job)}, condition: {state}"
                self._kit.recorder.event(cron, "Normal", "SawCompletedJob", message)
            else:
                active.append(reference)
        listed = {reference.get("uid") for reference in active}
        active += [_reference(job) for job in jobs if not is_over(job) and uid_of(job) not in listed]
        status["active"] = active
        finished = [
            str(job["status"]["completionTime"]) for job in jobs if (job.get("status") or {}).get("completionTime")
        ]
        if finished and max(finished) > str(status.get("lastSuccessfulTime") or ""):
            status["lastSuccessfulTime"] = max(finished)
        over = [job for job in jobs if is_over(job) and not is_deleting(job)]
        await self._forget(cron, [job for job in over if _succeeded(job)], "successfulJobsHistoryLimit", 3)
        await self._forget(cron, [job for job in over if not _succeeded(job)], "failedJobsHistoryLimit", 1)

    async def _forget(self, cron: Object, jobs: list[Object], limit_name: str, default: int) -> None:
        limit = int(cron["spec"].get(limit_name, default))
        jobs.sort(key=lambda job: (str((job.get("status") or {}).get("startTime") or ""), name_of(job)))
        for job in jobs[: max(0, len(jobs) - limit)]:
            await self._delete(cron, job)

    async def _serve(self, cron: Object, status: Object) -> float | None:
        spec, recorder, now = cron["spec"], self._kit.recorder, self._kit.clock.now()
        if spec.get("suspend"):
            return None
        try:
            schedule = parse_schedule(str(spec.get("schedule")), spec.get("timeZone"))
        except ValueError as error:
            recorder.event(cron, "Warning", "UnparseableSchedule", f"unparseable schedule: {error}")
            return None
        due = due_times(cron, schedule, now)
        wait = due.next - now if due.next is not None else None
        if due.missed > most_missed:
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            recorder.event(cron, "Warning", "TooManyMissedTimes", message)
        if due.time is None:
            return wait
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None and due.time + float(deadline) < now:
            recorder.event(
                cron, "Warning", "MissSchedule", f"Missed scheduled time to start a job: {rfc3339(due.time)}"
            )
            return wait
        if status["active"]:
            policy = spec.get("concurrencyPolicy", "Allow")
            if policy == "Forbid":
                message = "Not starting job because prior execution is running and concurrency policy is Forbid"
                recorder.event(cron, "Normal", "JobAlreadyActive", message)
                return wait
            if policy == "Replace":
                await self._replace(cron, status)
        await self._start(cron, status, due.time)
        return wait

    async def _replace(self, cron: Object, status: Object) -> None:
        for reference in status["active"]:
            job = self._jobs.get(str(reference.get("name")), namespace_of(cron))
            if job is not None:
                await self._delete(cron, job)
        status["active"] = []

    async def _start(self, cron: Object, status: Object, moment: float) -> None:
        draft = job_draft(cron, moment)
        try:
            job = await self._kit.client.create(JOBS, draft, namespace_of(cron), options=WRITE)
        except ApiError as error:
            if namespace_is_terminating(error):
                return
            if not is_already_exists(error):
                message = f"Error creating job: {error.message}"
                self._kit.recorder.event(cron, "Warning", "FailedCreate", message)
                raise
            job = await self._kit.client.get(JOBS, name_of(draft), namespace_of(cron))
            if (controller_of(job) or {}).get("uid") != uid_of(cron):
                raise
        else:
            self._kit.recorder.event(cron, "Normal", "SuccessfulCreate", f"Created job {name_of(job)}")
        if not is_over(job) and all(each.get("uid") != uid_of(job) for each in status["active"]):
            status["active"].append(_reference(job))
        status["lastScheduleTime"] = rfc3339(moment)

    async def _delete(self, cron: Object, job: Object) -> None:
        try:
            options = DeleteOptions(propagation_policy="Background", precondition_uid=uid_of(job))
            await self._kit.client.delete(JOBS, name_of(job), namespace_of(job), options=options)
        except ApiError as error:
            if not is_not_found(error):
                message = f"Deleted job: {error.message}"
                self._kit.recorder.event(cron, "Warning", "FailedDelete", message)
                raise
        else:
            self._kit.recorder.event(cron, "Normal", "SuccessfulDelete", f"Deleted job {name_of(job)}")


def _succeeded(job: Object) -> bool:
    return condition_is_true((job.get("status") or {}).get("conditions"), "Complete")


def _reference(job: Object) -> Object:
    return {
        "kind": "Job",
        "namespace": namespace_of(job),
        "name": name_of(job),
        "uid": uid_of(job),
        "apiVersion": "batch/v1",
        "resourceVersion": resource_version_of(job),
    }
