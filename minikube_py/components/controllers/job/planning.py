"""What to do for a Job now: its verdict, pods to create, pods to delete; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.components.controllers.job.counting import Tally
from minikube_py.components.controllers.job.indexes import index_of, parse_indexes, pending_indexes
from minikube_py.components.controllers.job.policies import (
    counts_as_failed,
    failure_rule,
    restarts_exceed,
    success_rule,
)
from minikube_py.components.controllers.pods import deletion_rank, is_active, is_finished, phase_of
from minikube_py.machinery.conditions import condition_is_true, find_condition
from minikube_py.machinery.objects import Object, annotations_of, is_deleting
from minikube_py.machinery.times import parse_time

FAILURES_OF_INDEX = "batch.kubernetes.io/job-index-failure-count"
most_pods_at_once = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """The Job is to end: ``target`` is FailureTarget or SuccessCriteriaMet."""

    target: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Situation:
    """A Job and its pods, sorted out."""

    job: Object
    active: Sequence[Object]
    terminating: Sequence[Object]
    succeeded_indexes: frozenset[int]
    failed_indexes: frozenset[int]
    tally: Tally

    @property
    def indexed(self) -> bool:
        return is_indexed(self.job)

    @property
    def succeeded(self) -> int:
        return len(self.succeeded_indexes) if self.indexed else self.tally.succeeded


@dataclass(frozen=True, slots=True)
class Plan:
    """Pods to delete, how many to create, and (Indexed) their indexes."""

    delete: Sequence[Object] = ()
    create: int = 0
    indexes: Sequence[int] = ()


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def is_over(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions")
    return condition_is_true(conditions, "Complete") or condition_is_true(conditions, "Failed")


def parallelism_of(job: Object) -> int:
    value = job["spec"].get("parallelism")
    return 1 if value is None else int(value)


def sort_out(job: Object, pods: Sequence[Object], counts: Tally) -> Situation:
    """Look at a Job's pods (finished and counted ones may be gone already)."""
    status, completions = job.get("status") or {}, int(job["spec"].get("completions") or 0)
    succeeded: set[int] = set()
    failed: set[int] = set()
    if is_indexed(job):
        succeeded = parse_indexes(status.get("completedIndexes"), completions)
        for pod in pods:
            index = index_of(pod)
            if phase_of(pod) == "Succeeded" and index is not None and index < completions:
                succeeded.add(index)
        failed = _failed_indexes(job, pods, completions) - succeeded
    return Situation(
        job,
        [pod for pod in pods if is_active(pod)],
        [pod for pod in pods if is_deleting(pod) and not is_finished(pod)],
        frozenset(succeeded),
        frozenset(failed),
        counts,
    )


def _failed_indexes(job: Object, pods: Sequence[Object], completions: int) -> set[int]:
    """Indexes that have used up ``backoffLimitPerIndex``, or were failed by the pod failure policy."""
    limit = job["spec"].get("backoffLimitPerIndex")
    if limit is None:
        return set()
    failed = parse_indexes((job.get("status") or {}).get("failedIndexes"), completions)
    for pod in pods:
        index = index_of(pod)
        if index is None or not counts_as_failed(job, pod):
            continue
        rule = failure_rule(job, pod)
        ignored = rule is not None and rule[0] == "Ignore"
        if (rule is not None and rule[0] == "FailIndex") or (failures_of(pod) >= int(limit) and not ignored):
            failed.add(index)
    return failed


def failures_of(pod: Object) -> int:
    """How often this pod's index had failed before it."""
    text = annotations_of(pod).get(FAILURES_OF_INDEX, "0")
    return int(text) if text.isdigit() else 0


def verdict(now_is: Situation, pods: Sequence[Object], now: float) -> Verdict | None:
    """Whether the Job must end, and why. A verdict that was written down stays."""
    job = now_is.job
    conditions = (job.get("status") or {}).get("conditions")
    for target in ("FailureTarget", "SuccessCriteriaMet"):
        known = find_condition(conditions, target)
        if known is not None and known.get("status") == "True":
            return Verdict(target, str(known.get("reason") or ""), str(known.get("message") or ""))
    return _failure(now_is, pods, now) or _success(now_is)


def _failure(now_is: Situation, pods: Sequence[Object], now: float) -> Verdict | None:
    job, spec = now_is.job, now_is.job["spec"]
    for pod in pods:
        rule = failure_rule(job, pod) if phase_of(pod) == "Failed" else None
        if rule is not None and rule[0] == "FailJob":
            return Verdict("FailureTarget", "PodFailurePolicy", rule[1])
    if now_is.tally.failed > int(spec.get("backoffLimit", 6)) or restarts_exceed(job, pods):
        return Verdict("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = until_deadline(job, now)
    if left is not None and left <= 0:
        return Verdict("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.get("backoffLimitPerIndex") is not None and now_is.indexed:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(now_is.failed_indexes) > int(most):
            message = "Job has exceeded the specified maximal number of failed indexes"
            return Verdict("FailureTarget", "MaxFailedIndexesExceeded", message)
        ended = len(now_is.succeeded_indexes) + len(now_is.failed_indexes)
        if now_is.failed_indexes and ended >= int(spec.get("completions") or 0):
            return Verdict("FailureTarget", "FailedIndexes", "Job has failed indexes")
    return None


def _success(now_is: Situation) -> Verdict | None:
    job, spec = now_is.job, now_is.job["spec"]
    if spec.get("successPolicy") and now_is.indexed:
        message = success_rule(job, set(now_is.succeeded_indexes), int(spec.get("completions") or 0))
        if message is not None:
            return Verdict("SuccessCriteriaMet", "SuccessPolicy", message)
    if is_suspended(job) or now_is.active:
        return None
    completions = spec.get("completions")
    done = now_is.succeeded > 0 if completions is None else now_is.succeeded >= int(completions)
    if done:
        return Verdict("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def until_deadline(job: Object, now: float) -> float | None:
    """Seconds until ``activeDeadlineSeconds`` is over; None when it does not run."""
    deadline, start = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if deadline is None or not start or is_suspended(job):
        return None
    return parse_time(start) + float(deadline) - now


def plan(now_is: Situation, now: float) -> Plan:
    """Decide for a Job that goes on."""
    job = now_is.job
    if is_suspended(job):
        return Plan(delete=list(now_is.active)[:most_pods_at_once])
    wanted = _wanted_active(now_is)
    surplus = _surplus(now_is, wanted, now)
    if surplus:
        return Plan(delete=surplus[:most_pods_at_once])
    missing = wanted - len(now_is.active)
    if job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy"):
        missing -= len(now_is.terminating)
    missing = min(missing, most_pods_at_once)
    if missing <= 0:
        return Plan()
    if not now_is.indexed:
        return Plan(create=missing)
    taken = {*now_is.succeeded_indexes, *now_is.failed_indexes}
    holders = [*now_is.active, *now_is.terminating] if _replaces_late(job) else now_is.active
    taken |= {index for index in map(index_of, holders) if index is not None}
    indexes = pending_indexes(int(job["spec"].get("completions") or 0), taken, missing)
    return Plan(create=len(indexes), indexes=indexes)


def _replaces_late(job: Object) -> bool:
    """Whether a pod is replaced only when it has ended, not already while it is being deleted."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy"))


def _wanted_active(now_is: Situation) -> int:
    completions = now_is.job["spec"].get("completions")
    if completions is None:
        return len(now_is.active) if now_is.succeeded else parallelism_of(now_is.job)
    left = int(completions) - now_is.succeeded - len(now_is.failed_indexes)
    return max(0, min(left, parallelism_of(now_is.job)))


def _surplus(now_is: Situation, wanted: int, now: float) -> list[Object]:
    """Pods that must go: those of indexes that are done or taken twice, then by rank."""
    extra: list[Object] = []
    rest: list[Object] = []
    seen: set[int] = set()
    ranked = sorted(now_is.active, key=lambda pod: deletion_rank(pod, 0, now))
    for pod in reversed(ranked):
        index = index_of(pod)
        done = index is not None and (index in now_is.succeeded_indexes or index in now_is.failed_indexes)
        if now_is.indexed and (index is None or index in seen or done):
            extra.append(pod)
            continue
        if index is not None:
            seen.add(index)
        rest.append(pod)
    too_many = len(rest) - wanted
    if too_many > 0:
        extra += list(reversed(rest))[:too_many]
    return extra
