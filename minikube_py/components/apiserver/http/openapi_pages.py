"""The pages of /openapi: version 2, the index of version 3 and its documents, as JSON or protobuf.

Documents are built in a thread on first use and kept until the kinds change or others need the room. What clients
may ask for and what they may keep follows kube-openapi's handlers: the media type is chosen by the Accept header
(406 when there is none to choose), every answer has an ETag, and what is asked for by its hash never changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

import orjson
from aiohttp import web

from minikube_py.components.apiserver.aggregation.documents import RemoteDocuments
from minikube_py.components.apiserver.http.call import Call, Response, answer_bytes, not_modified
from minikube_py.components.apiserver.http.negotiation import parse_accept
from minikube_py.components.apiserver.registry.kinds import Kinds

log = logging.getLogger(__name__)

V2, V3 = "/openapi/v2", "/openapi/v3"
_JSON = "application/json"
_INDEX_TYPE = "text/plain; charset=utf-8"
_YEAR = 365 * 24 * 3600.0
_KEPT_BYTES = 8 * 1024 * 1024
"""Of documents; what has not been asked for longest goes first."""


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a document in one of its forms, and the hash that clients know it by."""

    body: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """``path`` is that of the request without a slash at its end."""

    path: str
    protobuf: bool = False


class OpenApiPages:
    """See the module. ``now`` gives Unix seconds."""

    def __init__(self, kinds: Kinds, remote: RemoteDocuments | None, *, now: Callable[[], float]) -> None:
        self._kinds = kinds
        self._remote = remote
        self._now = now
        self._kept: dict[_Wanted, Document] = {}
        self._building = asyncio.Lock()
        kinds.on_change(self._kept.clear)

    async def answer(self, call: Call, path: str) -> Response:
        """The answer to a GET of a path below /openapi."""
        path = path.rstrip("/")
        media_type = _INDEX_TYPE if path == V3 else _chosen(call.accept, path)
        if not media_type:
            return web.Response(status=406, headers={"Vary": "Accept"})
        found = await self._document(_Wanted(path, media_type.endswith("protobuf")))
        if found is None:
            return web.Response(status=404)
        wanted = call.query.get("hash", "") if path.startswith(f"{V3}/") else ""
        headers = {"ETag": f'"{found.tag}"', "Vary": "Accept"}
        if wanted and wanted != found.tag:
            moved = {"Location": f"{path}?hash={found.tag}", "Content-Type": media_type}
            return web.Response(status=301, headers=headers | moved)
        if _is_known(call.request.headers.get("If-None-Match", ""), found.tag):
            response: web.Response = not_modified()
        else:
            response = answer_bytes(found.body, media_type=media_type)
        response.headers.update(headers | self._caching(by_hash=bool(wanted)))
        return response

    def _caching(self, *, by_hash: bool) -> dict[str, str]:
        if not by_hash:
            return {"Cache-Control": "no-cache, private"}
        return {"Cache-Control": "public, immutable", "Expires": formatdate(self._now() + _YEAR, usegmt=True)}

    async def _document(self, wanted: _Wanted) -> Document | None:
        """None when there is no such document."""
        found = await self._own(wanted)
        if self._remote is None or found is None:
            return found
        if wanted.path == V3:
            entries = await self._remote.index()
            return await asyncio.to_thread(_with_entries, found, entries) if entries else found
        if wanted.path == V2:
            base = await self._own(_Wanted(V2)) if wanted.protobuf else found
            assert base is not None
            merged = await self._remote.merged(base.body)
            if merged is not base.body:
                return await asyncio.to_thread(_merged_form, merged, found, protobuf=wanted.protobuf)
        return found

    async def _own(self, wanted: _Wanted) -> Document | None:
        """A document about the kinds of this server."""
        async with self._building:
            while wanted not in self._kept:
                generation = self._kinds.generation
                built = await asyncio.to_thread(self._build, wanted)
                if built is None:
                    return None
                if generation == self._kinds.generation:  # else a kind came or went meanwhile
                    self._kept[wanted] = built
            found = self._kept.pop(wanted)
            self._kept[wanted] = found  # the last asked for stands last
            self._make_room()
        return found

    def _make_room(self) -> None:
        total = sum(len(document.body) for document in self._kept.values())
        while total > _KEPT_BYTES and len(self._kept) > 1:
            total -= len(self._kept.pop(next(iter(self._kept))).body)

    def _build(self, wanted: _Wanted) -> Document | None:
        """Runs in a thread."""
        from minikube_py.machinery import openapi  # large, and seldom asked for

        kinds = self._kinds.all()
        if wanted.path == V3:
            return _tagged(orjson.dumps(openapi.openapi_v3_index(kinds)))
        if wanted.path == V2:
            document = openapi.openapi_v2(kinds)
            return _tagged(_encoded_v2(document) if wanted.protobuf else orjson.dumps(document))
        name = wanted.path.removeprefix(f"{V3}/")
        try:
            document = openapi.openapi_v3(kinds, name)
        except KeyError:
            return None
        if not wanted.protobuf:
            return Document(orjson.dumps(document), openapi.document_hash(kinds, name))
        from minikube_py.machinery.openapi_protobuf_v3 import openapi_v3_protobuf

        return Document(openapi_v3_protobuf(document), openapi.document_hash(kinds, name))


def _chosen(accept: str, path: str) -> str:
    """The media type of the answer for an Accept header, "" for none. Wildcards mean JSON."""
    version = "v2" if path == V2 else "v3"
    protobuf = f"application/com.github.proto-openapi.spec.{version}.v1.0+protobuf"
    older = f"application/com.github.proto-openapi.spec.{version}@v1.0+protobuf"
    served = {"*/*": _JSON, "application/*": _JSON, _JSON: _JSON, protobuf: protobuf, older: protobuf}
    wanted = (served.get(clause.media_type, "") for clause in parse_accept(accept or "*/*"))
    return next(filter(None, wanted), "")


def _is_known(header: str, tag: str) -> bool:
    """Whether a client's If-None-Match names this document."""
    names = {name.strip().removeprefix("W/").strip('"') for name in header.split(",")}
    return tag in names or header.strip() == "*"


def _tagged(body: bytes) -> Document:
    return Document(body, hashlib.sha512(body).hexdigest().upper())


def _encoded_v2(document: dict[str, object]) -> bytes:
    from minikube_py.machinery.openapi_protobuf import openapi_v2_protobuf

    return openapi_v2_protobuf(document)


def _with_entries(index: Document, entries: dict[str, dict[str, object]]) -> Document:
    """The index with the documents of aggregated servers."""
    whole = orjson.loads(index.body)
    return _tagged(orjson.dumps({**whole, "paths": {**whole["paths"], **entries}}))


def _merged_form(merged: bytes, own: Document, *, protobuf: bool) -> Document:
    """The merged document in the wanted form; ``own``, in that form, when others' parts do not fit into it."""
    if not protobuf:
        return _tagged(merged)
    try:
        return _tagged(_encoded_v2(orjson.loads(merged)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.warning("OpenAPI of an aggregated server has no protobuf form", extra={"error": repr(error)})
        return own
