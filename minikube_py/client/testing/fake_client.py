"""An API server in memory, for unit tests of components.

It keeps the real one's promises on what components rely on: resource versions from one counter,
conflicts, uid and generateName, generation, the status subresource apart from the rest, deletion
with finalizers, grace periods and propagation policies, namespaces that are finalized, bindings
and evictions, scale, watches that deliver everything once and in order, label selectors. Like the
local client its informers are windows on the store: a handler is called before the write returns.
It knows no schema: nothing is defaulted or validated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from minikube_py.client.testing.fake_collection import Collection, FakeInformer, FakeWatch
from minikube_py.client.types import (
    NO_DELETE_OPTIONS,
    NO_WRITE_OPTIONS,
    DeleteOptions,
    EventType,
    Informer,
    ObjectList,
    PatchType,
    WatchEvent,
    WriteOptions,
)
from minikube_py.machinery import errors
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.names import random_suffix
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    resource_version_of,
    thaw,
    uid_of,
)
from minikube_py.machinery.resources import NAMESPACES, PODS, Resource
from minikube_py.machinery.selectors import selector_from_label_selector
from minikube_py.machinery.times import rfc3339

Reaction = Callable[[str, Resource, Object], None]
"""Called as (verb, resource, object) before a write; what it raises is the outcome."""


class FakeClient:
    """Implements ``client.types.Client``. ``actions`` lists (verb, plural[/subresource], key) of every write."""

    def __init__(self, clock: Clock) -> None:
        self.actions: list[tuple[str, str, str]] = []
        self.reactions: list[Reaction] = []
        self._clock = clock
        self._version = itertools.count(1)
        self._newest = 0
        self._uids = itertools.count(1)
        self._collections: dict[tuple[str, str], Collection] = {}

    def seed(self, resource: Resource, *objects: Object) -> list[Object]:
        """Put objects in as they are (with status), completing metadata; returns what is stored."""
        return [self._admit(resource, obj, namespace_of(obj)) for obj in objects]

    def all(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """The objects of a collection, by name."""
        found = self._collection(resource).store.list(namespace)
        return sorted(found, key=lambda obj: (namespace_of(obj), name_of(obj)))

    def one(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """An object, without await. Raises NotFound."""
        return self._find(resource, name, namespace)

    def written(self, verb: str, target: str) -> list[str]:
        """Keys of the writes with this verb and target (``pods``, ``deployments/status``)."""
        return [key for done, on, key in self.actions if done == verb and on == target]

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        obj = self._find(resource, name, namespace)
        return _scale_of(obj) if subresource == "scale" else obj

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        matches = self._collection(resource).matcher(namespace, label_selector, field_selector)
        found = [obj for obj in self.all(resource) if matches(obj)]
        start = int(continue_token or 0)
        page = found[start : start + limit] if limit else found
        left = len(found) - start - len(page)
        token = str(start + len(page)) if left > 0 else ""
        return ObjectList(page, str(self._newest), token, left if left > 0 else None)

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        if subresource:
            return await self._create_subresource(resource, obj, namespace, name or name_of(obj), subresource)
        self._react("create", resource, obj)
        draft = {key: value for key, value in obj.items() if key != "status"}
        stored = self._admit(resource, draft, namespace or namespace_of(obj), dry_run=options.dry_run)
        self._note("create", resource, stored)
        return stored

    async def update(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        namespace = namespace or namespace_of(obj)
        live = self._find(resource, name_of(obj), namespace)
        self._react("update", resource, obj)
        return self._replace("update", resource, live, thaw(obj), subresource, options)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        live = self._find(resource, name, namespace)
        draft = _patched(resource, live, patch, patch_type)
        self._react("patch", resource, draft)
        return self._replace("patch", resource, live, draft, subresource, options)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> Object:
        live = self._find(resource, name, namespace)
        self._react("delete", resource, live)
        if options.precondition_uid and options.precondition_uid != uid_of(live):
            why = _uid_differs(options.precondition_uid, uid_of(live))
            raise errors.conflict(resource.group, resource.plural, name, why)
        wanted = options.precondition_resource_version
        if wanted and wanted != resource_version_of(live):
            raise errors.conflict(resource.group, resource.plural, name)
        self._note("delete", resource, live)
        if options.dry_run:
            return live
        return self._delete(resource, live, options)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> None:
        page = await self.list(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        for obj in page.items:
            await self.delete(resource, name_of(obj), namespace_of(obj), options=options)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AbstractAsyncContextManager[Any]:
        collection = self._collection(resource)
        return FakeWatch(collection, collection.matcher(namespace, label_selector, field_selector), resource_version)

    def informer(
        self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = ""
    ) -> Informer:
        collection = self._collection(resource)
        key = (namespace or "", label_selector, field_selector)
        found = collection.informers.get(key)
        if found is None:
            matches = collection.matcher(namespace, label_selector, field_selector)
            found = collection.informers[key] = FakeInformer(collection, matches)
        return found

    def forget_history(self, resource: Resource) -> None:
        """Compact: watches that start before now raise Expired, running ones end."""
        self._collection(resource).compact(self._newest)

    def _collection(self, resource: Resource) -> Collection:
        return self._collections.setdefault((resource.group, resource.plural), Collection(resource))

    def _find(self, resource: Resource, name: str, namespace: str | None) -> Object:
        key = f"{namespace}/{name}" if resource.namespaced and namespace else name
        found = self._collection(resource).store.get(key)
        if found is None:
            raise errors.not_found(resource.group, resource.plural, name)
        return found

    def _react(self, verb: str, resource: Resource, obj: Object) -> None:
        for reaction in tuple(self.reactions):
            reaction(verb, resource, obj)

    def _note(self, verb: str, resource: Resource, obj: Object, subresource: str | None = None) -> None:
        target = f"{resource.plural}/{subresource}" if subresource else resource.plural
        namespace, name = namespace_of(obj), name_of(obj)
        self.actions.append((verb, target, f"{namespace}/{name}" if namespace else name))

    def _admit(self, resource: Resource, obj: Object, namespace: str, *, dry_run: bool = False) -> Object:
        draft = thaw(obj)
        draft.setdefault("apiVersion", resource.api_version)
        draft.setdefault("kind", resource.kind)
        meta = draft.setdefault("metadata", {})
        if resource.namespaced:
            meta["namespace"] = namespace or "default"
        if not meta.get("name"):
            meta["name"] = meta.get("generateName", "") + random_suffix()
        if self._collection(resource).store.get(_key(resource, draft)) is not None:
            raise errors.already_exists(resource.group, resource.plural, meta["name"])
        meta.setdefault("uid", f"00000000-0000-4000-8000-{next(self._uids):012x}")
        meta.setdefault("creationTimestamp", rfc3339(self._clock.now()))
        meta.setdefault("generation", 1)
        if resource == NAMESPACES:
            draft.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            draft.setdefault("status", {}).setdefault("phase", "Active")
        if not dry_run:
            self._commit(resource, draft, EventType.ADDED)
        return draft

    def _commit(self, resource: Resource, draft: Object, type: EventType) -> None:
        self._newest = next(self._version)
        draft["metadata"]["resourceVersion"] = str(self._newest)
        self._collection(resource).publish(WatchEvent(type, draft))

    def _replace(
        self,
        verb: str,
        resource: Resource,
        live: Object,
        draft: Object,
        subresource: str | None,
        options: WriteOptions,
    ) -> Object:
        version = resource_version_of(draft)
        if version and version != resource_version_of(live):
            raise errors.conflict(resource.group, resource.plural, name_of(live))
        if uid_of(draft) and uid_of(draft) != uid_of(live):
            why = _uid_differs(uid_of(draft), uid_of(live))
            raise errors.conflict(resource.group, resource.plural, name_of(live), why)
        self._note(verb, resource, live, subresource)
        merged = _merged(live, draft, subresource)
        if options.dry_run or merged == live:
            return live if merged == live else merged
        if _may_go(resource, merged):
            self._commit(resource, merged, EventType.DELETED)
        else:
            self._commit(resource, merged, EventType.MODIFIED)
        return merged

    def _delete(self, resource: Resource, live: Object, options: DeleteOptions) -> Object:
        draft = thaw(live)
        meta = draft["metadata"]
        finalizers = list(meta.get("finalizers") or [])
        policy = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation_policy or "")
        if policy and policy not in finalizers:
            finalizers.append(policy)
        if finalizers:
            meta["finalizers"] = finalizers
        grace = _grace_period(resource, live, options.grace_period_seconds)
        pending_namespace = resource == NAMESPACES and bool((live.get("spec") or {}).get("finalizers"))
        if not finalizers and not grace and not pending_namespace:
            self._commit(resource, draft, EventType.DELETED)
            return draft
        known = meta.get("deletionGracePeriodSeconds")
        if is_deleting(live) and (known is None or grace >= known) and draft == live:
            return live
        meta.setdefault("deletionTimestamp", rfc3339(self._clock.now() + grace))
        meta["deletionGracePeriodSeconds"] = grace
        meta["generation"] = int(meta.get("generation") or 1) + 1
        if resource == NAMESPACES:
            draft.setdefault("status", {})["phase"] = "Terminating"
        self._commit(resource, draft, EventType.MODIFIED)
        return draft

    async def _create_subresource(
        self, resource: Resource, obj: Object, namespace: str | None, name: str, subresource: str
    ) -> Object:
        live = self._find(resource, name, namespace)
        self._react("create", resource, live)
        if subresource == "eviction":
            self._note("create", resource, live, "eviction")
            self._delete(resource, live, DeleteOptions())
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if subresource == "binding":
            self._note("create", resource, live, "binding")
            draft = thaw(live)
            draft.setdefault("spec", {})["nodeName"] = (obj.get("target") or {}).get("name", "")
            self._commit(resource, draft, EventType.MODIFIED)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        raise errors.not_found(resource.group, resource.plural, name)


def _uid_differs(wanted: str, found: str) -> str:
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"


def _key(resource: Resource, obj: Object) -> str:
    return f"{namespace_of(obj)}/{name_of(obj)}" if resource.namespaced else name_of(obj)


def _merged(live: Object, draft: Object, subresource: str | None) -> Object:
    """What a write makes of the live object: a subresource touches its part, the main resource the rest."""
    if subresource == "scale":
        merged = thaw(live)
        merged.setdefault("spec", {})["replicas"] = (draft.get("spec") or {}).get("replicas", 0)
    elif subresource in ("status", "approval"):
        merged = {**thaw(live), "metadata": dict(metadata(draft)), "status": draft.get("status") or {}}
    elif subresource == "finalize":
        merged = {**thaw(live), "spec": {**(live.get("spec") or {}), **(draft.get("spec") or {})}}
    else:
        merged = {key: value for key, value in draft.items() if key != "status"}
        if "status" in live:
            merged["status"] = thaw(live["status"])
    meta = dict(metadata(merged))
    for key in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "namespace",
    ):
        if key in metadata(live):
            meta[key] = metadata(live)[key]
    meta["resourceVersion"] = resource_version_of(live)
    if _body(merged) != _body(live):
        meta["generation"] = int(meta.get("generation") or 1) + 1
    merged["metadata"] = meta
    return merged


def _body(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "kind", "apiVersion")}


def _may_go(resource: Resource, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    meta = metadata(obj)
    if not is_deleting(obj) or meta.get("finalizers"):
        return False
    if resource == NAMESPACES:
        return not (obj.get("spec") or {}).get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")


def _grace_period(resource: Resource, obj: Object, asked: int | None) -> int:
    """Seconds until deletion: pods that sit on a node and have not ended get a grace period."""
    if resource != PODS:
        return 0
    spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    return asked if asked is not None else int(spec.get("terminationGracePeriodSeconds", 30))


def _patched(resource: Resource, live: Object, patch: Object | Sequence[Object], patch_type: PatchType) -> Object:
    if patch_type is PatchType.STRATEGIC:
        from minikube_py.machinery.kinds import builtin_kinds
        from minikube_py.machinery.patching.strategic_patch import apply_strategic_patch
        from minikube_py.machinery.schema import definitions

        definition = next(kind.definition for kind in builtin_kinds() if kind.resource == resource)
        return apply_strategic_patch(definitions().schema(definition), live, patch)
    if patch_type is PatchType.JSON:
        from minikube_py.machinery.patching.json_patch import apply_json_patch

        return apply_json_patch(live, list(patch))
    if patch_type is not PatchType.MERGE or not isinstance(patch, dict):
        raise errors.unsupported_media_type(f"the fake client takes no {patch_type.value}")
    merged: Object = _merge(thaw(live), patch)
    return merged


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return thaw(patch)
    merged = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _scale_of(obj: Object) -> Object:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    selector = str(selector_from_label_selector(spec["selector"])) if spec.get("selector") else ""
    meta = {key: metadata(obj)[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata(obj)}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": meta,
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0), **({"selector": selector} if selector else {})},
    }
