"""Deletes objects whose owners are gone, and carries out foreground deletion and orphaning.

Watches: every resource that is served, custom ones too (their definitions tell when to look again).
Holds: nothing is deleted on the word of a cache: an owner counts as absent only after the server
said so, and every deletion names the uid it means.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.client.controller import run_controller
from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.garbage.graph import FOREGROUND, ORPHAN, Graph, Node, Owner, Work, owners_of
from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import (
    Object,
    metadata,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from minikube_py.machinery.owners import owner_references
from minikube_py.machinery.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, Resource

log = logging.getLogger(__name__)

IGNORED = frozenset({"events", "events.events.k8s.io"})
_RESOURCES = "resources"
settle_seconds = 0.5
"""A new definition is served a moment after it is established."""


@dataclass(frozen=True, slots=True)
class Owners:
    """An object's owner references by what became of the owners."""

    solid: Sequence[Owner]
    dangling: Sequence[Owner]
    waiting: Sequence[Owner]


class UnknownOwnerKind(Exception):
    """An owner reference names a kind that is not served (yet); looking again later can help."""


class GarbageCollector:
    """The loop. Keys: ``examine/<uid>``, ``orphan/<uid>`` and ``resources``."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._graph = Graph()
        self._followed: dict[tuple[str, str], tuple[Resource, Callable[[], None]]] = {}
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="garbagecollector")
        self._undecided: set[str] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        definitions = (CUSTOM_RESOURCE_DEFINITIONS, API_SERVICES)
        served = {(each.group, each.plural) for each in self._kit.resources()}
        sources = [self._kit.client.informer(each) for each in definitions if (each.group, each.plural) in served]
        try:
            await self._follow_resources()
            ends = [source.subscribe(self._on_definition) for source in sources]
            try:
                await run_controller(
                    self._queue, self.reconcile, name="garbagecollector", clock=self._kit.clock, workers=10
                )
            finally:
                for end in ends:
                    end()
        finally:
            for _, end in self._followed.values():
                end()
            self._followed.clear()

    def _on_definition(self, type: EventType, definition: Object, old: Object | None) -> None:
        self._queue.add(_RESOURCES)
        self._queue.add_after(_RESOURCES, settle_seconds)

    async def reconcile(self, key: str) -> None:
        """Carry out one piece of work."""
        task, _, uid = key.partition("/")
        if task == _RESOURCES:
            await self._follow_resources()
        elif task == "orphan":
            await self._orphan(uid)
        else:
            try:
                await self._examine(uid)
            except UnknownOwnerKind as error:
                # Nothing but a new definition can change that; it brings the object back.
                log.info("owner of an unknown kind", extra={"uid": uid, "error": str(error)})
                self._undecided.add(uid)

    async def _follow_resources(self) -> None:
        """Follow what is served now, and forget what is not any more."""
        wanted: dict[tuple[str, str], Resource] = {}
        for resource in self._kit.resources():
            if resource.qualified not in IGNORED:
                wanted.setdefault((resource.group, resource.plural), resource)
        for key in [key for key in self._followed if key not in wanted]:
            resource, end = self._followed.pop(key)
            end()
            for uid in self._graph.uids_of(resource):
                self._take(self._graph.forget(uid))
        for key, resource in wanted.items():
            if key not in self._followed:
                informer = self._kit.client.informer(resource)
                await informer.synced()
                self._followed[key] = (resource, informer.subscribe(self._handler(resource)))
        undecided, self._undecided = self._undecided, set()
        self._take(Work(examine=tuple(undecided)))

    def _handler(self, resource: Resource) -> Callable[[EventType, Object, Object | None], None]:
        graph = self._graph

        def on_event(type: EventType, obj: Object, old: Object | None) -> None:
            if type is EventType.DELETED:
                self._take(graph.forget(uid_of(obj)))
                return
            if old is not None and uid_of(old) != uid_of(obj):
                self._take(graph.forget(uid_of(old)))
            self._take(graph.observe(resource, obj))

        return on_event

    def _take(self, work: Work) -> None:
        for uid in work.examine:
            self._queue.add(f"examine/{uid}")
        for uid in work.orphan:
            self._queue.add(f"orphan/{uid}")

    async def _examine(self, uid: str) -> None:
        """Decide whether an object must go now."""
        node = self._graph.get(uid)
        if node is None:
            return
        if node.virtual:
            await self._examine_virtual(node)
            return
        live = await self._live(node)
        if live is None:
            self._take(self._graph.forget(uid))
            return
        if node.foreground:
            await self._finish_foreground(node, live)
            return
        if node.deleting or not owner_references(live):
            return
        owners = await self._classify(live)
        await self._decide(node, live, owners)

    async def _examine_virtual(self, node: Node) -> None:
        owner = node.referred
        if owner is not None and await self._look_up(owner, node.namespace) is None:
            self._take(self._graph.forget(node.uid))

    async def _decide(self, node: Node, live: Object, owners: Owners) -> None:
        if owners.solid:
            gone = {owner.uid for owner in (*owners.dangling, *owners.waiting)}
            if gone:
                await self._drop_references(node, live, gone)
            return
        policy = "Background"
        if owners.waiting and node.dependents:
            if any(dependent.foreground for dependent in self._graph.dependents(node)):
                # A circle of foreground deletions: whoever is first stops blocking its owner.
                live = await self._unblock(node, live)
            policy = "Foreground"
        else:
            finalizers = metadata(live).get("finalizers") or ()
            if ORPHAN in finalizers:
                policy = "Orphan"
            elif FOREGROUND in finalizers:
                policy = "Foreground"
        await self._delete(node, live, policy)

    async def _classify(self, live: Object) -> Owners:
        solid: list[Owner] = []
        dangling: list[Owner] = []
        waiting: list[Owner] = []
        for owner in owners_of(live):
            known = self._graph.get(owner.uid)
            if known is not None and not known.virtual and known.namespace in ("", namespace_of(live)):
                (waiting if known.foreground else solid).append(owner)
                continue
            found = await self._look_up(owner, namespace_of(live))
            if found is None:
                dangling.append(owner)
            elif metadata(found).get("deletionTimestamp") and FOREGROUND in (metadata(found).get("finalizers") or ()):
                waiting.append(owner)
            else:
                solid.append(owner)
        return Owners(solid, dangling, waiting)

    async def _look_up(self, owner: Owner, namespace: str) -> Object | None:
        """The owner as the server has it now; None when it is absent. Raises UnknownOwnerKind."""
        resource = next(
            (each for each in self._kit.resources() if each.group == owner.group and each.kind == owner.kind), None
        )
        if resource is None:
            raise UnknownOwnerKind(f"{owner.api_version} {owner.kind} (owner {owner.name!r}) is not served")
        if resource.namespaced and not namespace:
            log.warning("cluster-scoped object with a namespaced owner", extra={"owner": owner.name})
            return {"metadata": {"uid": owner.uid}}  # cannot be resolved: never a reason to delete
        try:
            found = await self._kit.client.get(resource, owner.name, namespace if resource.namespaced else None)
        except ApiError as error:
            if is_not_found(error):
                return None
            raise
        return found if uid_of(found) == owner.uid else None

    async def _live(self, node: Node) -> Object | None:
        assert node.resource is not None
        try:
            found = await self._kit.client.get(node.resource, node.name, node.namespace or None)
        except ApiError as error:
            if is_not_found(error):
                return None
            raise
        return found if uid_of(found) == node.uid else None

    async def _finish_foreground(self, node: Node, live: Object) -> None:
        """Let the object go when no dependent blocks it any more; else push the dependents."""
        blocking = [
            dependent
            for dependent in self._graph.dependents(node)
            if any(owner.uid == node.uid and owner.blocks for owner in dependent.owners)
        ]
        if not blocking:
            await self._drop_finalizer(node, live, FOREGROUND)
        for dependent in blocking:
            if not dependent.foreground:
                self._queue.add(f"examine/{dependent.uid}")

    async def _orphan(self, uid: str) -> None:
        """Set all dependents free, then let the object go."""
        node = self._graph.get(uid)
        if node is None or node.virtual or not node.orphaning:
            return
        for dependent in self._graph.dependents(node):
            found = await self._live(dependent)
            if found is not None:
                await self._drop_references(dependent, found, {uid})
        live = await self._live(node)
        if live is not None:
            await self._drop_finalizer(node, live, ORPHAN)

    async def _delete(self, node: Node, live: Object, policy: str) -> None:
        assert node.resource is not None
        options = DeleteOptions(
            propagation_policy=policy,
            precondition_uid=node.uid,
            precondition_resource_version=resource_version_of(live),
        )
        try:
            await self._kit.client.delete(node.resource, node.name, node.namespace or None, options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise

    async def _drop_references(self, node: Node, live: Object, gone: set[str]) -> None:
        rest = [each for each in owner_references(live) if each.get("uid") not in gone]
        if len(rest) != len(owner_references(live)):
            await self._patch_meta(node, live, {"ownerReferences": rest or None})

    async def _unblock(self, node: Node, live: Object) -> Object:
        references = [{**each, "blockOwnerDeletion": False} for each in owner_references(live)]
        if references == owner_references(live):
            return live
        return await self._patch_meta(node, live, {"ownerReferences": references}) or live

    async def _drop_finalizer(self, node: Node, live: Object, finalizer: str) -> None:
        finalizers = list(metadata(live).get("finalizers") or ())
        if finalizer in finalizers:
            rest = [each for each in finalizers if each != finalizer]
            await self._patch_meta(node, live, {"finalizers": rest or None})

    async def _patch_meta(self, node: Node, live: Object, change: Object) -> Object | None:
        """The version guards lists, which a merge patch replaces; a conflict brings the key back."""
        assert node.resource is not None
        patch: Object = {"metadata": {"resourceVersion": resource_version_of(live), "uid": node.uid, **change}}
        try:
            return await self._kit.client.patch(
                node.resource, name_of(live), patch, node.namespace or None, options=WRITE
            )
        except ApiError as error:
            if is_not_found(error):
                return None
            raise
