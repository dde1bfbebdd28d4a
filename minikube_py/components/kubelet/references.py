"""ConfigMaps and Secrets that pods of this node use, each followed by a watch of its own.

Only objects that some pod refers to are read, one by one (``metadata.name`` field selector), which
is all that the node authorizer allows. A watch lives as long as a pod needs its object; an
immutable object is read once. Input: owners (pod uids) asking for objects. Output: the newest
known object, and a call of every owner's ``wake`` when it changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from minikube_py.client.types import Client, EventType
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_expired
from minikube_py.machinery.objects import Object, resource_version_of
from minikube_py.machinery.resources import CONFIG_MAPS, SECRETS, Resource

log = logging.getLogger(__name__)

first_retry_seconds = 1.0
longest_retry_seconds = 30.0

Key = tuple[Resource, str, str]
Wake = Callable[[], None]


@dataclass(slots=True)
class _Entry:
    """One followed object; written by its own task, owners by the pods' tasks."""

    current: Object | None = None
    error: ApiError | None = None
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    owners: dict[str, Wake] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class References:
    """Follows single objects on behalf of pods; tasks live in ``group``."""

    def __init__(self, client: Client, clock: Clock, group: asyncio.TaskGroup) -> None:
        self._client = client
        self._clock = clock
        self._group = group
        self._entries: dict[Key, _Entry] = {}

    async def get(self, resource: Resource, namespace: str, name: str, *, owner: str, wake: Wake) -> Object | None:
        """The object as last seen, or None when there is none; from now on changes wake the owner.

        Raises ApiError when the object cannot be read (it is tried again in the background).
        """
        key = (resource, namespace, name)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            task_name = f"follow-{resource.plural}-{namespace}-{name}"
            entry.task = self._group.create_task(self._follow(key, entry), name=task_name)
        entry.owners[owner] = wake
        await entry.synced.wait()
        if entry.error is not None:
            raise entry.error
        return entry.current

    async def config(self, kind: str, namespace: str, name: str, *, owner: str, wake: Wake) -> Object | None:
        """The ConfigMap or Secret (kind "configmap" or "secret"); as ``get``."""
        resource = CONFIG_MAPS if kind == "configmap" else SECRETS
        return await self.get(resource, namespace, name, owner=owner, wake=wake)

    def release(self, owner: str) -> None:
        """The pod is gone: stop following what only it used."""
        for key, entry in list(self._entries.items()):
            entry.owners.pop(owner, None)
            if not entry.owners:
                if entry.task is not None:
                    entry.task.cancel()
                del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    async def _follow(self, key: Key, entry: _Entry) -> None:
        retry = first_retry_seconds
        while True:
            try:
                version = await self._list(key, entry)
                retry = first_retry_seconds
                if entry.current is not None and entry.current.get("immutable"):
                    return
                await self._watch(key, entry, version)
            except ApiError as error:
                if is_expired(error):
                    continue
                log.debug(
                    "cannot follow object",
                    extra={"resource": key[0].plural, "object_name": key[2], "error": error.message},
                )
                if not entry.synced.is_set():
                    entry.error = error
                    entry.synced.set()
                await self._clock.sleep(retry)
                retry = min(retry * 2, longest_retry_seconds)

    async def _list(self, key: Key, entry: _Entry) -> str:
        resource, namespace, name = key
        page = await self._client.list(resource, namespace, field_selector=f"metadata.name={name}")
        self._take(entry, page.items[0] if page.items else None)
        return page.resource_version

    async def _watch(self, key: Key, entry: _Entry, version: str) -> None:
        """Follow changes until the server ends the watch, resuming from what was seen last."""
        resource, namespace, name = key
        while True:
            begin = self._clock.monotonic()
            async with self._client.watch(
                resource, namespace, resource_version=version, field_selector=f"metadata.name={name}"
            ) as events:
                async for event in events:
                    version = resource_version_of(event.object) or version
                    if event.type in (EventType.ADDED, EventType.MODIFIED):
                        self._take(entry, event.object)
                    elif event.type is EventType.DELETED:
                        self._take(entry, None)
            # A watch that ends at once must not make a busy loop.
            if self._clock.monotonic() - begin < first_retry_seconds:
                await self._clock.sleep(first_retry_seconds)

    def _take(self, entry: _Entry, current: Object | None) -> None:
        first, previous = not entry.synced.is_set() or entry.error is not None, entry.current
        entry.current, entry.error = current, None
        entry.synced.set()
        changed = (previous is None) != (current is None) or (
            previous is not None
            and current is not None
            and resource_version_of(previous) != resource_version_of(current)
        )
        if changed or first:
            for wake in list(entry.owners.values()):
                wake()
