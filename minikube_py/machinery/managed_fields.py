"""Managed fields: who set which field, kept in ``metadata.managedFields`` as the API server does.

``track_update`` records an ordinary write, ``apply_patch`` carries out a server-side apply. The rules are
those of ``k8s.io/apimachinery/pkg/util/managedfields`` and ``sigs.k8s.io/structured-merge-diff``:

* a manager is its name, its operation, the subresource and, for updates, the API version;
* who changes or adds a field owns it alone; who applies the value it has shares it; whose field is
  removed loses it;
* an apply that changes a field of another manager is a conflict, unless it is forced;
* what a manager applied before and leaves out now is removed, unless another one owns it.

Pure functions: the live object is read-only, drafts are private and changed where said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from minikube_py.machinery.applied_values import merge, prune
from minikube_py.machinery.errors import ApiError, bad_request
from minikube_py.machinery.field_managers import (
    APPLY,
    UPDATE,
    Entry,
    Manager,
    Managers,
    merge_ancient,
    read_managers,
    write_managers,
)
from minikube_py.machinery.field_paths import compare, field_set
from minikube_py.machinery.field_sets import FieldSet, difference, intersection, is_field_set, paths, union
from minikube_py.machinery.known_fields import KnownFields
from minikube_py.machinery.last_applied import MANAGER as KUBECTL
from minikube_py.machinery.last_applied import fields_in_agreement, update_annotation
from minikube_py.machinery.objects import Object, metadata, thaw
from minikube_py.machinery.raw_texts import rebuilt
from minikube_py.machinery.schema import Schema
from minikube_py.machinery.times import rfc3339
from minikube_py.machinery.typed_errors import typed_errors

BEFORE_FIRST_APPLY = "before-first-apply"
_IDENTITY: FieldSet = {"f:metadata": {"f:name": {}}}
"""What every applied object names, though it is not kept: metadata itself is never pruned."""
Elsewhere = Mapping[str, tuple[FieldSet, FieldSet] | None]
"""By API version, for versions whose fields have other names: what the same change is there, (changed or added,
removed). Managers of these versions are compared in their own terms. None: there is no such version any more."""
_NOT_TRACKED = frozenset(
    {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
     "resourceVersion"}
)  # fmt: skip


def track_update(
    schema: Schema,
    live: Mapping[str, Any] | None,
    draft: Object,
    *,
    manager: str,
    api_version: str,
    now: float,
    subresource: str = "",
    reset: Iterable[str] = (),
    elsewhere: Elsewhere | None = None,
    known: KnownFields | None = None,
) -> None:
    """Write ``draft.metadata.managedFields`` for a create (no live object), update or patch.

    ``reset`` are the dotted paths that this endpoint does not set and nobody owns through it ("status" on
    the main resource, "spec" on the status subresource). A client may hand in managed fields of its own,
    or clear them with one empty entry; through a subresource it may not. An object whose managed fields
    are gone is not tracked again by updates. ``elsewhere``: see ``Elsewhere``; ``known``: what new objects
    own is remembered there.
    """
    managers = _current(live, draft, ignore_draft=bool(subresource))
    meta: Object = draft.setdefault("metadata", {})
    if not managers and live is not None:
        meta.pop("managedFields", None)
        return
    if live is None and known is not None:
        taken = _shown(known.of_new(schema, _tracked(draft)) or {}, tuple(reset))
        gone: FieldSet = {}
    else:
        taken, gone = _changes(schema, live or {}, draft, tuple(reset))
    if taken or gone:
        me = Manager(manager, UPDATE, api_version, subresource)
        _take(managers, me, taken, gone, rfc3339(now), elsewhere or {})
        merge_ancient(managers)
    write_managers(meta, managers)


def _take(managers: Managers, me: Manager, taken: FieldSet, gone: FieldSet, time: str, elsewhere: Elsewhere) -> None:
    """Give changed fields to one manager, take them and what is gone from all others."""
    for other, entry in list(managers.items()):
        rest = difference(entry.fields, gone) if other == me else _kept(entry, taken, gone, elsewhere)
        if rest:
            managers[other] = Entry(rest, entry.time, entry.api_version)
        else:
            del managers[other]
    if taken:
        mine = managers.get(me)
        managers[me] = Entry(union(mine.fields, taken) if mine else taken, time, me.api_version)


def _kept(entry: Entry, taken: FieldSet, gone: FieldSet, elsewhere: Elsewhere) -> FieldSet:
    """What a manager keeps when another one changes the object; nothing when its version is no more."""
    change = elsewhere.get(entry.api_version, (taken, gone))
    return difference(entry.fields, union(*change)) if change is not None else {}


def changes_in(
    schema: Schema, live: Mapping[str, Any], draft: Mapping[str, Any], reset: Iterable[str] = ()
) -> tuple[FieldSet, FieldSet]:
    """(changed or added, removed) fields between two objects, for ``Elsewhere``."""
    return _changes(schema, live, draft, tuple(reset))


def _changes(
    schema: Schema, live: Mapping[str, Any], draft: Mapping[str, Any], reset: tuple[str, ...]
) -> tuple[FieldSet, FieldSet]:
    """(taken, gone) between two objects, without what is never tracked and what the endpoint resets."""
    taken, gone = compare(schema, _tracked(live), _tracked(draft))
    return _shown(taken or {}, reset), _shown(gone or {}, reset)


def _shown(fields: FieldSet, reset: tuple[str, ...]) -> FieldSet:
    """The fields without those that the endpoint resets."""
    return _outside(fields, _reset_set(reset)) if reset else fields


def _tracked(obj: Mapping[str, Any]) -> Object:
    """The object without its type, name and what the server keeps in metadata (a shallow copy)."""
    result = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    result["metadata"] = {key: value for key, value in metadata(obj).items() if key not in _NOT_TRACKED}
    return result


def _reset_set(reset: tuple[str, ...]) -> FieldSet:
    result: FieldSet = {}
    for path in reset:
        node = result
        for part in path.split("."):
            node = node.setdefault(f"f:{part}", {})
    return result


def _outside(fields: FieldSet, hidden: FieldSet) -> FieldSet:
    """The set without the subtrees that ``hidden`` ends in."""
    result: FieldSet = {}
    for key, node in fields.items():
        below = hidden.get(key)
        if below is None:
            result[key] = node
        elif below:
            rest = _outside(node, below)
            if rest:
                result[key] = rest
    return result


def _current(live: Mapping[str, Any] | None, draft: Mapping[str, Any], *, ignore_draft: bool) -> Managers:
    """The managers to start from: the draft's when it brings any, else the live object's."""
    brought = metadata(draft).get("managedFields")
    if live is None and not brought:
        return {}
    known = metadata(live or {}).get("managedFields") or []
    if brought and not ignore_draft:
        if brought == [{}]:
            return {}
        if brought == known or all(is_field_set(entry.get("fieldsV1")) for entry in brought):
            managers = read_managers(brought)
            if managers:
                return managers
    return read_managers(known)


def apply_patch(
    schema: Schema,
    live: Mapping[str, Any] | None,
    patch: Object,
    *,
    manager: str,
    force: bool,
    api_version: str,
    now: float,
    subresource: str = "",
    reset: Iterable[str] = (),
    elsewhere: Elsewhere | None = None,
) -> Object:
    """Server-side apply: the object that results, with its managed fields; a private copy.

    Raises ApiError: 409 with one cause for each field that another manager owns and the patch changes, 500
    with the reference's text for a patch that does not fit the schema, 400 when it brings managed fields.
    The result is not defaulted. Applying what is already so returns the object as it is.
    """
    patch = _checked_patch(schema, patch)
    current, hidden, elsewhere = live or {}, tuple(reset), elsewhere or {}
    managers = _managers_before(schema, live, hidden, api_version, now)
    me = Manager(manager, APPLY, "", subresource)
    last = managers.get(me)
    others = {who: entry for who, entry in managers.items() if who != me}
    mine = _drop_root_metadata(_outside(field_set(schema, _tracked(patch)) or {}, _reset_set(hidden)))
    merged: Object = merge(schema, thaw(dict(current)), patch)
    if last is not None:
        merged = prune(schema, merged, last.fields, [mine, _IDENTITY, *(entry.fields for entry in others.values())])
    taken, gone = _changes(schema, current, merged, hidden)
    if taken or gone:
        rebuilt(merged)
    if not force:
        agreed = fields_in_agreement(schema, current, api_version) if manager == KUBECTL else {}
        _refuse_conflicts(others, taken, elsewhere, agreed)
    owners = _left_to(others, taken, gone, elsewhere)
    if mine:
        # An apply that changes nothing but who owns what leaves the time as it was (none for a new owner).
        changed = live is None or bool(taken or gone)
        time = rfc3339(now) if changed else last.time if last is not None else ""
        owners[me] = Entry(mine, time, api_version)
    meta: Object = merged.get("metadata") or {}
    merged["metadata"] = meta
    write_managers(meta, owners)
    if manager == KUBECTL:
        update_annotation(merged, patch)
    return merged


def _checked_patch(schema: Schema, patch: Object) -> Object:
    """An applied configuration that fits its schema. ApiError 400 and 500."""
    meta = patch.get("metadata")
    if isinstance(meta, dict) and meta.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    check_typed(schema, patch)
    if patch.get("metadata", patch) is None:  # says as much as none
        return {key: value for key, value in patch.items() if key != "metadata"}
    return patch


def _managers_before(
    schema: Schema, live: Mapping[str, Any] | None, hidden: tuple[str, ...], api_version: str, now: float
) -> Managers:
    """Who owns what before an apply. Fields from before the first one belong to nobody by name."""
    current = live or {}
    managers = read_managers(metadata(current).get("managedFields") or [])
    if not managers and live is not None:
        before, _ = _changes(schema, {}, current, hidden)
        if before:
            managers[Manager(BEFORE_FIRST_APPLY, UPDATE, api_version)] = Entry(before, rfc3339(now), api_version)
    return managers


def _left_to(others: Managers, taken: FieldSet, gone: FieldSet, elsewhere: Elsewhere) -> Managers:
    """What an apply leaves to the other managers."""
    kept = {
        who: Entry(_kept(entry, taken, gone, elsewhere), entry.time, entry.api_version) for who, entry in others.items()
    }
    return {who: entry for who, entry in kept.items() if entry.fields}


def _drop_root_metadata(fields: FieldSet) -> FieldSet:
    """An applied ``metadata`` that names nothing tracked owns nothing."""
    if fields.get("f:metadata") == {}:
        return {key: node for key, node in fields.items() if key != "f:metadata"}
    return fields


def check_typed(schema: Schema, patch: Object) -> None:
    """ApiError 500, in the reference's words, for an applied configuration that does not fit its schema."""
    problems = typed_errors(schema, patch)
    if not problems:
        return
    text = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems)
    raise ApiError(500, "", f"failed to create typed patch object {described(patch)}: {text}")


def described(patch: Mapping[str, Any]) -> str:
    """An applied configuration in errors: ``(namespace/name; group/version, Kind=kind)``."""
    given = patch.get("metadata")
    meta = given if isinstance(given, dict) else {}
    return f"({meta.get('namespace') or ''}/{meta.get('name') or ''}; {type_text(patch)})"


def type_text(patch: Mapping[str, Any]) -> str:
    group, _, version = str(patch.get("apiVersion") or "").rpartition("/")
    return f"{group}/{version}, Kind={patch.get('kind')}"


def _refuse_conflicts(others: Managers, taken: FieldSet, elsewhere: Elsewhere, agreed: FieldSet) -> None:
    """ApiError 409 for what others own and the change takes from them, except for what is ``agreed``."""
    conflicts: list[tuple[Manager, list[str]]] = []
    for who, entry in others.items():
        change = elsewhere.get(entry.api_version, (taken, {}))
        fields = difference(intersection(entry.fields, change[0]), agreed) if change is not None else {}
        contested = list(paths(fields))
        if contested:
            conflicts.append((who, contested))
    if not conflicts:
        return
    conflicts.sort(key=lambda conflict: (conflict[0].name, conflict[0].operation, conflict[0].api_version))
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who.shown()}", "field": path}
        for who, contested in conflicts
        for path in contested
    ]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: conflict with {conflicts[0][0].shown()}: {conflicts[0][1][0]}"
    else:
        lines = [
            line
            for who, contested in conflicts
            for line in (f"conflicts with {who.shown()}:", *(f"- {path}" for path in contested))
        ]
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    raise ApiError(409, "Conflict", message, details={"causes": causes})


def same_but_times(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two objects differ in nothing but the times of their managed fields (and their revision)."""
    return _comparable(left) == _comparable(right)


def _comparable(obj: Mapping[str, Any]) -> Object:
    meta = {key: value for key, value in metadata(obj).items() if key != "resourceVersion"}
    if "managedFields" in meta:
        entries: list[Object] = meta["managedFields"]
        meta["managedFields"] = [{key: value for key, value in entry.items() if key != "time"} for entry in entries]
    return {**obj, "metadata": meta}


@lru_cache(maxsize=256)
def manager_name(user_agent: str) -> str:
    """The manager of a request that names none: the User-Agent up to its first slash, at most 128 characters."""
    name = user_agent.partition("/")[0]
    return "".join(char for char in name if char.isprintable())[:128] or "unknown"
