"""Evicts pods when the node runs out of memory or disk, and says so in the node's conditions.

Which pod goes first is upstream's rank: those that use more than they requested, then by priority,
then by how far above their request they are. Under normal conditions nothing is measured but once
per housekeeping period; the kernel's pressure file (PSI) wakes the watcher when memory gets tight.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.node.facts import memory_available_bytes
from minikube_py.components.kubelet.node.node_object import Pressure
from minikube_py.components.kubelet.pods.events import note_pod
from minikube_py.components.kubelet.pods.lifecycle import Stage
from minikube_py.components.kubelet.pods.model import POD_UID_LABEL, is_static, qos_class, requested, spec_of
from minikube_py.components.kubelet.pods.pods import Pods
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.components.kubelet.pods.worker import PodWorker
from minikube_py.components.kubelet.runtime.types import RuntimeFailure
from minikube_py.machinery.objects import Object, uid_of

log = logging.getLogger(__name__)

PSI = Path("/proc/pressure/memory")
psi_trigger = b"some 150000 1000000\0"
"""150 ms of stall in one second."""
transition_seconds = 300.0
"""How long a pressure condition stays after the shortage has ended, so that it does not flap."""
check_under_pressure_seconds = 10.0
critical_priority = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource below its threshold."""

    signal: str
    resource: str
    message: str


def find_shortages(
    *, memory_available: int, memory_threshold: int, disk_total: int, disk_free: int, disk_percent: int
) -> Sequence[Shortage]:
    """What is below its threshold, memory first. Pure."""
    found = []
    if memory_available < memory_threshold:
        text = (
            f"The node was low on resource: memory. Threshold quantity: {memory_threshold // 1048576}Mi,"
            f" available: {max(memory_available, 0) // 1024}Ki. "
        )
        found.append(Shortage("memory.available", "memory", text))
    if disk_total and disk_free * 100 < disk_total * disk_percent:
        text = (
            f"The node was low on resource: ephemeral-storage. Threshold quantity: {disk_total * disk_percent // 100},"
            f" available: {disk_free // 1024}Ki. "
        )
        found.append(Shortage("nodefs.available", "ephemeral-storage", text))
    return found


def rank(pods: Sequence[Object], usage: Mapping[str, int]) -> list[Object]:
    """Pods in the order in which they would be evicted for memory. Pure."""

    def order(pod: Object) -> tuple[bool, int, int]:
        above = usage.get(uid_of(pod), 0) - requested(pod, "memory")
        return above <= 0, spec_of(pod).get("priority") or 0, -above

    return sorted(pods, key=order)


def evictable(pod: Object) -> bool:
    """Critical pods (static, or of a system priority) are never evicted."""
    return not is_static(pod) and (spec_of(pod).get("priority") or 0) < critical_priority


class Evictor:
    """Watches the node's resources; one task."""

    def __init__(self, kit: Kit, pods: Pods, report: Callable[[Pressure], None]) -> None:
        self._kit = kit
        self._pods = pods
        self._report = report
        self._last: dict[str, float] = {}

    async def run(self) -> None:
        """Check whenever the kernel tells of memory pressure, and once per housekeeping period."""
        async with _memory_pressure() as pressed:
            while True:
                pressed.clear()
                short = False
                try:
                    short = await self._check()
                except (RuntimeFailure, OSError) as failure:
                    log.warning("cannot check node resources", extra={"error": str(failure)})
                pause = check_under_pressure_seconds if short else self._kit.settings.housekeeping_seconds
                await self._pause(pressed, pause)

    async def _pause(self, pressed: asyncio.Event, seconds: float) -> None:
        timer = asyncio.create_task(self._kit.clock.sleep(seconds))
        event = asyncio.create_task(pressed.wait())
        try:
            await asyncio.wait({timer, event}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            event.cancel()
            await asyncio.gather(timer, event, return_exceptions=True)

    async def _check(self) -> bool:
        """Measure, report, evict one pod where needed; whether anything is short (or was lately)."""
        settings = self._kit.settings
        memory = await asyncio.to_thread(memory_available_bytes, self._kit.cgroups.base("memory"))
        disk = await asyncio.to_thread(shutil.disk_usage, settings.root_dir)
        shortages = find_shortages(
            memory_available=memory,
            memory_threshold=settings.eviction_memory_available_bytes,
            disk_total=disk.total,
            disk_free=disk.free,
            disk_percent=settings.eviction_nodefs_available_percent,
        )
        now = self._kit.clock.monotonic()
        self._last.update({item.resource: now for item in shortages})
        lately = {key for key, moment in self._last.items() if now - moment < transition_seconds}
        self._report(Pressure(memory="memory" in lately, disk="ephemeral-storage" in lately))
        if shortages:
            await self._evict_one(shortages[0])
        return bool(lately)

    async def _evict_one(self, shortage: Shortage) -> None:
        usage: dict[str, int] = {}
        for item in await self._kit.runtime.container_stats():
            uid = item.sandbox_labels.get(POD_UID_LABEL, "")
            usage[uid] = usage.get(uid, 0) + item.memory_working_set_bytes
        workers = {item.uid: item for item in self._pods.workers if item.stage is Stage.SYNC and evictable(item.pod)}
        for pod in rank([item.pod for item in workers.values()], usage):
            self._evict(workers[uid_of(pod)], shortage, usage)
            return
        log.warning("node is short of a resource and no pod can be evicted", extra={"resource": shortage.resource})

    def _evict(self, worker: PodWorker, shortage: Shortage, usage: Mapping[str, int]) -> None:
        pod, text = worker.pod, shortage.message
        if shortage.resource == "memory":
            for container in spec_of(pod).get("containers") or ():
                wanted = ((container.get("resources") or {}).get("requests") or {}).get("memory", "0")
                used = usage.get(worker.uid, 0) // 1024
                text += f"Container {container['name']} was using {used}Ki, request is {wanted}. "
        log.warning("evicting pod", extra={"pod": worker.uid, "quality": qos_class(pod), "signal": shortage.signal})
        note_pod(self._kit.recorder, pod, "Warning", "Evicted", text)
        self._kit.metrics.evictions.labels(shortage.signal).inc()
        worker.evict(Verdict("Evicted", text, disruption=True), grace=1)


@asynccontextmanager
async def _memory_pressure() -> AsyncIterator[asyncio.Event]:
    """An event that the kernel sets when tasks stall for memory; never set where PSI is missing."""
    pressed, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        descriptor = os.open(PSI, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        yield pressed
        return
    poll = select.epoll()
    try:
        try:
            os.write(descriptor, psi_trigger)
            # PSI signals by EPOLLPRI, which event loops do not offer: an epoll of our own does, and is
            # itself readable when it has something to tell.
            poll.register(descriptor, select.EPOLLPRI)
        except OSError as error:
            log.debug("no memory pressure events", extra={"error": str(error)})
            yield pressed
            return

        def signalled() -> None:
            poll.poll(0)
            pressed.set()

        loop.add_reader(poll.fileno(), signalled)
        yield pressed
    finally:
        loop.remove_reader(poll.fileno())
        poll.close()
        os.close(descriptor)
