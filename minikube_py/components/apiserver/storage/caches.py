"""The caches of all stored resources, fed by one tap on the datastore.

The engine calls the tap with each published batch before it answers the writers, so a reader in this
process always finds what was acknowledged. Resources join at run time (``open``); what lies in the
store at that moment is taken over in the same step, so no change is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from minikube_py.components.apiserver.metrics.storage import StoreRequests
from minikube_py.components.apiserver.storage.bodies import ListBodies
from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.storage.keys import prefix_of, resource_prefix
from minikube_py.components.apiserver.storage.slices import slices
from minikube_py.datastore.types import Change, Datastore, Record
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

_OFFERED_BYTES = 64 * 1024
_PARSED_AT_ONCE, _PARSED_BYTES = 128, 256 * 1024


class TappedStore(Datastore, Protocol):
    """A datastore whose published changes can be followed without waiting."""

    def current(self, prefix: str) -> Sequence[Record]:
        """The newest records under ``prefix``, in key order, at ``current_revision``; never waits."""

    def tap(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        """Call ``callback`` with each published batch before its writers are answered."""


class Caches:
    """See the module. Close it before the store."""

    def __init__(self, store: TappedStore) -> None:
        self.store = store
        self.list_bodies = ListBodies()
        self.requests = StoreRequests()
        self._by_prefix: dict[str, WatchCache] = {}
        self._by_name: dict[tuple[str, str], WatchCache] = {}
        """The same caches by group and plural."""
        self._offered: dict[int, Object] = {}
        """Large objects that are being written, by the identity of their stored bytes."""
        self._end = store.tap(self._take)

    def open(self, resource: Resource, *, versioned: bool = False) -> WatchCache:
        """The cache of a stored resource, made and filled on first use; ``versioned``: see ``WatchCache``."""
        found = self._by_name.get((resource.group, resource.plural))
        if found is None:
            prefix = resource_prefix(resource)
            records, revision = self.store.current(prefix), self.store.current_revision
            found = WatchCache(resource, records, revision, versioned=versioned, offered=self._offered)
            self._by_prefix[prefix] = self._by_name[resource.group, resource.plural] = found
        return found

    def drop(self, resource: Resource) -> None:
        """Forget a resource that is no longer served."""
        self._by_prefix.pop(resource_prefix(resource), None)
        self._by_name.pop((resource.group, resource.plural), None)

    def all(self) -> list[WatchCache]:
        return list(self._by_prefix.values())

    async def parse(self, resources: Iterable[Resource]) -> None:
        """Parse all stored objects, for those who will look at each of them; others have their turn meanwhile."""
        for resource in resources:
            cache = self._by_name.get((resource.group, resource.plural))
            for piece in slices(list(cache.unordered()) if cache is not None else (), _PARSED_AT_ONCE, _PARSED_BYTES):
                for entry in piece:
                    entry.object  # noqa: B018
                await asyncio.sleep(0)

    @property
    def revision(self) -> int:
        """The newest published revision; every open cache is current to it."""
        return self.store.current_revision

    def offer(self, value: bytes, stored: Object) -> bool:
        """What a value that is about to be written says, so that a large one need not be parsed when it is published.

        ``stored`` is shared and read-only from now on. Returns whether it was taken; then ``withdraw`` it in the end.
        """
        if len(value) < _OFFERED_BYTES:
            return False
        self._offered[id(value)] = stored
        return True

    def withdraw(self, value: bytes) -> None:
        """The write of an offered value has ended."""
        self._offered.pop(id(value), None)

    def close(self) -> None:
        self._end()

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            cache = self._by_prefix.get(prefix_of(change.record.key))
            if cache is not None:
                cache.apply(change)
