"""Watch answers: a stream of frames, each event's bytes built once for all watchers that see the same.

Frames are JSON texts in a row. Bookmarks tell quiet clients how far the stream is; a stream ends after
``timeoutSeconds`` (30 to 60 minutes when the client does not say), as Kubernetes' does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial as partial_of
from typing import Any

import orjson
from aiohttp import web

from minikube_py.components.apiserver.http.bulk import SHOWN_AT_ONCE, SHOWN_BYTES
from minikube_py.components.apiserver.http.call import Call, Response
from minikube_py.components.apiserver.http.negotiation import JSON, PROTOBUF, Form, negotiate_watch
from minikube_py.components.apiserver.http.options import integer, list_options, table_include
from minikube_py.components.apiserver.http.request_info import truth
from minikube_py.components.apiserver.http.views import WRITTEN_AT_ONCE, partial, table
from minikube_py.components.apiserver.http.warnings import add_warnings
from minikube_py.components.apiserver.metrics.values import Distribution
from minikube_py.components.apiserver.registry.core import Core, in_version
from minikube_py.components.apiserver.registry.kinds import is_custom
from minikube_py.components.apiserver.registry.versions import Watch, entries_in, open_watch
from minikube_py.components.apiserver.storage.cache import CacheEvent
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.lists import (
    MATCHED_AT_ONCE,
    MATCHED_BYTES,
    check_options,
    parse_revision,
    too_large,
)
from minikube_py.components.apiserver.storage.selection import ADDED, Selection, select
from minikube_py.components.apiserver.storage.slices import slices
from minikube_py.machinery.errors import ApiError, bad_request
from minikube_py.machinery.field_selectors import parse_field_selector
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object

BOOKMARK_SECONDS = 60.0
_SHORTEST_SECONDS = 1800.0
_WRITTEN_EVENTS = 16
_PARSED_AT_ONCE = 4096
"""Selectors up to this many characters are read on the event loop, longer ones in a thread."""


class Frames:
    """Builds the frames of one watch; shares the bytes of plain JSON events with all other watches."""

    def __init__(self, kind: Kind, form: Form, include: str, now: Any, counted: Distribution | None = None) -> None:
        """``counted`` takes the sizes of events."""
        self._counted = counted
        self._kind = kind
        self._form = form
        self._include = include
        self._now = now
        self._converts = kind.from_storage is not None
        self._shared = not form.view and not self._converts
        self._copies = self._shared and form.media_type == JSON
        self.at_once = SHOWN_AT_ONCE if self._copies else _WRITTEN_EVENTS
        """How many events are made before others have their turn."""
        self._first = True
        self.shows_nothing = form.view.endswith("List")
        """Whether the form is one of lists: a watch is answered, and ends where its first event would be."""

    async def events(self, seen: Sequence[tuple[str, Entry, CacheEvent | None]]) -> bytes:
        """Events in a row, counted; those of large objects are written beside the event loop."""
        events: list[bytes] = []
        for each in seen:
            if self._copies or len(each[1].item) <= WRITTEN_AT_ONCE:
                events.append(self._event(*each))
            else:
                events.append(await asyncio.to_thread(self._event, *each))
        if self._counted is not None:
            for event in events:
                self._counted.observe(len(event))
        return b"".join(events) if len(events) > 1 else events[0]

    def _event(self, type: str, entry: Entry, source: CacheEvent | None) -> bytes:
        known = source.encoded if source is not None and self._shared else {}
        key = type if self._copies else (type, self._form.media_type)
        found = known.get(key)
        if found is None:
            found = known[key] = self._written(type, entry)
        return found

    def _written(self, type: str, entry: Entry) -> bytes:
        if self._copies:
            return _json_frame(type, entry)
        return self._frame(type, self._view(in_version(self._kind, entry.object)))

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        meta: Object = {"resourceVersion": str(revision)}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self._kind.resource
        obj: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        return self._frame("BOOKMARK", self._view(obj) if self._form.view else obj)

    def error(self, error: ApiError) -> bytes:
        return self._frame("ERROR", error.status())

    def _view(self, obj: Object) -> Object:
        form = self._form
        if form.view == "Table":
            first, self._first = self._first, False
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return table(
                self._kind, [obj], meta, self._now(), version=form.view_version, include=self._include, headers=first
            )
        if form.view:
            return partial(self._kind, obj, form.view_version)
        return obj

    def _frame(self, type: str, obj: Object) -> bytes:
        if self._form.media_type == PROTOBUF:
            from minikube_py.machinery.protobuf import encode_watch_event

            return encode_watch_event(type, obj)
        return orjson.dumps({"type": type, "object": obj}) + b"\n"


def _json_frame(type: str, entry: Entry) -> bytes:
    return b'{"type":"' + type.encode() + b'","object":' + entry.full + b"}\n"


async def selection_of(kind: Kind, call: Call) -> Selection:
    """Which objects a list, a watch or the deletion of a collection is about. ApiError 400."""
    info, query = call.info, call.query
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    chosen = partial_of(select, kind, info.namespace, name=info.name, labels=labels, fields=fields)
    return await asyncio.to_thread(chosen) if len(labels) + len(fields) > _PARSED_AT_ONCE else chosen()


async def watch(core: Core, kind: Kind, call: Call) -> Response:
    """Answer a watch request. ApiError before the first byte: 400, 406, 422, 500.

    A revision that cannot be watched from (410, 504) is told by the stream's only event, as the reference does.
    """
    info, query, begin = call.info, call.query, core.clock.monotonic()
    form = negotiate_watch(call.accept, call.user_agent, custom=is_custom(kind))
    options = list_options(query)
    initial = options.initial_events
    check_options(options, watch=True)
    selection = await selection_of(kind, call)
    include = table_include(query) if form.view == "Table" else ""
    if info.legacy_watch:
        check_named(info.name, query.get("fieldSelector", ""))
    asked = parse_revision(options.resource_version, watch=True)
    cache, newest = core.cache(kind), core.caches.revision
    starts_with_state = initial if initial is not None else asked == 0
    stored = cache.entries(selection.namespace) if starts_with_state else ()
    try:
        if initial and asked > newest:
            raise too_large(asked, newest)
        stream = open_watch(core.caches, kind, cache, selection, newest if starts_with_state or not asked else asked)
    except ApiError as error:
        return await _refused(call, Frames(kind, form, include, core.clock.now), error, form)
    try:
        backlog = await _state(await entries_in(kind, stored), selection)
        counted = call.metrics.events_of((info.group, info.version, info.resource)) if call.metrics else None
        frames = Frames(kind, form, include, core.clock.now, counted)
        if frames.shows_nothing and backlog:
            response = await _begin(call, form)
            await response.write_eof()
            return response
        bookmarks = truth(query.get("allowWatchBookmarks"))
        response = await _begin(call, form)
        for piece in slices(backlog, frames.at_once, SHOWN_BYTES):
            await response.write(await frames.events([(ADDED, entry, None) for entry in piece]))
            await asyncio.sleep(0)
        if initial and bookmarks:
            await response.write(frames.bookmark(newest, initial_end=True))
            if call.metrics is not None:
                scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
                labels = (info.group, info.version, info.resource, scope)
                call.metrics.watch_lists.observe(labels, core.clock.monotonic() - begin)
        return await _serve(call, response, stream, frames, bookmarks=bookmarks)
    finally:
        stream.close()


async def _refused(call: Call, frames: Frames, error: ApiError, form: Form) -> Response:
    response = await _begin(call, form)
    await response.write(frames.error(error))
    await response.write_eof()
    return response


def check_named(name: str, fields: str) -> None:
    """ApiError 400 when a watch of one name in its path also selects fields, and not (only) that name."""
    if name and fields and parse_field_selector(fields).exact("metadata.name") != name:
        raise bad_request("fieldSelector metadata.name doesn't match requested name")


async def _state(stored: Sequence[Entry], selection: Selection) -> Sequence[Entry]:
    """What is selected of a moment's entries; the stream holds what happens while this takes its time."""
    if selection.everything:
        return stored
    found: list[Entry] = []
    for number, piece in enumerate(slices(stored, MATCHED_AT_ONCE, MATCHED_BYTES)):
        if number:
            await asyncio.sleep(0)
        found += [
            entry for entry in piece if selection.in_scope(entry.namespace, entry.name) and selection.matches(entry)
        ]
    return found


async def _serve(
    call: Call, response: web.StreamResponse, stream: Watch, frames: Frames, *, bookmarks: bool
) -> Response:
    seconds = integer(call.query, "timeoutSeconds")
    lifetime = float(seconds) if seconds else _SHORTEST_SECONDS * (1 + random.random())
    try:
        async with asyncio.timeout(lifetime):
            await _pump(response, stream, frames, bookmarks=bookmarks)
    except TimeoutError:
        pass
    await response.write_eof()
    return response


async def _begin(call: Call, form: Form) -> web.StreamResponse:
    media_type = JSON if form.media_type == JSON else f"{PROTOBUF};stream=watch"
    response = web.StreamResponse(
        headers={"Content-Type": media_type, "Cache-Control": "no-cache, private", "Audit-Id": call.request_id}
    )
    if call.flow is not None and call.flow.schema.uid:
        response.headers.update(call.flow.headers)
    add_warnings(response.headers, call.warnings)
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    await call.started(response.status)
    return response


async def _pump(response: web.StreamResponse, stream: Watch, frames: Frames, *, bookmarks: bool) -> None:
    """Write events until the stream ends; a bookmark after each quiet minute."""
    while True:
        try:
            if bookmarks:
                async with asyncio.timeout(BOOKMARK_SECONDS):
                    batch = await stream.next_batch()
            else:
                batch = await stream.next_batch()
        except TimeoutError:
            await response.write(frames.bookmark(stream.progress()))
            continue
        except ApiError as error:
            await response.write(frames.error(error))
            return
        if not batch or frames.shows_nothing:
            return
        for start in range(0, len(batch), frames.at_once):
            if start:
                await asyncio.sleep(0)
            await response.write(await frames.events(batch[start : start + frames.at_once]))
