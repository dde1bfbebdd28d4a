"""Deletes pods that do not tolerate their node's NoExecute taints (``pkg/controller/tainteviction``).

Watches: nodes and pods. Holds: a pod that tolerates the taints for a while is deleted when that
while is over, counted from when the taints were first seen with it, and left alone when they go.
"""

from __future__ import annotations

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.components.controllers.nodes.disruption import mark_disrupted
from minikube_py.components.controllers.nodes.lifecycle import BY_NODE, node_values
from minikube_py.components.controllers.nodes.tolerations import no_execute, stay_seconds
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, key_of, name_of, namespace_of, split_key, uid_of
from minikube_py.machinery.resources import NODES, PODS

REASON = "DeletionByTaintManager"
MESSAGE = "Taint manager: deleting due to NoExecute taint"


class TaintEvictionController:
    """The loop; keys are pods."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._nodes = kit.client.informer(NODES)
        self._pods = kit.client.informer(PODS)
        self._pods.add_index(BY_NODE, node_values)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="taint-eviction")
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "taint-eviction",
            self._queue,
            self.reconcile,
            (self._nodes, self._on_node),
            (self._pods, self._on_pod),
            workers=8,
        )

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and no_execute(node) != (no_execute(old) if old is not None else []):
            for pod in self._pods.by_index(BY_NODE, name_of(node)):
                self._queue.add(key_of(pod))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        if type is EventType.DELETED:
            self._since.pop(uid_of(pod), None)
            return
        node = self._nodes.get((pod.get("spec") or {}).get("nodeName") or "")
        if node is not None and no_execute(node):
            self._queue.add(key_of(pod))

    async def reconcile(self, key: str) -> float | None:
        """Delete the pod if its time on the node is over; else the seconds it has left."""
        namespace, name = split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or is_deleting(pod):
            return None
        node = self._nodes.get((pod.get("spec") or {}).get("nodeName") or "")
        taints = no_execute(node) if node is not None else []
        stay = stay_seconds(pod, taints) if taints else None
        if stay is None:
            if self._since.pop(uid_of(pod), None) is not None:
                self._note(pod, f"Cancelling deletion of Pod {key}")
            return None
        now = self._kit.clock.monotonic()
        left = self._since.setdefault(uid_of(pod), now) + stay - now
        if left > 0:
            return left
        await self._evict(pod)
        return None

    async def _evict(self, pod: Object) -> None:
        self._note(pod, f"Marking for deletion Pod {key_of(pod)}")
        await mark_disrupted(self._kit, pod, REASON, MESSAGE)
        try:
            options = DeleteOptions(precondition_uid=uid_of(pod))
            await self._kit.client.delete(PODS, name_of(pod), namespace_of(pod), options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise

    def _note(self, pod: Object, message: str) -> None:
        self._kit.recorder.event(pod, "Normal", "TaintManagerEviction", message)
