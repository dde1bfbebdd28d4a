"""Creating an object (``rest.Create`` over ``genericregistry.Store``).

Order: identity, defaults, managed fields, mutating admission, system fields and the kind's own
preparation, allocations, validation, validating admission, store.
"""

from __future__ import annotations

import asyncio
from functools import partial

from minikube_py.components.apiserver.registry.admin_access import new_claim_errors
from minikube_py.components.apiserver.registry.core import Core, admission_request
from minikube_py.components.apiserver.registry.heavy import is_heavy
from minikube_py.components.apiserver.registry.kinds import is_custom
from minikube_py.components.apiserver.registry.known_objects import KnownObjects, Mark
from minikube_py.components.apiserver.registry.metadata import fill_new, identify, names_revision
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.owners import drop_repeated_owners
from minikube_py.components.apiserver.registry.reservation import Reservation
from minikube_py.components.apiserver.types import Operation, RequestContext
from minikube_py.datastore.types import KeyExists
from minikube_py.machinery.errors import ApiError, already_exists, invalid, is_already_exists
from minikube_py.machinery.kind import Kind, TakesLong
from minikube_py.machinery.kinds.common.metadata import metadata_errors
from minikube_py.machinery.objects import Object, thaw

_NAME_ATTEMPTS = 8


async def create(
    core: Core, ctx: RequestContext, kind: Kind, namespace: str, draft: Object, *, tracked: bool = False
) -> Outcome:
    """Create ``draft`` (private to the registry from now on). Raises AlreadyExists, Invalid and admission's errors.

    ``tracked``: the draft brings its managed fields (server-side apply).
    """
    meta = identify(kind, draft, namespace)
    if meta.get("name") or not meta.get("generateName"):
        return await _create_once(core, ctx, kind, namespace, draft, tracked)
    for attempt in range(1, _NAME_ATTEMPTS + 1):
        try:
            return await _create_once(core, ctx, kind, namespace, thaw(draft), tracked)
        except ApiError as error:
            if not is_already_exists(error) or attempt == _NAME_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def _create_once(
    core: Core, ctx: RequestContext, kind: Kind, namespace: str, draft: Object, tracked: bool
) -> Outcome:
    heavy = is_heavy(kind, ctx)
    if heavy:
        await asyncio.to_thread(_begin, core, ctx, kind, draft, tracked)
    else:
        _begin(core, ctx, kind, draft, tracked, core.known_objects)
    name = str(draft["metadata"].get("name") or "")
    request = admission_request(
        ctx, kind, Operation.CREATE, namespace=namespace, name=name, draft=draft, old=None, large=heavy
    )
    await core.admission.admit(request)
    if request.reinvocation.wanted:  # a webhook or policy changed the draft, and may not do more than a client
        identify(kind, draft, namespace)
        _drop_status(kind, draft)
    drop_repeated_owners(ctx, draft, admitted=True)
    fill_new(kind, draft, core.clock.now())
    ctx.warnings.extend(kind.early_warnings(draft))
    mark = None
    if heavy:
        await asyncio.to_thread(kind.prepare_create, draft)
    else:
        mark = core.known_objects.mark(kind, draft)
        core.known_objects.prepare(kind, draft, mark)
    allocator = core.allocator(kind)
    if allocator is None:
        await _check(core, ctx, kind, draft, heavy, mark)
        return await core.judged_and_stored(request, partial(_store, core, ctx, kind, draft))
    with Reservation(allocator.reserve(draft, None, dry_run=ctx.dry_run)) as reserved:
        await _check(core, ctx, kind, draft, heavy)
        return await core.judged_and_stored(request, lambda: reserved.spent_by(_store(core, ctx, kind, draft)))


def _begin(
    core: Core, ctx: RequestContext, kind: Kind, draft: Object, tracked: bool, known: KnownObjects | None = None
) -> None:
    """What comes before admission; ``known`` None: in a thread, with an object that is too large to be remembered."""
    kind.default(draft) if known is None else known.default(kind, draft)
    _drop_status(kind, draft)
    if not tracked:
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds"):  # nobody's: no client sets them
            draft["metadata"].pop(field, None)
        drop_repeated_owners(ctx, draft)
        core.track(ctx, kind, None, draft)


def _drop_status(kind: Kind, draft: Object) -> None:
    """A new object has no status of the client's making."""
    if kind.has_status and not kind.extra.get("status_on_create"):
        draft.pop("status", None)


async def _check(
    core: Core, ctx: RequestContext, kind: Kind, draft: Object, heavy: bool, mark: Mark | None = None
) -> None:
    errors = metadata_errors(kind, draft, builtin=not is_custom(kind))
    errors += new_claim_errors(core, kind, draft)
    if not errors and mark is not None and mark.in_order:
        return
    try:
        errors += await asyncio.to_thread(kind.validate, draft) if heavy else kind.validate(draft)
    except TakesLong as later:
        errors += await asyncio.to_thread(later.work)
    if errors:
        name = str(draft["metadata"].get("name") or "")
        raise invalid(kind.stored_as.group, kind.resource.kind, name, errors)
    warnings = await asyncio.to_thread(kind.warnings, draft, None) if heavy else kind.warnings(draft, None)
    ctx.warnings.extend(warnings)
    if mark is not None and not warnings:
        core.known_objects.remember(draft, mark)


async def _store(core: Core, ctx: RequestContext, kind: Kind, draft: Object) -> Outcome:
    meta = draft["metadata"]
    name, namespace = str(meta["name"]), str(meta.get("namespace", ""))
    if ctx.dry_run:
        found = core.cache(kind).get(namespace, name)
        if found is not None:
            raise already_exists(kind.resource.group, kind.resource.plural, name)
        return Outcome(draft, created=True)
    if "resourceVersion" in meta and names_revision(meta):
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
    try:
        entry = await core.write(kind, draft, None, client=ctx.user_agent)
    except KeyExists as error:
        raise _exists(core, kind, namespace, name) from error
    return await core.outcome(kind, entry, created=True)


def _exists(core: Core, kind: Kind, namespace: str, name: str) -> ApiError:
    """409; says so when the name is taken by an object on its way out."""
    resource = kind.resource
    error = already_exists(resource.group, resource.plural, name)
    found = core.cache(kind).get(namespace, name)
    if found is not None and found.object["metadata"].get("deletionTimestamp"):
        return ApiError(409, error.reason, f"object is being deleted: {error.message}", details=error.details)
    return error
