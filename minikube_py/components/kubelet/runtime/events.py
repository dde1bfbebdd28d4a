"""Runtime events without polling.

CRI has GetContainerEvents, which containerd implements since 1.7. Older ones publish the same
facts on their own event service; they are translated here. Two things need care:

- containerd reports the end of a task a few milliseconds before its CRI plugin has recorded it, so
  a reader woken too early would still see "running". STOPPED is therefore handed on only when CRI
  itself shows the end (asked with short pauses, at most ``settle_seconds``).
- an event names only the container; its pod comes from the labels that CRI puts on containerd's
  container record, asked once and remembered until the container is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from minikube_py.components.kubelet.runtime import messages
from minikube_py.components.kubelet.runtime.rpc.channel import Channel, RpcError
from minikube_py.components.kubelet.runtime.rpc.protobuf import Message
from minikube_py.components.kubelet.runtime.types import EventKind, RuntimeEvent, RuntimeFailure
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

settle_seconds = 2.0
queued_events = 1024
_first_pause_seconds = 0.002
_lookup_timeout_seconds = 10.0
_pod_uid_label = "io.kubernetes.pod.uid"
_namespace = (("containerd-namespace", "k8s.io"),)
_TOPICS = {
    "/tasks/start": ("TaskStart", EventKind.STARTED),
    "/tasks/delete": ("TaskDelete", EventKind.STOPPED),
    "/containers/create": ("ContainerEvent", EventKind.CREATED),
    "/containers/delete": ("ContainerEvent", EventKind.DELETED),
}

HasSettled = Callable[[str], Awaitable[bool]]


async def runtime_events(channel: Channel, has_settled: HasSettled, clock: Clock) -> AsyncIterator[RuntimeEvent]:
    """Events from CRI, else from containerd; none at all from a runtime that has neither.

    Raises RuntimeFailure when the runtime goes away. Ends by itself only without event support.
    """
    try:
        async for event in _cri_events(channel):
            yield event
        raise RuntimeFailure("GetContainerEvents", "UNAVAILABLE", "the runtime ended its event stream")
    except RpcError as error:
        if error.code != "UNIMPLEMENTED":
            raise RuntimeFailure("GetContainerEvents", error.code, error.message) from error
    source = _ContainerdEvents(channel.path, has_settled, clock)
    try:
        async for event in source.run():
            yield event
    except RpcError as error:
        if error.code != "UNIMPLEMENTED":
            raise RuntimeFailure("Subscribe", error.code, error.message) from error
        log.info("the runtime has no events; relisting is all there is", extra={"endpoint": channel.path})


async def _cri_events(channel: Channel) -> AsyncIterator[RuntimeEvent]:
    table = messages.cri()
    async for data in channel.messages("/runtime.v1.RuntimeService/GetContainerEvents", b""):
        event = table.decode("ContainerEventResponse", data)
        uid = event.get("pod_sandbox_status", {}).get("metadata", {}).get("uid", "")
        kind = EventKind(event.get("container_event_type", 0))
        yield RuntimeEvent(kind, event.get("container_id", ""), uid, event.get("created_at", 0))


class _ContainerdEvents:
    """Translates one subscription. Its reader task and look-ups end with ``run``."""

    def __init__(self, path: str, has_settled: HasSettled, clock: Clock) -> None:
        self._channel = Channel(path, _namespace)
        self._has_settled = has_settled
        self._clock = clock
        self._table = messages.containerd()
        self._pods: dict[str, str] = {}  # container id -> pod uid; written by _translate only
        self._out: asyncio.Queue[RuntimeEvent | RpcError] = asyncio.Queue(queued_events)

    async def run(self) -> AsyncIterator[RuntimeEvent]:
        reader = asyncio.create_task(self._read(), name="containerd-events")
        try:
            while True:
                item = await self._out.get()
                if isinstance(item, RpcError):
                    raise item
                yield item
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await self._channel.close()

    async def _read(self) -> None:
        """Read envelopes; those of different containers are translated side by side."""
        filters = [f'namespace==k8s.io,topic=="{topic}"' for topic in _TOPICS]
        request = self._table.encode("SubscribeRequest", {"filters": filters})
        try:
            async with asyncio.TaskGroup() as group:
                last: dict[str, asyncio.Task[None]] = {}
                async for data in self._channel.messages("/containerd.services.events.v1.Events/Subscribe", request):
                    envelope = self._table.decode("Envelope", data)
                    found = self._event(envelope)
                    if found is None:
                        continue
                    kind, container_id, timestamp = found
                    before = last.get(container_id)
                    task = group.create_task(self._translate(before, kind, container_id, timestamp))
                    last[container_id] = task
                    if kind is EventKind.DELETED:
                        del last[container_id]  # nothing follows
                raise RpcError("UNAVAILABLE", "containerd ended its event stream")
        except* RpcError as errors:
            await self._out.put(next(item for item in _leaves(errors) if isinstance(item, RpcError)))
        except* RuntimeFailure as errors:
            failure = next(item for item in _leaves(errors) if isinstance(item, RuntimeFailure))
            await self._out.put(RpcError(failure.code, failure.message))

    def _event(self, envelope: Message) -> tuple[EventKind, str, int] | None:
        """(kind, container, time) of an envelope; None when it is about an exec, not a container."""
        name, kind = _TOPICS[envelope["topic"]]
        body = self._table.decode(name, envelope.get("event", {}).get("value", b""))
        container_id = body.get("container_id") or body.get("id", "")
        if name == "TaskDelete" and body.get("id", container_id) not in ("", container_id):
            return None
        stamp = envelope.get("timestamp", {})
        return kind, container_id, stamp.get("seconds", 0) * 1_000_000_000 + stamp.get("nanos", 0)

    async def _translate(
        self, before: asyncio.Task[None] | None, kind: EventKind, container_id: str, timestamp: int
    ) -> None:
        """Hand one event on, after the one before it about the same container."""
        if kind is EventKind.DELETED:
            uid = self._pods.pop(container_id, None)
        else:
            uid = await self._pod_of(container_id)
            if kind is EventKind.STOPPED:
                await self._settle(container_id)
        if before is not None:
            await asyncio.wait({before})
        if uid is not None:
            await self._out.put(RuntimeEvent(kind, container_id, uid, timestamp))

    async def _pod_of(self, container_id: str) -> str | None:
        """The pod's uid; None for a container that is gone or is not Kubernetes'."""
        known = self._pods.get(container_id)
        if known is not None:
            return known
        request = self._table.encode("GetContainerRequest", {"id": container_id})
        try:
            data = await self._channel.unary(
                "/containerd.services.containers.v1.Containers/Get", request, timeout_seconds=_lookup_timeout_seconds
            )
        except RpcError as error:
            if error.code == "NOT_FOUND":
                return None
            raise
        record = self._table.decode("GetContainerResponse", data).get("container", {})
        uid: str | None = record.get("labels", {}).get(_pod_uid_label)
        if uid is not None:
            self._pods[container_id] = uid
        return uid

    async def _settle(self, container_id: str) -> None:
        """Wait until CRI shows the end too; a late CRI only costs the reader a second look."""
        deadline = self._clock.monotonic() + settle_seconds
        pause = _first_pause_seconds
        while not await self._has_settled(container_id) and self._clock.monotonic() < deadline:
            await self._clock.sleep(pause)
            pause *= 2


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
