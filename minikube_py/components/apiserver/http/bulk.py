"""Answers with many objects, built in slices, so that no list holds the event loop.

Slices are sized so that one takes well under 5 ms: typed lists copy bytes, Tables run a function for each row. The
body grows in place (``BytesIO`` gives its buffer away without a copy): to join the slices of a large list in the end
would take as long as all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import orjson

from minikube_py.components.apiserver.http.negotiation import JSON, Form
from minikube_py.components.apiserver.http.views import WRITTEN_AT_ONCE, encode
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.slices import slices, weight

COPIED_AT_ONCE, COPIED_BYTES = 512, 4 * 1024 * 1024
SHOWN_AT_ONCE, SHOWN_BYTES = 64, 256 * 1024


async def join_entries(head: bytes, entries: Sequence[Entry], *, full: bool) -> bytes:
    """``head`` (up to its items), the entries' bytes, and the end of a list."""
    body = BytesIO()
    body.write(head)
    for number, piece in enumerate(slices(entries, COPIED_AT_ONCE, COPIED_BYTES)):
        if number:
            await asyncio.sleep(0)
            body.write(b",")
        body.write(b",".join([entry.full for entry in piece] if full else [entry.item for entry in piece]))
    body.write(b"]}\n")
    return body.getvalue()


async def encode_many(
    empty: Mapping[str, Any],
    field: str,
    entries: Sequence[Entry],
    show: Callable[[Sequence[Entry]], Sequence[Any]],
    form: Form,
) -> bytes:
    """The bytes of the list ``empty`` with ``field`` set to what ``show`` makes of the entries, slice by slice."""
    if len(entries) <= SHOWN_AT_ONCE and weight(entries) <= (SHOWN_BYTES if _quick(form) else WRITTEN_AT_ONCE):
        return encode({**empty, field: show(entries) or empty[field]}, form)
    pieces = slices(entries, SHOWN_AT_ONCE, SHOWN_BYTES)
    if not _quick(form):
        shown: list[Any] = []
        for piece in pieces:
            shown += show(piece)
            await asyncio.sleep(0)
        return await asyncio.to_thread(encode, {**empty, field: shown}, form)
    rest = {key: value for key, value in empty.items() if key != field}
    body = BytesIO()
    body.write(b'%b,"%b":[' % (orjson.dumps(rest)[:-1], field.encode()))
    for number, piece in enumerate(pieces):
        if number:
            body.write(b",")
        body.write(orjson.dumps(show(piece))[1:-1])
        await asyncio.sleep(0)
    body.write(b"]}\n")
    return body.getvalue()


def _quick(form: Form) -> bool:
    """Whether a form is written as fast as it is read; what is pretty is written in one go as well."""
    return form.media_type == JSON and not form.pretty
