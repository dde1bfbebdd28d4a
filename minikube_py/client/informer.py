"""Informers over list and watch (client-go's reflector and shared informer).

``ListWatchInformer`` follows a collection: it lists once, watches from the list's version, resumes
a broken watch from the last version seen (bookmarks count), and lists again when that version is
compacted. After a new list the difference is handed out, so deletions are never missed.
``InformerPool`` shares one informer among all who ask for the same collection and owns its task.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence

from minikube_py.client.store import IndexFunction, Store
from minikube_py.client.types import Client, EventType, Handler, WatchEvent
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, from_status, is_expired
from minikube_py.machinery.objects import Object, key_of, resource_version_of
from minikube_py.machinery.resources import Resource

log = logging.getLogger(__name__)

page_size = 500
first_backoff_seconds = 0.2
longest_backoff_seconds = 30.0


class Subscribers:
    """The handlers of an informer. A handler that raises is logged and hurts nobody else."""

    def __init__(self) -> None:
        self._handlers: list[Handler] = []

    def add(self, handler: Handler, present: Sequence[Object]) -> Callable[[], None]:
        """Subscribe; the handler first gets ADDED for everything that is there."""
        self._handlers.append(handler)
        for obj in present:
            _call(handler, EventType.ADDED, obj, None)

        def end() -> None:
            if handler in self._handlers:
                self._handlers.remove(handler)

        return end

    def tell(self, type: EventType, obj: Object, previous: Object | None) -> None:
        for handler in tuple(self._handlers):
            _call(handler, type, obj, previous)


def _call(handler: Handler, type: EventType, obj: Object, previous: Object | None) -> None:
    try:
        handler(type, obj, previous)
    except Exception:
        log.exception("event handler failed", extra={"key": key_of(obj), "event": type.value})


class ListWatchInformer:
    """Implements ``client.types.Informer`` for any client; ``run`` must be running for it to follow."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        resource: Resource,
        namespace: str | None = None,
        *,
        field_selector: str = "",
        label_selector: str = "",
    ) -> None:
        self._client = client
        self._clock = clock
        self._resource = resource
        self._namespace = namespace
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._store = Store()
        self._subscribers = Subscribers()
        self._synced = asyncio.Event()
        self._version = ""

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
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the collection until cancelled; never raises for a failing server."""
        backoff = first_backoff_seconds
        while True:
            try:
                if not self._version:
                    await self._take_list()
                begin = self._clock.monotonic()
                await self._follow()
                backoff = first_backoff_seconds
                if self._clock.monotonic() - begin < first_backoff_seconds:
                    # somebody in between, or a server that is ending, ends watches at once: no busy loop
                    await self._clock.sleep(first_backoff_seconds)
                continue
            except ApiError as error:
                if is_expired(error):
                    log.info("list again: the version is gone", extra={"resource": self._resource.qualified})
                    self._version = ""
                    continue
                log.warning(
                    "cannot follow collection",
                    extra={"resource": self._resource.qualified, "error": str(error), "retry_seconds": backoff},
                )
            await self._clock.sleep(backoff * random.uniform(0.8, 1.2))
            backoff = min(backoff * 2, longest_backoff_seconds)

    async def _take_list(self) -> None:
        """Replace the content by what the server has now, handing out the difference."""
        seen: set[str] = set()
        token, version = "", ""
        while True:
            page = await self._client.list(
                self._resource,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=page_size,
                continue_token=token,
            )
            version = page.resource_version
            for obj in page.items:
                seen.add(key_of(obj))
                self._put(obj)
            token = page.continue_token
            if not token:
                break
        for key in self._store.present_keys():
            if key not in seen:
                self._remove(key, None)
        self._version = version
        self._synced.set()

    async def _follow(self) -> None:
        """Take in one watch until it ends."""
        async with self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        ) as events:
            await self._take_events(events)

    async def _take_events(self, events: AsyncIterator[WatchEvent]) -> None:
        async for event in events:
            if event.type is EventType.ERROR:
                raise from_status(event.object)
            if event.type is EventType.DELETED:
                self._remove(key_of(event.object), event.object)
            elif event.type is not EventType.BOOKMARK:
                self._put(event.object)
            self._version = resource_version_of(event.object) or self._version

    def _put(self, obj: Object) -> None:
        old = self._store.get(key_of(obj))
        if old is not None and resource_version_of(old) == resource_version_of(obj):
            return
        self._store.put(obj)
        self._subscribers.tell(EventType.ADDED if old is None else EventType.MODIFIED, obj, old)

    def _remove(self, key: str, last: Object | None) -> None:
        old = self._store.remove(key)
        if old is not None:
            self._subscribers.tell(EventType.DELETED, last or old, old)


class InformerPool:
    """One informer for each set of arguments; ``close`` ends them all."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._informers: dict[tuple[Resource, str, str, str], ListWatchInformer] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def informer(
        self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = ""
    ) -> ListWatchInformer:
        """The shared informer, started on first use (needs a running event loop)."""
        key = (resource, namespace or "", field_selector, label_selector)
        found = self._informers.get(key)
        if found is None:
            found = ListWatchInformer(
                self._client,
                self._clock,
                resource,
                namespace,
                field_selector=field_selector,
                label_selector=label_selector,
            )
            self._informers[key] = found
            name = f"informer-{resource.qualified}"
            self._tasks.append(asyncio.get_running_loop().create_task(found.run(), name=name))
        return found

    async def close(self) -> None:
        """End every informer and wait until its task is gone."""
        tasks, self._tasks = self._tasks, []
        self._informers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
