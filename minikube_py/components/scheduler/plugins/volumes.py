"""VolumeBinding and VolumeRestrictions: claims that must exist, be bound, and be reachable from the node.

Source: kube-scheduler's VolumeBinding and VolumeRestrictions. A claim of a class that waits for
its first consumer gets the chosen node as an annotation; the pod is bound once the claim is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.client.types import Client, EventType, Informer
from minikube_py.components.scheduler.framework import (
    SKIP,
    SUCCESS,
    ClusterEvent,
    CycleState,
    Status,
    unresolvable,
    unschedulable,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.plugins.node_affinity import node_selector_matches
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery import resources
from minikube_py.machinery.objects import Object, annotations_of, is_deleting, name_of, namespace_of

SELECTED_NODE = "volume.kubernetes.io/selected-node"
bind_timeout_seconds = 600.0


@dataclass(frozen=True, slots=True)
class _Claims:
    """The pod's claims in this cycle: bound volumes, and claims that wait for a node."""

    volumes: tuple[Object, ...]
    waiting: tuple[Object, ...]


class VolumeBinding:
    """Reads claims, volumes and classes through informers; writes only the annotation on claims."""

    name = "VolumeBinding"
    events = (
        ClusterEvent.CLAIM
        | ClusterEvent.VOLUME
        | ClusterEvent.STORAGE_CLASS
        | ClusterEvent.NODE_ADDED
        | (ClusterEvent.NODE_LABELS)
    )

    def __init__(self, client: Client, claims: Informer, volumes: Informer, classes: Informer) -> None:
        self._client = client
        self._claims = claims
        self._volumes = volumes
        self._classes = classes

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        if not pod.claims:
            return SKIP
        bound: list[Object] = []
        waiting: list[Object] = []
        for name in pod.claims:
            claim = self._claims.get(name, pod.namespace)
            if claim is None:
                return unresolvable(self.name, f'persistentvolumeclaim "{name}" not found')
            if is_deleting(claim):
                return unresolvable(self.name, f'persistentvolumeclaim "{name}" is being deleted')
            volume_name = (claim.get("spec") or {}).get("volumeName")
            if volume_name and (claim.get("status") or {}).get("phase") == "Bound":
                volume = self._volumes.get(volume_name)
                if volume is None:
                    return unresolvable(self.name, f'persistentvolume "{volume_name}" not found')
                bound.append(volume)
            elif self._waits_for_consumer(claim):
                waiting.append(claim)
            else:
                return unresolvable(self.name, "pod has unbound immediate PersistentVolumeClaims")
        state[self.name] = _Claims(tuple(bound), tuple(waiting))
        return SUCCESS

    def _waits_for_consumer(self, claim: Object) -> bool:
        class_name = (claim.get("spec") or {}).get("storageClassName")
        storage_class = self._classes.get(class_name) if class_name else None
        return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        claims: _Claims = state[self.name]
        for volume in claims.volumes:
            required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
            if required and not node_selector_matches(required, node.labels, node.name):
                return unresolvable(self.name, "node(s) didn't match PersistentVolume's node affinity")
        for claim in claims.waiting:
            chosen = annotations_of(claim).get(SELECTED_NODE)
            if chosen and chosen != node.name:
                return unresolvable(self.name, "node(s) didn't match the node chosen for the claim")
        return SUCCESS

    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        claims: _Claims | None = state.get(self.name)
        for claim in claims.waiting if claims else ():
            if annotations_of(claim).get(SELECTED_NODE) != node_name:
                await self._client.patch(
                    resources.PERSISTENT_VOLUME_CLAIMS,
                    name_of(claim),
                    {"metadata": {"annotations": {SELECTED_NODE: node_name}}},
                    namespace_of(claim),
                )
        try:
            async with asyncio.timeout(bind_timeout_seconds):
                for claim in claims.waiting if claims else ():
                    await self._until_bound(claim)
        except TimeoutError:
            return unschedulable(self.name, "binding volumes: timed out waiting for the claims to be bound")
        return SUCCESS

    async def _until_bound(self, claim: Object) -> None:
        name, namespace = name_of(claim), namespace_of(claim)
        changed = asyncio.Event()

        def on_claim(type: EventType, obj: Object, old: Object | None) -> None:
            if name_of(obj) == name and namespace_of(obj) == namespace:
                changed.set()

        end = self._claims.subscribe(on_claim)
        try:
            while True:
                found = self._claims.get(name, namespace)
                if found is not None and (found.get("status") or {}).get("phase") == "Bound":
                    return
                changed.clear()
                await changed.wait()
        finally:
            end()


class VolumeRestrictions:
    """A ReadWriteOncePod claim serves one pod at a time."""

    name = "VolumeRestrictions"
    events = ClusterEvent.POD_DELETED | ClusterEvent.CLAIM

    def __init__(self, claims: Informer) -> None:
        self._claims = claims

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        exclusive = {name for name in pod.claims if self._is_exclusive(name, pod.namespace)}
        if not exclusive:
            return SKIP
        state[self.name] = exclusive
        used = any(
            other.namespace == pod.namespace and exclusive.intersection(other.claims)
            for node in nodes
            for other in node.pods.values()
        )
        if used:
            return unschedulable(self.name, "pod has a ReadWriteOncePod PersistentVolumeClaim that is in use")
        return SUCCESS

    def _is_exclusive(self, name: str, namespace: str) -> bool:
        claim = self._claims.get(name, namespace)
        return claim is not None and "ReadWriteOncePod" in ((claim.get("spec") or {}).get("accessModes") or [])
