"""VolumeBinding and VolumeRestrictions: claims that must exist, be bound or bindable, and be reachable from the node.

Source: kube-scheduler's VolumeBinding and VolumeRestrictions. A claim of a class that waits for its first consumer
gets, for the chosen node, a volume that exists and can be reached from there, or the node's name as an annotation, by
which a provisioner makes one. The pod is bound once its claims are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

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
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, annotations_of, is_deleting, name_of, namespace_of, uid_of
from minikube_py.machinery.placement import node_selector_matches
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from minikube_py.machinery.volume_binding import (
    NO_PROVISIONER,
    SELECTED_NODE,
    best_volume,
    bound_to_claim,
    class_of,
    is_bound_to,
    is_fully_bound,
    phase_of,
    requested_storage,
    spec_of,
    waits_for_consumer,
)

bind_timeout_seconds = 600.0


@dataclass(frozen=True, slots=True)
class _Choice:
    """For one node: which volume each claim gets, and the claims for which one must be made."""

    existing: tuple[tuple[Object, Object], ...]
    missing: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class _Claims:
    """The pod's claims in this cycle: bound volumes, claims that wait for a node, and what each node would give."""

    volumes: tuple[Object, ...]
    waiting: tuple[Object, ...]
    choices: dict[str, _Choice] = field(default_factory=dict)


class VolumeBinding:
    """Reads claims, volumes and classes through informers; writes a volume's claim or a claim's chosen node."""

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
        self._promised: dict[str, str] = {}
        """Volumes of pods that are being bound: volume name -> uid of the claim it will have."""

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
            volume_name = spec_of(claim).get("volumeName")
            if is_fully_bound(claim):
                volume = self._volumes.get(str(volume_name))
                if volume is None:
                    return unresolvable(self.name, f'persistentvolume "{volume_name}" not found')
                bound.append(volume)
            elif not volume_name and waits_for_consumer(self._class_of(claim)):
                waiting.append(claim)
            else:
                return unresolvable(self.name, "pod has unbound immediate PersistentVolumeClaims")
        waiting.sort(key=requested_storage)
        state[self.name] = _Claims(tuple(bound), tuple(waiting))
        return SUCCESS

    def _class_of(self, claim: Object) -> Object | None:
        name = class_of(claim)
        return self._classes.get(name) if name else None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        claims: _Claims = state[self.name]
        if not all(_reaches(node, volume) for volume in claims.volumes):
            return unresolvable(self.name, "node(s) didn't match PersistentVolume's node affinity")
        if claims.waiting:
            choice = self._choose(claims.waiting, node)
            if choice is None:
                return unresolvable(self.name, "node(s) didn't find available persistent volumes to bind")
            claims.choices[node.name] = choice
        return SUCCESS

    def _choose(self, waiting: Sequence[Object], node: NodeInfo) -> _Choice | None:
        """Volumes for all claims on a node, the smallest claims first; None when one of them gets none."""
        existing: list[tuple[Object, Object]] = []
        missing: list[Object] = []
        for claim in waiting:
            chosen = annotations_of(claim).get(SELECTED_NODE)
            volume = None if chosen else self._existing_volume(claim, node, {name_of(each) for _, each in existing})
            if volume is not None:
                existing.append((claim, volume))
            elif chosen == node.name or (not chosen and self._can_be_made(claim, node)):
                missing.append(claim)
            else:
                return None
        return _Choice(tuple(existing), tuple(missing))

    def _existing_volume(self, claim: Object, node: NodeInfo, chosen: set[str]) -> Object | None:
        promised = {name for name, owner in self._promised.items() if owner != uid_of(claim)}
        return best_volume(
            claim,
            self._volumes.list(),
            reachable=lambda volume: _reaches(node, volume),
            taken=frozenset(chosen | promised),
        )

    def _can_be_made(self, claim: Object, node: NodeInfo) -> bool:
        storage_class = self._class_of(claim)
        if storage_class is None or storage_class.get("provisioner") in (None, "", NO_PROVISIONER):
            return False
        terms = storage_class.get("allowedTopologies") or ()
        return not terms or any(_is_in(node, term) for term in terms)

    def reserve(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        for claim, volume in self._choice(state, node.name).existing:
            self._promised[name_of(volume)] = uid_of(claim)
        return SUCCESS

    def unreserve(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> None:
        self._forget(self._choice(state, node.name))

    def _choice(self, state: CycleState, node_name: str) -> _Choice:
        claims: _Claims | None = state.get(self.name)
        return (claims.choices.get(node_name) if claims else None) or _Choice((), ())

    def _forget(self, choice: _Choice) -> None:
        for claim, volume in choice.existing:
            if self._promised.get(name_of(volume)) == uid_of(claim):
                del self._promised[name_of(volume)]

    def waits(self, state: CycleState, node_name: str) -> bool:
        choice = self._choice(state, node_name)
        return bool(choice.existing or choice.missing)

    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        choice = self._choice(state, node_name)
        try:
            problem = await self._ask_for(choice, node_name)
        except ApiError as error:  # told here, since the pod is not to blame for it
            problem = error.message
        if not problem:
            problem = await self._all_bound(choice, node_name)
        if problem:
            return unschedulable(self.name, f"binding volumes: {problem}")
        self._forget(choice)
        return SUCCESS

    async def _ask_for(self, choice: _Choice, node_name: str) -> str:
        """Write the choice down; returns what stands against it. Raises ApiError."""
        for claim, volume in choice.existing:
            live = self._volumes.get(name_of(volume))
            if live is None or not (spec_of(live).get("claimRef") is None or is_bound_to(live, claim)):
                return f'volume "{name_of(volume)}" is taken or gone'
            draft = bound_to_claim(live, claim)
            if draft is not None:
                await self._client.update(PERSISTENT_VOLUMES, draft)
        for claim in choice.missing:
            if annotations_of(claim).get(SELECTED_NODE) != node_name:
                patch = {"metadata": {"annotations": {SELECTED_NODE: node_name}, "uid": uid_of(claim)}}
                await self._client.patch(PERSISTENT_VOLUME_CLAIMS, name_of(claim), patch, namespace_of(claim))
        return ""

    async def _all_bound(self, choice: _Choice, node_name: str) -> str:
        try:
            async with asyncio.timeout(bind_timeout_seconds):
                for claim, _ in choice.existing:
                    problem = await self._until_bound(claim, "")
                    if problem:
                        return problem
                for claim in choice.missing:
                    problem = await self._until_bound(claim, node_name)
                    if problem:
                        return problem
        except TimeoutError:
            return "timed out waiting for the claims to be bound"
        return ""

    async def _until_bound(self, claim: Object, node_name: str) -> str:
        """Wait; returns why there is nothing to wait for any more. A provisioner that gives up resets the node."""
        name, namespace = name_of(claim), namespace_of(claim)
        changed = asyncio.Event()

        def on_claim(type: EventType, obj: Object, old: Object | None) -> None:
            if name_of(obj) == name and namespace_of(obj) == namespace:
                changed.set()

        end = self._claims.subscribe(on_claim)
        try:
            while True:
                found = self._claims.get(name, namespace)
                if found is None or uid_of(found) != uid_of(claim):
                    return f'persistentvolumeclaim "{name}" is gone'
                if is_fully_bound(found) and phase_of(found) == "Bound":
                    return ""
                if node_name and annotations_of(found).get(SELECTED_NODE, "") != node_name:
                    return f'selectedNode annotation reset for PVC "{name}"'
                changed.clear()
                await changed.wait()
        finally:
            end()


def _reaches(node: NodeInfo, volume: Object) -> bool:
    required = (spec_of(volume).get("nodeAffinity") or {}).get("required")
    return not required or node_selector_matches(required, node.labels, node.name)


def _is_in(node: NodeInfo, term: Object) -> bool:
    expressions = term.get("matchLabelExpressions") or ()
    return all(node.labels.get(each["key"]) in each.get("values", ()) for each in expressions)


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
