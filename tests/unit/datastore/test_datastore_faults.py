"""Faults of the SQLite engine's world: killed processes, full disks, damaged, foreign and locked files."""

from __future__ import annotations

import asyncio
import contextlib
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

from minikube_py.datastore.sqlite import log, open_sqlite
from minikube_py.datastore.types import KeyExists, StoreCorrupt, StoreLocked, StoreUnavailable

Until = Callable[[Callable[[], bool]], Awaitable[None]]

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
    for round_ in range(int(os.environ.get("PYK3S_KILL_ROUNDS", "3"))):  # hundreds for a night
        acknowledged |= await asyncio.to_thread(
            write_until_killed, path, name=f"round{round_}", after=50 + 150 * (round_ % 4)
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


async def test_a_full_disk_refuses_writes_until_there_is_space(
    small_disk: Path, clock: Any, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    monkeypatch.setattr("minikube_py.datastore.sqlite.writer._PROBE_SECONDS", 0.001)
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
    assert "free space" in store.stall
    filler.unlink()
    await until(lambda: not store.stall)  # nobody has to write for it to be noticed
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


_HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


async def test_another_program_that_locks_the_file_delays_or_fails_writes(
    tmp_path: Path, clock: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minikube_py.datastore.sqlite.file._BUSY_SECONDS", 0.05)
    path = tmp_path / "s.db"
    store = await open_sqlite(path, clock=clock)
    first = await store.create("/a", b"1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdin is not None
    assert await process.stdout.readline() == b"held\n"
    with pytest.raises(StoreUnavailable, match="another program has the file open"):
        await store.create("/b", b"1")
    assert await store.get("/a") == first and "another program" in store.stall
    await process.communicate(b"\n")
    assert (await store.create("/b", b"1")).mod_revision == first.mod_revision + 1
    assert not store.stall
    await store.close()


_SECOND = """
import asyncio, sys
from pathlib import Path
from minikube_py.client.clock import SystemClock
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.datastore.types import StoreLocked

async def main():
    try:
        await open_sqlite(Path(sys.argv[1]), clock=SystemClock())
    except StoreLocked as refused:
        print(refused)

asyncio.run(main())
"""


async def test_a_second_process_is_refused_and_harms_nothing(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "s.db"
    store = await open_sqlite(path, clock=clock)
    record = await store.create("/a", b"1")
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _SECOND, str(path)], capture_output=True, text=True, check=True
    )
    assert f"in use by process {os.getpid()}" in done.stdout
    assert (await store.update("/a", b"2", expected_revision=record.mod_revision)).version == 2
    await store.close()


async def test_a_page_that_is_damaged_while_the_store_is_open(tmp_path: Path, clock: Any, until: Until) -> None:
    """What is in memory is served on, the damage is named, and housekeeping does not end."""
    path = tmp_path / "s.db"
    store = await open_sqlite(path, clock=clock)
    records = await asyncio.gather(*(store.create(f"/k/{n:03}", b"x" * 900) for n in range(300)))
    first = records[0]
    await asyncio.gather(*(store.update(r.key, b"y" * 900, expected_revision=r.mod_revision) for r in records))
    await store._disk.call(log.empty_wal)
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(StoreCorrupt, match="restore a snapshot"):
        await store.range("/", revision=first.mod_revision + 5)
    assert await store.count("/k/") == 300
    assert (await store.get("/k/007")) == store.current("/k/007")[0]
    housekeeping = asyncio.create_task(store.run())
    await until(lambda: clock.sleepers > 0)
    for _ in range(3):
        clock.advance(400)
        await asyncio.sleep(0.01)
    assert not housekeeping.done()
    housekeeping.cancel()
    await asyncio.wait({housekeeping})
    with contextlib.suppress(StoreCorrupt, StoreUnavailable):
        await store.close()
    with pytest.raises(StoreCorrupt, match="restore a snapshot"):
        await open_sqlite(path, clock=clock)


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9])
async def test_a_clock_that_jumps_neither_ends_nor_prolongs_leases(
    tmp_path: Path, clock: Any, until: Until, jump: float
) -> None:
    store = await open_sqlite(tmp_path / "s.db", clock=clock)
    housekeeping = asyncio.create_task(store.run())
    lease = await store.grant_lease(10)
    await store.create("/a", b"1", lease=lease)
    await until(lambda: clock.sleepers >= 1)
    now = clock.now
    clock.now = lambda: now() + jump  # the wall's clock is set; monotonic time goes on
    clock.advance(4)
    await asyncio.sleep(0.005)
    assert (await store.lease_status(lease)).remaining_seconds == 6 and store.current("/")
    for _ in range(3):
        await until(lambda: clock.sleepers >= 1 or not store.current("/"))
        clock.advance(5)
    await until(lambda: not store.current("/"))
    housekeeping.cancel()
    await asyncio.wait({housekeeping})
    await store.close()
