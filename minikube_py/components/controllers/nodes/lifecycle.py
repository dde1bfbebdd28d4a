"""Notices nodes that stop reporting, says so in their conditions, and taints them.

Watches: nodes, their Leases, pods by node. Writes: node conditions and taints, readiness of pods on
nodes that are not ready. Holds: a node counts as silent when *this process* has seen no sign of
life for the grace period, so a restart or a jump of a clock condemns nobody; when no node at all is
ready nobody is evicted, because then it is this side that is cut off. A healthy node costs one
wake-up per grace period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.batches import all_at_once
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.components.controllers.nodes.health import readiness, retainted, silenced, unready_pod_status
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, name_of, namespace_of, resource_version_of
from minikube_py.machinery.resources import LEASES, NODES, PODS

LEASE_NAMESPACE = "kube-node-lease"
BY_NODE = "node"


def node_values(pod: Object) -> Sequence[str]:
    """The index of pods by their node."""
    node = (pod.get("spec") or {}).get("nodeName")
    return (str(node),) if node else ()


@dataclass(slots=True)
class _Life:
    """The last sign of life: what it was, and when we saw it (monotonic seconds)."""

    renewed: str
    heartbeat: str
    seen: float


class NodeLifecycleController:
    """The loop; keys are node names."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._nodes = kit.client.informer(NODES)
        self._leases = kit.client.informer(LEASES, LEASE_NAMESPACE)
        self._pods = kit.client.informer(PODS)
        self._pods.add_index(BY_NODE, node_values)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="node-lifecycle")
        self._lives: dict[str, _Life] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "node-lifecycle",
            self._queue,
            self.reconcile,
            (self._leases, self._on_lease),
            (self._nodes, self._on_node),
        )

    def _on_lease(self, type: EventType, lease: Object, old: Object | None) -> None:
        """A renewal needs no work; only the timer that is set already looks at it."""
        renewed = str((lease.get("spec") or {}).get("renewTime") or "")
        life = self._life(name_of(lease))
        if type is not EventType.DELETED and renewed != life.renewed:
            life.renewed, life.seen = renewed, self._kit.clock.monotonic()

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        name = name_of(node)
        if type is EventType.DELETED:
            self._lives.pop(name, None)
        else:
            self._note_heartbeat(name, node)
        if old is None or type is EventType.DELETED or readiness(old) != readiness(node):
            for each in self._nodes.list():
                self._queue.add(name_of(each))
        elif old.get("spec") != node.get("spec") or _states(old) != _states(node):
            self._queue.add(name)

    def _note_heartbeat(self, name: str, node: Object) -> None:
        found = find_condition((node.get("status") or {}).get("conditions"), "Ready") or {}
        heartbeat, life = str(found.get("lastHeartbeatTime") or ""), self._life(name)
        if heartbeat != life.heartbeat:
            life.heartbeat, life.seen = heartbeat, self._kit.clock.monotonic()

    def _life(self, name: str) -> _Life:
        found = self._lives.get(name)
        if found is None:
            found = self._lives[name] = _Life("", "", self._kit.clock.monotonic())
        return found

    async def reconcile(self, key: str) -> float | None:
        """Judge one node; seconds until it would count as silent."""
        node = self._nodes.get(key)
        if node is None:
            return None
        left = self._left(key, node)
        if left <= 0:
            node = await self._silence(node)
        await self._taint(node)
        if readiness(node) in ("False", "Unknown"):
            await self._unready_pods(key)
        return max(left, 0.0) or None

    def _left(self, name: str, node: Object) -> float:
        settings = self._kit.settings
        grace = settings.node_monitor_grace_seconds if readiness(node) else settings.node_startup_grace_seconds
        return self._life(name).seen + grace - self._kit.clock.monotonic()

    async def _silence(self, node: Object) -> Object:
        status = silenced(node, self._kit.clock.now())
        if status is None:
            return node
        was_ready = readiness(node) == "True"
        await write_status(self._kit, NODES, node, status)
        if was_ready:
            message = f"Node {name_of(node)} status is now: NodeNotReady"
            self._kit.recorder.event(node, "Normal", "NodeNotReady", message)
        return self._nodes.get(name_of(node)) or {**node, "status": status}

    async def _taint(self, node: Object) -> None:
        some_ready = any(readiness(each) == "True" for each in self._nodes.list())
        taints = retainted(node, evict=some_ready, now=self._kit.clock.now())
        if taints is None:
            return
        patch: Object = {
            "metadata": {"resourceVersion": resource_version_of(node)},
            "spec": {"taints": taints or None},
        }
        await self._kit.client.patch(NODES, name_of(node), patch, options=WRITE)

    async def _unready_pods(self, node: str) -> None:
        failure = await all_at_once(self._pods.by_index(BY_NODE, node), self._unready_pod)
        if failure is not None:
            raise failure

    async def _unready_pod(self, pod: Object) -> None:
        status = unready_pod_status(pod, self._kit.clock.now())
        if status is None:
            return
        try:
            await write_status(self._kit, PODS, pod, status)
        except ApiError as error:
            if not (is_not_found(error) or is_conflict(error)):
                raise
            return
        if namespace_of(pod):
            self._kit.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def _states(node: Object) -> list[tuple[object, object]]:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return [(condition.get("type"), condition.get("status")) for condition in conditions]
