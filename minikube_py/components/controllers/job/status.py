"""The status of a Job and the events that go with its changes; pure."""

from __future__ import annotations

from minikube_py.components.controllers.job.indexes import format_indexes
from minikube_py.components.controllers.job.planning import Situation, Verdict, is_suspended
from minikube_py.components.controllers.pods import is_ready
from minikube_py.machinery.conditions import condition_is_true, find_condition
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.times import rfc3339

Note = tuple[str, str, str]
"""An event: type, reason, message."""


def status_of(now_is: Situation, ends: Verdict | None, now: float) -> tuple[Object, list[Note]]:
    """(status, events to record once it is written)."""
    job, counts = now_is.job, now_is.tally
    status: Object = thaw(job.get("status") or {})
    notes: list[Note] = []
    conditions = status.get("conditions") or []
    _note_suspension(job, status, conditions, notes, now)
    status["active"] = len(now_is.active)
    status["ready"] = sum(1 for pod in now_is.active if is_ready(pod))
    status["terminating"] = len(now_is.terminating)
    status["failed"] = counts.counted_failed
    status["succeeded"] = len(now_is.succeeded_indexes) if now_is.indexed else counts.counted_succeeded
    if now_is.indexed:
        status["completedIndexes"] = format_indexes(now_is.succeeded_indexes)
        if job["spec"].get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = format_indexes(now_is.failed_indexes)
    uncounted = {"succeeded": list(counts.uncounted_succeeded), "failed": list(counts.uncounted_failed)}
    status["uncountedTerminatedPods"] = {key: value for key, value in uncounted.items() if value}
    if ends is not None:
        _note_end(now_is, ends, status, conditions, notes, now)
    status["conditions"] = conditions
    for key in ("active", "failed", "succeeded", "completedIndexes", "conditions"):
        if not status.get(key):
            status.pop(key, None)
    return status, notes


def _note_suspension(job: Object, status: Object, conditions: list[Object], notes: list[Note], now: float) -> None:
    noted = condition_is_true(conditions, "Suspended")
    if is_suspended(job):
        if not noted:
            _put(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now)
            notes.append(("Normal", "Suspended", "Job suspended"))
        status.pop("startTime", None)
        return
    if noted:
        _put(conditions, "Suspended", "False", "JobResumed", "Job resumed", now)
        notes.append(("Normal", "Resumed", "Job resumed"))
        status["startTime"] = rfc3339(now)
    status.setdefault("startTime", rfc3339(now))


def _note_end(
    now_is: Situation, ends: Verdict, status: Object, conditions: list[Object], notes: list[Note], now: float
) -> None:
    if find_condition(conditions, ends.target) is None:
        _put(conditions, ends.target, "True", ends.reason, ends.message, now)
    counts = now_is.tally
    still = now_is.active or now_is.terminating or counts.uncounted_succeeded or counts.uncounted_failed
    if still or counts.release:
        return
    if ends.target == "FailureTarget":
        _put(conditions, "Failed", "True", ends.reason, ends.message, now)
        notes.append(("Warning", ends.reason, ends.message))
    else:
        _put(conditions, "Complete", "True", ends.reason, ends.message, now)
        status["completionTime"] = rfc3339(now)
        notes.append(("Normal", "Completed", "Job completed"))


def _put(conditions: list[Object], kind: str, value: str, reason: str, message: str, now: float) -> None:
    stamp = rfc3339(now)
    known = find_condition(conditions, kind)
    if known is not None:
        conditions.remove(known)
    conditions.append(
        {
            "type": kind,
            "status": value,
            "lastProbeTime": stamp,
            "lastTransitionTime": stamp,
            "reason": reason,
            "message": message,
        }
    )
