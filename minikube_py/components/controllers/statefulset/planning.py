"""The next step of a StatefulSet; pure.

With OrderedReady one thing is done at a time: create or replace from the lowest ordinal up, waiting
until each is ready; remove surplus pods from the highest down; then update from the highest down.
With Parallel creation and removal do not wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.components.controllers.numbers import scaled
from minikube_py.components.controllers.pods import is_available, is_finished, is_ready
from minikube_py.components.controllers.statefulset.identity import (
    first_ordinal,
    ordinal_of,
    replicas_of,
    revision_of,
)
from minikube_py.machinery.objects import Object, is_deleting, metadata


@dataclass(slots=True)
class Plan:
    """(ordinal, revision) to create, and pods to delete."""

    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Revisions:
    """Hashes by their role: ``current`` is what pods below the partition have, ``update`` what all shall get."""

    current: str
    update: str


def is_parallel(owner: Object) -> bool:
    return bool(owner["spec"].get("podManagementPolicy") == "Parallel")


def partition_of(owner: Object) -> int:
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def is_rolling(owner: Object) -> bool:
    return bool((owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def revision_for(owner: Object, ordinal: int, revisions: Revisions) -> str:
    """The revision at which a missing pod is created (``newVersionedStatefulSetPod``)."""
    if revisions.current == revisions.update:
        return revisions.update
    if not is_rolling(owner):
        return revisions.current
    updated = (owner.get("status") or {}).get("currentReplicas")
    start = first_ordinal(owner)
    if (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") is None:
        return revisions.current if ordinal < start + int(updated or 0) else revisions.update
    return revisions.current if ordinal < start + partition_of(owner) else revisions.update


def plan(owner: Object, pods: Sequence[Object], revisions: Revisions, now: float) -> Plan:
    """Decide the next step for a StatefulSet that is not being deleted."""
    start = first_ordinal(owner)
    wanted = range(start, start + replicas_of(owner))
    by_ordinal: dict[int, Object] = {}
    surplus: list[tuple[int, Object]] = []
    for pod in pods:
        ordinal = ordinal_of(owner, pod)
        if ordinal is None:
            continue
        if ordinal in wanted:
            by_ordinal[ordinal] = pod
        else:
            surplus.append((ordinal, pod))
    surplus.sort(key=lambda entry: entry[0], reverse=True)
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    step = Plan()
    if not _fill(step, owner, wanted, by_ordinal, revisions, min_ready, now):
        return step
    if not _shrink(step, owner, [pod for _, pod in surplus], list(by_ordinal.values()), min_ready, now):
        return step
    if is_rolling(owner) and not step.create:
        _update(step, owner, wanted, by_ordinal, revisions, min_ready, now)
    return step


def _fill(
    step: Plan,
    owner: Object,
    wanted: range,
    by_ordinal: Mapping[int, Object],
    revisions: Revisions,
    min_ready: int,
    now: float,
) -> bool:
    """Create missing and replace ended pods; False when the rest must wait for what is going on."""
    parallel = is_parallel(owner)
    for ordinal in wanted:
        pod = by_ordinal.get(ordinal)
        if pod is None:
            step.create.append((ordinal, revision_for(owner, ordinal, revisions)))
        elif is_finished(pod) and not is_deleting(pod):
            step.delete.append(pod)
        elif is_deleting(pod) or not is_available(pod, min_ready, now):
            if parallel:
                continue
            return False
        else:
            continue
        if not parallel:
            return False
    return True


def _shrink(
    step: Plan, owner: Object, surplus: Sequence[Object], kept: Sequence[Object], min_ready: int, now: float
) -> bool:
    """Remove surplus pods, highest first; False when the rest must wait."""
    if is_parallel(owner):
        step.delete += [pod for pod in surplus if not is_deleting(pod)]
        return True
    if not surplus:
        return True
    pod = surplus[0]
    unhealthy = [each for each in (*surplus, *kept) if is_deleting(each) or not is_ready(each)]
    if is_deleting(pod):
        return False
    # A pod that is not ready goes only when it is the first unhealthy one: never break two at once.
    if (unhealthy and unhealthy != [pod] and pod not in unhealthy) or any(is_deleting(each) for each in unhealthy):
        return False
    if is_ready(pod) and not is_available(pod, min_ready, now):
        return False
    step.delete.append(pod)
    return False


def _update(
    step: Plan,
    owner: Object,
    wanted: range,
    by_ordinal: Mapping[int, Object],
    revisions: Revisions,
    min_ready: int,
    now: float,
) -> None:
    """Delete outdated pods from the highest ordinal down to the partition, within maxUnavailable."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    most = max(1, scaled(rolling.get("maxUnavailable", 1), replicas_of(owner), round_up=True))
    unavailable = sum(1 for pod in by_ordinal.values() if is_deleting(pod) or not is_available(pod, min_ready, now)) + (
        len(wanted) - len(by_ordinal)
    )
    lowest = first_ordinal(owner) + partition_of(owner)
    for ordinal in reversed(wanted):
        pod = by_ordinal.get(ordinal)
        if ordinal < lowest or pod is None:
            continue
        if revision_of(pod) != revisions.update and not is_deleting(pod):
            broken = not is_available(pod, min_ready, now)
            if not broken and unavailable >= most:
                return
            step.delete.append(pod)
            unavailable += 0 if broken else 1
        if unavailable >= most:
            return


def status_of(owner: Object, pods: Sequence[Object], revisions: Revisions, names: Revisions, now: float) -> Object:
    """The status. ``names`` are the names of the ControllerRevisions in the same roles."""
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    mine = [pod for pod in pods if ordinal_of(owner, pod) is not None and not is_finished(pod)]
    alive = [pod for pod in mine if not is_deleting(pod)]
    current = sum(1 for pod in alive if revision_of(pod) == revisions.current)
    updated = sum(1 for pod in alive if revision_of(pod) == revisions.update)
    available = sum(1 for pod in alive if is_available(pod, min_ready, now))
    ready = sum(1 for pod in mine if is_ready(pod))
    current_name, current_hash_count = names.current, current
    wanted = replicas_of(owner)
    if is_rolling(owner) and updated == wanted and ready == wanted and len(mine) == wanted:
        current_name, current_hash_count = names.update, updated
    status: Object = {
        "observedGeneration": metadata(owner).get("generation", 0),
        "replicas": len(mine),
        "availableReplicas": available,
        "currentRevision": current_name,
        "updateRevision": names.update,
    }
    optional = {"readyReplicas": ready, "currentReplicas": current_hash_count, "updatedReplicas": updated}
    status |= {key: value for key, value in optional.items() if value}
    before = owner.get("status") or {}
    if before.get("conditions"):
        status["conditions"] = before["conditions"]
    return status
