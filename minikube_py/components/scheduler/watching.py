"""Feeds cache and queue from informers, and tells the queue which changes may help waiting pods.

A pod without a node belongs in the queue, a bound pod in the cache, an ended pod nowhere. What a
change of a node may help is read off the fields that differ (``nodeSchedulingPropertiesChange``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minikube_py.client.types import Client, EventType
from minikube_py.components.scheduler.cache import Cache
from minikube_py.components.scheduler.framework import NO_EVENT, ClusterEvent
from minikube_py.components.scheduler.nominations import Nominations
from minikube_py.components.scheduler.pod_info import PodInfo, pod_info
from minikube_py.components.scheduler.profile import Profile
from minikube_py.components.scheduler.queue import SchedulingQueue
from minikube_py.machinery import resources
from minikube_py.machinery.objects import Object, is_deleting, labels_of, name_of, uid_of

_ENDED = ("Succeeded", "Failed")


class Watching:
    """The handlers; each runs synchronously on the loop."""

    def __init__(
        self, profiles: Mapping[str, Profile], cache: Cache, queue: SchedulingQueue, nominations: Nominations
    ) -> None:
        self._profiles = profiles
        self._cache = cache
        self._queue = queue
        self._nominations = nominations

    def on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        phase = (pod.get("status") or {}).get("phase")
        if type is EventType.DELETED or phase in _ENDED:
            self._leave(pod)
        elif (pod.get("spec") or {}).get("nodeName"):
            self._bound(pod, old)
        else:
            self._pending(pod, old)

    def _leave(self, pod: Object) -> None:
        uid = uid_of(pod)
        self._queue.remove(uid)
        self._withdraw(uid)
        was_bound = bool((pod.get("spec") or {}).get("nodeName")) or self._cache.is_assumed(uid)
        if was_bound:
            self._cache.remove_pod(uid)
            self._queue.happened(ClusterEvent.POD_DELETED)

    def _bound(self, pod: Object, old: Object | None) -> None:
        if (
            old is not None
            and old.get("spec") == pod.get("spec")
            and labels_of(old) == labels_of(pod)
            and is_deleting(old) == is_deleting(pod)
        ):
            return
        info = pod_info(pod)
        fresh = old is None or not (old.get("spec") or {}).get("nodeName")
        self._queue.remove(info.uid)
        self._nominations.drop(info.uid)
        self._cache.put_pod(info)
        self._queue.happened(ClusterEvent.POD_ADDED if fresh else ClusterEvent.POD_LABELS)

    def _pending(self, pod: Object, old: Object | None) -> None:
        scheduler_name = (pod.get("spec") or {}).get("schedulerName") or "default-scheduler"
        profile = self._profiles.get(scheduler_name)
        if profile is None or self._cache.is_assumed(uid_of(pod)):
            return
        if is_deleting(pod):
            self._queue.remove(uid_of(pod))
            self._withdraw(uid_of(pod))
            return
        info = pod_info(pod)
        self._nominate(info, old)
        gated = any(not plugin.pre_enqueue(info).ok for plugin in profile.pre_enqueue)
        self._queue.add(info, gated=gated)
        if old is not None and labels_of(old) != labels_of(pod):
            self._queue.happened(ClusterEvent.POD_LABELS)

    def _nominate(self, pod: PodInfo, old: Object | None) -> None:
        """Follow the pod's status; a nomination that is not written yet stays."""
        written, before = _nominated(pod.object), _nominated(old or {})
        self._nominations.put(pod, written or ("" if before else self._nominations.node_of(pod.uid)))

    def _withdraw(self, uid: str) -> None:
        """The room that was made for a pod is free for others."""
        if self._nominations.node_of(uid):
            self._nominations.drop(uid)
            self._queue.happened(ClusterEvent.POD_DELETED)

    def on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        if type is EventType.DELETED:
            self._cache.remove_node(name_of(node))
            return
        event = ClusterEvent.NODE_ADDED if old is None else node_changes(old, node)
        if old is not None and event is NO_EVENT and _images(old) == _images(node):
            return
        self._cache.set_node(node)
        if event:
            self._queue.happened(event)


def node_changes(old: Object, new: Object) -> ClusterEvent:
    """Which kinds of change lie between two revisions of a node."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    event = NO_EVENT
    if (old.get("status") or {}).get("allocatable") != (new.get("status") or {}).get("allocatable"):
        event |= ClusterEvent.NODE_ALLOCATABLE
    if labels_of(old) != labels_of(new):
        event |= ClusterEvent.NODE_LABELS
    if before.get("taints") != after.get("taints"):
        event |= ClusterEvent.NODE_TAINTS
    if bool(before.get("unschedulable")) != bool(after.get("unschedulable")):
        event |= ClusterEvent.NODE_UNSCHEDULABLE
    return event


def _nominated(pod: Object) -> str:
    return str((pod.get("status") or {}).get("nominatedNodeName") or "")


def _images(node: Object) -> object:
    return (node.get("status") or {}).get("images")


async def start_watching(
    client: Client, profiles: Mapping[str, Profile], cache: Cache, queue: SchedulingQueue, nominations: Nominations
) -> Callable[[], None]:
    """Fill cache and queue, follow changes; returns what ends it. Nodes come before pods."""
    watching = Watching(profiles, cache, queue, nominations)

    def notify(event: ClusterEvent) -> Callable[[EventType, Object, Object | None], None]:
        def handler(type: EventType, obj: Object, old: Object | None) -> None:
            queue.happened(event)

        return handler

    handlers = [
        (resources.NODES, watching.on_node),
        (resources.PERSISTENT_VOLUME_CLAIMS, notify(ClusterEvent.CLAIM)),
        (resources.PERSISTENT_VOLUMES, notify(ClusterEvent.VOLUME)),
        (resources.STORAGE_CLASSES, notify(ClusterEvent.STORAGE_CLASS)),
        (resources.NAMESPACES, notify(ClusterEvent.NAMESPACE_LABELS)),
        (resources.PODS, watching.on_pod),
    ]
    ends = []
    for resource, handler in handlers:
        informer = client.informer(resource)
        await informer.synced()
        ends.append(informer.subscribe(handler))

    def stop() -> None:
        for end in ends:
            end()

    return stop
