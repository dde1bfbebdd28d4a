"""Deleting: at once, after a grace period, or when finalizers are gone.

Follows ``rest.BeforeDelete`` and ``genericregistry.Store.Delete``: an object with finalizers, or a
pod that runs, is marked with a deletionTimestamp and stays until its holders let go; propagation
policies are finalizers for the garbage collector.
"""

from __future__ import annotations

from dataclasses import replace

from minikube_py.client.types import NO_DELETE_OPTIONS, DeleteOptions
from minikube_py.components.apiserver.registry.core import (
    OPTIONS_VERSION,
    Core,
    admission_request,
)
from minikube_py.components.apiserver.registry.kinds import is_custom
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.update import ATTEMPTS, is_definition, may_go
from minikube_py.components.apiserver.registry.versions import converter_of, read_entry
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.lists import EVERYTHING_NEWEST, ListOptions, Page, read_page
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.components.apiserver.types import Operation, RequestContext
from minikube_py.datastore.types import RevisionMismatch
from minikube_py.machinery.errors import ApiError, conflict, is_not_found, qualified
from minikube_py.machinery.kind import RETURNS_DELETED_OBJECT, Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import parse_time, rfc3339

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_ORPHANING = frozenset({("batch", "jobs"), ("", "replicationcontrollers")})


async def delete(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    namespace: str,
    name: str,
    options: DeleteOptions = NO_DELETE_OPTIONS,
    *,
    raw_options: Object | None = None,
    admitted: bool = False,
    named: bool = True,
) -> Outcome:
    """Delete an object or mark it for deletion. Raises NotFound, Conflict (preconditions), admission's errors.

    ``admitted``: the deletion is part of a request that admission has seen (eviction). ``named``: the request names
    the object; admission sees no name in the deletion of a collection. When somebody else
    removes an object that was just to be removed here after its grace period, that is a success too.
    """
    warning = kind.extra.get("orphan_warning")
    if warning and options.propagation_policy is None:
        ctx.warnings.append(str(warning))
    last: Object | None = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            entry = core.entry(kind, namespace, name)
        except ApiError:
            if last is None:
                raise
            return Outcome(last)
        old = await read_entry(kind, entry)
        _check_preconditions(kind, old, entry, options)
        if not admitted:
            request = admission_request(
                ctx,
                kind,
                Operation.DELETE,
                namespace=entry.namespace,
                name=name if named else "",
                draft=None,
                old=old,
                options=deletion_options(options, raw_options),
            )
            await core.let_in(request)
        try:
            return await _delete_state(core, ctx, kind, entry, old, options)
        except _Overtaken as error:
            if error.changed and (options.precondition_resource_version or attempt == ATTEMPTS):
                raise conflict(kind.resource.group, kind.resource.plural, name) from error
            last = error.last or last
    raise AssertionError("unreachable")


def deletion_options(options: DeleteOptions, raw: Object | None) -> Object:
    """DeleteOptions as admission sees them; ``raw`` is what the request says."""
    result: Object = {"kind": "DeleteOptions", "apiVersion": OPTIONS_VERSION}
    preconditions = {
        "uid": options.precondition_uid,
        "resourceVersion": options.precondition_resource_version,
    }
    fields = {
        "gracePeriodSeconds": options.grace_period_seconds,
        "preconditions": {key: value for key, value in preconditions.items() if value is not None} or None,
        "propagationPolicy": options.propagation_policy,
        "dryRun": ["All"] if options.dry_run else None,
    }
    if raw and raw.get("orphanDependents") is not None:
        fields["orphanDependents"] = raw["orphanDependents"]
        fields["propagationPolicy"] = raw.get("propagationPolicy")
    result.update((key, value) for key, value in fields.items() if value is not None)
    return result


class _Overtaken(Exception):
    """Somebody else ``changed`` or deleted the object first. ``last``: what a graceful removal would have returned."""

    def __init__(self, changed: bool, last: Object | None = None) -> None:
        super().__init__("the object was written meanwhile")
        self.changed = changed
        self.last = last


async def delete_collection(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    selection: Selection,
    options: DeleteOptions,
    listing: ListOptions = EVERYTHING_NEWEST,
    *,
    raw_options: Object | None = None,
) -> Page:
    """Delete what a list with these options would show; returns that list, with the states before."""
    converter = converter_of(kind)
    convert = converter.entries if converter is not None else None
    page = await read_page(core.caches, core.cache(kind), selection, listing, convert)
    entries = list(page.entries)
    page = replace(page, entries=entries)
    for number, entry in enumerate(entries):
        entries[number] = entry.unparsed()  # each deletion parses its object: ten thousand need not stay to the end
        try:
            await delete(core, ctx, kind, entry.namespace, entry.name, options, raw_options=raw_options, named=False)
        except ApiError as error:
            if not is_not_found(error):
                raise
    return page


async def _delete_state(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    entry: Entry,
    old: Object,
    options: DeleteOptions,
) -> Outcome:
    draft = _unshared(old)
    meta = draft["metadata"]
    marked = _begin_grace(core, kind, draft, options)
    if marked is None:
        return await core.outcome(kind, entry)
    finalizers = _finalizers(kind, meta, options)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    held = bool(finalizers) or _held_by_spec(kind, draft)
    if held and not marked:
        _mark(core, kind, draft)
    if ctx.dry_run:
        return Outcome(draft) if held or marked or _returns_object(kind) else _success(kind, old)
    stays = held or (marked and bool(meta.get("deletionGracePeriodSeconds")))
    if draft != old and (held or marked):
        try:
            entry = await core.write(kind, draft, entry, client=ctx.user_agent)
        except RevisionMismatch as error:
            raise _Overtaken(error.current is not None) from error
    if stays:
        return await core.outcome(kind, entry)
    last = await read_entry(kind, entry) if marked else None
    try:
        gone = await core.remove(kind, entry, client=ctx.user_agent)
    except RevisionMismatch as error:
        raise _Overtaken(error.current is not None, last) from error
    allocator = core.allocator(kind)
    if allocator is not None:
        allocator.released(old, None)
    if not _returns_object(kind):
        return _success(kind, old)
    return await core.outcome(kind, gone)


def _unshared(old: Object) -> Object:
    """A copy of which metadata and status may get other fields: a deletion changes nothing else, whatever the size."""
    draft = {**old, "metadata": {**old["metadata"]}}
    if isinstance(old.get("status"), dict):
        draft["status"] = {**old["status"]}
    return draft


def _begin_grace(core: Core, kind: Kind, draft: Object, options: DeleteOptions) -> bool | None:
    """Set the grace period. True: it has one (perhaps 0), False: the kind has none, None: nothing changes."""
    meta = draft["metadata"]
    if kind.grace_period is None:
        return False
    seconds = kind.grace_period(draft, options.grace_period_seconds)
    if meta.get("deletionTimestamp"):
        before = int(meta.get("deletionGracePeriodSeconds") or 0)
        if before == 0:
            return True if may_go(kind, draft) else None
        if options.grace_period_seconds is None or seconds >= before:
            return None
        end = parse_time(str(meta["deletionTimestamp"])) - before + seconds
        meta["deletionTimestamp"] = rfc3339(end)
    else:
        meta["deletionTimestamp"] = rfc3339(core.clock.now() + seconds)
        _count_generation(meta)
    meta["deletionGracePeriodSeconds"] = seconds
    return True


def _mark(core: Core, kind: Kind, draft: Object) -> None:
    """Mark an object that finalizers hold (``markAsDeleting``)."""
    meta = draft["metadata"]
    if not meta.get("deletionTimestamp"):
        meta["deletionTimestamp"] = rfc3339(core.clock.now())
        if not (_is_namespace(kind) or is_definition(kind)):
            meta["deletionGracePeriodSeconds"] = 0
        _count_generation(meta)
    if _is_namespace(kind):
        draft.setdefault("status", {})["phase"] = "Terminating"


def _is_namespace(kind: Kind) -> bool:
    return kind.resource.plural == "namespaces" and not kind.resource.group


def _count_generation(meta: Object) -> None:
    if int(meta.get("generation") or 0) > 0:
        meta["generation"] = int(meta["generation"]) + 1


def _held_by_spec(kind: Kind, obj: Object) -> bool:
    """Namespaces wait for ``spec.finalizers`` as well."""
    if not _is_namespace(kind):
        return False
    return bool((obj.get("spec") or {}).get("finalizers"))


def _finalizers(kind: Kind, meta: Object, options: DeleteOptions) -> list[str]:
    """The finalizers with those of the propagation policy (``deletionFinalizersForGarbageCollection``)."""
    found: list[str] = list(meta.get("finalizers") or ())
    if is_definition(kind) and not meta.get("deletionTimestamp") and CLEANUP not in found:
        found.append(CLEANUP)  # its objects go first
    policy = options.propagation_policy
    if policy is None:
        if ORPHAN in found or FOREGROUND in found:
            return found
        resource = kind.resource
        orphaning = (resource.group, resource.plural) in _ORPHANING
        policy = "Orphan" if orphaning else kind.default_propagation
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(policy)
    found = [name for name in found if name not in (ORPHAN, FOREGROUND)]
    if wanted is not None and not _never_collected(kind):
        found.append(wanted)
    return found


def _never_collected(kind: Kind) -> bool:
    return kind.resource.plural == "events" and kind.resource.group in ("", "events.k8s.io")


def _check_preconditions(kind: Kind, old: Object, entry: Entry, options: DeleteOptions) -> None:
    resource, meta = kind.resource, old["metadata"]
    uid, version = options.precondition_uid, options.precondition_resource_version
    why = ""
    if uid is not None and uid != meta.get("uid"):
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({meta.get('uid')}). "
            "The object might have been deleted and then recreated"
        )
    elif version is not None and version != str(entry.revision):
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({entry.revision}). The object might have been modified"
        )
    if why and _is_namespace(kind):
        what, wanted, found = (
            ("UID", uid, meta.get("uid"))
            if uid is not None and uid != meta.get("uid")
            else ("ResourceVersion", version, str(entry.revision))
        )
        why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        raise conflict(resource.group, resource.plural, entry.name, why)
    if why:
        group = kind.stored_as.group
        shown = qualified(group, resource.kind)
        message = f'Operation cannot be fulfilled on {shown} "{entry.name}": {why}'
        details: Object = {"name": entry.name, "kind": resource.kind}
        if group:
            details["group"] = group
        raise ApiError(409, "Conflict", message, details=details)


def _returns_object(kind: Kind) -> bool:
    return kind.resource.plural in RETURNS_DELETED_OBJECT and not is_custom(kind)


def _success(kind: Kind, old: Object) -> Outcome:
    """The Status that says what was deleted."""
    resource, meta = kind.resource, old["metadata"]
    details: Object = {"name": meta.get("name")}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    details["uid"] = meta.get("uid")
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return Outcome(status, status=True)
