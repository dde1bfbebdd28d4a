"""Changing an object: PUT, PATCH and writes to subresources that keep the object's kind.

A change is a function from the newest state to a draft; when someone else was faster and the client
did not ask for a certain revision, it is applied again to the newer state. Follows
``rest.BeforeUpdate`` and ``genericregistry.Store.Update``; a change that changes nothing writes
nothing and keeps the resourceVersion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from minikube_py.components.apiserver.registry.admin_access import allocation_errors
from minikube_py.components.apiserver.registry.core import Core, admission_request
from minikube_py.components.apiserver.registry.create import create
from minikube_py.components.apiserver.registry.heavy import done, is_heavy
from minikube_py.components.apiserver.registry.metadata import (
    changed_metadata_errors,
    check_name,
    check_uid,
    identify,
    keep_system_fields,
    revision_of,
    spec_changed,
)
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.owners import drop_repeated_owners
from minikube_py.components.apiserver.registry.reservation import Reservation
from minikube_py.components.apiserver.registry.reset_fields import reset_fields
from minikube_py.components.apiserver.registry.signing import stamp_conditions
from minikube_py.components.apiserver.registry.subresources import Part, part_of
from minikube_py.components.apiserver.registry.versions import changes_elsewhere, read_entry
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, RequestContext
from minikube_py.datastore.types import RevisionMismatch
from minikube_py.machinery.errors import conflict, invalid, invalid_value, not_found
from minikube_py.machinery.kind import Kind, TakesLong
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.times import rfc3339

ATTEMPTS = 30

MakeDraft = Callable[[Object | None], Object | Awaitable[Object]]
"""From the newest state (read-only; None: there is none) to a private draft; may wait, may raise ApiError."""


async def update(
    core: Core, ctx: RequestContext, kind: Kind, namespace: str, name: str, draft: Object, *, subresource: str = ""
) -> Outcome:
    """Replace an object by ``draft``; its resourceVersion, when given, guards against lost updates."""
    identify(kind, draft, namespace)
    if not draft["metadata"].get("name") and subresource:
        draft["metadata"]["name"] = name
    check_name(draft, name)

    def drafted(old: Object | None) -> Object:
        return thaw(draft)

    creates = kind.create_on_update and not subresource
    return await modify(core, ctx, kind, namespace, name, drafted, subresource=subresource, creates=creates)


async def modify(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    namespace: str,
    name: str,
    drafted: MakeDraft,
    *,
    subresource: str = "",
    creates: bool = False,
    tracked: bool = False,
    patch: bool = False,
    admitted: bool = False,
) -> Outcome:
    """Apply a change until it is stored. ``tracked``: the draft brings its managed fields (server-side apply).

    ``admitted``: the change is part of a request that admission has seen (binding, eviction).
    Raises NotFound (unless ``creates``), Conflict, Invalid and admission's errors.
    """
    cache = core.cache(kind)
    for attempt in range(1, ATTEMPTS + 1):
        entry = cache.get(namespace if kind.resource.namespaced else "", name)
        if entry is None:
            if not creates:
                raise not_found(kind.resource.group, kind.resource.plural, name)
            made = await done(is_heavy(kind, ctx), partial(drafted, None))
            draft = made if isinstance(made, dict) else await made
            if patch:
                _check_new(kind, draft, namespace, name)
            return await create(core, ctx, kind, namespace, draft, tracked=tracked)
        old = await read_entry(kind, entry)
        made = await done(is_heavy(kind, ctx, entry), partial(drafted, old))
        draft = made if isinstance(made, dict) else await made
        identify(kind, draft, namespace)
        check_name(draft, name)
        if not patch:
            check_uid(kind, draft, old)
            drop_repeated_owners(ctx, draft)
        guarded = _check_version(kind, draft, entry, name, patch=patch)
        try:
            part = part_of(kind, subresource)
            return await _apply(core, ctx, kind, entry, old, draft, part, tracked=tracked, admitted=admitted)
        except RevisionMismatch as error:
            if guarded or attempt == ATTEMPTS:
                raise conflict(kind.resource.group, kind.resource.plural, name) from error
    raise AssertionError("unreachable")


def _check_new(kind: Kind, draft: Object, namespace: str, name: str) -> None:
    """What a patch makes from nothing must be the object of the URL, and none that somebody saw. ApiError."""
    uid = draft["metadata"].get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(kind.resource.group, kind.resource.plural, name, why)
    draft["metadata"].pop("resourceVersion", None)
    identify(kind, draft, namespace)
    check_name(draft, name)


def _check_version(kind: Kind, draft: Object, entry: Entry, name: str, *, patch: bool) -> bool:
    """Compare the draft's resourceVersion with the newest; returns whether the client insists on it."""
    meta, current = draft["metadata"], str(entry.revision)
    given = revision_of(meta)
    if given and given != entry.revision:
        raise conflict(kind.resource.group, kind.resource.plural, name)
    if not given:
        if not kind.unconditional_update and not patch:
            error = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(kind.resource.group, kind.resource.plural, name, [error])
        meta["resourceVersion"] = current
        return False
    return not patch


async def _apply(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    entry: Entry,
    old: Object,
    draft: Object,
    part: Part,
    *,
    tracked: bool,
    admitted: bool,
) -> Outcome:
    """Take a draft through all steps of an update and store it. Raises RevisionMismatch."""
    heavy = is_heavy(kind, ctx, entry)
    keep_system_fields(kind, draft, old)
    await done(heavy, partial(kind.default, draft))
    if not tracked:
        elsewhere = await changes_elsewhere(kind, old, draft, reset_fields(kind, part.tracked_as))
        await done(heavy, partial(core.track, ctx, kind, old, draft, part.tracked_as, elsewhere))
    await done(heavy, partial(part.restrict, draft, old))
    request = None if admitted else await _admit(core, ctx, kind, entry, old, draft, part, large=heavy)
    drop_repeated_owners(ctx, draft, admitted=True)
    _prepare(core, kind, part, draft, old)
    try:
        return await _judge_and_store(core, ctx, kind, entry, old, draft, part, request, heavy=heavy)
    finally:
        if request is not None:
            request.settle()


async def _judge_and_store(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    entry: Entry,
    old: Object,
    draft: Object,
    part: Part,
    request: AdmissionRequest | None,
    *,
    heavy: bool,
) -> Outcome:
    """Validation, validating admission and the write, unless nothing changes. Raises RevisionMismatch, ApiError."""
    allocator = core.allocator(kind) if not part.name else None
    if allocator is None:
        await _check(core, ctx, kind, part, draft, old, request, heavy=heavy)
        if await core.unchanged(kind, entry, draft, old, heavy=heavy):
            return await core.outcome(kind, entry)
        return Outcome(draft) if ctx.dry_run else await _store(core, ctx, kind, entry, draft)
    with Reservation(allocator.reserve(draft, old, dry_run=ctx.dry_run)) as reserved:
        await _check(core, ctx, kind, part, draft, old, request, heavy=heavy)
        if await core.unchanged(kind, entry, draft, old, heavy=heavy):
            return await core.outcome(kind, entry)
        if ctx.dry_run:
            return Outcome(draft)
        store = _store(core, ctx, kind, entry, draft)
        return await reserved.spent_by(store, partial(allocator.released, old, draft))


async def _admit(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    entry: Entry,
    old: Object,
    draft: Object,
    part: Part,
    *,
    large: bool,
) -> AdmissionRequest:
    """Mutating admission; returns the request, for validating admission. ApiError."""
    request = admission_request(
        ctx,
        kind,
        Operation.UPDATE,
        namespace=entry.namespace,
        name=entry.name,
        draft=draft,
        old=old,
        subresource=part.name,
        large=large,
    )
    await core.admission.admit(request)
    if request.reinvocation.wanted:  # a webhook or policy changed the draft, and may not do more than a client
        identify(kind, draft, entry.namespace)
        keep_system_fields(kind, draft, old)
        part.restrict(draft, old)
    return request


def _prepare(core: Core, kind: Kind, part: Part, draft: Object, old: Object) -> None:
    """What the server itself sets in a changed object: the kind's own fields, times of conditions, generation."""
    part.prepare(draft, old)
    if part.name in ("status", "approval"):
        stamp_conditions(kind, draft, old, core.clock.now())
        stamp = kind.extra.get("stamp_status")
        if stamp is not None:
            stamp(draft, old, rfc3339(core.clock.now()))
    if kind.generation and not part.keeps_generation and spec_changed(kind, draft, old):
        draft["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1


async def _check(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    part: Part,
    draft: Object,
    old: Object,
    request: AdmissionRequest | None,
    *,
    heavy: bool,
) -> None:
    """Validation and validating admission. ApiError."""
    errors = changed_metadata_errors(kind, draft, old, part.name)
    if part.name == "status":
        errors += allocation_errors(core, kind, draft, old)
    try:
        errors += await done(heavy, partial(part.validate, draft, old))
    except TakesLong as later:
        errors += await asyncio.to_thread(later.work)
    if errors:
        raise invalid(kind.stored_as.group, kind.resource.kind, str(old["metadata"]["name"]), errors)
    if not part.name:
        ctx.warnings.extend(await done(heavy, partial(kind.warnings, draft, old)))
    if request is not None:
        await core.admission.validate(request)


async def _store(core: Core, ctx: RequestContext, kind: Kind, entry: Entry, draft: Object) -> Outcome:
    """Write the draft; or delete the object when this change took away the last thing that held it."""
    if may_go(kind, draft):
        allocator = core.allocator(kind)
        await core.remove(kind, entry, client=ctx.user_agent)
        if allocator is not None:
            allocator.released(draft, None)
        return Outcome(draft)
    return await core.outcome(kind, await core.write(kind, draft, entry, client=ctx.user_agent))


def may_go(kind: Kind, obj: Object) -> bool:
    """Whether a deleted object has nothing left to wait for (``ShouldDeleteDuringUpdate``)."""
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
        return False
    if kind.resource.plural == "namespaces" and not kind.resource.group:
        return not (obj.get("spec") or {}).get("finalizers")
    return is_definition(kind) or meta.get("deletionGracePeriodSeconds") == 0


def is_definition(kind: Kind) -> bool:
    """Whether objects of the kind are CustomResourceDefinitions, which have no grace period at all."""
    return kind.resource.plural == "customresourcedefinitions" and kind.resource.group == "apiextensions.k8s.io"
