"""What the world sees of a datastore that takes no writes: a readiness check, metrics, a condition of the node.

In: the store's ``stall`` (one line, empty while all is well) and its changes. The condition is kept as
node-problem-detector keeps its own: this is not the kubelet, which leaves conditions of others alone.
``DatastoreStalled`` is True while writes do not get through. It can be written then because the status
of a node goes through the store's volatile class while the disk hangs (SQLite; a PostgreSQL that is away
takes no writes at all, and the condition tells of it afterwards). It is not there before the first stall.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from minikube_py.client.types import Client, PatchType
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NODES
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

CONDITION = "DatastoreStalled"
settle_seconds = 2.0
"""A stall, or its end, is shown on the node when it has lasted this long: a connection that is replaced is none."""
first_retry_seconds = 1.0
longest_retry_seconds = 30.0


class StallSource(Protocol):
    """What of a datastore is needed (see ``datastore.types.Datastore``)."""

    @property
    def stall(self) -> str: ...
    def on_stall(self, callback: Callable[[str], None]) -> Callable[[], None]: ...


def register_metrics(registry: CollectorRegistry, source: StallSource, clock: Clock) -> None:
    """Whether the store is stalled now, how often it was, and for how many seconds in all."""
    stalled = Gauge("pyk3s_datastore_stalled", "1 while the datastore takes no writes.", registry=registry)
    times = Counter("pyk3s_datastore_stalls", "How often the datastore stopped to take writes.", registry=registry)
    seconds = Counter(
        "pyk3s_datastore_stalled_seconds",
        "How long the datastore took no writes, counted when it takes them again.",
        registry=registry,
    )
    began: list[float] = []

    def follow(why: str) -> None:
        stalled.set(1 if why else 0)
        if why and not began:
            times.inc()
            began.append(clock.monotonic())
        elif not why and began:
            seconds.inc(clock.monotonic() - began.pop())

    source.on_stall(follow)


async def check(source: StallSource) -> str:
    """The readiness check: why not, or nothing."""
    return source.stall


async def keep_node_condition(
    client: Client, node_name: str, source: StallSource, clock: Clock, ready: Callable[[], None]
) -> None:
    """Keep the condition of this server's node until cancelled."""
    changed = asyncio.Event()
    end = source.on_stall(lambda _: changed.set())
    retry = first_retry_seconds
    try:
        ready()
        while True:
            changed.clear()
            try:
                await _show(client, node_name, source.stall, clock.now())
                retry = first_retry_seconds
                await changed.wait()
                await clock.sleep(settle_seconds)
            except ApiError as error:
                log.info("cannot write the datastore's condition", extra={"node": node_name, "error": error.message})
                await clock.sleep(retry)
                retry = min(retry * 2, longest_retry_seconds)
    finally:
        end()


async def _show(client: Client, node_name: str, why: str, now: float) -> None:
    """Write the condition if it says something else than the node does. Raises ApiError."""
    node = await client.get(NODES, node_name)
    shown = find_condition(list((node.get("status") or {}).get("conditions") or ()), CONDITION)
    wanted = condition(why)
    if (shown is None and not why) or (shown is not None and wanted.items() <= shown.items()):
        return
    same = shown is not None and shown.get("status") == wanted["status"]
    wanted["lastHeartbeatTime"] = rfc3339(now)
    wanted["lastTransitionTime"] = shown["lastTransitionTime"] if shown is not None and same else rfc3339(now)
    patch = {"status": {"conditions": [wanted]}}
    await client.patch(NODES, node_name, patch, patch_type=PatchType.STRATEGIC, subresource="status")


def condition(why: str) -> Object:
    """The condition without its times."""
    if why:
        return {"type": CONDITION, "status": "True", "reason": "DatastoreTakesNoWrites", "message": why}
    return {
        "type": CONDITION,
        "status": "False",
        "reason": "DatastoreTakesWrites",
        "message": "the datastore takes writes",
    }
