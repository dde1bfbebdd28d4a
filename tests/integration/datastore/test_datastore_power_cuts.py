"""Power cuts: at 1,000 moments of a busy life, what the disk may hold then must be a datastore that lost nothing.

A shim records every write, truncation and sync of the store's files, and every acknowledgement, in
order. A cut at any point leaves each file as of its last sync, plus any part of what was written
since: each sector of 512 bytes of each later write may have reached the disk or not (torn and
reordered writes). Each such image is opened and checked. The life has stalls of the disk in it, during
which heartbeats overtake what hangs.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore import tools
from minikube_py.datastore.rows import revision_of
from minikube_py.datastore.sqlite import open_sqlite

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler for the recording shim"),
    pytest.mark.timeout(300),
]

_CUTS = 1000
_SECTOR = 512
_ROOT = Path(__file__).resolve().parents[3]

_WORKLOAD = """
import asyncio, os, sys, threading, time
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from minikube_py.datastore.sqlite import checkpoints, open_sqlite
from minikube_py.datastore.sqlite.overtaking import Move
from minikube_py.datastore.transactions import Put, Transaction
from minikube_py.datastore.types import StoreUnavailable

checkpoints._DUE_PAGES = 60  # many of them, amid everything else

class Clock:
    now, monotonic, sleep = time.time, time.monotonic, asyncio.sleep

def tell(key, revision, what="written"):
    os.write(1, f"{key} {revision} {what}\\n".encode())

def text(key, version):
    return (f"{key}:{version};" * 40).encode()

def carry_out(move, connection, meta, real=Move.carry_out):
    real(move, connection, meta)
    tell("/", move.last + move.by, "moved")

Move.carry_out = carry_out

async def trying(step, store, rounds, *arguments):
    for n in range(rounds):
        try:
            await step(store, n, *arguments)
        except StoreUnavailable:
            await asyncio.sleep(0.005)

async def write(store, n, name):
    key = f"/{name}/{n % 7}"
    before = await store.get(key)
    if before is None:
        record = await store.create(key, text(key, 1))
    elif n % 11 == 10:
        gone = await store.delete(key)
        tell(key, gone.mod_revision, "deleted")
        return
    else:
        record = await store.update(key, text(key, before.version + 1), expected_revision=before.mod_revision)
    tell(key, record.mod_revision)

async def pair(store, n):
    done = await store.transact(Transaction(success=[Put("/pair/1", b"%d" % n), Put("/pair/2", b"%d" % n)]))
    tell("/pair/1", done.revision)

async def beat(store, n):
    record = await store.get("/beat")
    record = await store.update("/beat", b"0", expected_revision=record.mod_revision, volatile=True)
    tell("/beat", record.mod_revision, "volatile")
    await asyncio.sleep(0.0005)

async def stall(store, rounds):
    patience = store._writer._stall_seconds
    for n in range(rounds):
        await asyncio.sleep(0.02)
        gate = threading.Event()
        store._disk.submit(lambda connection: gate.wait(5), lambda result, error: None)
        store._writer._stall_seconds = 0.01
        await asyncio.sleep(0.03)
        store._writer._stall_seconds = patience
        gate.set()
        while store.stall:
            await asyncio.sleep(0.001)

async def compact(store, rounds):
    for n in range(rounds):
        await asyncio.sleep(0.02)
        if store.current_revision - 20 > store.compacted_revision and not store.stall:
            try:
                await store.compact(store.current_revision - 20)
                await store.give_back_space()
            except StoreUnavailable:  # a stall began
                continue

async def main():
    store = await open_sqlite(Path(sys.argv[2]), clock=Clock)
    await store.create("/beat", b"0", volatile=True)
    async with asyncio.TaskGroup() as tasks:
        for name in range(6):
            tasks.create_task(trying(write, store, 120, name))
        tasks.create_task(trying(pair, store, 120))
        tasks.create_task(trying(beat, store, 400))
        tasks.create_task(compact(store, 20))
        tasks.create_task(stall(store, 5))
    await store.close()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Operation:
    kind: str
    name: str
    offset: int
    data: bytes


@dataclass
class File:
    """``synced`` is certain; ``pending`` may be on the disk, or parts of it."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def sync(self) -> None:
        for operation in self.pending:
            _apply(self.synced, operation)
        self.pending.clear()

    def after_a_cut(self, chance: random.Random, keep: float) -> bytes:
        image = bytearray(self.synced)
        for operation in self.pending:
            if operation.kind == "T":
                if chance.random() < keep:
                    _apply(image, operation)
                continue
            at = 0
            while at < len(operation.data):  # up to the next boundary of a sector
                size = _SECTOR - (operation.offset + at) % _SECTOR
                if chance.random() < keep:
                    part = operation.data[at : at + size]
                    _apply(image, Operation("W", operation.name, operation.offset + at, part))
                at += size
        return bytes(image)


def _apply(image: bytearray, operation: Operation) -> None:
    if operation.kind == "T":
        del image[operation.offset :]
        image.extend(bytes(operation.offset - len(image)))
        return
    end = operation.offset + len(operation.data)
    if len(image) < end:
        image.extend(bytes(end - len(image)))
    image[operation.offset : end] = operation.data


def recorded(path: Path) -> Iterator[Operation]:
    with path.open("rb") as notes:
        while head := notes.read(2):
            name = notes.read(head[1]).decode()
            offset, size = struct.unpack("<qq", notes.read(16))
            yield Operation(chr(head[0]), name, offset, notes.read(size) if head[0] in b"WA" else b"")


def live_a_busy_life(folder: Path) -> list[Operation]:
    """Run the workload under the shim; returns what it did."""
    shim, notes, store = folder / "recorder.so", folder / "notes", folder / "store"
    store.mkdir()
    source = Path(__file__).with_name("write_recorder.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", shim, source, "-ldl", "-lpthread"], check=True)
    subprocess.run(
        [sys.executable, "-c", _WORKLOAD, str(_ROOT), str(store / "state.db")],
        check=True,
        stdout=subprocess.DEVNULL,
        env={"LD_PRELOAD": str(shim), "RECORD_PREFIX": f"{store}/", "RECORD_TO": str(notes)},
    )
    return list(recorded(notes))


async def test_a_thousand_power_cuts_lose_nothing(tmp_path: Path, clock: Any) -> None:
    operations = await asyncio.to_thread(live_a_busy_life, tmp_path)
    assert sum(operation.kind == "S" for operation in operations) > 100
    chance = random.Random(1)
    cuts = sorted(chance.choices(range(1, len(operations)), k=_CUTS))
    files: dict[str, File] = {}
    acknowledged: dict[str, tuple[int, bool]] = {}
    newest = at = moved = 0
    for number, cut in enumerate(cuts):
        for operation in operations[at:cut]:
            if operation.kind == "A":
                key, revision, what = operation.data.decode().split()
                if what == "moved":
                    moved += 1
                    continue
                newest = max(newest, int(revision))
                if what != "volatile":
                    acknowledged[key] = int(revision), what == "deleted"
            elif operation.kind == "U":
                files.pop(operation.name, None)
            elif operation.kind == "S":
                files.setdefault(operation.name, File()).sync()
            else:
                files.setdefault(operation.name, File()).pending.append(operation)
        at = cut
        folder = tmp_path / f"cut{number}"
        await asyncio.to_thread(_write_images, folder, files, chance)
        try:
            await check(folder / "state.db", acknowledged, newest, clock, deep=number % 20 == 0)
        except BaseException as failure:
            failure.add_note(f"power cut {number}, before operation {cut}: {operations[cut]!r:.120}")
            raise
        await asyncio.to_thread(shutil.rmtree, folder)
    assert len(acknowledged) > 40 and moved > 1


def _write_images(folder: Path, files: dict[str, File], chance: random.Random) -> None:
    folder.mkdir()
    keep = chance.choice([0.0, 0.5, 0.9, 1.0])
    for name, file in files.items():
        (folder / name).write_bytes(file.after_a_cut(chance, keep))


async def check(path: Path, acknowledged: dict[str, tuple[int, bool]], newest: int, clock: Any, *, deep: bool) -> None:
    """Open what the cut left: every acknowledged write is there, none is half there, revisions don't go back."""
    store = await open_sqlite(path, clock=clock)
    try:
        assert store.current_revision >= newest
        heads = {row[1]: revision_of(row[0]) async for rows in store.rows() for row in rows}
        for key, (revision, deleted) in acknowledged.items():
            found = heads.get(key)
            assert found is not None or deleted, f"{key} at {revision} is lost"
            assert found is None or found >= revision, f"{key} at {revision} is lost, there is only {found}"
        for record in store.current("/"):
            if record.key.split("/")[1].isdigit():
                assert record.value == f"{record.key}:{record.version};".encode() * 40
        assert len({(record.value, record.mod_revision) for record in store.current("/pair/")}) <= 1
        written = await store.create("/after the cut", b"1")
        assert written.mod_revision > newest
    finally:
        await store.close()
    if deep:
        assert (await tools.check(f"sqlite:///{path}")).findings == []
