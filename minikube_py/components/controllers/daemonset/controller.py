"""The loop of DaemonSets.

Watches: DaemonSets, pods, nodes, ControllerRevisions. Writes: pods, revisions, status. Holds: at
most one daemon pod of a set for each node (two while it surges); ended pods are replaced with
growing delays.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.expectations import Expectations
from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.batches import all_at_once, slow_start
from minikube_py.components.controllers.claims import claim
from minikube_py.components.controllers.daemonset.placement import (
    Plan,
    daemon_pod,
    is_rolling,
    plan_placement,
    plan_update,
    should_run,
    status_of,
    target_node,
)
from minikube_py.components.controllers.kit import Kit, follow, write_status
from minikube_py.components.controllers.pods import (
    ExpectedPods,
    index_by_controller,
    orphans,
    owned,
    phase_of,
    until_available,
)
from minikube_py.components.controllers.revisions import HASH, claim_revisions, present_revision, trim_revisions
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    split_key,
    uid_of,
)
from minikube_py.machinery.owners import controller_of
from minikube_py.machinery.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from minikube_py.machinery.selectors import selector_from_label_selector

most_at_once = 250
first_replacement_seconds = 1.0
longest_replacement_seconds = 900.0


class DaemonSetController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._sets = kit.client.informer(DAEMON_SETS)
        self._pods = kit.client.informer(PODS)
        self._nodes = kit.client.informer(NODES)
        self._revisions = kit.client.informer(CONTROLLER_REVISIONS)
        index_by_controller(self._pods)
        index_by_controller(self._revisions)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="daemonset")
        self._expectations = Expectations(kit.clock)
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "daemonset",
            self._queue,
            self.reconcile,
            (self._nodes, self._on_node),
            (self._sets, self._on_set),
            (self._pods, self._on_pod),
        )

    def _on_set(self, type: EventType, owner: Object, old: Object | None) -> None:
        self._queue.add(key_of(owner))

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        """Labels and taints decide where daemon pods belong; heartbeats do not."""
        for owner in self._sets.list():
            if type is not EventType.MODIFIED or old is None or should_run(owner, old) != should_run(owner, node):
                self._queue.add(key_of(owner))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        reference = controller_of(pod)
        if reference is not None and reference.get("kind") == "DaemonSet":
            key = f"{namespace_of(pod)}/{reference.get('name')}"
            if type is EventType.ADDED:
                self._expectations.creation_seen(key)
            if type is EventType.DELETED or is_deleting(pod):
                self._expectations.deletion_seen(key, uid_of(pod))
            self._queue.add(key)
        elif reference is None and type is not EventType.DELETED and (old is None or labels_of(old) != labels_of(pod)):
            for owner in self._sets.list(namespace_of(pod)):
                if selector_from_label_selector(owner["spec"].get("selector")).matches(labels_of(pod)):
                    self._queue.add(key_of(owner))

    async def reconcile(self, key: str) -> float | None:
        """Bring one DaemonSet up to date; seconds until a pod becomes available or may be replaced."""
        namespace, name = split_key(key)
        owner = self._sets.get(name, namespace)
        if owner is None:
            self._expectations.forget(key)
            self._failures = {entry: value for entry, value in self._failures.items() if entry[0] != key}
            return None
        if is_deleting(owner) or not owner["spec"].get("selector"):
            return None
        kit, now = self._kit, self._kit.clock.now()
        revisions = await claim_revisions(kit, self._revisions, owner, DAEMON_SETS)
        collisions = (owner.get("status") or {}).get("collisionCount")
        present, collisions = await present_revision(kit, owner, DAEMON_SETS, revisions, collisions)
        revision = labels_of(present).get(HASH, "")
        await self._claim(owner)
        failure, wait = None, None
        if self._expectations.satisfied(key):
            failure, wait = await self._manage(key, owner, revision, now)
        if failure is None and self._expectations.satisfied(key) and is_rolling(owner):
            step = plan_update(owner, self._nodes.list(), self._by_node(owner), revision, now)
            failure = await self._apply(key, owner, step, revision)
        by_node = self._by_node(owner)
        used = {labels_of(pod).get(HASH) for pods in by_node.values() for pod in pods}
        in_use = {name_of(each) for each in revisions if labels_of(each).get(HASH) in used}
        await trim_revisions(kit, owner, revisions, {*in_use, name_of(present)})
        owner = self._sets.get(name, namespace) or owner
        status = status_of(owner, self._nodes.list(), by_node, revision, collisions, now)
        await write_status(kit, DAEMON_SETS, owner, status)
        if failure is not None:
            raise failure
        pods = [pod for each in by_node.values() for pod in each]
        available = until_available(pods, int(owner["spec"].get("minReadySeconds") or 0), now)
        return min((each for each in (wait, available) if each is not None), default=None)

    async def _claim(self, owner: Object) -> None:
        selector = selector_from_label_selector(owner["spec"]["selector"])
        await claim(
            self._kit,
            owner=owner,
            owner_resource=DAEMON_SETS,
            child_resource=PODS,
            candidates=[*owned(self._pods, owner), *orphans(self._pods, namespace_of(owner))],
            matches=lambda pod: selector.matches(labels_of(pod)),
        )

    def _by_node(self, owner: Object) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for pod in owned(self._pods, owner):
            found.setdefault(target_node(pod), []).append(pod)
        return found

    async def _manage(
        self, key: str, owner: Object, revision: str, now: float
    ) -> tuple[Exception | None, float | None]:
        """Place pods; also the seconds until an ended pod may be replaced."""
        plan = plan_placement(owner, self._nodes.list(), self._by_node(owner), revision, now)
        wait: float | None = None
        for pod in plan.ended:
            left = self._replacement_wait(key, pod)
            if left > 0:
                wait = left if wait is None else min(wait, left)
                continue
            self._tell_ended(owner, pod)
            plan.delete.append(pod)
        return await self._apply(key, owner, plan, revision), wait

    def _replacement_wait(self, key: str, pod: Object) -> float:
        """Seconds until an ended pod may go; the wait of a node doubles with each failure."""
        if phase_of(pod) != "Failed":
            return 0.0
        entry, now = (key, target_node(pod)), self._kit.clock.monotonic()
        count, since = self._failures.get(entry, (0, float("-inf")))
        delay = min(first_replacement_seconds * 2.0**count, longest_replacement_seconds)
        if now - since < delay:
            return since + delay - now
        self._failures[entry] = (0 if now - since > 2 * longest_replacement_seconds else count + 1, now)
        return 0.0

    def _tell_ended(self, owner: Object, pod: Object) -> None:
        phase = phase_of(pod)
        reason = "FailedDaemonPod" if phase == "Failed" else "SucceededDaemonPod"
        verb = "kill" if phase == "Failed" else "delete"
        message = f"Found {phase.lower()} daemon pod {key_of(pod)} on node {target_node(pod)}, will try to {verb} it"
        self._kit.recorder.event(owner, "Warning" if phase == "Failed" else "Normal", reason, message)

    async def _apply(self, key: str, owner: Object, plan: Plan, revision: str) -> Exception | None:
        pods = ExpectedPods(self._kit, self._expectations, key, owner)

        async def create(node: str) -> None:
            await pods.create(daemon_pod(owner, node, revision))

        _, failure = await slow_start(_first(plan.create), create)
        return await all_at_once(plan.delete[:most_at_once], pods.delete) or failure


def _first(names: Sequence[str]) -> Sequence[str]:
    return names[:most_at_once]
