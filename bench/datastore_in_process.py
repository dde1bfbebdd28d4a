"""What ``bench/datastore`` measures in process, which is how the API server uses the datastore (on SQLite)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.datastore.sqlite import SqliteDatastore, open_sqlite

ROOT = Path(__file__).resolve().parent.parent
_LATENCY_WRITES = 2000
_HEARTBEAT_SECONDS = 10.0


class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)


@dataclass(frozen=True, slots=True)
class Found:
    """``median`` and ``late`` (99th percentile) in seconds, ``growth`` and ``live`` in bytes."""

    creates: float
    median: float
    late: float
    growth: int
    live: int


async def measured(folder: Path, seconds: float) -> Found:
    async with opened(folder / "in-process.db") as store:
        creates = await creates_per_second(store, seconds)
    async with opened(folder / "latency.db") as store:
        median, late = await event_latency(store, seconds)
    growth, live = await memory(folder / "memory.db")
    return Found(creates, median, late, growth, live)


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteDatastore]:
    store = await open_sqlite(path, clock=Clock())
    housekeeping = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        housekeeping.cancel()
        await asyncio.gather(housekeeping, return_exceptions=True)
        await store.close()


async def creates_per_second(store: SqliteDatastore, seconds: float) -> float:
    """In batches of 256 of 500 bytes."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        keys = (f"/registry/pods/default/{count + n:08}" for n in range(256))
        await asyncio.gather(*(store.create(key, b"x" * 500) for key in keys))
        count += 256
    return count / (time.perf_counter() - began)


async def event_latency(store: SqliteDatastore, seconds: float) -> tuple[float, float]:
    """From the call of a write to the watcher, at 2,000 writes a second."""
    watch = store.watch("/", start_revision=store.current_revision + 1)
    total = int(_LATENCY_WRITES * seconds)
    found: list[float] = []

    async def follow() -> None:
        while len(found) < total:
            changes = await watch.__anext__()
            found.extend(time.perf_counter() - float(change.record.value) for change in changes)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        began = time.perf_counter()
        for n in range(total):
            ahead = began + n / _LATENCY_WRITES - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            tasks.create_task(store.create(f"/k/{n}", repr(time.perf_counter()).encode()))
    found.sort()
    return found[len(found) // 2], found[int(len(found) * 0.99)]


async def memory(path: Path) -> tuple[int, int]:
    """What a store of 20,000 keys of 1 kB adds to a fresh process, and the bytes of its keys and values."""
    async with opened(path) as store:
        for at in range(0, 20_000, 1000):
            keys = (f"/registry/pods/default/{at + n:08}" for n in range(1000))
            await asyncio.gather(*(store.create(key, os.urandom(1000)) for key in keys))
        live = sum(len(record.key) + len(record.value) for record in store.current(""))
    return int(await _fresh_process("memory", path)), live


async def idle_bytes(path: Path, seconds: float) -> float:
    """Bytes a minute that a store writes to the disk for the heartbeats of one node."""
    return float(await _fresh_process("idle", path, str(seconds)))


async def _fresh_process(*arguments: str | Path) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *map(str, arguments), stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


async def _grown(path: Path) -> int:
    before = _resident_bytes()
    store = await open_sqlite(path, clock=Clock())
    grown = _resident_bytes() - before
    await store.close()
    return grown


async def _idle(path: Path, seconds: float) -> float:
    async with opened(path) as store:
        record = await store.create("/registry/leases/kube-node-lease/node", b"x" * 400, volatile=True)
        before, began = _written_bytes(), time.monotonic()
        while time.monotonic() - began < seconds:
            await asyncio.sleep(min(_HEARTBEAT_SECONDS, seconds))
            record = await store.update(record.key, b"y" * 400, expected_revision=record.mod_revision, volatile=True)
        return (_written_bytes() - before) / (time.monotonic() - began) * 60


def _resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def _written_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


if __name__ == "__main__":
    what, file, *rest = sys.argv[1:]
    work = _grown(Path(file)) if what == "memory" else _idle(Path(file), float(rest[0]))
    print(json.dumps(asyncio.run(work)))
