"""The parts of the fake API server: a collection with history, and the watches and informers on it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any

from minikube_py.client.informer import Subscribers
from minikube_py.client.store import IndexFunction, Store
from minikube_py.client.types import EventType, Handler, WatchEvent
from minikube_py.machinery.errors import expired
from minikube_py.machinery.objects import Object, key_of, labels_of, namespace_of, resource_version_of
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.selectors import parse_field_selector, parse_label_selector

Matcher = Callable[[Object], bool]


class Collection:
    """All objects of a resource, every change since the last compaction, and who follows them."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.store = Store()
        self.informers: dict[tuple[str, str, str], FakeInformer] = {}
        self._history: list[WatchEvent] = []
        self._compacted = 0
        self._watches: set[FakeWatch] = set()

    def publish(self, event: WatchEvent) -> None:
        """Take a change in and hand it to everybody."""
        key = key_of(event.object)
        previous = self.store.get(key)
        if event.type is EventType.DELETED:
            self.store.remove(key)
        else:
            self.store.put(event.object)
        self._history.append(event)
        for watch in tuple(self._watches):
            watch.offer(event, previous)
        for informer in tuple(self.informers.values()):
            informer.take(event, previous)

    def since(self, version: int) -> list[WatchEvent]:
        """Changes after a version; raises Expired when some of them are gone."""
        if version < self._compacted:
            raise expired(f"too old resource version: {version} ({self._compacted})")
        return [event for event in self._history if int(resource_version_of(event.object)) > version]

    def compact(self, version: int) -> None:
        self._compacted = version
        self._history.clear()
        for watch in tuple(self._watches):
            watch.close()

    def join(self, watch: FakeWatch) -> None:
        self._watches.add(watch)

    def leave(self, watch: FakeWatch) -> None:
        self._watches.discard(watch)

    def matcher(self, namespace: str | None, label_selector: str, field_selector: str) -> Matcher:
        labels, fields = parse_label_selector(label_selector), parse_field_selector(field_selector)

        def matches(obj: Object) -> bool:
            if namespace and self.resource.namespaced and namespace_of(obj) != namespace:
                return False
            return labels.matches(labels_of(obj)) and fields.matches(lambda path: _field(obj, path))

        return matches


def _field(obj: Object, path: str) -> str:
    found: Any = obj
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return "" if found is None else str(found)


class FakeInformer:
    """Implements ``client.types.Informer``: a window on a collection."""

    def __init__(self, collection: Collection, matches: Matcher) -> None:
        self._store = Store()
        self._matches = matches
        self._subscribers = Subscribers()
        for obj in collection.store.list():
            if matches(obj):
                self._store.put(obj)

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        return self._store.get(f"{namespace}/{name}" if namespace else name)

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        return self._store.list(namespace)

    def by_index(self, index: str, value: str) -> Sequence[Object]:
        return self._store.by_index(index, value)

    def add_index(self, index: str, values: IndexFunction) -> None:
        self._store.add_index(index, values)

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        return self._subscribers.add(handler, self._store.list())

    async def synced(self) -> None:
        """The window is always up to date."""

    def take(self, event: WatchEvent, previous: Object | None) -> None:
        """A change of the collection: an object may enter, change in, or leave the window."""
        key = key_of(event.object)
        known = self._store.get(key)
        if event.type is EventType.DELETED or not self._matches(event.object):
            if known is not None:
                self._store.remove(key)
                self._subscribers.tell(EventType.DELETED, event.object, known)
        else:
            self._store.put(event.object)
            seen = EventType.ADDED if known is None else EventType.MODIFIED
            self._subscribers.tell(seen, event.object, known)


class FakeWatch:
    """The context manager and iterator of ``Client.watch``."""

    def __init__(self, collection: Collection, matches: Matcher, resource_version: str) -> None:
        self._collection = collection
        self._matches = matches
        self._start = resource_version
        self._events: deque[WatchEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> AsyncIterator[WatchEvent]:
        if self._start in ("", "0"):
            for obj in self._collection.store.list():
                if self._matches(obj):
                    self._events.append(WatchEvent(EventType.ADDED, obj))
        else:
            last: dict[str, Object] = {}
            for event in self._collection.since(int(self._start)):
                self.offer(event, last.get(key_of(event.object)))
                last[key_of(event.object)] = event.object
        self._collection.join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._collection.leave(self)

    def __aiter__(self) -> AsyncIterator[WatchEvent]:
        return self

    async def __anext__(self) -> WatchEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()

    def offer(self, event: WatchEvent, previous: Object | None) -> None:
        """A change happened; translate it to what this selection sees."""
        was = previous is not None and self._matches(previous)
        matches = self._matches(event.object)
        if event.type is EventType.DELETED:
            seen = EventType.DELETED if matches or was else None
        elif matches:
            seen = (
                EventType.MODIFIED
                if was or (event.type is EventType.MODIFIED and previous is None)
                else EventType.ADDED
            )
        else:
            seen = EventType.DELETED if was else None
        if seen is not None:
            self._events.append(WatchEvent(seen, event.object))
            self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
