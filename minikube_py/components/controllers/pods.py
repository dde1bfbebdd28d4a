"""What controllers read off pods, and how they make and rank them (``pkg/controller/controller_utils.go``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.client.expectations import Expectations
from minikube_py.client.types import DeleteOptions, Informer
from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.machinery.conditions import condition_is_true, find_condition
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import (
    Object,
    annotations_of,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from minikube_py.machinery.owners import controller_of, owner_reference
from minikube_py.machinery.resources import PODS, Resource
from minikube_py.machinery.times import parse_time

POD_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
BY_CONTROLLER = "controller-uid"
ORPHANS = "orphans-in-namespace"


def index_by_controller(informer: Informer) -> None:
    """Let ``children`` find objects by their controller."""
    informer.add_index(BY_CONTROLLER, _controller_uid)
    informer.add_index(ORPHANS, _orphan_namespace)


def _controller_uid(obj: Object) -> Sequence[str]:
    reference = controller_of(obj)
    return (str(reference.get("uid", "")),) if reference else ()


def _orphan_namespace(obj: Object) -> Sequence[str]:
    return () if controller_of(obj) else (namespace_of(obj),)


def owned(informer: Informer, owner: Object) -> Sequence[Object]:
    """The objects whose controller is ``owner``."""
    return informer.by_index(BY_CONTROLLER, uid_of(owner))


def orphans(informer: Informer, namespace: str) -> Sequence[Object]:
    """The objects of a namespace that nobody controls."""
    return informer.by_index(ORPHANS, namespace)


def phase_of(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def is_finished(pod: Object) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether a pod counts for its controller: it has not ended and is not on its way out."""
    return not is_finished(pod) and not is_deleting(pod)


def is_ready(pod: Object) -> bool:
    return condition_is_true((pod.get("status") or {}).get("conditions"), "Ready")


def ready_since(pod: Object) -> float | None:
    """When the pod became ready; None when it is not."""
    condition = find_condition((pod.get("status") or {}).get("conditions"), "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    text = condition.get("lastTransitionTime")
    return parse_time(text) if text else 0.0


def is_available(pod: Object, min_ready_seconds: int, now: float) -> bool:
    since = ready_since(pod)
    return since is not None and (not min_ready_seconds or since + min_ready_seconds <= now)


def until_available(pods: Iterable[Object], min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the next ready pod becomes available; None when there is none to wait for."""
    if not min_ready_seconds:
        return None
    waits = [
        since + min_ready_seconds - now
        for since in map(ready_since, pods)
        if since is not None and since + min_ready_seconds > now
    ]
    return min(waits, default=None)


def pod_from_template(template: Mapping[str, object], owner: Object, resource: Resource) -> Object:
    """A pod of this controller (``GetPodFromTemplate``); a private draft."""
    given = metadata(template)
    meta: Object = {
        "generateName": f"{name_of(owner)}-",
        "labels": dict(given.get("labels") or {}),
        "annotations": dict(given.get("annotations") or {}),
        "ownerReferences": [owner_reference(owner, resource.api_version, resource.kind)],
    }
    if given.get("finalizers"):
        meta["finalizers"] = list(given["finalizers"])
    draft: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": thaw(template.get("spec") or {})}
    return draft


async def create_pod(kit: Kit, owner: Object, draft: Object) -> Object:
    """Create a pod and say so on the owner. Raises ApiError (silently on a namespace that goes away)."""
    try:
        made = await kit.client.create(PODS, draft, namespace_of(owner), options=WRITE)
    except ApiError as error:
        if not namespace_is_terminating(error):
            kit.recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
        raise
    kit.recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(made)}")
    return made


async def delete_pod(kit: Kit, owner: Object, pod: Object, *, grace_period_seconds: int | None = None) -> None:
    """Delete this very pod and say so on the owner; one that is gone already is fine. Raises ApiError."""
    options = DeleteOptions(grace_period_seconds=grace_period_seconds, precondition_uid=uid_of(pod) or None)
    try:
        await kit.client.delete(PODS, name_of(pod), namespace_of(pod), options=options)
    except ApiError as error:
        if is_not_found(error):
            return
        kit.recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
        raise
    kit.recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")


@dataclass(frozen=True, slots=True)
class ExpectedPods:
    """Creates and deletes an owner's pods; the loop then waits until its informer has seen them."""

    kit: Kit
    expectations: Expectations
    key: str
    owner: Object

    async def create(self, draft: Object) -> None:
        """Raises ApiError, but not for a namespace that goes away: there is nothing to retry."""
        self.expectations.expect_creations(self.key, 1)
        try:
            await create_pod(self.kit, self.owner, draft)
        except ApiError as error:
            self.expectations.creation_seen(self.key)
            if not namespace_is_terminating(error):
                raise

    async def delete(self, pod: Object) -> None:
        """Raises ApiError."""
        self.expectations.expect_deletion(self.key, uid_of(pod))
        try:
            await delete_pod(self.kit, self.owner, pod)
        except ApiError:
            self.expectations.deletion_seen(self.key, uid_of(pod))
            raise


def namespace_is_terminating(error: ApiError) -> bool:
    """Whether creation failed only because the namespace goes away (nothing to retry then)."""
    causes = (error.details or {}).get("causes") or ()
    return error.reason == "Forbidden" and any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_rank(pod: Object, same_node: int, now: float) -> tuple[float, ...]:
    """Sort key: pods to delete first come first (``ActivePodsWithRanks``).

    Unassigned before assigned, pending before running, not ready before ready, cheap before dear,
    crowded nodes first, then those ready for a shorter time, with more restarts, younger. Times are
    compared by their logarithm, so that pods of about the same age are told apart by chance (here:
    by the order in which they are given).
    """
    since = ready_since(pod)
    status = pod.get("status") or {}
    restarts = max((int(entry.get("restartCount") or 0) for entry in status.get("containerStatuses") or ()), default=0)
    created = metadata(pod).get("creationTimestamp")
    return (
        1 if (pod.get("spec") or {}).get("nodeName") else 0,
        _PHASE_RANK.get(phase_of(pod), 0),
        0 if since is None else 1,
        deletion_cost(pod),
        -same_node,
        0 if since is None else _log_age(now - since),
        -restarts,
        _log_age(now - parse_time(created)) if created else 0,
    )


def deletion_cost(pod: Object) -> int:
    text = annotations_of(pod).get(POD_DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _log_age(seconds: float) -> int:
    return int(math.log2(seconds)) if seconds >= 1 else 0
