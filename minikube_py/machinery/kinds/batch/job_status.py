"""What the status of a Job may say and how it may change (``validateJobStatus``).

Most rules only bind the fields that an update touches, so that a status written before a rule
existed can still be written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.errors import duplicate, invalid_value, required
from minikube_py.machinery.kinds.batch.indexes import IndexesError, intervals, overlap
from minikube_py.machinery.kinds.common.checks import Errors, non_negative
from minikube_py.machinery.kinds.common.omitted import invalid_without_value
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import parse_time

_CONDITIONS = "status.conditions"


class _Change:
    """The status before and after, and what differs."""

    def __init__(self, job: Object, old: Object) -> None:
        self.spec: Mapping[str, Any] = job.get("spec") or {}
        self.now: Mapping[str, Any] = job.get("status") or {}
        self.before: Mapping[str, Any] = old.get("status") or {}
        self.indexed = self.spec.get("completionMode") == "Indexed"

    def says(self, condition: str) -> bool:
        return condition_is_true(self.now.get("conditions"), condition)

    def said(self, condition: str) -> bool:
        return condition_is_true(self.before.get("conditions"), condition)

    @property
    def finished(self) -> bool:
        return self.says("Complete") or self.says("Failed")

    def turned(self, *conditions: str) -> bool:
        """One of the conditions, or whether the job has finished ("Finished"), changes."""
        return any(
            self.finished != (self.said("Complete") or self.said("Failed"))
            if condition == "Finished"
            else self.says(condition) != self.said(condition)
            for condition in conditions
        )

    def touches(self, *fields: str) -> bool:
        return any((self.now.get(field) or None) != (self.before.get(field) or None) for field in fields)


def validate_job_status(job: Object, old: Object) -> Errors:
    """``ValidateJobStatusUpdate``."""
    change = _Change(job, old)
    errors: Errors = []
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        errors += non_negative(f"status.{field}", change.now.get(field))
    return [
        *errors,
        *_uncounted_errors(change.now.get("uncountedTerminatedPods") or {}),
        *_end_errors(change),
        *_finished_errors(change),
        *_index_errors(change),
        *_criteria_errors(change),
        *_going_back_errors(change),
    ]


def _uncounted_errors(uncounted: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for sort in ("succeeded", "failed"):
        for index, uid in enumerate(uncounted.get(sort) or ()):
            field = f"status.uncountedTerminatedPods.{sort}[{index}]"
            if not uid:
                errors.append(invalid_value(field, uid, "must not be empty"))
            elif uid in seen:
                errors.append(duplicate(field, uid))
            seen.add(uid)
    return errors


def _end_errors(change: _Change) -> Errors:
    """The conditions and times that go with the end of a job."""
    now, errors = change.now, Errors()
    complete, failed, target = change.says("Complete"), change.says("Failed"), change.says("FailureTarget")
    started, completed = now.get("startTime"), now.get("completionTime")
    if change.turned("Complete", "Failed") and complete and failed:
        errors.append(invalid_without_value(_CONDITIONS, "cannot set Complete=True and Failed=true conditions"))
    if change.turned("Complete", "FailureTarget") and complete and target:
        errors.append(invalid_without_value(_CONDITIONS, "cannot set Complete=True and FailureTarget=true conditions"))
    if change.turned("Complete") or change.touches("completionTime"):
        if completed and not complete:
            text = "cannot set completionTime when there is no Complete=True condition"
            errors.append(invalid_value("status.completionTime", completed, text))
        if complete and not completed:
            errors.append(required("status.completionTime", "completionTime is required for Complete jobs"))
    timed = change.touches("startTime", "completionTime")
    if timed and started and completed and parse_time(completed) < parse_time(started):
        text = "completionTime cannot be set before startTime"
        errors.append(invalid_value("status.completionTime", completed, text))
    if change.turned("Failed", "FailureTarget") and failed and not target:
        text = "cannot set Failed=True condition without the FailureTarget=true condition"
        errors.append(invalid_without_value(_CONDITIONS, text))
    if change.turned("Complete", "SuccessCriteriaMet") and complete and not change.says("SuccessCriteriaMet"):
        text = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        errors.append(invalid_without_value(_CONDITIONS, text))
    return errors


def _finished_errors(change: _Change) -> Errors:
    """A finished job has started, and nothing of it runs or waits to be counted."""
    if not change.finished:
        return []
    now, spec, errors = change.now, change.spec, Errors()
    ended = change.turned("Finished")
    if (ended or change.touches("active")) and now.get("active"):
        errors.append(invalid_value("status.active", now["active"], "active>0 is invalid for finished job"))
    asleep = bool(spec.get("suspend")) and spec.get("completions") == 0
    if (ended or change.touches("startTime")) and not asleep and not now.get("startTime"):
        errors.append(required("status.startTime", "startTime is required for finished job"))
    uncounted = now.get("uncountedTerminatedPods") or {}
    waiting = uncounted.get("succeeded") or uncounted.get("failed")
    if (ended or change.touches("uncountedTerminatedPods")) and waiting:
        text = "uncountedTerminatedPods needs to be empty for finished job"
        errors.append(invalid_value("status.uncountedTerminatedPods", dict(uncounted), text))
    return errors


def _index_errors(change: _Change) -> Errors:
    now, total, errors = change.now, change.spec.get("completions"), Errors()
    per_index = change.spec.get("backoffLimitPerIndex") is not None
    completed, failed = now.get("completedIndexes") or "", now.get("failedIndexes")
    done_touched, lost_touched = change.touches("completedIndexes"), change.touches("failedIndexes")
    if done_touched and total is not None:
        errors += _format_errors("completedIndexes", completed, total)
    if lost_touched and total is not None and per_index and failed is not None:
        errors += _format_errors("failedIndexes", failed, total)
    if done_touched and completed and not change.indexed:
        text = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(invalid_value("status.completedIndexes", completed, text))
    if lost_touched and failed is not None and not per_index:
        text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(invalid_value("status.failedIndexes", failed, text))
    if (done_touched or lost_touched) and total is not None and failed is not None:
        shared = overlap(completed, failed, total)
        if shared is not None:
            text = f"failedIndexes and completedIndexes overlap at index: {shared}"
            errors.append(invalid_value("status.failedIndexes", failed, text))
    return errors


def _format_errors(field: str, text: str, completions: int) -> Errors:
    try:
        intervals(text, completions)
    except IndexesError as error:
        return [invalid_value(f"status.{field}", text, f"error parsing {field}: {error}")]
    return []


def _criteria_errors(change: _Change) -> Errors:
    now, errors = change.now, Errors()
    met = change.says("SuccessCriteriaMet")
    if (change.turned("Finished") or change.touches("terminating")) and change.finished and now.get("terminating"):
        text = "terminating>0 is invalid for finished job"
        errors.append(invalid_value("status.terminating", now["terminating"], text))
    if change.touches("ready", "active") and (now.get("ready") or 0) > (now.get("active") or 0):
        errors.append(invalid_value("status.ready", now["ready"], "cannot set more ready pods than active"))
    for against, shown in (("Failed", "Failed=true"), ("FailureTarget", "FailureTarget=true")):
        if met and change.says(against):
            text = f"cannot set SuccessCriteriaMet=True and {shown} conditions"
            errors.append(invalid_without_value(_CONDITIONS, text))
    if change.spec.get("successPolicy") is not None and not met and change.says("Complete"):
        text = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        errors.append(invalid_without_value(_CONDITIONS, text))
    return errors


def _going_back_errors(change: _Change) -> Errors:
    """Ends, counts and times stay once they are there."""
    now, before, errors = change.now, change.before, Errors()
    for condition in ("Failed", "Complete", "FailureTarget"):
        if change.said(condition) and not change.says(condition):
            text = f"cannot disable the terminal {condition}=True condition"
            errors.append(invalid_without_value(_CONDITIONS, text))
    elastic = change.indexed and change.spec.get("completions") == change.spec.get("parallelism")
    counters = (("failed", True), ("succeeded", not elastic))
    for field, bound in counters:
        if bound and (now.get(field) or 0) < (before.get(field) or 0):
            text = f"cannot decrease the {field} counter"
            errors.append(invalid_value(f"status.{field}", now.get(field) or 0, text))
    completed = now.get("completionTime")
    if completed and before.get("completionTime") and completed != before["completionTime"]:
        errors.append(invalid_value("status.completionTime", completed, "completionTime cannot be mutated"))
    if before.get("startTime") and change.touches("startTime") and not change.spec.get("suspend"):
        errors.append(required("status.startTime", "startTime cannot be removed for unsuspended job"))
    met, was_met = change.says("SuccessCriteriaMet"), change.said("SuccessCriteriaMet")
    if was_met and not met:
        text = "cannot disable the SuccessCriteriaMet=True condition"
        errors.append(invalid_without_value(_CONDITIONS, text))
    if change.said("Complete") and not was_met and met:
        text = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        errors.append(invalid_without_value(_CONDITIONS, text))
    return errors
