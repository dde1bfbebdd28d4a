"""Writes Event objects (client-go's ``tools/record``).

Promises: ``event`` never fails, waits or does I/O; events go through a bounded queue to one writer
(``run``), are dropped and counted when it is full, and are spared by three rules in this order:

1. *Similar* events (same object, type and reason, any message): from the 10th message within 10 minutes on
   they share one Event whose message begins with "(combined from similar events): ".
2. *Equal* events (same message too) raise ``count`` and ``lastTimestamp`` of the first one.
3. An object that has spent its burst of 25 events gets one more every 5 minutes (spam filter).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from minikube_py.client.types import Client, PatchType
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, metadata, name_of, namespace_of
from minikube_py.machinery.resources import EVENTS
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

queue_length = 1000
remembered_keys = 4096
similar_limit = 10
similar_interval_seconds = 600.0
spam_burst = 25
spam_refill_seconds = 300.0
write_attempts = 3
longest_message = 1024

V = TypeVar("V")


class _Recent(Generic[V]):
    """A bounded mapping that forgets what was used longest ago."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: str, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > remembered_keys:
            self._entries.popitem(last=False)

    def drop(self, key: str) -> None:
        self._entries.pop(key, None)


@dataclass(slots=True)
class _Similar:
    messages: set[str]
    last: float


@dataclass(slots=True)
class _Tokens:
    left: float
    last: float


@dataclass(frozen=True, slots=True)
class _Written:
    """An Event that was written: where, and how often it counts."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class _Pending:
    reference: Object
    namespace: str
    type: str
    reason: str
    message: str
    now: float


class Recorder:
    """Implements ``client.types.EventRecorder``; ``run`` must be running for events to be written."""

    def __init__(self, client: Client, component: str, host: str = "", *, clock: Clock) -> None:
        self.dropped = 0
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._queue: asyncio.Queue[_Pending] = asyncio.Queue(queue_length)
        self._similar: _Recent[_Similar] = _Recent()
        self._written: _Recent[_Written] = _Recent()
        self._spam: _Recent[_Tokens] = _Recent()

    def event(self, regarding: Object, type: str, reason: str, message: str) -> None:
        """Record an event about an object (or about ``fieldPath`` of it, a key beside its metadata)."""
        if len(message) > longest_message:
            message = message[: longest_message - 3] + "..."
        pending = _Pending(
            _reference(regarding), namespace_of(regarding) or "default", type, reason, message, self._clock.now()
        )
        if not self._allowed(pending):
            self.dropped += 1
            return
        try:
            self._queue.put_nowait(pending)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            pending = await self._queue.get()
            try:
                await self._write(pending)
            except Exception:
                log.exception("cannot write event", extra={"reason": pending.reason})
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Return when everything that was recorded so far is written or given up."""
        await self._queue.join()

    def _allowed(self, pending: _Pending) -> bool:
        key = _object_key(pending.reference)
        tokens = self._spam.get(key) or _Tokens(float(spam_burst), pending.now)
        tokens.left = min(spam_burst, tokens.left + (pending.now - tokens.last) / spam_refill_seconds)
        tokens.last = pending.now
        self._spam.put(key, tokens)
        if tokens.left < 1:
            return False
        tokens.left -= 1
        return True

    def _combine(self, pending: _Pending) -> tuple[str, str]:
        """(key of the Event this one belongs to, its message)."""
        group = "\0".join((_object_key(pending.reference), pending.type, pending.reason))
        similar = self._similar.get(group)
        if similar is None or pending.now - similar.last > similar_interval_seconds:
            similar = _Similar(set(), pending.now)
        similar.last = pending.now
        similar.messages.add(pending.message)
        self._similar.put(group, similar)
        if len(similar.messages) < similar_limit:
            return f"{group}\0{pending.message}", pending.message
        similar.messages.pop()
        return group, f"(combined from similar events): {pending.message}"

    async def _write(self, pending: _Pending) -> None:
        key, message = self._combine(pending)
        for attempt in range(write_attempts):
            try:
                known = self._written.get(key)
                if known is not None and await self._raise_count(key, known, pending, message):
                    return
                await self._create(key, pending, message)
                return
            except ApiError as error:
                if error.code < 500 and error.code != 429:
                    log.debug("event rejected", extra={"reason": pending.reason, "error": str(error)})
                    return
                if attempt + 1 == write_attempts:
                    log.warning("event given up", extra={"reason": pending.reason, "error": str(error)})
                    return
                await self._clock.sleep(1.0 * 2**attempt)

    async def _raise_count(self, key: str, known: _Written, pending: _Pending, message: str) -> bool:
        """Patch the earlier Event; False when it is gone."""
        patch: Object = {"count": known.count + 1, "lastTimestamp": rfc3339(pending.now), "message": message}
        try:
            await self._client.patch(EVENTS, known.name, patch, pending.namespace, patch_type=PatchType.MERGE)
        except ApiError as error:
            if not is_not_found(error):
                raise
            self._written.drop(key)
            return False
        self._written.put(key, _Written(known.name, known.count + 1))
        return True

    async def _create(self, key: str, pending: _Pending, message: str) -> None:
        name = f"{pending.reference.get('name', '')}.{time.time_ns():x}"
        stamp = rfc3339(pending.now)
        source: Object = {"component": self._component}
        if self._host:
            source["host"] = self._host
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": pending.namespace},
            "involvedObject": pending.reference,
            "reason": pending.reason,
            "message": message,
            "source": source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "type": pending.type,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        await self._client.create(EVENTS, event, pending.namespace)
        self._written.put(key, _Written(name, 1))


def _reference(regarding: Mapping[str, Any]) -> Object:
    """The ObjectReference of an object (``ref.GetReference``)."""
    reference: Object = {"kind": regarding.get("kind", ""), "name": name_of(regarding)}
    meta = metadata(regarding)
    for key in ("namespace", "uid", "resourceVersion"):
        if meta.get(key):
            reference[key] = meta[key]
    if regarding.get("apiVersion"):
        reference["apiVersion"] = regarding["apiVersion"]
    if regarding.get("fieldPath"):
        reference["fieldPath"] = regarding["fieldPath"]
    return reference


def _object_key(reference: Mapping[str, Any]) -> str:
    return "\0".join(str(reference.get(key, "")) for key in ("kind", "namespace", "name", "uid", "fieldPath"))
