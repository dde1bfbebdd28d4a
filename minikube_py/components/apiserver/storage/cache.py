"""All objects of one stored resource, current to the datastore's newest revision, and their recent past.

In: the store's records at the start, then each published change, in revision order. Out: reads,
recent events for watches that resume, and calls to subscribers. A cache is only touched on the event
loop; nothing here waits.

Holds: after ``apply`` of a change every read shows it; subscribers are called after that, in order of
revision, once for each change. ``events`` is complete for all revisions above ``complete_after``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from minikube_py.components.apiserver.metrics.storage import CacheCounts
from minikube_py.components.apiserver.storage.entry import Entry, Shape
from minikube_py.components.apiserver.storage.keys import resource_prefix
from minikube_py.datastore.types import Change, Record
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

log = logging.getLogger(__name__)

RECENT_EVENTS = 1024
_GROWN = 1.25
_NAME = attrgetter("name")


class CacheEvent:
    """A change of one object; ``current`` is None for a deletion, ``previous`` None for a creation.

    ``gone`` is the last state under the deletion's revision. ``encoded`` keeps what was built of the
    event once, for all watchers that get the same.
    """

    __slots__ = ("_gone", "current", "encoded", "previous", "revision")

    def __init__(self, current: Entry | None, previous: Entry | None, revision: int) -> None:
        self.current = current
        self.previous = previous
        self.revision = revision
        self.encoded: dict[object, bytes] = {}
        self._gone: Entry | None = None

    @property
    def gone(self) -> Entry:
        """The previous state, as a DELETED event carries it."""
        if self._gone is None:
            if self.previous is None:
                raise ValueError("a creation has no previous state")
            self._gone = self.previous.at(self.revision)
        return self._gone

    @property
    def namespace(self) -> str:
        entry = self.current or self.previous
        return entry.namespace if entry else ""

    @property
    def name(self) -> str:
        entry = self.current or self.previous
        return entry.name if entry else ""


Subscriber = Callable[[CacheEvent], None]


class WatchCache:
    """See the module."""

    def __init__(
        self,
        resource: Resource,
        records: Iterable[Record],
        revision: int,
        *,
        versioned: bool = False,
        offered: Mapping[int, Object] | None = None,
    ) -> None:
        """``versioned``: objects may be stored in several versions, and keep the one they were stored in.

        ``offered``: what values say that are being written, by their identity (``Caches.offer``).
        """
        self.resource = resource
        self.shape = Shape(resource, resource_prefix(resource), {} if versioned else None)
        self.revision = revision
        """The newest revision of an object of this resource (or the store's when the cache was made)."""
        self.complete_after = revision
        self.events: deque[CacheEvent] = deque()
        self._namespaces: dict[str, dict[str, Entry]] = {}
        self._offered = offered if offered is not None else {}
        self._ordered: dict[str, list[Entry]] = {}
        self._laid_out: dict[str, int] = {}
        """By namespace: how many objects it had when they were last laid out in the order of their names."""
        self._joined: set[str] = set()
        """Namespaces with objects that have joined since then, and stand at the end."""
        self._subscribers: list[Subscriber] = []
        self.count = 0
        self.bytes = 0
        """The size of all objects, as lists carry them."""
        self.counts = CacheCounts()
        for record in records:
            entry = self._entry(record)
            if entry is not None:
                self._namespaces.setdefault(entry.namespace, {})[entry.name] = entry
                self.count += 1
                self.bytes += len(entry.item)
        self.counts.initial = self.count

    def store_as(self, resource: Resource) -> None:
        """Another version of the kind is the storage version from now on; what is stored stays as it is."""
        self.resource = resource
        self.shape = self.shape.in_version(resource.api_version)

    def get(self, namespace: str, name: str) -> Entry | None:
        found = self._namespaces.get(namespace)
        return found.get(name) if found else None

    def entries(self, namespace: str = "") -> Sequence[Entry]:
        """All objects (of a namespace) in key order; the list is shared and read-only."""
        if namespace or not self.shape.namespaced:
            return self._in_order(namespace)
        ordered = self._ordered.get("*")
        if ordered is None:
            names = sorted(self._namespaces, key=lambda name: name + "/")
            ordered = [entry for name in names for entry in self._in_order(name)]
            self._ordered["*"] = ordered
        return ordered

    def unordered(self, namespace: str = "") -> Iterator[Entry]:
        """All objects (of a namespace) in no promised order."""
        if namespace or not self.shape.namespaced:
            yield from self._namespaces.get(namespace, {}).values()
            return
        for found in self._namespaces.values():
            yield from found.values()

    def since(self, revision: int) -> list[CacheEvent] | None:
        """The events after ``revision``, or None when some of them are no longer here."""
        if revision < self.complete_after:
            return None
        if revision >= self.revision:
            return []
        found = []
        for event in reversed(self.events):
            if event.revision <= revision:
                break
            found.append(event)
        found.reverse()
        return found

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for each change; it must be quick and must not wait. Returns how to end that."""
        self._subscribers = [*self._subscribers, subscriber]

        def end() -> None:
            self._subscribers = [other for other in self._subscribers if other is not subscriber]

        return end

    def apply(self, change: Change) -> None:
        """Take in a published change and tell the subscribers."""
        event = self.event_of(change, live=True)
        if event is None:
            return
        self.revision = change.revision
        self.counts.received += 1
        self._remember(event)
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                log.exception("a watcher failed", extra={"resource": self.resource.qualified})

    def event_of(self, change: Change, *, live: bool = False) -> CacheEvent | None:
        """The event of a change of this resource; None when neither state can be read.

        With ``live`` the change is taken over into the cache; otherwise it is one of the past.
        """
        record = change.record
        if not live:
            previous = self._entry(change.previous) if change.previous else None
            current = None if change.deleted else self._entry(record)
            return CacheEvent(current, previous, change.revision) if current or previous else None
        namespace, _, name = record.key[len(self.shape.prefix) :].rpartition("/")
        siblings = self._namespaces.setdefault(namespace, {})
        previous = siblings.get(name)
        if change.deleted:
            siblings.pop(name, None)
            current = None
            if not siblings:
                del self._namespaces[namespace]
                self._laid_out.pop(namespace, None)
                self._joined.discard(namespace)
        else:
            current = self._entry(record)
            if current is None:
                return None
            said = self._offered.get(id(record.value))
            if said is not None:
                current.take(said)
            siblings[current.name] = current  # the same text, kept once
            if previous is None:
                self._joined.add(namespace)
        self.count += (current is not None) - (previous is not None)
        self.bytes += (len(current.item) if current else 0) - (len(previous.item) if previous else 0)
        self._ordered.pop("*", None)
        self._ordered.pop(namespace, None)
        return CacheEvent(current, previous, change.revision) if current or previous else None

    def _in_order(self, namespace: str) -> list[Entry]:
        ordered = self._ordered.get(namespace)
        if ordered is None:
            found = self._namespaces.get(namespace, {})
            if namespace in self._laid_out and namespace not in self._joined:
                ordered = list(found.values())
            else:
                ordered = sorted(found.values(), key=_NAME)
                self._lay_out(namespace, ordered)
            self._ordered[namespace] = ordered
        return ordered

    def _lay_out(self, namespace: str, ordered: Sequence[Entry]) -> None:
        """Keep the objects of a namespace in order, once many have joined: a list may follow on each of many writes.

        What is in order needs no sorting while objects only change and go, and what is nearly so is sorted quickly.
        """
        if ordered and len(ordered) > _GROWN * self._laid_out.get(namespace, 0):
            self._namespaces[namespace] = {entry.name: entry for entry in ordered}
            self._laid_out[namespace] = len(ordered)
            self._joined.discard(namespace)

    def _remember(self, event: CacheEvent) -> None:
        self.events.append(event)
        if len(self.events) > RECENT_EVENTS:
            self.complete_after = self.events.popleft().revision

    def _entry(self, record: Record) -> Entry | None:
        try:
            return Entry(self.shape, record.key, record.value, record.mod_revision)
        except ValueError:
            log.error("unreadable object in the datastore", extra={"key": record.key, "revision": record.mod_revision})
            return None
