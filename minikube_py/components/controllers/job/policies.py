"""When a Job fails or succeeds early: pod failure policy, back-off, success policy; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.components.controllers.job.indexes import parse_indexes
from minikube_py.components.controllers.pods import is_finished, phase_of
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.objects import Object, is_deleting, metadata, name_of, namespace_of
from minikube_py.machinery.times import parse_time

first_backoff_seconds = 10.0
longest_backoff_seconds = 600.0


def failure_rule(job: Object, pod: Object) -> tuple[str, str] | None:
    """(action, message) of the first rule of the pod failure policy that a failed pod matches, or None."""
    for position, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        action = str(rule.get("action"))
        if rule.get("onExitCodes"):
            found = _exit_code_match(pod, rule["onExitCodes"])
            if found is not None:
                name, code = found
                message = (
                    f"Container {name} for pod {namespace_of(pod)}/{name_of(pod)} failed with exit code {code} "
                    f"matching {action} rule at index {position}"
                )
                return action, message
        for pattern in rule.get("onPodConditions") or ():
            condition = find_condition((pod.get("status") or {}).get("conditions"), pattern.get("type"))
            if condition is not None and condition.get("status") == (pattern.get("status") or "True"):
                message = (
                    f"Pod {namespace_of(pod)}/{name_of(pod)} has condition {pattern.get('type')} "
                    f"matching {action} rule at index {position}"
                )
                return action, message
    return None


def _exit_code_match(pod: Object, rule: Mapping[str, Any]) -> tuple[str, int] | None:
    status = pod.get("status") or {}
    wanted = rule.get("containerName")
    for entry in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        code = ((entry.get("state") or {}).get("terminated") or {}).get("exitCode")
        if not code or (wanted and entry.get("name") != wanted):
            continue
        if (code in (rule.get("values") or ())) == (rule.get("operator") == "In"):
            return str(entry.get("name")), int(code)
    return None


def counts_as_failed(job: Object, pod: Object) -> bool:
    """Whether the pod will count as failed: it has failed, or is being deleted before it ended.

    With a pod failure policy, or ``podReplacementPolicy: Failed``, a pod that is being deleted has
    failed only once its phase says so.
    """
    if phase_of(pod) == "Failed":
        return True
    waits = job["spec"].get("podFailurePolicy") or job["spec"].get("podReplacementPolicy") == "Failed"
    return is_deleting(pod) and not is_finished(pod) and not waits


def finish_time(pod: Object) -> float:
    """When the pod ended, as well as its status tells."""
    status = pod.get("status") or {}
    times = [
        ((entry.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for entry in status.get("containerStatuses") or ()
    ]
    if times and all(times):
        return max(parse_time(str(text)) for text in times)
    ready = find_condition(status.get("conditions"), "Ready")
    for text in (
        (ready or {}).get("lastTransitionTime"),
        metadata(pod).get("deletionTimestamp"),
        metadata(pod).get("creationTimestamp"),
    ):
        if text:
            return parse_time(str(text))
    return 0.0


def creation_wait(failed: Iterable[Object], succeeded: Iterable[Object], now: float) -> float:
    """Seconds until a replacement may be created: 10 s doubling with each failure since the last success."""
    last_success = max(map(finish_time, succeeded), default=float("-inf"))
    failures = [moment for moment in map(finish_time, failed) if moment > last_success]
    if not failures:
        return 0.0
    delay: float = min(first_backoff_seconds * 2 ** min(len(failures) - 1, 30), longest_backoff_seconds)
    wait: float = max(failures) + delay - now
    return max(0.0, wait)


def restarts_exceed(job: Object, pods: Sequence[Object]) -> bool:
    """Whether restarts in place (``restartPolicy: OnFailure``) have used up the back-off limit."""
    if (job["spec"].get("template") or {}).get("spec", {}).get("restartPolicy") != "OnFailure":
        return False
    limit = int(job["spec"].get("backoffLimit", 6))
    restarts = 0
    for pod in pods:
        status = pod.get("status") or {}
        if phase_of(pod) in ("Running", "Pending"):
            entries = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
            restarts += sum(int(entry.get("restartCount") or 0) for entry in entries)
    return restarts > 0 if limit == 0 else restarts >= limit


def success_rule(job: Object, succeeded: set[int], completions: int) -> str | None:
    """The message of the first rule of the success policy that holds, or None."""
    for position, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        counted = succeeded
        if rule.get("succeededIndexes") is not None:
            wanted = parse_indexes(rule["succeededIndexes"], completions)
            counted = succeeded & wanted
            if rule.get("succeededCount") is None and counted == wanted:
                return f"Matched rules at index {position}"
        if rule.get("succeededCount") is not None and len(counted) >= int(rule["succeededCount"]):
            return f"Matched rules at index {position}"
    return None
