"""Informers in the server's process: windows on the watch cache, without a copy of the objects.

Handlers run in the moment a change is published, before its writer is answered. Indexes hold keys
and entries, and only for informers that ask for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from minikube_py.client.types import EventType, Handler
from minikube_py.components.apiserver.registry.core import in_version
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.storage.cache import CacheEvent, WatchCache
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, key_of

log = logging.getLogger(__name__)

IndexFunction = Callable[[Object], Sequence[str]]
_Key = tuple[str, str]


class _Index:
    """Entries by the values that a function gives for their objects."""

    __slots__ = ("_values", "function", "members")

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        self.members: dict[str, dict[_Key, Entry]] = {}
        self._values: dict[_Key, tuple[str, ...]] = {}

    def put(self, entry: Entry, obj: Object) -> None:
        key = (entry.namespace, entry.name)
        self.drop(key)
        values = tuple(self.function(obj))
        self._values[key] = values
        for value in values:
            self.members.setdefault(value, {})[key] = entry

    def drop(self, key: _Key) -> None:
        for value in self._values.pop(key, ()):
            members = self.members.get(value)
            if members is not None:
                members.pop(key, None)
                if not members:
                    del self.members[value]


class CacheInformer:
    """Implements ``client.types.Informer``. It follows the cache from the first index or subscriber on."""

    def __init__(self, kind: Kind, cache: WatchCache, selection: Selection, kinds: Kinds) -> None:
        self._declared = kind
        self._kinds = kinds
        self.cache = self._cache = cache
        """What is followed. A kind that goes and comes again has another cache, and needs another informer."""
        self._selection = selection
        self._sees_all = selection.everything and not selection.namespace
        self._handlers: list[Handler] = []
        self._indexes: dict[str, _Index] = {}
        self._following = False

    @property
    def _kind(self) -> Kind:
        """The kind as it is served now: a definition may have changed."""
        resource = self._declared.resource
        return self._kinds.get(resource.group, resource.version, resource.plural) or self._declared

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        entry = self._cache.get(namespace or "", name)
        if entry is None or not (self._sees_all or self._sees(entry)):
            return None
        from_storage = self._kind.from_storage
        return from_storage(entry.object) if from_storage is not None else entry.object

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        if not self._cache.count:
            return []
        selection, kind = self._selection, self._kind
        entries: Iterable[Entry] = self._cache.unordered(namespace or selection.namespace)
        if not selection.everything or selection.namespace not in ("", namespace or selection.namespace):
            entries = filter(self._sees, entries)
        if kind.from_storage is None:
            return [entry.object for entry in entries]
        return [in_version(kind, entry.object) for entry in entries]

    def by_index(self, index: str, value: str) -> Sequence[Object]:
        members = self._indexes[index].members.get(value)
        return [in_version(self._kind, entry.object) for entry in members.values()] if members else []

    def add_index(self, index: str, values: IndexFunction) -> None:
        if index in self._indexes:
            return
        made = _Index(values)
        for entry in self._cache.unordered(self._selection.namespace):
            if self._sees(entry):
                made.put(entry, in_version(self._kind, entry.object))
        self._indexes[index] = made
        self._follow()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        self._follow()
        present = self.list()
        self._handlers = [*self._handlers, handler]
        for obj in present:
            handler(EventType.ADDED, obj, None)

        def end() -> None:
            self._handlers = [other for other in self._handlers if other is not handler]

        return end

    async def synced(self) -> None:
        """Return at once: the cache is complete from the moment it exists."""

    def _sees(self, entry: Entry) -> bool:
        selection = self._selection
        if not selection.in_scope(entry.namespace, entry.name):
            return False
        return selection.everything or selection.matches(entry)

    def _follow(self) -> None:
        if not self._following:
            self._following = True
            self._cache.subscribe(self._take)

    def _take(self, event: CacheEvent) -> None:
        seen = self._selection.transition(event)
        if seen is None:
            return
        event_type, entry = seen
        obj = in_version(self._kind, entry.object)
        for index in self._indexes.values():
            if event_type == "DELETED":
                index.drop((entry.namespace, entry.name))
            else:
                index.put(entry, obj)
        if not self._handlers:
            return
        previous = None
        if event_type != "ADDED" and event.previous is not None:
            previous = in_version(self._kind, event.previous.object)
        for handler in self._handlers:
            try:
                handler(EventType(event_type), obj, previous)
            except Exception:
                log.exception("event handler failed", extra={"key": key_of(obj), "event": event_type})
