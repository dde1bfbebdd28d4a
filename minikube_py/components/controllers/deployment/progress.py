"""The status of a Deployment: numbers, availability, progress and its deadline; pure."""

from __future__ import annotations

from minikube_py.components.controllers.deployment.model import (
    Rollout,
    max_unavailable,
    replicas_of,
    status_number,
    total_status,
    total_wanted,
)
from minikube_py.machinery.conditions import find_condition, remove_condition
from minikube_py.machinery.objects import Object, metadata, name_of, thaw
from minikube_py.machinery.times import parse_time, rfc3339

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE_REASON = "NewReplicaSetAvailable"
TIMED_OUT_REASON = "ProgressDeadlineExceeded"
PAUSED_REASON = "DeploymentPaused"
no_deadline = 2**31 - 1


def deadline_seconds(deployment: Object) -> int | None:
    """``progressDeadlineSeconds``; None when progress is not watched."""
    value = (deployment.get("spec") or {}).get("progressDeadlineSeconds", 600)
    return None if value is None or value == no_deadline else int(value)


def make_condition(kind: str, status: str, reason: str, message: str, now: float) -> Object:
    stamp = rfc3339(now)
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }


def put_condition(conditions: list[Object], new: Object) -> None:
    """Replace a condition unless status and reason stay (``SetDeploymentCondition``); the list is private."""
    current = find_condition(conditions, new["type"])
    if current is not None:
        if current.get("status") == new["status"] and current.get("reason") == new["reason"]:
            return
        if current.get("status") == new["status"]:
            new = {**new, "lastTransitionTime": current.get("lastTransitionTime")}
        conditions.remove(current)
    conditions.append(new)


def numbers(rollout: Rollout, now: float) -> Object:
    """The status without judgement on progress (``calculateStatus``)."""
    deployment, sets = rollout.deployment, rollout.all
    before = deployment.get("status") or {}
    available = total_status(sets, "availableReplicas")
    counts = {
        "replicas": total_status(sets, "replicas"),
        "updatedReplicas": status_number(rollout.new, "replicas") if rollout.new is not None else 0,
        "readyReplicas": total_status(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total_wanted(sets) - available),
    }
    status: Object = {"observedGeneration": metadata(deployment).get("generation", 0)}
    status |= {key: value for key, value in counts.items() if value}
    status["terminatingReplicas"] = total_status(sets, "terminatingReplicas")
    if before.get("collisionCount") is not None:
        status["collisionCount"] = before["collisionCount"]
    conditions = thaw(before.get("conditions") or [])
    enough = available >= replicas_of(deployment) - max_unavailable(deployment)
    put_condition(conditions, _availability(enough, now))
    status["conditions"] = conditions
    return status


def _availability(enough: bool, now: float) -> Object:
    if enough:
        reason, message = "MinimumReplicasAvailable", "Deployment has minimum availability."
        return make_condition(AVAILABLE, "True", reason, message, now)
    reason, message = "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    return make_condition(AVAILABLE, "False", reason, message, now)


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether the rollout is over: all pods are new, and available."""
    wanted = replicas_of(deployment)
    same = all(int(status.get(key) or 0) == wanted for key in ("updatedReplicas", "replicas", "availableReplicas"))
    return same and int(status.get("observedGeneration") or 0) >= int(metadata(deployment).get("generation") or 0)


def _has_progressed(before: Object, after: Object) -> bool:
    def number(status: Object, name: str) -> int:
        return int(status.get(name) or 0)

    def old(status: Object) -> int:
        return number(status, "replicas") - number(status, "updatedReplicas")

    grown = any(
        number(after, name) > number(before, name) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or old(after) < old(before)


def timed_out(deployment: Object, status: Object, now: float) -> bool:
    """Whether the deadline has passed without progress."""
    condition = find_condition(status.get("conditions"), PROGRESSING)
    deadline = deadline_seconds(deployment)
    if condition is None or deadline is None or condition.get("reason") == COMPLETE_REASON:
        return False
    if condition.get("reason") == TIMED_OUT_REASON:
        return True
    return now >= parse_time(condition["lastUpdateTime"]) + deadline


def until_deadline(deployment: Object, status: Object, now: float) -> float | None:
    """Seconds until the deadline must be judged; None when nothing is awaited."""
    condition = find_condition(status.get("conditions"), PROGRESSING)
    deadline = deadline_seconds(deployment)
    if condition is None or deadline is None or is_complete(deployment, status):
        return None
    if condition.get("reason") in (COMPLETE_REASON, TIMED_OUT_REASON, PAUSED_REASON):
        return None
    return max(0.0, parse_time(condition["lastUpdateTime"]) + deadline - now) + 1.0


def judged(rollout: Rollout, now: float) -> Object:
    """The status with progress judged (``syncRolloutStatus``)."""
    deployment, status = rollout.deployment, numbers(rollout, now)
    conditions = status["conditions"]
    before = deployment.get("status") or {}
    if deadline_seconds(deployment) is None:
        remove_condition(conditions, PROGRESSING)
    else:
        _note_new_set(rollout, conditions, now)
        current = find_condition(conditions, PROGRESSING)
        was_complete = current is not None and current.get("reason") == COMPLETE_REASON
        if not (was_complete and status.get("replicas", 0) == status.get("updatedReplicas", 0)):
            _judge(rollout, before, status, now)
    failure = _failure(rollout)
    if failure is None:
        remove_condition(conditions, FAILURE)
    else:
        put_condition(conditions, failure)
    return status


def _note_new_set(rollout: Rollout, conditions: list[Object], now: float) -> None:
    """A new ReplicaSet starts the deadline; one that was there already does so when none runs."""
    if rollout.new is None:
        return
    name = name_of(rollout.new)
    if rollout.created:
        message = f'Created new replica set "{name}"'
        put_condition(conditions, make_condition(PROGRESSING, "True", "NewReplicaSetCreated", message, now))
    elif find_condition(conditions, PROGRESSING) is None:
        message = f'Found new replica set "{name}"'
        put_condition(conditions, make_condition(PROGRESSING, "True", "FoundNewReplicaSet", message, now))


def _judge(rollout: Rollout, before: Object, status: Object, now: float) -> None:
    deployment, conditions = rollout.deployment, status["conditions"]
    what = f'Deployment "{name_of(deployment)}"'
    if rollout.new is not None:
        what = f'ReplicaSet "{name_of(rollout.new)}"'
    if is_complete(deployment, status):
        message = f"{what} has successfully progressed."
        put_condition(conditions, make_condition(PROGRESSING, "True", COMPLETE_REASON, message, now))
    elif _has_progressed(before, status):
        fresh = make_condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{what} is progressing.", now)
        current = find_condition(conditions, PROGRESSING)
        if current is not None:
            if current.get("status") == "True":
                fresh["lastTransitionTime"] = current.get("lastTransitionTime")
            conditions.remove(current)
        conditions.append(fresh)
    elif timed_out(deployment, status, now):
        message = f"{what} has timed out progressing."
        put_condition(conditions, make_condition(PROGRESSING, "False", TIMED_OUT_REASON, message, now))


def _failure(rollout: Rollout) -> Object | None:
    """The failure of the new ReplicaSet, or else of any old one."""
    ordered = [rollout.new, *rollout.old] if rollout.new is not None else list(rollout.old)
    for each in ordered:
        found = find_condition((each.get("status") or {}).get("conditions"), FAILURE)
        if found is not None:
            stamp = found.get("lastTransitionTime")
            return {
                "type": FAILURE,
                "status": found.get("status"),
                "lastUpdateTime": stamp,
                "lastTransitionTime": stamp,
                "reason": found.get("reason"),
                "message": found.get("message"),
            }
    return None


def pause_condition(deployment: Object, now: float) -> Object | None:
    """The condition to set when pausing or resuming has not been noted yet."""
    current = find_condition((deployment.get("status") or {}).get("conditions"), PROGRESSING)
    if deadline_seconds(deployment) is None or (current and current.get("reason") == TIMED_OUT_REASON):
        return None
    paused = bool((deployment.get("spec") or {}).get("paused"))
    noted = current is not None and current.get("reason") == PAUSED_REASON
    if paused and not noted:
        return make_condition(PROGRESSING, "Unknown", PAUSED_REASON, "Deployment is paused", now)
    if not paused and noted:
        return make_condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now)
    return None
