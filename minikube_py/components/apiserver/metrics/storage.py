"""The watch caches and what is asked of the datastore, under the names of ``storage/cacher`` and ``storage/etcd3``.

A cache counts for itself (``CacheCounts``); the objects, their bytes and the revision are read from it when somebody
scrapes. Every cache is current to the datastore's newest revision, so a consistent read waits for nothing and never
falls back to the datastore: both families follow from the number of such reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from minikube_py.components.apiserver.metrics.values import Definition, Distribution, Distributions, Family, Labels
from minikube_py.machinery.resources import Resource

_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_WAIT_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3)
_KIND = ("group", "resource")
_DIGITS = 10**15
"""Revisions are shown by their lower digits: a sample is a 64-bit float."""


@dataclass(slots=True)
class CacheCounts:
    """What happened to one watch cache since it was made."""

    initial: int = 0
    """Objects that it was filled with."""
    received: int = 0
    """Changes that the datastore published."""
    terminated: int = 0
    """Watchers that were closed because they did not keep up."""
    lists: int = 0
    consistent: int = 0
    """Of the lists: those of the newest state, without a resourceVersion."""
    fetched: int = 0
    returned: int = 0
    past_lists: int = 0
    """Lists of an earlier state, from the datastore's history."""
    past_fetched: int = 0
    past_evaluated: int = 0
    past_returned: int = 0


class CountedCache(Protocol):
    """What of a watch cache is shown."""

    @property
    def resource(self) -> Resource: ...
    @property
    def counts(self) -> CacheCounts: ...
    @property
    def count(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def revision(self) -> int: ...


Of = Callable[[CountedCache], float]


def _counter(name: str, help: str, of: Of) -> tuple[Definition, Of]:
    return Definition(name, "counter", help, _KIND), of


def _gauge(name: str, help: str, of: Of) -> tuple[Definition, Of]:
    return Definition(name, "gauge", help, _KIND), of


_OBJECTS_HELP = (
    "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be "
    "-1."
)
_ALWAYS: Sequence[tuple[Definition, Of]] = (
    _gauge("apiserver_resource_objects", _OBJECTS_HELP, lambda cache: cache.count),
    _gauge(
        "apiserver_resource_size_estimate_bytes",
        "Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized "
        "objects. In case of a fetching error, the value will be -1.",
        lambda cache: cache.bytes,
    ),
    _gauge(
        "apiserver_watch_cache_resource_version",
        "Current resource version of watch cache broken by resource type. This is truncated to the 15 least "
        "significant digits.",
        lambda cache: cache.revision % _DIGITS,
    ),
    _counter(
        "apiserver_watch_cache_initializations_total",
        "Counter of watch cache initializations broken by resource type.",
        lambda cache: 1,
    ),
)
_WHEN_MOVED: Sequence[tuple[Definition, Of]] = (
    _counter(
        "apiserver_init_events_total",
        "Counter of init events processed in watch cache broken by resource type.",
        lambda cache: cache.counts.initial,
    ),
    _counter(
        "apiserver_storage_events_received_total",
        "Number of etcd events received split by kind.",
        lambda cache: cache.counts.received,
    ),
    _counter(
        "apiserver_watch_cache_events_received_total",
        "Counter of events received in watch cache broken by resource type.",
        lambda cache: cache.counts.received,
    ),
    _counter(
        "apiserver_watch_cache_events_dispatched_total",
        "Counter of events dispatched in watch cache broken by resource type.",
        lambda cache: cache.counts.received,
    ),
    _counter(
        "apiserver_terminated_watchers_total",
        "Counter of watchers closed due to unresponsiveness broken by resource type.",
        lambda cache: cache.counts.terminated,
    ),
    _counter(
        "apiserver_cache_list_returned_objects_total",
        "Number of objects returned for a LIST request from watch cache",
        lambda cache: cache.counts.returned,
    ),
    _counter(
        "apiserver_storage_list_total",
        "Number of LIST requests served from storage",
        lambda cache: cache.counts.past_lists,
    ),
    _counter(
        "apiserver_storage_list_fetched_objects_total",
        "Number of objects read from storage in the course of serving a LIST request",
        lambda cache: cache.counts.past_fetched,
    ),
    _counter(
        "apiserver_storage_list_evaluated_objects_total",
        "Number of objects tested in the course of serving a LIST request from storage",
        lambda cache: cache.counts.past_evaluated,
    ),
    _counter(
        "apiserver_storage_list_returned_objects_total",
        "Number of objects returned for a LIST request from storage",
        lambda cache: cache.counts.past_returned,
    ),
)
_INDEXED = (*_KIND, "index")
_CACHE_LISTS = Definition(
    "apiserver_cache_list_total", "counter", "Number of LIST requests served from watch cache", _INDEXED
)
_CACHE_FETCHED = Definition(
    "apiserver_cache_list_fetched_objects_total",
    "counter",
    "Number of objects read from watch cache in the course of serving a LIST request",
    _INDEXED,
)
_CONSISTENT = Definition(
    "apiserver_watch_cache_consistent_read_total",
    "counter",
    "Counter for consistent reads from cache.",
    (*_KIND, "success", "fallback"),
)
_WAIT = Definition(
    "apiserver_watch_cache_read_wait_seconds",
    "histogram",
    "Histogram of time spent waiting for a watch cache to become fresh.",
    _KIND,
    _WAIT_SECONDS,
)
_CAPACITY = Definition("watch_cache_capacity", "gauge", "Total capacity of watch cache broken by resource type.", _KIND)
_OBJECTS = Definition(
    "apiserver_storage_objects",
    "gauge",
    f"[DEPRECATED, consider using apiserver_resource_objects instead] {_OBJECTS_HELP}",
    ("resource",),
)
_REQUESTS = Definition(
    "etcd_requests_total",
    "counter",
    "Etcd request counts for each operation and object type.",
    ("operation", *_KIND),
)
_ERRORS = Definition(
    "etcd_request_errors_total",
    "counter",
    "Etcd failed request counts for each operation and object type.",
    ("operation", *_KIND),
)
_SIZE = Definition(
    "apiserver_storage_size_bytes",
    "gauge",
    "Size of the storage database file physically allocated in bytes.",
    ("storage_cluster_id",),
)


class StoreRequests:
    """What is asked of the datastore: create, update, delete, list."""

    def __init__(self) -> None:
        self._seconds = Distributions(
            Definition(
                "etcd_request_duration_seconds", "histogram",
                "Etcd request latency in seconds for each operation and object type.", ("operation", *_KIND), _SECONDS,
            )
        )  # fmt: skip
        self._errors: dict[Labels, int] = {}

    def took(self, operation: str, resource: Resource, seconds: float, *, failed: bool = False) -> None:
        """One request, answered or failed after so many seconds."""
        labels = (operation, resource.group, resource.plural)
        self._seconds.observe(labels, seconds)
        if failed:
            self._errors[labels] = self._errors.get(labels, 0) + 1

    def families(self) -> Iterator[Family]:
        yield self._seconds.family()
        asked = self._seconds.values.items()
        yield Family(_REQUESTS, [(labels, sum(found.counts)) for labels, found in asked])
        yield Family(_ERRORS, list(self._errors.items()))


def cache_families(caches: Sequence[CountedCache], capacity: int) -> Iterator[Family]:
    """The families of all caches, each of which keeps ``capacity`` events of the past."""
    named = [((cache.resource.group, cache.resource.plural), cache) for cache in caches]
    for definition, of in _ALWAYS:
        yield Family(definition, [(labels, of(cache)) for labels, cache in named])
    for definition, of in _WHEN_MOVED:
        yield Family(definition, [(labels, value) for labels, cache in named if (value := of(cache))])
    yield Family(_OBJECTS, [((_qualified(cache.resource),), cache.count) for cache in caches])
    yield Family(_CAPACITY, [(labels, capacity) for labels, _ in named])
    listed = [(labels, cache.counts) for labels, cache in named if cache.counts.lists]
    yield Family(_CACHE_LISTS, [((*labels, ""), counts.lists) for labels, counts in listed])
    yield Family(_CACHE_FETCHED, [((*labels, ""), counts.fetched) for labels, counts in listed])
    consistent = [(labels, counts.consistent) for labels, counts in listed if counts.consistent]
    yield Family(_CONSISTENT, [((*labels, "true", "false"), reads) for labels, reads in consistent])
    yield Family(_WAIT, [(labels, _at_once(reads)) for labels, reads in consistent])


def size_family(size: int) -> Family:
    """The datastore's size on disk."""
    return Family(_SIZE, [(("etcd-0",), size)])


def _qualified(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _at_once(reads: int) -> Distribution:
    found = Distribution(_WAIT_SECONDS)
    found.counts[0] = reads
    return found
