"""Keeps the number of pods of ReplicaSets and ReplicationControllers (``pkg/controller/replicaset``).

Watches: the owners and pods. Writes: pods, the owner's status. Holds: at most 500 pods are created
or deleted in one go; nothing is created before what was created last is seen; the status says
what was there *after* acting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.client.expectations import Expectations
from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.batches import all_at_once, slow_start
from minikube_py.components.controllers.claims import claim
from minikube_py.components.controllers.kit import Kit, follow, write_status
from minikube_py.components.controllers.pods import (
    ExpectedPods,
    deletion_rank,
    index_by_controller,
    is_active,
    is_available,
    is_finished,
    is_ready,
    orphans,
    owned,
    pod_from_template,
    until_available,
)
from minikube_py.machinery.conditions import find_condition, remove_condition, set_condition
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    namespace_of,
    split_key,
    thaw,
    uid_of,
)
from minikube_py.machinery.owners import controller_of
from minikube_py.machinery.resources import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, Resource
from minikube_py.machinery.selectors import NOTHING, Selector, selector_from_label_selector, selector_from_map

burst_replicas = 500


@dataclass(frozen=True, slots=True)
class ReplicaKind:
    """What tells ReplicaSets and ReplicationControllers apart."""

    resource: Resource
    name: str
    selector: Callable[[Object], Selector]
    counts_terminating: bool


def _label_selector(owner: Object) -> Selector:
    return selector_from_label_selector((owner.get("spec") or {}).get("selector"))


def _map_selector(owner: Object) -> Selector:
    wanted = (owner.get("spec") or {}).get("selector")
    return selector_from_map(wanted) if wanted else NOTHING


REPLICA_SET = ReplicaKind(REPLICA_SETS, "replicaset", _label_selector, counts_terminating=True)
REPLICATION_CONTROLLER = ReplicaKind(
    REPLICATION_CONTROLLERS, "replicationcontroller", _map_selector, counts_terminating=False
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pods to create, and which to delete."""

    create: int = 0
    delete: Sequence[Object] = ()


def plan(wanted: int, active: Sequence[Object], related: Sequence[Object], now: float) -> Plan:
    """Decide; ``related`` are the active pods whose number on a node makes it crowded."""
    surplus = len(active) - wanted
    if surplus < 0:
        return Plan(create=min(-surplus, burst_replicas))
    if surplus == 0:
        return Plan()
    crowd: dict[str, int] = {}
    for pod in related:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        if node:
            crowd[node] = crowd.get(node, 0) + 1
    if surplus >= len(active):
        return Plan(delete=list(active)[:burst_replicas])
    ranked = sorted(
        active, key=lambda pod: deletion_rank(pod, crowd.get((pod.get("spec") or {}).get("nodeName") or "", 0), now)
    )
    return Plan(delete=ranked[: min(surplus, burst_replicas)])


def status_of(
    owner: Object, pods: Sequence[Object], failure: Exception | None, planned: Plan, now: float, *, terminating: bool
) -> Object:
    """The status for these pods (all that are owned); keeps what others wrote into it."""
    spec = owner.get("spec") or {}
    active = [pod for pod in pods if is_active(pod)]
    min_ready = int(spec.get("minReadySeconds") or 0)
    template_labels = metadata(spec.get("template") or {}).get("labels") or {}
    labelled = selector_from_map(template_labels)
    ready = [pod for pod in active if is_ready(pod)]
    counts = {
        "fullyLabeledReplicas": sum(1 for pod in active if labelled.matches(labels_of(pod))),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for pod in ready if is_available(pod, min_ready, now)),
    }
    status: Object = {key: value for key, value in counts.items() if value}
    status["replicas"] = len(active)
    if terminating:
        status["terminatingReplicas"] = sum(1 for pod in pods if is_deleting(pod) and not is_finished(pod))
    status["observedGeneration"] = metadata(owner).get("generation", 0)
    conditions = _conditions(owner, failure, planned, now)
    if conditions:
        status["conditions"] = conditions
    return status


def _conditions(owner: Object, failure: Exception | None, planned: Plan, now: float) -> list[Object]:
    conditions = thaw((owner.get("status") or {}).get("conditions") or [])
    if failure is None:
        remove_condition(conditions, "ReplicaFailure")
    elif find_condition(conditions, "ReplicaFailure") is None:
        reason = "FailedCreate" if planned.create else "FailedDelete"
        condition = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": str(failure)}
        set_condition(conditions, condition, now)
    return list(conditions)


class ReplicaController:
    """The loop, for one of the two kinds."""

    def __init__(self, kit: Kit, kind: ReplicaKind) -> None:
        self._kit = kit
        self._kind = kind
        self._owners = kit.client.informer(kind.resource)
        self._pods = kit.client.informer(PODS)
        index_by_controller(self._owners)
        index_by_controller(self._pods)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name=kind.name)
        self._expectations = Expectations(kit.clock)

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            self._kind.name,
            self._queue,
            self.reconcile,
            (self._owners, self._on_owner),
            (self._pods, self._on_pod),
        )

    def _on_owner(self, type: EventType, owner: Object, old: Object | None) -> None:
        self._queue.add(key_of(owner))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        key = self._owner_key(pod)
        if old is not None and type is not EventType.DELETED:
            former = self._owner_key(old)
            if former is not None and former != key:
                self._queue.add(former)
        if key is not None:
            if type is EventType.ADDED:
                self._expectations.creation_seen(key)
            if type is EventType.DELETED or is_deleting(pod):
                self._expectations.deletion_seen(key, uid_of(pod))
            self._queue.add(key)
        elif controller_of(pod) is None and type is not EventType.DELETED:
            self._offer_orphan(pod, old)

    def _owner_key(self, pod: Object) -> str | None:
        reference = controller_of(pod)
        if reference is None or reference.get("kind") != self._kind.resource.kind:
            return None
        owner = self._owners.get(str(reference.get("name")), namespace_of(pod))
        return key_of(owner) if owner is not None and uid_of(owner) == reference.get("uid") else None

    def _offer_orphan(self, pod: Object, old: Object | None) -> None:
        """Whoever selects an orphan may adopt it; only a change of labels or owner makes that news."""
        if old is not None and labels_of(old) == labels_of(pod) and controller_of(old) is None:
            return
        for owner in self._owners.list(namespace_of(pod)):
            if self._kind.selector(owner).matches(labels_of(pod)):
                self._queue.add(key_of(owner))

    async def reconcile(self, key: str) -> float | None:
        """Bring one owner's pods and status up to date; seconds until a pod becomes available."""
        namespace, name = split_key(key)
        owner = self._owners.get(name, namespace)
        if owner is None:
            self._expectations.forget(key)
            return None
        kit, now = self._kit, self._kit.clock.now()
        settled = self._expectations.satisfied(key)
        pods = await self._claim(owner)
        planned, failure = Plan(), None
        if settled and not is_deleting(owner):
            active = [pod for pod in pods if is_active(pod)]
            wanted = _replicas(owner)
            related = self._related(owner) if wanted < len(active) else ()
            planned = plan(wanted, active, related, now)
            failure = await self._apply(key, owner, planned)
            if planned != Plan():
                pods = list(owned(self._pods, owner))
        owner = self._owners.get(name, namespace) or owner
        status = status_of(owner, pods, failure, planned, now, terminating=self._kind.counts_terminating)
        await write_status(kit, self._kind.resource, owner, status)
        if failure is not None:
            raise failure
        spec = owner.get("spec") or {}
        return until_available((pod for pod in pods if is_active(pod)), int(spec.get("minReadySeconds") or 0), now)

    async def _claim(self, owner: Object) -> list[Object]:
        selector = self._kind.selector(owner)
        return await claim(
            self._kit,
            owner=owner,
            owner_resource=self._kind.resource,
            child_resource=PODS,
            candidates=[
                *owned(self._pods, owner),
                *(pod for pod in orphans(self._pods, namespace_of(owner)) if is_active(pod)),
            ],
            matches=lambda pod: selector.matches(labels_of(pod)),
        )

    def _related(self, owner: Object) -> list[Object]:
        """Active pods of all owners with the same controller (the ReplicaSets of one Deployment)."""
        above = controller_of(owner)
        owners = self._owners.by_index("controller-uid", str(above.get("uid"))) if above else (owner,)
        return [pod for each in owners for pod in owned(self._pods, each) if is_active(pod)]

    async def _apply(self, key: str, owner: Object, planned: Plan) -> Exception | None:
        pods = ExpectedPods(self._kit, self._expectations, key, owner)
        if planned.create:
            draft = pod_from_template((owner.get("spec") or {}).get("template") or {}, owner, self._kind.resource)
            _, failure = await slow_start([draft] * planned.create, pods.create)
            return failure
        if planned.delete:
            return await all_at_once(planned.delete, pods.delete)
        return None


def _replicas(owner: Object) -> int:
    value = (owner.get("spec") or {}).get("replicas")
    return 1 if value is None else int(value)
