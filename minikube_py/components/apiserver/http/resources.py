"""Requests for resources: one function for each verb, between the HTTP answer and the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial as partial_of
from typing import Any

import orjson

from minikube_py.client.types import PatchType
from minikube_py.components.apiserver.http.bodies import Expected, decode
from minikube_py.components.apiserver.http.bulk import encode_many, join_entries
from minikube_py.components.apiserver.http.call import Call, Response, answer_bytes, answer_object, read_body
from minikube_py.components.apiserver.http.delete_options import delete_options, given_options
from minikube_py.components.apiserver.http.negotiation import LISTED, SERVED, Form, negotiate
from minikube_py.components.apiserver.http.options import list_options, table_include, write_options
from minikube_py.components.apiserver.http.views import (
    check_view,
    content_type,
    encode_sized,
    partial,
    partial_list,
    table,
)
from minikube_py.components.apiserver.http.watching import selection_of, watch
from minikube_py.components.apiserver.registry.core import Core, in_version
from minikube_py.components.apiserver.registry.create import create
from minikube_py.components.apiserver.registry.delete import delete, delete_collection
from minikube_py.components.apiserver.registry.kinds import is_custom, schema_of
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.patch import patch
from minikube_py.components.apiserver.registry.update import update
from minikube_py.components.apiserver.registry.versions import converter_of
from minikube_py.components.apiserver.storage.entry import Entry, head_bytes
from minikube_py.components.apiserver.storage.lists import Page, check_options, parse_revision, read_page, too_large
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.machinery.decoding import (
    duplicate_fields,
    duplicate_yaml_keys,
    json_kind,
    read_yaml,
)
from minikube_py.machinery.errors import ApiError, bad_request, unsupported_media_type
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.patching.reading import PatchForm, read_patch_text
from minikube_py.machinery.schema import definitions

_BAD_REQUEST = 400
DECODED_AT_ONCE = 32 * 1024
"""JSON bodies up to this size are decoded and checked on the event loop, larger ones in a thread."""
READ_AT_ONCE = 8 * 1024
"""The same for YAML and protobuf, which take far longer to read."""


def form_of(call: Call, kind: Kind | None = None, *, listed: bool = False) -> Form:
    """The form of the answer. ApiError 406, also for a Table of a kind that is only asked (reviews, bindings)."""
    tables = kind is None or "get" in kind.verbs
    custom = kind is not None and is_custom(kind)
    return negotiate(
        call.accept,
        call.query.get("pretty", ""),
        call.user_agent,
        tables=tables,
        protobuf=not custom,
        produced=() if custom else LISTED if listed else SERVED,
    )


async def answer(core: Core, kind: Kind, call: Call, outcome: Outcome, *, status: int | None = None) -> Response:
    """Encode what the registry gave back."""
    code = status or (201 if outcome.created else 200)
    form = form_of(call, kind)
    if outcome.status:
        return answer_object(outcome.object, form if not form.view else Form(form.media_type), status=code)
    if form.plain_json and outcome.entry is not None:
        return answer_bytes(outcome.entry.served, status=code)
    size = outcome.size or len(call.body or b"")
    if form.view:
        check_view(form, kind, is_list=False)
        body = await encode_sized(_viewed(core, kind, call, outcome.object, form), form, size)
    else:
        body = await encode_sized(outcome.object, form, size)
    return answer_bytes(body, status=code, media_type=content_type(form))


def _viewed(core: Core, kind: Kind, call: Call, obj: Object, form: Form) -> Object:
    if form.view == "Table":
        revision = obj["metadata"].get("resourceVersion")
        meta = {"resourceVersion": revision} if revision else {}
        return table(
            kind,
            [obj],
            meta,
            core.clock.now(),
            version=form.view_version,
            include=table_include(call.query),
        )
    return partial(kind, obj, form.view_version)


async def get(core: Core, kind: Kind, call: Call) -> Response:
    """GET one object."""
    asked = call.query.get("resourceVersion")
    if asked:
        revision = parse_revision(asked, watch=True)
        if revision > core.caches.revision:
            raise too_large(revision, core.caches.revision)
    info = call.info
    entry = core.entry(kind, info.namespace, info.name)
    return await answer(core, kind, call, await core.outcome(kind, entry))


async def list_objects(core: Core, kind: Kind, call: Call) -> Response:
    """GET a collection."""
    query = call.query
    form = form_of(call, kind, listed=True)
    if form.view:
        check_view(form, kind, is_list=True)
    selection = await selection_of(kind, call)
    converter = converter_of(kind)
    convert = converter.entries if converter is not None else None
    page = await read_page(core.caches, core.cache(kind), selection, list_options(query), convert)
    return await _listed(core, kind, call, page, selection, form)


async def _listed(core: Core, kind: Kind, call: Call, page: Page, selection: Selection, form: Form) -> Response:
    """A page in the negotiated form."""
    if form.plain_json and kind.from_storage is None:
        return answer_bytes(await _typed_list(core, kind, page, selection))
    return answer_bytes(await _shown_list(core, kind, call, page, form), media_type=content_type(form))


async def _typed_list(core: Core, kind: Kind, page: Page, selection: Selection) -> bytes:
    """A typed list of stored objects: their bytes, joined. Items of custom lists carry kind and apiVersion."""
    resource = kind.resource
    meta = orjson.dumps(_list_meta(page))
    key, state = (resource, selection.text), (len(page.entries), meta, kind.list_kind)
    body = core.caches.list_bodies.get(key, state)
    if body is None:
        head = head_bytes(kind.list_kind, resource.api_version) + b'"metadata":' + meta + b',"items":['
        body = await join_entries(head, page.entries, full=is_custom(kind))
        core.caches.list_bodies.put(key, state, body)
    return body


async def _shown_list(core: Core, kind: Kind, call: Call, page: Page, form: Form) -> bytes:
    """A Table, a list of metadata, or a typed list in another media type or version."""
    meta, now = _list_meta(page), core.clock.now()
    include = table_include(call.query) if form.view == "Table" else ""
    version = form.view_version

    def objects_of(entries: Sequence[Entry]) -> list[Object]:
        return [in_version(kind, entry.object) for entry in entries]

    def rows(entries: Sequence[Entry]) -> list[Object]:
        shown = table(kind, objects_of(entries), meta, now, version=version, include=include)
        found: list[Object] = shown["rows"]
        return found

    def metadata(entries: Sequence[Entry]) -> list[Object]:
        return [partial(kind, obj, version) for obj in objects_of(entries)]

    def items(entries: Sequence[Entry]) -> Sequence[Object]:
        found: Sequence[Object] = list_object(kind, objects_of(entries), meta)["items"]
        return found

    if form.view == "Table":
        return await encode_many(table(kind, (), meta, now, version=version), "rows", page.entries, rows, form)
    if form.view:
        return await encode_many(partial_list(kind, (), meta, version), "items", page.entries, metadata, form)
    return await encode_many(list_object(kind, (), meta), "items", page.entries, items, form)


def _list_meta(page: Page) -> Object:
    meta: Object = {"resourceVersion": str(page.revision)}
    if page.continue_token:
        meta["continue"] = page.continue_token
    if page.remaining is not None:
        meta["remainingItemCount"] = page.remaining
    return meta


def list_object(kind: Kind, objects: Sequence[Object], meta: Object) -> Object:
    resource = kind.resource
    items = objects if is_custom(kind) else [_bare(obj) for obj in objects]
    return {"kind": kind.list_kind, "apiVersion": resource.api_version, "metadata": meta, "items": items}


def _bare(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


def expected_of(kind: Kind) -> Expected:
    return Expected(kind.resource.kind, kind.resource.api_version, schema_of(kind), is_custom(kind))


def definition(name: str, kind: str, api_version: str) -> Expected:
    """A body of a kind that is not a resource (options, Scale, Eviction)."""
    return Expected(kind, api_version, definitions().schema(name))


async def read_object(core: Core, call: Call, expected: Expected, validation: str) -> Object:
    """The request's body as a private draft."""
    data = await read_body(call)
    media_type = call.content_type
    read = partial_of(decode, data, media_type, expected, core.kinds, validation=validation, warnings=call.warnings)
    if len(data) > (DECODED_AT_ONCE if "json" in media_type else READ_AT_ONCE):
        return await asyncio.to_thread(read)
    return read()


async def create_object(core: Core, kind: Kind, call: Call) -> Response:
    """POST to a collection."""
    form_of(call, kind)
    options = write_options(call.query, call.request.query_string, "CreateOptions")
    draft = await read_object(core, call, expected_of(kind), options["field_validation"])
    info = call.info
    namespace = info.namespace
    if kind.resource.namespaced and not namespace:
        namespace = str((draft.get("metadata") or {}).get("namespace") or "")
        if not namespace:
            raise bad_request("an empty namespace may not be set during creation")
    outcome = await create(core, call.context(**options), kind, namespace, draft)
    return await answer(core, kind, call, outcome)


async def update_object(core: Core, kind: Kind, call: Call) -> Response:
    """PUT an object or a part of it."""
    form_of(call, kind)
    options = write_options(call.query, call.request.query_string, "UpdateOptions")
    draft = await read_object(core, call, expected_of(kind), options["field_validation"])
    info = call.info
    outcome = await update(
        core, call.context(**options), kind, info.namespace, info.name, draft, subresource=info.subresource
    )
    return await answer(core, kind, call, outcome)


_PATCH_TYPES = {patch_type.value: patch_type for patch_type in PatchType}


def patch_type_of(call: Call, *, custom: bool = False) -> PatchType:
    """The form of a patch by its media type. ApiError 415."""
    media_type = call.content_type.partition(";")[0].strip()
    found = _PATCH_TYPES.get(media_type)
    if custom and found in (None, PatchType.STRATEGIC):
        known = [form.value for form in (PatchType.JSON, PatchType.MERGE, PatchType.APPLY)]
        text = "the body of the request was in an unknown format - accepted media types include: "
        raise unsupported_media_type(text + ", ".join(known))
    if found is None:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    return found


_FORMS = {
    PatchType.JSON: PatchForm.JSON,
    PatchType.MERGE: PatchForm.MERGE,
    PatchType.STRATEGIC: PatchForm.STRATEGIC,
}


async def read_patch(call: Call, patch_type: PatchType, validation: str) -> tuple[Any, list[str]]:
    """The patch in the request's body, and what a strict reader objects to. ApiError 400 when it is malformed."""
    data = await read_body(call)
    if patch_type is PatchType.APPLY:
        if len(data) > READ_AT_ONCE:
            return await asyncio.to_thread(_applied, data, validation)
        return _applied(data, validation)
    form = _FORMS[patch_type]
    if len(data) > DECODED_AT_ONCE:
        return await asyncio.to_thread(read_patch_text, data, form, validation)
    return read_patch_text(data, form, validation)


async def read_patch_of(
    core: Core, kind: Kind, call: Call, patch_type: PatchType, validation: str
) -> tuple[Any, list[str]]:
    """``read_patch``; what is malformed is told once there is an object to patch. Raises NotFound as well."""
    try:
        return await read_patch(call, patch_type, validation)
    except ApiError as error:
        if error.code == _BAD_REQUEST and patch_type is not PatchType.APPLY:
            core.entry(kind, call.info.namespace, call.info.name)
        raise


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _applied(data: bytes, validation: str) -> tuple[Object, list[str]]:
    """An applied configuration, and what a strict reader objects to. Texts of ``sigs.k8s.io/yaml``; ApiError 400."""
    try:
        found = read_yaml(data)
    except ApiError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error.message}") from error
    found = {} if found is None else found
    if not isinstance(found, dict):
        why = f"json: cannot unmarshal {json_kind(found)} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {why}")
    # reading YAML strictly takes long; of JSON, which is YAML, it is known faster that nothing is repeated
    plain = data[:1] == b"{" and _is_json(data) and not duplicate_fields(data, found)
    repeated = [] if plain or validation == "Ignore" else duplicate_yaml_keys(data)
    return found, [f"error converting YAML to JSON: {repeated[0]}"] if repeated else []


async def patch_object(core: Core, kind: Kind, call: Call) -> Response:
    """PATCH an object or a part of it."""
    form_of(call, kind)
    patch_type = patch_type_of(call, custom=is_custom(kind))
    options = write_options(
        call.query, call.request.query_string, "PatchOptions", apply=patch_type is PatchType.APPLY, patch=True
    )
    body, problems = await read_patch_of(core, kind, call, patch_type, options["field_validation"])
    info = call.info
    outcome = await patch(
        core,
        call.context(**options),
        kind,
        info.namespace,
        info.name,
        body,
        patch_type=patch_type,
        subresource=info.subresource,
        problems=problems,
    )
    return await answer(core, kind, call, outcome)


async def delete_object(core: Core, kind: Kind, call: Call) -> Response:
    """DELETE one object."""
    form_of(call, kind)
    given = given_options(call.request.query_string, await read_body(call), call.content_type)
    options = delete_options(given)
    ctx = call.context(dry_run=options.dry_run)
    info = call.info
    outcome = await delete(core, ctx, kind, info.namespace, info.name, options, raw_options=given)
    waits = not outcome.status and _waits_for_deletion(outcome.object["metadata"])
    # Only whoever asks for cascading deletion in the old way learns it from the status code.
    accepted = waits and given.get("orphanDependents") is False
    return await answer(core, kind, call, outcome, status=202 if accepted else None)


def _waits_for_deletion(meta: Object) -> bool:
    """Whether an object that was to be deleted is still there."""
    if not meta.get("deletionTimestamp"):
        return False
    return bool(meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"))


async def delete_objects(core: Core, kind: Kind, call: Call) -> Response:
    """DELETE a collection."""
    form = form_of(call, kind)
    listing = list_options(call.query)
    check_options(listing)
    selection = await selection_of(kind, call)
    given = given_options(call.request.query_string, await read_body(call), call.content_type)
    options = delete_options(given)
    ctx = call.context(dry_run=options.dry_run)
    page = await delete_collection(core, ctx, kind, selection, options, listing, raw_options=given)
    return await _listed(core, kind, call, page, selection, form)


VERBS = {
    "get": get,
    "list": list_objects,
    "watch": watch,
    "create": create_object,
    "update": update_object,
    "patch": patch_object,
    "delete": delete_object,
    "deletecollection": delete_objects,
}
