"""Keeps the served kinds in step with the CustomResourceDefinitions, and their status with what is served.

In: changes of definitions, straight from the watch cache. Out: kinds in the registry's table, and the
definitions' status (accepted names, conditions, stored versions), as apiextensions' naming and
establishing controllers write it. A definition on its way out loses its objects first. An
established definition is served from the moment its status says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from importlib import import_module

from minikube_py.client.types import NO_DELETE_OPTIONS
from minikube_py.components.apiserver.admission.webhooks.transport import HookCaller
from minikube_py.components.apiserver.custom.conversion import Version
from minikube_py.components.apiserver.custom.kinds import Reading, kinds_of, resource_of, stored_version, versions_of
from minikube_py.components.apiserver.custom.naming import set_terminating, taken_names, write_status
from minikube_py.components.apiserver.metrics.conversion import ConversionMetrics
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.delete import CLEANUP, delete_collection
from minikube_py.components.apiserver.registry.update import modify
from minikube_py.components.apiserver.storage.cache import CacheEvent, WatchCache
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.selection import select
from minikube_py.components.apiserver.types import LOOPBACK, RequestContext
from minikube_py.machinery.conditions import condition_is_false, condition_is_true
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_VERIFIED_AT_ONCE = 16


class CustomKinds:
    """See the module. ``start`` serves what is stored already; ``run`` follows changes until cancelled."""

    def __init__(self, core: Core, caller: HookCaller, metrics: ConversionMetrics) -> None:
        """``caller`` asks conversion webhooks, which is counted in ``metrics``."""
        self._core = core
        self._caller = caller
        self._metrics = metrics
        self._kind = core.kinds.of(CUSTOM_RESOURCE_DEFINITIONS)
        self._cache = core.cache(self._kind)
        self._served: dict[str, list[Kind]] = {}
        self._specified: dict[str, tuple[object, int]] = {}
        """By definition: what its specification is known by, and the revision at which that came."""
        self._versions: dict[str, tuple[object, Mapping[str, Version]]] = {}
        """By definition: what its specification is known by, and its versions."""
        self._waiting: set[str] = set()
        self._sleeping: set[str] = set()
        self._unverified: set[str] = set()
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._context = RequestContext(user=LOOPBACK, user_agent="kube-apiserver", field_validation="Ignore")

    def start(self) -> None:
        for entry in self._cache.unordered():
            self._serve(entry)
            self._pending[entry.name] = None
        self._cache.subscribe(self._changed)
        self._wake.set()

    async def run(self) -> None:
        # Judging the first definition needs CEL, which takes tens of milliseconds to import.
        await asyncio.to_thread(import_module, "minikube_py.machinery.kinds.apiextensions.definition_validation")
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._pending:
                    name = next(iter(self._pending))
                    del self._pending[name]
                    await self._reconcile(name)
                for name in self._waiting - self._sleeping:
                    self._sleeping.add(name)
                    tasks.create_task(self._retry(name), name="retry-definition")
                while self._unverified:
                    tasks.create_task(self._verify(self._unverified.pop()), name="verify-custom-resources")

    def _again(self, name: str) -> None:
        """Look at a definition again after a while; the others do not wait for it."""
        self._waiting.add(name)

    async def _retry(self, name: str) -> None:
        await self._core.clock.sleep(_RETRY_SECONDS)
        self._waiting.discard(name)
        self._sleeping.discard(name)
        self._pending[name] = None
        self._wake.set()

    def _changed(self, event: CacheEvent) -> None:
        if event.current is not None:
            self._serve(event.current)
        else:
            self._withdraw(event.name)
            self._specified.pop(event.name, None)
            self._versions.pop(event.name, None)
            self._retry_refused()
        self._pending[event.name] = None
        self._wake.set()

    def _retry_refused(self) -> None:
        """Names have become free: look again at definitions that wanted taken ones."""
        for entry in self._cache.unordered():
            if condition_is_false((entry.object.get("status") or {}).get("conditions"), "NamesAccepted"):
                self._pending[entry.name] = None

    def _serve(self, definition: Entry) -> None:
        """Bring the table of kinds in step with one definition."""
        crd, name = definition.object, definition.name
        if not condition_is_true((crd.get("status") or {}).get("conditions"), "Established"):
            self._withdraw(name)
            return
        stored = resource_of(crd, stored_version(crd))
        cache = self._core.caches.open(stored, versioned=True)
        cache.store_as(stored)
        reading = self._reading(definition, cache)
        kinds = kinds_of(crd, self._versions_of(definition, reading.token), reading)
        keep = {kind.resource for kind in kinds}
        for old in self._served.get(name, ()):
            if old.resource not in keep:
                self._core.kinds.remove(old.resource)
        for kind in kinds:
            self._core.kinds.add(kind)
        self._served[name] = kinds
        if any("stale" in kind.extra for kind in kinds) and self._specified[name][1]:
            self._unverified.add(name)
            self._wake.set()

    def _versions_of(self, definition: Entry, specification: object) -> Mapping[str, Version]:
        """The versions, made anew only with another specification: a status says nothing of them."""
        known = self._versions.get(definition.name)
        if known is None or known[0] != specification:
            known = self._versions[definition.name] = (specification, versions_of(definition.object))
        return known[1]

    async def _make_ready(self, name: str) -> None:
        """Make the versions of a definition that is not served yet; of a large one that takes long."""
        entry, known = self._cache.get("", name), self._versions.get(name)
        if entry is None or name in self._served or (known is not None and known[0] == _specification(entry)):
            return
        versions = await asyncio.to_thread(versions_of, entry.object)
        if self._cache.get("", name) is not None:
            self._versions[name] = _specification(entry), versions

    async def _verify(self, name: str) -> None:
        """Find out whether a changed definition leaves its objects as they are; then they are served as stored.

        Until that is known each of them is looked at whenever it is read.
        """
        kinds, specified = self._served.get(name, []), self._specified.get(name)
        if not kinds or specified is None:
            return
        stale = kinds[0].extra["stale"]
        for number, entry in enumerate(list(self._core.cache(kinds[0]).unordered()), 1):
            if stale(entry):
                return
            if not number % _VERIFIED_AT_ONCE:
                await asyncio.sleep(0)
        definition = self._cache.get("", name)
        if definition is not None and self._served.get(name) is kinds:
            self._specified[name] = (specified[0], 0)
            self._serve(definition)

    def _reading(self, definition: Entry, cache: WatchCache) -> Reading:
        """How the definition's objects are read: those from before its present specification with care."""
        specification = _specification(definition)
        known, since = self._specified.get(definition.name, (None, 0))
        if known != specification:
            since = definition.revision
            self._specified[definition.name] = (specification, since)
        storage = cache.shape.api_version
        older = any(entry.revision <= since or entry.shape.api_version != storage for entry in cache.unordered())
        return Reading(since, older, self._caller, self._metrics, specification)

    def _withdraw(self, name: str) -> None:
        for kind in self._served.pop(name, ()):
            self._core.kinds.remove(kind.resource)
            self._core.caches.drop(kind.stored_as)

    async def _reconcile(self, name: str) -> None:
        entry = self._cache.get("", name)
        if entry is None:
            return
        try:
            if entry.object["metadata"].get("deletionTimestamp"):
                await self._clean_up(entry.object)
            else:
                await self._write_status(name)
        except ApiError as error:
            if is_not_found(error):
                return
            if not is_conflict(error):
                log.warning("definition is not in step", extra={"definition": name, "error": error.message})
                self._again(name)
            else:
                self._pending[name] = None

    async def _write_status(self, name: str) -> None:
        """Accept the definition, or say why not; what it declares is made ready before its status says so."""
        await self._make_ready(name)
        now = self._core.clock.now()

        def drafted(old: Object | None) -> Object:
            crd = thaw(old or {})
            write_status(crd, taken_names(self._core.kinds.all(), crd["spec"]["group"], name), now)
            return crd

        await modify(self._core, self._context, self._kind, "", name, drafted, subresource="status", patch=True)

    async def _clean_up(self, crd: Object) -> None:
        """Delete all objects, then let the definition go."""
        meta = crd["metadata"]
        if CLEANUP not in (meta.get("finalizers") or ()):
            return
        name = meta["name"]
        await self._tell(name, "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        served = self._served.get(name, ())  # the storage version needs no webhook to be read
        kind = min(served, key=lambda kind: kind.stored_as != kind.resource, default=None)
        if kind is not None:
            selection = select(kind)
            try:
                await delete_collection(self._core, self._context, kind, selection, NO_DELETE_OPTIONS)
            except ApiError as error:
                text = f"could not issue all deletes: {error.message}"
                await self._tell(name, "InstanceDeletionFailed", text)
                raise
            if self._core.cache(kind).count:
                self._again(name)  # finalizers of the objects hold them
                return
        await self._tell(name, "InstanceDeletionCompleted", "removed all instances", done=True)

        def drafted(old: Object | None) -> Object:
            draft = thaw(old or {})
            draft["metadata"]["finalizers"] = [name for name in draft["metadata"]["finalizers"] if name != CLEANUP]
            return draft

        await modify(self._core, self._context, self._kind, "", name, drafted, patch=True)

    async def _tell(self, name: str, reason: str, message: str, *, done: bool = False) -> None:
        """Write the Terminating condition."""
        now = self._core.clock.now()

        def drafted(old: Object | None) -> Object:
            draft = thaw(old or {})
            set_terminating(draft, reason, message, now, done=done)
            return draft

        await modify(self._core, self._context, self._kind, "", name, drafted, subresource="status", patch=True)

    def resources(self) -> list[Resource]:
        """The stored resources of all definitions that are served."""
        return [kind.stored_as for kinds in self._served.values() for kind in kinds]


def _specification(definition: Entry) -> tuple[object, object]:
    """What the specification of a definition is known by: a status that changes leaves it as it is."""
    meta = definition.object["metadata"]
    return meta.get("uid"), meta.get("generation")
