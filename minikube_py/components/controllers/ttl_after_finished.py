"""Deletes Jobs ``ttlSecondsAfterFinished`` after their end (``pkg/controller/ttlafterfinished``)."""

from __future__ import annotations

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, key_of, name_of, namespace_of, split_key, uid_of
from minikube_py.machinery.resources import JOBS
from minikube_py.machinery.times import parse_time


def expiry(job: Object) -> float | None:
    """When the Job is to be deleted (Unix seconds); None while it runs or has no such wish."""
    ttl = (job.get("spec") or {}).get("ttlSecondsAfterFinished")
    if ttl is None or is_deleting(job):
        return None
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return parse_time(condition["lastTransitionTime"]) + int(ttl)
    return None


class TtlAfterFinishedController:
    """The loop; keys are Jobs."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._jobs = kit.client.informer(JOBS)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="ttl-after-finished")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit, "ttl-after-finished", self._queue, self.reconcile, (self._jobs, self._on_job), workers=2
        )

    def _on_job(self, type: EventType, job: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and expiry(job) is not None:
            self._queue.add(key_of(job))

    async def reconcile(self, key: str) -> float | None:
        """Delete the Job if its time is over; else the seconds until then."""
        namespace, name = split_key(key)
        job = self._jobs.get(name, namespace)
        moment = expiry(job) if job is not None else None
        if job is None or moment is None:
            return None
        left = moment - self._kit.clock.now()
        if left > 0:
            return left
        try:
            options = DeleteOptions(propagation_policy="Foreground", precondition_uid=uid_of(job))
            await self._kit.client.delete(JOBS, name_of(job), namespace_of(job), options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise
        return None
