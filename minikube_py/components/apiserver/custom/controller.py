"""Keeps the served kinds in step with the CustomResourceDefinitions, and their status with what is served.

In: changes of definitions, straight from the watch cache. Out: kinds in the registry's table, and the
definitions' status (accepted names, conditions, stored versions), as apiextensions' naming and
establishing controllers write it. A definition on its way out loses its objects first. An
established definition is served from the moment its status says so.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module

from minikube_py.client.types import NO_DELETE_OPTIONS
from minikube_py.components.apiserver.custom.kinds import kinds_of
from minikube_py.components.apiserver.custom.naming import set_terminating, taken_names, write_status
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.delete import CLEANUP, delete_collection
from minikube_py.components.apiserver.registry.kinds import is_custom
from minikube_py.components.apiserver.registry.update import modify
from minikube_py.components.apiserver.storage.cache import CacheEvent
from minikube_py.components.apiserver.storage.selection import select
from minikube_py.components.apiserver.types import LOOPBACK, RequestContext
from minikube_py.machinery.conditions import condition_is_false, condition_is_true
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class CustomKinds:
    """See the module. ``start`` serves what is stored already; ``run`` follows changes until cancelled."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._kind = core.kinds.of(CUSTOM_RESOURCE_DEFINITIONS)
        self._cache = core.cache(self._kind)
        self._served: dict[str, list[Kind]] = {}
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._context = RequestContext(user=LOOPBACK, user_agent="kube-apiserver", field_validation="Ignore")

    def start(self) -> None:
        for entry in self._cache.unordered():
            self._serve(entry.object)
            self._pending[entry.name] = None
        self._cache.subscribe(self._changed)
        self._wake.set()

    async def run(self) -> None:
        # Judging the first definition needs CEL, which takes tens of milliseconds to import.
        await asyncio.to_thread(import_module, "minikube_py.machinery.kinds.apiextensions.definition_validation")
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                name = next(iter(self._pending))
                del self._pending[name]
                await self._reconcile(name)

    def _changed(self, event: CacheEvent) -> None:
        if event.current is not None:
            self._serve(event.current.object)
        else:
            self._withdraw(event.name)
            self._retry_refused()
        self._pending[event.name] = None
        self._wake.set()

    def _retry_refused(self) -> None:
        """Names have become free: look again at definitions that wanted taken ones."""
        for entry in self._cache.unordered():
            if condition_is_false((entry.object.get("status") or {}).get("conditions"), "NamesAccepted"):
                self._pending[entry.name] = None

    def _serve(self, crd: Object) -> None:
        """Bring the table of kinds in step with one definition."""
        name = crd["metadata"]["name"]
        if not condition_is_true((crd.get("status") or {}).get("conditions"), "Established"):
            self._withdraw(name)
            return
        kinds = kinds_of(crd)
        keep = {kind.resource for kind in kinds}
        for old in self._served.get(name, ()):
            if old.resource not in keep:
                self._core.kinds.remove(old.resource)
        for kind in kinds:
            self._core.caches.open(kind.stored_as)
            self._core.kinds.add(kind)
        self._served[name] = kinds

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
                await self._core.clock.sleep(_RETRY_SECONDS)
            self._pending[name] = None

    async def _write_status(self, name: str) -> None:
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
        kind = next((kind for kind in self._served.get(name, ()) if is_custom(kind)), None)
        if kind is not None:
            selection = select(kind)
            try:
                await delete_collection(self._core, self._context, kind, selection, NO_DELETE_OPTIONS)
            except ApiError as error:
                text = f"could not issue all deletes: {error.message}"
                await self._tell(name, "InstanceDeletionFailed", text)
                raise
            if self._core.cache(kind).count:
                await self._core.clock.sleep(_RETRY_SECONDS)  # finalizers of the objects hold them
                self._pending[name] = None
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
