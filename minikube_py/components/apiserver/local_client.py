"""The client of components in the server's process: the registry and the watch cache, no sockets, no JSON text.

Writes go through defaulting, admission and validation like any other; reads and informers hand out
the cache's shared, read-only objects.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from minikube_py.client.informer import InformerPool
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
from minikube_py.components.apiserver.local_informer import CacheInformer
from minikube_py.components.apiserver.registry.core import Core, in_version
from minikube_py.components.apiserver.registry.create import create
from minikube_py.components.apiserver.registry.delete import delete, delete_collection
from minikube_py.components.apiserver.registry.kinds import is_virtual, schema_of
from minikube_py.components.apiserver.registry.patch import patch
from minikube_py.components.apiserver.registry.pods import bind, evict
from minikube_py.components.apiserver.registry.scale import get_scale, update_scale
from minikube_py.components.apiserver.registry.update import update
from minikube_py.components.apiserver.registry.versions import converter_of, entries_in, open_watch, read_entry
from minikube_py.components.apiserver.storage.lists import ListOptions, parse_revision, read_page, too_large
from minikube_py.components.apiserver.storage.selection import ADDED, select
from minikube_py.components.apiserver.types import LOOPBACK, RequestContext, UserInfo
from minikube_py.machinery.decoding import drop_unknown
from minikube_py.machinery.errors import ApiError, not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.patching.json_patch import apply_json_patch
from minikube_py.machinery.patching.merge_patch import apply_merge_patch
from minikube_py.machinery.resources import Resource


class LocalInformers:
    """The informers of one server: windows on its caches, and followers of versions that a webhook makes."""

    def __init__(self, core: Core) -> None:
        self.windows: dict[tuple[Resource, str], CacheInformer] = {}
        self.converted = InformerPool(LocalClient(core, LOOPBACK, self, "kube-apiserver"), core.clock)


class LocalClient:
    """Implements ``client.types.Client`` for one user. Informers are shared by all clients of a server."""

    def __init__(
        self,
        core: Core,
        user: UserInfo,
        informers: LocalInformers,
        user_agent: str,
        annotations: dict[str, str] | None = None,
    ) -> None:
        """``annotations`` take what admission leaves for the audit; None: nothing is audited."""
        self._annotations = annotations
        self._core = core
        self._user = user
        self._informers = informers
        self._user_agent = user_agent

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        kind = self._kind(resource)
        self._counted("GET", resource, subresource or "")
        if subresource == "scale":
            if kind.scale is None:
                raise _unserved()
            return (await get_scale(self._core, kind, namespace or "", name)).object
        return await read_entry(kind, self._core.entry(kind, namespace or "", name))

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
        kind = self._kind(resource)
        selection = select(kind, namespace or "", labels=label_selector, fields=field_selector)
        options = ListOptions(resource_version, "", limit, continue_token)
        self._counted("LIST", resource)
        converter = converter_of(kind)
        convert = converter.entries if converter is not None else None
        page = await read_page(self._core.caches, self._core.cache(kind), selection, options, convert)
        items = [in_version(kind, entry.object) for entry in page.entries]
        return ObjectList(items, str(page.revision), page.continue_token, page.remaining)

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
        kind, ctx = self._kind(resource), self._context(options)
        self._counted("POST", resource, subresource or "")
        draft = thaw(obj)
        where = namespace or str((draft.get("metadata") or {}).get("namespace") or "")
        if subresource or is_virtual(kind):
            return await self._post(ctx, kind, where, name or "", draft, subresource or "")
        drop_unknown(schema_of(kind), draft)
        return (await create(self._core, ctx, kind, where, draft)).object

    async def update(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        kind, ctx, draft = self._kind(resource), self._context(options), thaw(obj)
        self._counted("PUT", resource, subresource or "")
        where = namespace or str((draft.get("metadata") or {}).get("namespace") or "")
        if subresource == "scale":
            outcome = await update_scale(self._core, ctx, kind, where, name_of(obj), lambda current: draft)
            return outcome.object
        drop_unknown(schema_of(kind), draft)
        outcome = await update(self._core, ctx, kind, where, name_of(obj), draft, subresource=subresource or "")
        return outcome.object

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
        kind, ctx = self._kind(resource), self._context(options)
        self._counted("PATCH", resource, subresource or "")
        if subresource == "scale":
            return await self._patch_scale(ctx, kind, namespace or "", name, patch, patch_type)
        outcome = await _patch(
            self._core,
            ctx,
            kind,
            namespace or "",
            name,
            patch,
            patch_type=patch_type,
            subresource=subresource or "",
        )
        return outcome.object

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> Object:
        ctx = self._context(WriteOptions(dry_run=options.dry_run))
        self._counted("DELETE", resource)
        outcome = await delete(self._core, ctx, self._kind(resource), namespace or "", name, options)
        return outcome.object

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> None:
        kind = self._kind(resource)
        selection = select(kind, namespace or "", labels=label_selector, fields=field_selector)
        await delete_collection(
            self._core, self._context(WriteOptions(dry_run=options.dry_run)), kind, selection, options
        )

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        kind = self._kind(resource)
        selection = select(kind, namespace or "", labels=label_selector, fields=field_selector)
        asked, newest = parse_revision(resource_version, watch=True), self._core.caches.revision
        if asked > newest:
            raise too_large(asked, newest)
        cache = self._core.cache(kind)
        stream = open_watch(self._core.caches, kind, cache, selection, asked or newest)
        state = [] if asked else cache.entries(selection.namespace)

        async def events() -> AsyncIterator[WatchEvent]:
            for entry in await entries_in(kind, state):
                if not selection.matches(entry):
                    continue
                yield WatchEvent(EventType(ADDED), in_version(kind, entry.object))
            while batch := await stream.next_batch():
                for event_type, entry, _ in batch:
                    yield WatchEvent(EventType(event_type), in_version(kind, entry.object))

        iterator = events()
        try:
            yield iterator
        finally:
            stream.close()

    def _counted(self, verb: str, resource: Resource, subresource: str = "") -> None:
        """What the API server asks of itself is in no other metric: it never passes the HTTP face."""
        if self._user.name == LOOPBACK.name:
            self._core.metrics.self_requests.inc((verb, resource.group, resource.plural, subresource))

    def informer(
        self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = ""
    ) -> Informer:
        kind = self._kind(resource)
        if converter_of(kind) is not None and kind.stored_as != resource:
            return self._informers.converted.informer(
                resource, namespace, field_selector=field_selector, label_selector=label_selector
            )
        selection = select(kind, namespace or "", labels=label_selector, fields=field_selector)
        key, cache = (resource, selection.text), self._core.cache(kind)
        found = self._informers.windows.get(key)
        if found is None or found.cache is not cache:
            found = self._informers.windows[key] = CacheInformer(kind, cache, selection, self._core.kinds)
        return found

    def _kind(self, resource: Resource) -> Kind:
        found = self._core.kinds.get(resource.group, resource.version, resource.plural)
        if found is None:
            raise _unserved()
        return found

    def _context(self, options: WriteOptions) -> RequestContext:
        return RequestContext(
            user=self._user,
            user_agent=self._user_agent,
            field_manager=options.field_manager,
            dry_run=options.dry_run,
            field_validation="Ignore",
            force=options.force,
            audit_annotations=self._annotations if self._annotations is not None else {},
        )

    async def _post(
        self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object, subresource: str
    ) -> Object:
        """POST to a subresource or to a kind that is never stored."""
        core = self._core
        if kind.resource.plural == "bindings":
            name, subresource = name_of(body), "binding"
        if subresource == "binding":
            pods, bindings = core.kinds.get("", "v1", "pods"), core.kinds.get("", "v1", "bindings")
            if pods is not None and bindings is not None:
                return (await bind(core, ctx, pods, bindings, namespace, name, body)).object
        if subresource == "eviction":
            budgets = core.kinds.get("policy", "v1", "poddisruptionbudgets")
            if budgets is not None:
                return (await evict(core, ctx, kind, budgets, namespace, name, body)).object
        handler = core.virtual.get((kind.resource.group, kind.resource.plural, subresource))
        if handler is None:
            raise not_found(kind.resource.group, kind.resource.plural, name)
        return await handler.create(ctx, kind, namespace, name, body)

    async def _patch_scale(
        self,
        ctx: RequestContext,
        kind: Kind,
        namespace: str,
        name: str,
        body: Object | Sequence[Object],
        patch_type: PatchType,
    ) -> Object:
        def change(current: Object) -> Object:
            if patch_type is PatchType.JSON:
                return apply_json_patch(current, body)
            return apply_merge_patch(current, body)

        by = ctx.field_manager if patch_type is PatchType.APPLY else ""
        return (await update_scale(self._core, ctx, kind, namespace, name, change, applied_by=by)).object


def _unserved() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


_patch = patch
