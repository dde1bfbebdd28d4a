"""Faults of the SQLite engine's world: killed processes, full disks, damaged, foreign and locked files."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore.sqlite import SqliteSettings, open_sqlite
from minikube_py.datastore.types import KeyExists, StoreCorrupt, StoreLocked, StoreUnavailable

_WRITER = """
import asyncio, sys, time
from pathlib import Path
from minikube_py.datastore.sqlite import open_sqlite

class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)

async def write(store, name):
    n, record = 0, None
    while True:
        key = f"/{name}/{n:06}"
        record = await store.create(key, key.encode() * 20)
        sys.stdout.write(f"{key} {record.mod_revision}\\n")
        n += 1

async def main():
    store = await open_sqlite(Path(sys.argv[1]), clock=Clock())
    async with asyncio.TaskGroup() as tasks:
        for name in range(8):
            tasks.create_task(write(store, name))
        while True:
            await asyncio.sleep(0.001)
            sys.stdout.flush()

asyncio.run(main())
"""


def write_until_killed(path: Path, *, name: str, after: int) -> dict[str, int]:
    """Run eight writers in a process of its own and kill it after some acknowledgements; returns all of them."""
    script = _WRITER.replace('f"/{name}/', f'f"/{name}/{{name}}/')
    acknowledged: dict[str, int] = {}
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if not line.endswith("\n"):
                break
            key, revision = line.split()
            acknowledged[key] = int(revision)
            if len(acknowledged) == after:
                process.send_signal(signal.SIGKILL)
    process.wait()
    return acknowledged


async def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "state.db"
    acknowledged: dict[str, int] = {}
    for round_ in range(3):
        acknowledged |= await asyncio.to_thread(
            write_until_killed, path, name=f"round{round_}", after=200 + 150 * round_
        )
    store = await open_sqlite(path, clock=clock)
    found = {record.key: record.mod_revision for record in store.current("/")}
    values = {record.key: record.value for record in store.current("/")}
    await store.close()
    assert acknowledged.items() <= found.items()
    assert all(value == key.encode() * 20 for key, value in values.items())
    assert len(set(found.values())) == len(found)


async def test_a_second_opening_is_refused(tmp_path: Path, clock: Any) -> None:
    store = await open_sqlite(tmp_path / "s.db", clock=clock)
    with pytest.raises(StoreLocked, match=f"in use by process {os.getpid()}"):
        await open_sqlite(tmp_path / "s.db", clock=clock)
    await store.create("/a", b"")
    await store.close()


async def test_a_foreign_database_is_left_alone(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE log (id INTEGER)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="another program"):
        await open_sqlite(path, clock=clock)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "s.db"
    await (await open_sqlite(path, clock=clock)).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StoreCorrupt, match="newer release"):
        await open_sqlite(path, clock=clock)


async def test_a_file_that_is_no_database_is_named(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"certainly not a database " * 400)
    with pytest.raises(StoreCorrupt, match="not a database"):
        await open_sqlite(path, clock=clock)
    assert path.read_bytes() == b"certainly not a database " * 400


async def test_a_damaged_page_is_found(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "s.db"
    store = await open_sqlite(path, clock=clock)
    await asyncio.gather(*(store.create(f"/k/{n}", b"x" * 500) for n in range(200)))
    await store.close()
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    with pytest.raises(StoreCorrupt, match="restore a snapshot"):
        await open_sqlite(path, clock=clock)


async def test_a_missing_directory_is_made_and_an_impossible_one_is_named(tmp_path: Path, clock: Any) -> None:
    await (await open_sqlite(tmp_path / "new" / "s.db", clock=clock)).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="check the path"):
        await open_sqlite(tmp_path / "file" / "s.db", clock=clock)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mountpoint = tmp_path / "disk"
    mountpoint.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mountpoint)], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True)


async def test_a_full_disk_refuses_writes_until_there_is_space(small_disk: Path, clock: Any) -> None:
    store = await open_sqlite(small_disk / "s.db", clock=clock)
    await store.create("/beat", b"0")
    beat = await store.update("/beat", b"1", expected_revision=2, volatile=True)
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        file.write(b"x" * 1_000_000)
    watch = store.watch("/", start_revision=4)
    written, refused = 0, None
    while refused is None:
        try:
            await store.create(f"/k/{written:04}", b"x" * 20_000)
            written += 1
        except StoreUnavailable as failure:
            refused = failure
        assert written < 200
    assert "free space" in str(refused)
    newest = store.current_revision
    assert await store.count("/k/") == written
    beat = await store.update("/beat", b"2", expected_revision=beat.mod_revision, volatile=True)
    assert beat.mod_revision == newest + 1
    filler.unlink()
    record = await store.create("/after", b"x" * 20_000)
    assert record.mod_revision == newest + 2
    revisions: list[int] = []
    while len(revisions) < written + 2:
        revisions += [change.revision for change in await watch.__anext__()]
    assert revisions == list(range(4, newest + 3))
    await store.close()
    store = await open_sqlite(small_disk / "s.db", clock=clock)
    assert (await store.count("/k/"), store.current_revision) == (written, newest + 2)
    await store.close()


class Brake:
    """Holds the writer's thread at its next job until it is released."""

    def __init__(self, store: Any) -> None:
        self._gate = threading.Event()
        store._disk.submit(lambda connection: self._gate.wait(30), lambda result, error: None)

    def release(self) -> None:
        self._gate.set()


async def test_a_stalled_disk_answers_writers_and_reads_go_on(
    tmp_path: Path, clock: Any, until: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    store = await open_sqlite(tmp_path / "s.db", clock=clock, settings=SqliteSettings(stall_seconds=0.05))
    first = await store.create("/a", b"1")
    brake = Brake(store)
    with pytest.raises(StoreUnavailable, match="outcome"):
        await store.update("/a", b"2", expected_revision=first.mod_revision)
    assert await store.get("/a") == first
    with pytest.raises(StoreUnavailable, match="reads go on"):
        await store.create("/b", b"1")
    watch = store.watch("/", start_revision=3)
    brake.release()
    changes = await watch.__anext__()  # it was written after all, and is published
    assert [(c.record.key, c.record.value, c.revision) for c in changes] == [("/a", b"2", 3)]
    await until(lambda: not store._writer._stalled)
    assert (await store.create("/b", b"1")).mod_revision == 4
    await store.close()


async def test_a_verdict_waits_for_the_write_that_it_rests_on(tmp_path: Path, clock: Any) -> None:
    """A writer refused because of a write that is still on its way is answered when that one is settled."""
    store = await open_sqlite(tmp_path / "s.db", clock=clock)
    brake = Brake(store)
    first = asyncio.create_task(store.create("/a", b"1"))
    second = asyncio.create_task(store.create("/a", b"2"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not first.done() and not second.done()
    assert await store.get("/a") is None
    brake.release()
    record = await first
    with pytest.raises(KeyExists) as refused:
        await second
    assert refused.value.current == record
    await store.close()
