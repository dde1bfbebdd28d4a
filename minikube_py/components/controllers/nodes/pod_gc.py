"""Removes pods that nobody else will (``pkg/controller/podgc``).

- Pods on a node that is gone (for longer than 40 s, and the server says so too).
- Pods that are being deleted and were never scheduled.
- Pods that are being deleted on a node that is out of service and not ready.
- The oldest ended pods beyond a threshold.
"""

from __future__ import annotations

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.components.controllers.nodes.disruption import mark_disrupted
from minikube_py.components.controllers.nodes.health import readiness
from minikube_py.components.controllers.nodes.lifecycle import BY_NODE, node_values
from minikube_py.components.controllers.pods import is_finished
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    metadata,
    name_of,
    namespace_of,
    split_key,
    uid_of,
)
from minikube_py.machinery.resources import NODES, PODS

quarantine_seconds = 40.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_THRESHOLD = "ended pods"


class PodGarbageCollector:
    """The loop; keys are pods, and one for the threshold."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._nodes = kit.client.informer(NODES)
        self._pods = kit.client.informer(PODS)
        self._pods.add_index(BY_NODE, node_values)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="pod-garbage-collector")
        self._ended: set[str] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "pod-garbage-collector",
            self._queue,
            self.reconcile,
            (self._nodes, self._on_node),
            (self._pods, self._on_pod),
            workers=2,
        )

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        for pod in self._pods.by_index(BY_NODE, name_of(node)):
            if type is EventType.DELETED:
                self._queue.add_after(key_of(pod), quarantine_seconds)
            elif is_deleting(pod) and _out_of_service(node):
                self._queue.add(key_of(pod))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        key = key_of(pod)
        if type is EventType.DELETED:
            self._ended.discard(key)
            return
        if is_finished(pod):
            self._ended.add(key)
            if len(self._ended) > self._kit.settings.terminated_pod_threshold > 0:
                self._queue.add(_THRESHOLD)
        node_name = (pod.get("spec") or {}).get("nodeName")
        if node_name and self._nodes.get(node_name) is None:
            self._queue.add_after(key, quarantine_seconds)
        elif is_deleting(pod):
            self._queue.add(key)

    async def reconcile(self, key: str) -> None:
        """Remove one pod if it is left over, or the ended pods beyond the threshold."""
        if key == _THRESHOLD:
            await self._trim()
            return
        namespace, name = split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None:
            return
        node_name = (pod.get("spec") or {}).get("nodeName")
        node = self._nodes.get(node_name) if node_name else None
        if node_name and node is None:
            if await self._is_gone(node_name):
                await self._remove(pod, "PodGC: node no longer exists")
        elif is_deleting(pod) and not node_name:
            await self._remove(pod, "")
        elif is_deleting(pod) and node is not None and _out_of_service(node):
            await self._remove(pod, "PodGC: node is out of service")

    async def _is_gone(self, node: str) -> bool:
        try:
            await self._kit.client.get(NODES, node)
        except ApiError as error:
            if is_not_found(error):
                return True
            raise
        return False

    async def _remove(self, pod: Object, message: str) -> None:
        if message and not is_finished(pod):
            await mark_disrupted(self._kit, pod, "DeletionByPodGC", message, phase="Failed")
        try:
            options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid_of(pod))
            await self._kit.client.delete(PODS, name_of(pod), namespace_of(pod), options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise

    async def _trim(self) -> None:
        ended = [pod for key in self._ended if (pod := self._pods.get(*reversed(split_key(key)))) is not None]
        ended.sort(key=lambda pod: str(metadata(pod).get("creationTimestamp", "")))
        for pod in ended[: len(ended) - self._kit.settings.terminated_pod_threshold]:
            await self._remove(pod, "")


def _out_of_service(node: Object) -> bool:
    taints = (node.get("spec") or {}).get("taints") or ()
    return readiness(node) != "True" and any(taint.get("key") == OUT_OF_SERVICE for taint in taints)
