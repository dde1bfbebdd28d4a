"""What all registry operations share: the kinds, the caches, admission, the clock, and the way to the store.

Errors of the store leave here as ``ApiError``: a store that cannot take writes is 503 (retry later), one
that did not finish a write in time is 504 (it may still take place).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from minikube_py.components.apiserver.metrics.registry import RegistryMetrics
from minikube_py.components.apiserver.registry.heavy import done
from minikube_py.components.apiserver.registry.kinds import Kinds, schema_of
from minikube_py.components.apiserver.registry.known_objects import KnownObjects
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.reset_fields import reset_fields
from minikube_py.components.apiserver.registry.versions import converter_of, entries_in
from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.storage.caches import Caches
from minikube_py.components.apiserver.storage.entry import Entry, encode_stored
from minikube_py.components.apiserver.storage.keys import object_key
from minikube_py.components.apiserver.types import (
    AdmissionChain,
    AdmissionRequest,
    Operation,
    RequestContext,
    VirtualHandler,
)
from minikube_py.datastore.types import StoreCorrupt, StoreTimeout, StoreUnavailable
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, not_found, service_unavailable, timeout
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.known_fields import KnownFields
from minikube_py.machinery.managed_fields import Elsewhere, manager_name, same_but_times, track_update
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NODES


class Allocator(Protocol):
    """Reserves shared values for drafts of one resource (cluster IPs, node ports)."""

    def reserve(self, draft: Object, old: Object | None, *, dry_run: bool) -> Callable[[], None]:
        """Fill in what is missing and reserve what is asked for; returns how to give it back. ApiError 422."""

    def released(self, old: Object, new: Object | None) -> None:
        """A stored object was replaced or deleted: give back what it alone held."""


@dataclass(slots=True)
class Core:
    """See the module; made once by ``server.ApiServer``. ``admission`` is set before the first write."""

    kinds: Kinds
    caches: Caches
    clock: Clock
    admission: AdmissionChain
    virtual: dict[tuple[str, str, str], VirtualHandler] = field(default_factory=dict)
    allocators: Mapping[tuple[str, str], Allocator] = field(default_factory=dict)
    metrics: RegistryMetrics = field(default_factory=RegistryMetrics)
    known_objects: KnownObjects = field(default_factory=KnownObjects)
    known_fields: KnownFields = field(default_factory=KnownFields)
    stale: Callable[[str], bool] | None = None
    """Of a store that encrypts: whether the value of a datastore key should be written anew."""

    def cache(self, kind: Kind) -> WatchCache:
        return self.caches.open(kind.stored_as)

    def entry(self, kind: Kind, namespace: str, name: str) -> Entry:
        """The newest state. Raises NotFound."""
        found = self.cache(kind).get(namespace if kind.resource.namespaced else "", name)
        if found is None:
            raise not_found(kind.resource.group, kind.resource.plural, name)
        return found

    def must_rewrite(self, kind: Kind, entry: Entry) -> bool:
        """Whether an update that changes nothing must be stored all the same (``storage`` of kube-apiserver: stale)."""
        outdated = kind.extra.get("stale")
        if outdated is not None and outdated(entry):
            return True
        return self.stale is not None and self.stale(object_key(kind.stored_as, entry.namespace, entry.name))

    async def outcome(self, kind: Kind, entry: Entry, *, created: bool = False) -> Outcome:
        """An entry in the version of ``kind``. ApiError(500) when a conversion webhook fails."""
        if converter_of(kind) is not None:
            entry = (await entries_in(kind, (entry,)))[0]
            return Outcome(None, entry, created)
        if kind.storage is None and kind.from_storage is None:
            return Outcome(None, entry, created)
        return Outcome(in_version(kind, entry.object), None, created, made_from=len(entry.item))

    async def unchanged(self, kind: Kind, entry: Entry, draft: Object, old: Object, *, heavy: bool) -> bool:
        """Whether an update need not be stored: nothing but times differs, and what is stored may stay."""
        begin = self.clock.monotonic()
        equal = await done(heavy, partial(same_but_times, draft, old))
        self.metrics.compared(self.clock.monotonic() - begin, equal=equal)
        return equal and not self.must_rewrite(kind, entry)

    async def let_in(self, request: AdmissionRequest) -> None:
        """Both phases of admission, for a request that stores nothing under its own name."""
        await self.admission.admit(request)
        await self.admission.validate(request)

    async def judged_and_stored(self, request: AdmissionRequest, store: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Validating admission, then the write; whatever comes of it, whoever charged for it is told of its end."""
        try:
            await self.admission.validate(request)
            return await store()
        finally:
            request.settle()

    async def write(self, kind: Kind, draft: Object, old: Entry | None, *, client: str = "") -> Entry:
        """Store a draft (create when ``old`` is None). Raises the store's KeyExists and RevisionMismatch."""
        cache, stored_as = self.cache(kind), kind.stored_as
        shape = cache.shape.in_version(stored_as.api_version)
        converter = converter_of(kind)
        if converter is not None:
            stored = await converter.stored(draft)
        else:
            stored = kind.to_storage(draft) if kind.to_storage else draft
        value = encode_stored(stored, shape)
        meta = draft["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        key = object_key(stored_as, namespace if shape.namespaced else "", name)
        store = self.caches.store
        volatile = kind.volatile is not None and kind.volatile(draft)
        if store.stall and old is not None:  # what a node says of itself goes on while the disk hangs
            volatile = volatile or (kind.resource == NODES and _only_status_differs(old.object, stored))
        begin, failed = self.clock.monotonic(), False
        offered = self.caches.offer(value, stored)
        try:
            if old is None:
                record = await store.create(key, value, volatile=volatile, client=client)
            else:
                record = await store.update(
                    key, value, expected_revision=old.revision, volatile=volatile, client=client
                )
        except (StoreUnavailable, StoreCorrupt) as error:
            failed = True  # a guard that does not hold is an answer, and no failure
            raise _refused(error) from error
        finally:
            if offered:
                self.caches.withdraw(value)
            operation = "create" if old is None else "update"
            self.caches.requests.took(operation, stored_as, self.clock.monotonic() - begin, failed=failed)
        current = cache.get(namespace, name)
        if current is not None and current.revision == record.mod_revision:
            return current
        return Entry(shape, key, value, record.mod_revision)

    async def remove(self, kind: Kind, entry: Entry, *, client: str = "") -> Entry:
        """Delete exactly this state; returns it under the deletion's revision. Raises RevisionMismatch."""
        key = object_key(kind.stored_as, entry.namespace, entry.name)
        begin, failed = self.clock.monotonic(), False
        try:
            record = await self.caches.store.delete(key, expected_revision=entry.revision, client=client)
        except (StoreUnavailable, StoreCorrupt) as error:
            failed = True  # a guard that does not hold is an answer, and no failure
            raise _refused(error) from error
        finally:
            self.caches.requests.took("delete", kind.stored_as, self.clock.monotonic() - begin, failed=failed)
        if record is None:
            raise not_found(kind.resource.group, kind.resource.plural, entry.name)
        return entry.at(record.mod_revision)

    def track(
        self,
        ctx: RequestContext,
        kind: Kind,
        old: Object | None,
        draft: Object,
        subresource: str = "",
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Record which manager set which fields."""
        track_update(
            schema_of(kind),
            old,
            draft,
            manager=manager_of(ctx),
            api_version=kind.resource.api_version,
            now=self.clock.now(),
            subresource=subresource,
            reset=reset_fields(kind, subresource),
            elsewhere=elsewhere,
            known=self.known_fields,
        )

    def allocator(self, kind: Kind) -> Allocator | None:
        return self.allocators.get((kind.resource.group, kind.resource.plural))


def _refused(error: StoreUnavailable | StoreCorrupt) -> ApiError:
    """504 in etcd's words when it is unknown whether the write takes place, 503 when it does not, 500 for damage."""
    if isinstance(error, StoreCorrupt):
        return ApiError(500, "InternalError", f"Internal error occurred: {error}")
    if isinstance(error, StoreTimeout):
        return timeout(f"etcdserver: request timed out: {error}")
    return service_unavailable(f"the datastore cannot take writes: {error}")


def _only_status_differs(old: Object, new: Object) -> bool:
    """Whether an update leaves everything but the status as it was; who manages which field does not count."""
    return _lasting(old) == _lasting(new)


def _lasting(obj: Object) -> Object:
    meta = {key: value for key, value in obj["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}


def in_version(kind: Kind, stored: Object) -> Object:
    """A stored object in the version of ``kind``; shared and read-only."""
    return kind.from_storage(stored) if kind.from_storage else stored


def manager_of(ctx: RequestContext) -> str:
    """The field manager: as given, else what the user agent says."""
    return ctx.field_manager or manager_name(ctx.user_agent)


def admission_request(
    ctx: RequestContext,
    kind: Kind,
    operation: Operation,
    *,
    namespace: str,
    name: str,
    draft: Object | None,
    old: Object | None,
    subresource: str = "",
    options: Object | None = None,
    large: bool = False,
) -> AdmissionRequest:
    """The record that admission plugins see."""
    return AdmissionRequest(
        operation=operation,
        kind=kind,
        subresource=subresource,
        namespace=namespace,
        name=name,
        user=ctx.user,
        object=draft,
        old=old,
        options=options or write_options(ctx, operation),
        audit_annotations=ctx.audit_annotations,
        dry_run=ctx.dry_run,
        warnings=ctx.warnings,
        large=large,
    )


def write_options(ctx: RequestContext, operation: Operation) -> Object:
    """CreateOptions or UpdateOptions as admission sees them; a patch is an update. Connections have none."""
    if operation not in (Operation.CREATE, Operation.UPDATE):
        return {}
    kind = "CreateOptions" if operation is Operation.CREATE else "UpdateOptions"
    options: Object = {"kind": kind, "apiVersion": OPTIONS_VERSION}
    if ctx.dry_run:
        options["dryRun"] = ["All"]
    if ctx.field_manager:
        options["fieldManager"] = ctx.field_manager
    if ctx.field_validation:
        options["fieldValidation"] = ctx.field_validation
    return options


OPTIONS_VERSION = "meta.k8s.io/v1"
