"""OpenAPI of aggregated servers: fetched when somebody asks for the documents, kept for a minute.

Version 3 needs only the address of each document (the document itself is passed on like any request). Version 2 is
one document for everything: paths of the group version are added, and definitions; one that is there under the same
name with another content is renamed, as ``openapi/aggregator`` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from minikube_py.components.apiserver.aggregation.aggregator import Aggregator, Served
from minikube_py.components.apiserver.aggregation.asking import ask
from minikube_py.components.apiserver.service_endpoints import NoEndpoint
from minikube_py.components.apiserver.types import AUTHENTICATED, SYSTEM_MASTERS, UserInfo
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object

log = logging.getLogger(__name__)

kept_seconds = 60.0
answer_seconds = 5.0
_LONGEST_ANSWER = 32 * 1024 * 1024
_AGGREGATOR = UserInfo("system:aggregator", (SYSTEM_MASTERS, AUTHENTICATED))
_REFERENCED = {"definitions": "#/definitions/", "parameters": "#/parameters/"}
"""Members of a document whose members are referred to, and how."""


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    document: Any


class RemoteDocuments:
    """See the module."""

    def __init__(self, aggregator: Aggregator, clock: Clock) -> None:
        self._aggregator = aggregator
        self._clock = clock
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def index(self) -> dict[str, Object]:
        """Entries of /openapi/v3 for the aggregated group versions, as their servers name them."""
        found: dict[str, Object] = {}
        for served, document in await self._all("/openapi/v3"):
            path = served.remote.path.strip("/")
            entry = (document.get("paths") or {}).get(path) if isinstance(document, dict) else None
            found[path] = entry if isinstance(entry, dict) else {"serverRelativeURL": f"/openapi/v3/{path}"}
        return found

    async def merged(self, base: bytes) -> bytes:
        """The version 2 document ``base`` with what the aggregated servers add to it."""
        documents = [(served, document) for served, document in await self._all("/openapi/v2") if document]
        return await asyncio.to_thread(_merged, base, documents) if documents else base

    async def _all(self, path: str) -> list[tuple[Served, Any]]:
        served = [item for item in self._aggregator.versions() if item.available]
        documents = await asyncio.gather(*(self._document(item, path) for item in served))
        return list(zip(served, documents, strict=True))

    async def _document(self, served: Served, path: str) -> Any:
        key, now = (served.remote.url, path), self._clock.monotonic()
        kept = self._kept.get(key)
        if kept is None or kept.until < now:
            kept = self._kept[key] = _Kept(now + kept_seconds, await self._fetched(served, path))
        return kept.document

    async def _fetched(self, served: Served, path: str) -> Any:
        """The decoded document, None when there is none to be had now."""
        remote = served.remote
        try:
            async with asyncio.timeout(answer_seconds):
                status, body = await ask(
                    self._aggregator.connections, remote, path, _AGGREGATOR, longest=_LONGEST_ANSWER
                )
            return await asyncio.to_thread(orjson.loads, body) if status == 200 else None
        except (NoEndpoint, OSError, ValueError, TimeoutError) as error:
            log.info("no OpenAPI of an aggregated server", extra={"name": remote.name, "error": str(error)})
            return None


def _merged(base: bytes, documents: list[tuple[Served, Any]]) -> bytes:
    """Runs in a thread."""
    whole = orjson.loads(base)
    for served, document in documents:
        renamed: dict[str, str] = {}
        for member, prefix in _REFERENCED.items():
            renamed |= _renamed(prefix, _members(document, member), whole[member])
        for member, prefix in _REFERENCED.items():
            for name, value in _members(document, member).items():
                whole[member][renamed.get(prefix + name, name).removeprefix(prefix)] = _with_references(value, renamed)
        base_path = served.remote.path
        for path, item in _members(document, "paths").items():
            if path == base_path or path.startswith(f"{base_path}/"):
                whole["paths"][path] = _with_references(item, renamed)
    return orjson.dumps(whole)


def _members(document: Any, name: str) -> Mapping[str, Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _renamed(prefix: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, str]:
    """New references for what is here under the same name with another content."""
    different = (name for name, value in theirs.items() if name in ours and ours[name] != value)
    return {prefix + name: f"{prefix}{name}_v2" for name in different}


def _with_references(value: Any, renamed: Mapping[str, str]) -> Any:
    """A copy of a part of a document whose references are the new ones."""
    if not renamed:
        return value
    if isinstance(value, dict):
        found = {key: _with_references(item, renamed) for key, item in value.items()}
        target = found.get("$ref")
        if isinstance(target, str):
            found["$ref"] = renamed.get(target, target)
        return found
    return [_with_references(item, renamed) for item in value] if isinstance(value, list) else value
