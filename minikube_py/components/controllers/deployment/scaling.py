"""How many pods each ReplicaSet of a Deployment gets next; pure.

Every function returns the changes of one step: (ReplicaSet, replicas) pairs. After a step the
caller writes them and waits for the ReplicaSets to follow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from minikube_py.components.controllers.deployment.model import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    Rollout,
    creation_key,
    limits,
    max_unavailable,
    most_pods,
    replicas_of,
    status_number,
    total_status,
    total_wanted,
)
from minikube_py.machinery.objects import Object, annotations_of

Scale = tuple[Object, int]


def new_set_size(rollout: Rollout, present: int, *, rolling: bool) -> int:
    """The size of the new ReplicaSet that now has ``present`` replicas (``NewRSNewReplicas``)."""
    wanted = replicas_of(rollout.deployment)
    if not rolling or present >= wanted:
        return wanted
    room = most_pods(rollout.deployment) - total_wanted(rollout.all)
    return present + max(0, min(room, wanted - present))


def grow_new(rollout: Rollout, *, rolling: bool) -> list[Scale]:
    """The step that brings the new ReplicaSet towards its full size."""
    if rollout.new is None:
        return []
    present = replicas_of(rollout.new)
    size = new_set_size(rollout, present, rolling=rolling)
    return [] if size == present else [(rollout.new, size)]


def shrink_old(rollout: Rollout) -> list[Scale]:
    """The rolling step that takes pods from old ReplicaSets, unhealthy ones first.

    Never lets fewer than ``replicas - maxUnavailable`` pods be available: new pods that are not
    available yet count against what may go.
    """
    if rollout.new is None or total_wanted(rollout.old) == 0:
        return []
    least = replicas_of(rollout.deployment) - max_unavailable(rollout.deployment)
    new_unavailable = replicas_of(rollout.new) - status_number(rollout.new, "availableReplicas")
    may_go = total_wanted(rollout.all) - least - new_unavailable
    if may_go <= 0:
        return []
    sizes = {id(each): replicas_of(each) for each in rollout.old}
    ordered = sorted(rollout.old, key=creation_key)
    _drop_unhealthy(ordered, sizes, may_go)
    _drop_available(ordered, sizes, total_status(rollout.all, "availableReplicas") - least)
    return [(each, sizes[id(each)]) for each in ordered if sizes[id(each)] != replicas_of(each)]


def _drop_unhealthy(ordered: Sequence[Object], sizes: dict[int, int], may_go: int) -> None:
    for each in ordered:
        unhealthy = max(0, replicas_of(each) - status_number(each, "availableReplicas"))
        gone = min(may_go, unhealthy)
        sizes[id(each)] -= gone
        may_go -= gone


def _drop_available(ordered: Sequence[Object], sizes: dict[int, int], may_go: int) -> None:
    for each in ordered:
        gone = min(max(0, may_go), sizes[id(each)])
        sizes[id(each)] -= gone
        may_go -= gone


def drop_old(rollout: Rollout) -> list[Scale]:
    """Recreate: all old pods go."""
    return [(each, 0) for each in rollout.old if replicas_of(each)]


def is_scaling(rollout: Rollout) -> bool:
    """Whether the Deployment was resized since its ReplicaSets were last scaled."""
    wanted = replicas_of(rollout.deployment)
    for each in rollout.all:
        noted = annotations_of(each).get(DESIRED_REPLICAS, "")
        if replicas_of(each) and noted.isdigit() and int(noted) != wanted:
            return True
    return False


def resize(rollout: Rollout, *, rolling: bool) -> list[Scale]:
    """What a resized (or paused) Deployment does: one set follows, or all share in proportion.

    The pairs include ReplicaSets that keep their size, because their annotations must follow.
    """
    wanted = replicas_of(rollout.deployment)
    active = [each for each in rollout.all if replicas_of(each)]
    if len(active) <= 1:
        only = active[0] if active else rollout.new or (rollout.old[-1] if rollout.old else None)
        return [(only, wanted)] if only is not None and replicas_of(only) != wanted else []
    if rollout.new is not None and _is_saturated(rollout.deployment, rollout.new):
        return [(each, 0) for each in rollout.old if replicas_of(each)]
    return _in_proportion(rollout.deployment, active) if rolling else []


def _is_saturated(deployment: Object, new: Object) -> bool:
    wanted = replicas_of(deployment)
    noted = annotations_of(new).get(DESIRED_REPLICAS)
    return replicas_of(new) == wanted and noted == str(wanted) and status_number(new, "availableReplicas") == wanted


def _in_proportion(deployment: Object, active: list[Object]) -> list[Scale]:
    """Spread what is added or taken over all sets by their size; the largest gets what rounding leaves."""
    wanted = replicas_of(deployment)
    allowed = wanted + limits(deployment)[0] if wanted else 0
    to_add = allowed - total_wanted(active)
    newest_first = sorted(active, key=creation_key, reverse=to_add >= 0)
    ordered = sorted(newest_first, key=replicas_of, reverse=True)
    sizes = [replicas_of(each) for each in ordered]
    added = 0
    for position, each in enumerate(ordered):
        share = _share(deployment, each, to_add, added)
        sizes[position] += share
        added += share
    if to_add:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return list(zip(ordered, sizes, strict=True))


def _share(deployment: Object, replica_set: Object, to_add: int, added: int) -> int:
    present = replicas_of(replica_set)
    if not present or not to_add or to_add == added:
        return 0
    fraction = _fraction(deployment, replica_set)
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(deployment: Object, replica_set: Object) -> int:
    """What the set would gain or lose if every set kept its share of the whole."""
    present = replicas_of(replica_set)
    if replicas_of(deployment) == 0:
        return -present
    noted = annotations_of(replica_set).get(MAX_REPLICAS, "")
    before = int(noted) if noted.isdigit() and int(noted) else status_number(deployment, "replicas")
    if not before:
        return 0
    return _round(present * most_pods(deployment) / before) - present


def _round(value: float) -> int:
    """Half away from zero, as Go's conversion does."""
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)
