"""The status of PodDisruptionBudgets (``pkg/controller/disruption``).

Watches: budgets, pods, and what controls pods. Writes: the budgets' status, which the eviction
subresource reads. Holds: ``disruptionsAllowed`` is never more than what keeps the budget; evictions
that were granted and not seen yet count as disrupted for two minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minikube_py.client.types import EventType, Informer
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, follow, write_status
from minikube_py.components.controllers.numbers import scaled
from minikube_py.components.controllers.pods import is_finished, is_ready
from minikube_py.machinery.conditions import set_condition
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    split_key,
    thaw,
    uid_of,
)
from minikube_py.machinery.owners import controller_of
from minikube_py.machinery.resources import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from minikube_py.machinery.selectors import selector_from_label_selector
from minikube_py.machinery.times import parse_time

eviction_timeout_seconds = 120.0


def pending_evictions(budget: Object, pods: Sequence[Object], now: float) -> tuple[dict[str, str], float | None]:
    """(granted evictions that have not been seen yet, seconds until one of them is given up)."""
    alive = {name_of(pod) for pod in pods if not is_deleting(pod)}
    pending: dict[str, str] = {}
    waits: list[float] = []
    for name, granted in ((budget.get("status") or {}).get("disruptedPods") or {}).items():
        left = parse_time(granted) + eviction_timeout_seconds - now
        if name in alive and left > 0:
            pending[name] = granted
            waits.append(left)
    return pending, min(waits, default=None)


def status_of(
    budget: Object, pods: Sequence[Object], expected: int, wanted: int, pending: Mapping[str, str], now: float
) -> Object:
    """The status for so many expected pods, of which ``wanted`` must stay healthy."""
    healthy = sum(1 for pod in pods if is_ready(pod) and not is_deleting(pod) and name_of(pod) not in pending)
    allowed = max(0, healthy - wanted) if expected > 0 else 0
    conditions = thaw((budget.get("status") or {}).get("conditions") or [])
    enough = allowed > 0
    condition: Object = {
        "type": "DisruptionAllowed",
        "status": "True" if enough else "False",
        "reason": "SufficientPods" if enough else "InsufficientPods",
        "message": "",
        "observedGeneration": metadata(budget).get("generation", 0),
    }
    set_condition(conditions, condition, now)
    status: Object = {
        "currentHealthy": healthy,
        "desiredHealthy": wanted,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "observedGeneration": metadata(budget).get("generation", 0),
        "conditions": conditions,
    }
    if pending:
        status["disruptedPods"] = dict(pending)
    return status


class DisruptionController:
    """The loop; keys are budgets."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._budgets = kit.client.informer(POD_DISRUPTION_BUDGETS)
        self._pods = kit.client.informer(PODS)
        self._deployments = kit.client.informer(DEPLOYMENTS)
        self._sets = kit.client.informer(REPLICA_SETS)
        self._scaled: dict[str, Informer] = {
            "ReplicationController": kit.client.informer(REPLICATION_CONTROLLERS),
            "StatefulSet": kit.client.informer(STATEFUL_SETS),
        }
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="disruption")

    async def run(self) -> None:
        """Run until cancelled."""
        for informer in (self._deployments, self._sets, *self._scaled.values()):
            await informer.synced()
        await follow(
            self._kit,
            "disruption",
            self._queue,
            self.reconcile,
            (self._budgets, self._on_budget),
            (self._pods, self._on_pod),
            workers=2,
        )

    def _on_budget(self, type: EventType, budget: Object, old: Object | None) -> None:
        self._queue.add(key_of(budget))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        changed = [labels_of(pod)] if old is None else [labels_of(pod), labels_of(old)]
        for budget in self._budgets.list(namespace_of(pod)):
            selector = selector_from_label_selector(budget["spec"].get("selector"))
            if any(selector.matches(labels) for labels in changed):
                self._queue.add(key_of(budget))

    async def reconcile(self, key: str) -> float | None:
        """Write one budget's status; seconds until a granted eviction is given up."""
        namespace, name = split_key(key)
        budget = self._budgets.get(name, namespace)
        if budget is None:
            return None
        selector = selector_from_label_selector(budget["spec"].get("selector"))
        pods = [pod for pod in self._pods.list(namespace) if selector.matches(labels_of(pod)) and not is_finished(pod)]
        now = self._kit.clock.now()
        if not pods:
            self._kit.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected, wanted = await self._expected(budget, pods)
        except ValueError as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            self._kit.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
            await self._fail(budget, str(error), now)
            return None
        pending, wait = pending_evictions(budget, pods, now)
        await write_status(
            self._kit, POD_DISRUPTION_BUDGETS, budget, status_of(budget, pods, expected, wanted, pending, now)
        )
        return wait

    async def _fail(self, budget: Object, message: str, now: float) -> None:
        """Fail safe: nothing may be evicted."""
        status = thaw(budget.get("status") or {})
        status["disruptionsAllowed"] = 0
        condition = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": message}
        set_condition(status.setdefault("conditions", []), condition, now)
        await write_status(self._kit, POD_DISRUPTION_BUDGETS, budget, status)

    async def _expected(self, budget: Object, pods: Sequence[Object]) -> tuple[int, int]:
        """(expected pods, pods that must stay healthy). Raises ValueError when nobody can say."""
        spec = budget["spec"]
        if spec.get("maxUnavailable") is not None:
            expected = self._wished(pods)
            return expected, max(0, expected - scaled(spec["maxUnavailable"], expected, round_up=True))
        least = spec.get("minAvailable", 1)
        if isinstance(least, int):
            return len(pods), least
        expected = self._wished(pods)
        return expected, scaled(least, expected, round_up=True)

    def _wished(self, pods: Sequence[Object]) -> int:
        """The sum of what the controllers of these pods want."""
        found: dict[str, int] = {}
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                continue
            uid = str(reference.get("uid"))
            if uid not in found:
                scale = self._scale(pod, reference)
                if scale is None:
                    kind, name = reference.get("kind"), reference.get("name")
                    raise ValueError(f"found no scale of controller {kind} {name} of pod {key_of(pod)}")
                found[scale[0]] = scale[1]
                found.setdefault(uid, 0)
        return sum(found.values())

    def _scale(self, pod: Object, reference: Object) -> tuple[str, int] | None:
        """(uid of what is scaled, its replicas): the Deployment above a ReplicaSet, or the controller itself."""
        namespace, name = namespace_of(pod), str(reference.get("name"))
        if reference.get("kind") == "ReplicaSet":
            owner = self._sets.get(name, namespace)
            above = controller_of(owner) if owner is not None else None
            if above is not None and above.get("kind") == "Deployment":
                owner = self._deployments.get(str(above.get("name")), namespace)
        else:
            informer = self._scaled.get(str(reference.get("kind")))
            owner = informer.get(name, namespace) if informer is not None else None
        if owner is None:
            return None
        value = (owner.get("spec") or {}).get("replicas")
        return uid_of(owner), 1 if value is None else int(value)
