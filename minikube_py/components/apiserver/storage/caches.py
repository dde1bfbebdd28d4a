"""The caches of all stored resources, fed by one tap on the datastore.

The engine calls the tap with each published batch before it answers the writers, so a reader in this
process always finds what was acknowledged. Resources join at run time (``open``); what lies in the
store at that moment is taken over in the same step, so no change is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from minikube_py.components.apiserver.metrics.storage import StoreRequests
from minikube_py.components.apiserver.storage.bodies import ListBodies
from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.storage.keys import prefix_of, resource_prefix
from minikube_py.datastore.types import Change, Datastore, Record
from minikube_py.machinery.resources import Resource


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
        self._end = store.tap(self._take)

    def open(self, resource: Resource, *, versioned: bool = False) -> WatchCache:
        """The cache of a stored resource, made and filled on first use; ``versioned``: see ``WatchCache``."""
        prefix = resource_prefix(resource)
        found = self._by_prefix.get(prefix)
        if found is None:
            found = WatchCache(resource, self.store.current(prefix), self.store.current_revision, versioned=versioned)
            self._by_prefix[prefix] = found
        return found

    def drop(self, resource: Resource) -> None:
        """Forget a resource that is no longer served."""
        self._by_prefix.pop(resource_prefix(resource), None)

    def all(self) -> list[WatchCache]:
        return list(self._by_prefix.values())

    @property
    def revision(self) -> int:
        """The newest published revision; every open cache is current to it."""
        return self.store.current_revision

    def close(self) -> None:
        self._end()

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            cache = self._by_prefix.get(prefix_of(change.record.key))
            if cache is not None:
                cache.apply(change)
