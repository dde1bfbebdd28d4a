"""etcd's Watch service: any number of watches on one stream.

Each watch is a task that follows a subscription of the store and writes to the stream; a lock keeps
the messages apart and in order. A client that reads slowly holds the tasks of its stream up; a
subscription that overflows meanwhile is opened anew where it ended, and replays from the log, so no
event is lost and memory stays bounded. Watches of the same keys share the encoded events.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.datastore.etcd.errors import COMPACTED
from minikube_py.datastore.etcd.keys import bytes_of, span_of
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity, KeyValue, framed, key_value
from minikube_py.datastore.etcd.transport import Call
from minikube_py.datastore.index import prefix_end
from minikube_py.datastore.transactions import TransactionalStore, span_end
from minikube_py.datastore.types import Change, Compacted, DatastoreError, Watch, WatcherTooSlow
from minikube_py.machinery.clock import Clock

WatchResponse = message("WatchResponse")
Event = message("Event")

PROGRESS_SECONDS = 600.0  # etcd's default --experimental-watch-progress-notify-interval
FRAGMENT_BYTES = (3 << 19) + (1 << 19)  # etcd's: the request limit and an overhead of 512 kB
_NO_PUT, _NO_DELETE = 0, 1
_EVENTS_TAG = bytes([11 << 3 | 2])
_NO_WATCH = -1
_SHARED_BYTES = 4 << 20
_PACE_SECONDS = 0.0002  # of each watch: what a response costs, and as much again for others
_LONGEST_PACE_SECONDS = 0.05


@dataclass(slots=True)
class Watcher:
    """One watch of a stream. ``idle``: everything that its subscription handed out is written."""

    id: int
    start: str
    end: str
    prefix: str
    position: int
    wants: Any
    subscription: Watch | None = None
    idle: bool = False
    cancelled: bool = False
    quiet: bool = True
    next_write: float = 0.0

    def matching(self, changes: Sequence[Change]) -> Sequence[Change]:
        """The changes that this watch is about; the very batch when that is all of them."""
        filters = self.wants.filters
        whole = not filters and self.end == prefix_end(self.prefix) and self.start == self.prefix
        return changes if whole else [change for change in changes if self._wanted(change)]

    def _wanted(self, change: Change) -> bool:
        key = change.record.key
        if key < self.start or (self.end and key >= self.end):
            return False
        return (_NO_DELETE if change.deleted else _NO_PUT) not in self.wants.filters


class EventEncoder:
    """Encodes batches of changes; remembers the last ones, which come once for each watch of the same keys.

    ``watches`` counts all watches of the server. The more there are the longer each waits between two
    responses (an event after a quiet time goes out at once), so that a burst costs each of them
    some large responses instead of many small ones.
    """

    def __init__(self) -> None:
        self.watches = 0
        self._bytes = 0
        self._shared: OrderedDict[tuple[int, bool], tuple[Sequence[Change], list[bytes]]] = OrderedDict()

    def pace_seconds(self) -> float:
        return min(_LONGEST_PACE_SECONDS, self.watches * _PACE_SECONDS)

    def encoded(self, changes: Sequence[Change], wanted: Sequence[Change], *, previous: bool) -> list[bytes]:
        """The wanted ones of a batch as fields of a WatchResponse, one by one."""
        if wanted is not changes:
            return [_framed(change, previous=previous) for change in wanted]
        name = (id(changes), previous)
        known = self._shared.get(name)
        if known is not None:
            return known[1]
        events = [_framed(change, previous=previous) for change in changes]
        self._shared[name] = (changes, events)
        self._bytes += sum(map(len, events))
        while self._bytes > _SHARED_BYTES:
            _, (_, oldest) = self._shared.popitem(last=False)
            self._bytes -= sum(map(len, oldest))
        return events


@dataclass(slots=True)
class WatchStream:
    """The watches of one stream of a client."""

    store: TransactionalStore
    identity: Identity
    encoder: EventEncoder
    call: Call
    tasks: asyncio.TaskGroup
    clock: Clock
    watchers: dict[int, Watcher] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _next_id: int = 0
    _progress_due: bool = False
    _notifying: bool = False

    async def handle(self, request: Any) -> None:
        """Act on one request of the client."""
        match request.WhichOneof("request_union"):
            case "create_request":
                await self._create(request.create_request)
            case "cancel_request":
                watcher = self.watchers.get(request.cancel_request.watch_id)
                if watcher is not None:
                    watcher.cancelled = True
                    if watcher.subscription is not None:
                        watcher.subscription.close()
            case "progress_request":
                self._progress_due = True
                await self._send_progress()

    async def _create(self, request: Any) -> None:
        revision = self.store.current_revision
        if request.watch_id and request.watch_id in self.watchers:
            await self._respond(_NO_WATCH, revision, created=True, canceled=True, cancel_reason="duplicate watch ID")
            return
        watcher = _watcher_of(request, self._new_id(request.watch_id), revision)
        self.watchers[watcher.id] = watcher
        await self._respond(watcher.id, revision, created=True)
        self.tasks.create_task(self._follow(watcher))
        if request.progress_notify and not self._notifying:
            self._notifying = True
            self.tasks.create_task(self._notify())

    def _new_id(self, asked: int) -> int:
        if asked:
            return asked
        while self._next_id in self.watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    async def _follow(self, watcher: Watcher) -> None:
        """Write the events of one watch until it is cancelled or its past is compacted."""
        self.encoder.watches += 1
        try:
            while not watcher.cancelled:
                watcher.subscription = self.store.watch(watcher.prefix, start_revision=watcher.position)
                try:
                    await self._pump(watcher, watcher.subscription)
                except WatcherTooSlow:
                    continue  # from its position on, out of the log
                finally:
                    watcher.subscription.close()
            del self.watchers[watcher.id]
            await self._respond(watcher.id, self.store.current_revision, canceled=True)
        except Compacted as gone:
            del self.watchers[watcher.id]
            await self._respond(
                watcher.id,
                self.store.current_revision,
                canceled=True,
                compact_revision=gone.compacted,
                cancel_reason=COMPACTED,
            )
        finally:
            self.encoder.watches -= 1

    async def _pump(self, watcher: Watcher, subscription: Watch) -> None:
        while True:
            watcher.idle = True
            if self._progress_due:
                await self._send_progress()
            try:
                first = await subscription.__anext__()
            except StopAsyncIteration:
                return
            finally:
                watcher.idle = False
            pause = watcher.next_write - asyncio.get_running_loop().time()
            if pause > 0:
                await asyncio.sleep(pause)
            async with self._lock:  # what came while others were writing goes along
                await self._send_events(watcher, [first, *subscription.ready()])
            watcher.next_write = asyncio.get_running_loop().time() + self.encoder.pace_seconds()

    async def _send_events(self, watcher: Watcher, batches: list[Sequence[Change]]) -> None:
        """Write batches in one response, or in fragments; the stream's lock is held."""
        events: list[bytes] = []
        for changes in batches:
            wanted = watcher.matching(changes)
            if wanted:
                events += self.encoder.encoded(changes, wanted, previous=watcher.wants.prev_kv)
        revision = batches[-1][-1].revision
        if events:
            watcher.quiet = False
            parts = list(_fragments(events)) if watcher.wants.fragment else [events]
            for number, part in enumerate(parts, start=1):
                head = self._head(watcher.id, revision, fragment=number < len(parts))
                await self._write_locked(head + b"".join(part))
        watcher.position = revision + 1

    async def _send_progress(self) -> None:
        """Answer a progress request once no watch of the stream is behind; else the last to catch up does."""
        revision = self.store.current_revision
        for watcher in self.watchers.values():
            if not _is_synced(watcher, revision):
                return
        self._progress_due = False
        await self._respond(_NO_WATCH, revision)

    async def _notify(self) -> None:
        """Tell watches that asked for it, and were quiet, how far they are."""
        while True:
            await self.clock.sleep(PROGRESS_SECONDS)
            revision = self.store.current_revision
            for watcher in list(self.watchers.values()):
                if watcher.wants.progress_notify and watcher.quiet and _is_synced(watcher, revision):
                    await self._respond(watcher.id, revision)
                watcher.quiet = True

    async def _respond(self, watch_id: int, revision: int, **fields: Any) -> None:
        await self._write(self._head(watch_id, revision, **fields))

    def _head(self, watch_id: int, revision: int, **fields: Any) -> bytes:
        response = WatchResponse(header=self.identity.header(revision), watch_id=watch_id, **fields)
        data: bytes = response.SerializeToString()
        return data

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._write_locked(data)

    async def _write_locked(self, data: bytes) -> None:
        await self.call.write(data)


class WatchService:
    def __init__(self, store: TransactionalStore, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock
        self._encoder = EventEncoder()

    async def watch(self, requests: AsyncIterator[Any], call: Call) -> None:
        """Serve one stream until the client ends it."""
        failure: DatastoreError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                stream = WatchStream(self._store, self._identity, self._encoder, call, tasks, self._clock)
                async for request in requests:
                    await stream.handle(request)
                raise _ClientIsDone  # ends the tasks of its watches
        except* _ClientIsDone:
            pass
        except* DatastoreError as failures:
            failure = _first(failures)
        if failure is not None:
            raise failure


class _ClientIsDone(Exception):
    """The client ended the stream."""


def _first(group: BaseExceptionGroup[DatastoreError]) -> DatastoreError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, DatastoreError)
    return found


def _watcher_of(request: Any, watch_id: int, revision: int) -> Watcher:
    start, end = span_of(request.key or b"\0", request.range_end)
    upper = span_end(start, end)
    position = request.start_revision if request.start_revision > 0 else revision + 1
    return Watcher(watch_id, start, upper, _common_prefix(start, end), position, request)


def _common_prefix(start: str, end: str | None) -> str:
    """The longest text that all keys of a range begin with."""
    if end is None:
        return start
    if end == prefix_end(start):
        return start
    length = 0
    while length < min(len(start), len(end)) and start[length] == end[length]:
        length += 1
    return start[:length]


def _is_synced(watcher: Watcher, revision: int) -> bool:
    subscription = watcher.subscription
    return watcher.idle and subscription is not None and subscription.progress_revision >= revision


def _framed(change: Change, *, previous: bool) -> bytes:
    """An event as a field of WatchResponse. A deletion has its key and revision only, as in etcd."""
    record = change.record
    if change.deleted:
        event = Event(type=1, kv=KeyValue(key=bytes_of(record.key), mod_revision=record.mod_revision))
    else:
        event = Event(kv=key_value(record))
    if previous and change.previous is not None:
        event.prev_kv.CopyFrom(key_value(change.previous))
    data: bytes = event.SerializeToString()
    return framed(_EVENTS_TAG, data)


def _fragments(events: list[bytes]) -> Iterator[list[bytes]]:
    """Events in parts of at most ``FRAGMENT_BYTES``, or one event."""
    part: list[bytes] = []
    size = 0
    for event in events:
        if part and size + len(event) > FRAGMENT_BYTES:
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event)
    yield part
