"""PATCH in its four forms, over ``update.modify``. Patch errors have the texts of ``patch.go``."""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.types import PatchType
from minikube_py.components.apiserver.registry.core import Core, manager_of
from minikube_py.components.apiserver.registry.kinds import is_custom, schema_of
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.reset_fields import reset_fields
from minikube_py.components.apiserver.registry.restoring import restore
from minikube_py.components.apiserver.registry.type_names import type_problem
from minikube_py.components.apiserver.registry.update import MakeDraft, modify
from minikube_py.components.apiserver.registry.versions import changes_elsewhere, converter_of
from minikube_py.components.apiserver.types import RequestContext
from minikube_py.machinery.decoding import check_type_meta, check_types, drop_unknown, unknown_fields
from minikube_py.machinery.errors import (
    ApiError,
    FieldError,
    bad_request,
    go_quote,
    go_value,
    invalid,
    invalid_value,
    unsupported_media_type,
)
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.managed_fields import Elsewhere, apply_patch, check_typed, described, type_text
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.patching.go_texts import go_map
from minikube_py.machinery.patching.json_patch import apply_json_patch
from minikube_py.machinery.patching.merge_patch import apply_merge_patch
from minikube_py.machinery.patching.strategic_patch import apply_strategic_patch
from minikube_py.machinery.type_errors import first_type_error

Patch = Object | Sequence[Object]


async def patch(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    namespace: str,
    name: str,
    body: Patch,
    *,
    patch_type: PatchType,
    subresource: str = "",
    problems: Sequence[str] = (),
) -> Outcome:
    """Patch an object or one of its parts; server-side apply creates what is missing.

    ``problems`` are what a strict reader objects to in the text of the patch.
    """
    if patch_type is PatchType.APPLY:
        return await _apply(core, ctx, kind, namespace, name, body, subresource, problems)
    change = patcher(core, ctx, kind, body, patch_type, problems)
    return await modify(core, ctx, kind, namespace, name, change, subresource=subresource, patch=True)


def patcher(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    body: Patch,
    patch_type: PatchType,
    problems_of_text: Sequence[str] = (),
) -> MakeDraft:
    """The change that a JSON, merge or strategic patch makes."""
    if patch_type is PatchType.STRATEGIC and is_custom(kind):
        raise unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        )
    schema = schema_of(kind)

    def shown(patched: Object) -> str:
        """What an error shows: the patched text, but of a strategic patch, which makes no text, the patch itself."""
        return go_map(body) if patch_type is PatchType.STRATEGIC else go_value(patched)

    def drafted(old: Object | None) -> Object:
        live = old or {}
        if patch_type is PatchType.JSON:
            patched = apply_json_patch(live, body)
        elif patch_type is PatchType.MERGE:
            patched = apply_merge_patch(live, body)
        else:
            patched = apply_strategic_patch(schema, live, body)
        if patch_type is not PatchType.STRATEGIC:
            _check_patched_type(core, ctx, kind, patched)
        else:
            misfit = restore(schema, patched)
            if misfit:
                raise _refused(go_map(body), misfit)
        problems = [*problems_of_text, *unknown_fields(schema, patched)] if ctx.field_validation != "Ignore" else []
        if problems and ctx.field_validation == "Strict":
            raise _refused(shown(patched), f"strict decoding error: {', '.join(problems)}")
        try:
            check_types(schema, patched, kind.resource.kind)
        except ApiError as error:
            raise _refused(shown(patched), error.message.partition(": ")[2] or error.message) from error
        drop_unknown(schema, patched)
        for problem in problems:
            if problem not in ctx.warnings:
                ctx.warnings.append(problem)
        return patched

    return drafted


def _check_patched_type(core: Core, ctx: RequestContext, kind: Kind, patched: Object) -> None:
    """Refuse a patch that makes something else of the object; its new type's decoder speaks first. ApiError 422.

    A missing kind is that of the resource. Strategic patches do not come here: they are made on typed objects, where
    the type is no field.
    """
    resource = kind.resource
    try:
        check_type_meta(patched)
    except ApiError as error:
        raise _refused(go_value(patched), error.message) from error
    name, api_version = str(patched.get("kind") or ""), str(patched.get("apiVersion") or "")
    if is_custom(kind):
        _check_custom_type(kind, patched, name, api_version)
        return
    if not api_version:
        _forget_all(ctx, patched)
        return
    name = patched["kind"] = name or resource.kind
    if name == resource.kind and api_version == resource.api_version:
        return
    other = core.kinds.by_kind(api_version, name)
    if other is not None and name == resource.kind and other.resource.group == resource.group:
        return
    if other is not None:
        try:
            check_types(schema_of(other), patched, name)
        except ApiError as error:
            raise _refused(go_value(patched), error.message.partition(": ")[2] or error.message) from error
    why = type_problem(core.kinds, api_version, name, wanted_group=resource.group, wanted_kind=resource.kind)
    raise _refused(go_value(patched), why)


def _check_custom_type(kind: Kind, patched: Object, name: str, api_version: str) -> None:
    resource, shown = kind.resource, go_value(patched)
    if not name:
        raise _refused(shown, f"Object 'Kind' is missing in '{shown}'")
    errors = [
        invalid_value(path, found, f"must be {wanted}")
        for path, found, wanted in (
            ("kind", name, resource.kind),
            ("apiVersion", api_version, resource.api_version),
        )
        if found != wanted
    ]
    if errors:
        meta = patched.get("metadata")
        called = str(meta.get("name") or "") if isinstance(meta, dict) else ""
        raise invalid(resource.group, resource.kind, called, errors)


def _forget_all(ctx: RequestContext, patched: Object) -> None:
    """What becomes of an object without apiVersion. ApiError 422 for a strict client.

    The reference reads it as its internal type, which has none of the fields that are written, so no name either.
    """
    unknown = [f"unknown field {go_quote(key)}" for key in sorted(patched) if key not in ("kind", "apiVersion")]
    if unknown and ctx.field_validation == "Strict":
        raise _refused(go_value(patched), f"strict decoding error: {', '.join(unknown)}")
    if ctx.field_validation != "Ignore":
        ctx.warnings.extend(problem for problem in unknown if problem not in ctx.warnings)
    patched.clear()
    patched["metadata"] = {}


def _refused(shown: str, why: str) -> ApiError:
    return invalid("", "", "", [FieldError("FieldValueInvalid", "patch", shown, why)])


async def _apply(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    namespace: str,
    name: str,
    body: Patch,
    subresource: str,
    problems: Sequence[str],
) -> Outcome:
    if not isinstance(body, dict):
        raise bad_request("error decoding YAML: the patch is no object")
    applied = thaw(body)
    _check_type(kind, applied)
    drafted = _applier(core, ctx, kind, applied, subresource, problems)
    return await modify(
        core,
        ctx,
        kind,
        namespace,
        name,
        drafted,
        subresource=subresource,
        creates=not subresource,
        tracked=True,
        patch=True,
    )


def check_applied(kind: Kind, applied: Patch) -> None:
    """Refuse an applied configuration that is of another type (ApiError 400), or does not fit its own (500)."""
    if not isinstance(applied, dict):
        raise bad_request("error decoding YAML: the patch is no object")
    _check_type(kind, applied)
    check_typed(schema_of(kind), applied)


def _check_type(kind: Kind, applied: Object) -> None:
    """Refuse an applied object of another type; ApiError 400."""
    resource = kind.resource
    api_version, name = (
        value if isinstance(value, str) else "" for value in (applied.get("apiVersion"), applied.get("kind"))
    )
    if (api_version, name) != (resource.api_version, resource.kind):
        if api_version.count("/") > 1:  # which is no group and version, and then the kind does not count either
            api_version, name = "", ""
        shown = api_version if "/" in api_version else f"/{api_version}"
        raise bad_request(f"invalid object type: {shown}, Kind={name}")


def _check_conversion(kind: Kind, applied: Object) -> None:
    """ApiError 500, as in the reference, for a value that its Go type cannot take up."""
    schema = schema_of(kind)
    misfit = restore(schema, applied) or first_type_error(schema, applied)
    if misfit:
        why = f"unable to convert unstructured object to {type_text(applied)}: {misfit}"
        raise ApiError(500, "", f"failed to convert new object {described(applied)} to proper version: {why}")


def _applier(
    core: Core, ctx: RequestContext, kind: Kind, applied: Object, subresource: str, problems: Sequence[str]
) -> MakeDraft:
    schema, reset = schema_of(kind), reset_fields(kind, subresource)

    def merged(old: Object | None, *, force: bool, elsewhere: Elsewhere | None = None) -> Object:
        result = apply_patch(
            schema,
            old,
            applied,
            manager=manager_of(ctx),
            force=force,
            api_version=kind.resource.api_version,
            now=core.clock.now(),
            subresource=subresource,
            reset=reset,
            elsewhere=elsewhere,
        )
        if not is_custom(kind):  # what was applied becomes a typed object, which has no null in maps and lists
            _check_conversion(kind, applied)
            drop_unknown(schema, result)
        if problems and ctx.field_validation == "Strict":
            raise bad_request(f"error strict decoding YAML: {problems[0]}")
        ctx.warnings.extend(problem for problem in problems if problem not in ctx.warnings)
        return result

    async def compared(old: Object | None) -> Object:
        """What it would be tells what others, who own fields by other names, would lose."""
        elsewhere = await changes_elsewhere(kind, old, merged(old, force=True), reset)
        return merged(old, force=ctx.force, elsewhere=elsewhere)

    def drafted(old: Object | None) -> Object:
        return merged(old, force=ctx.force)

    return compared if converter_of(kind) is not None else drafted
