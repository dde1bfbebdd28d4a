"""Many updates of few keys with default settings: the file follows the live data, and writers hardly wait for that.

``bench/datastore_churn.py`` is the same with a million updates on the wall's clock; figures in docs/datastore.md.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))

import datastore_churn

from minikube_py.datastore.upkeep import Garbage

_SPEED = 6.0


class FastClock:
    """A minute of it is ten seconds."""

    now = staticmethod(time.time)

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() * _SPEED

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / _SPEED)


async def test_a_flood_of_updates_leaves_a_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # How soon it is small is the benchmark's to say: a slow machine gets all the time that it needs.
    monkeypatch.setattr(datastore_churn, "SETTLE_SECONDS", (0, 5, 10, 20, 30, 45, 60, 120, 240, 480))
    options = argparse.Namespace(updates=80_000, keys=1000, value_bytes=1000, writers=64)
    found = await datastore_churn.measure(options, tmp_path, FastClock)
    assert found["updates"] >= 79_000
    assert found["largest_over_live"] < 80  # the history that is afforded in a flood, and what is being swept
    assert min(found["after"].values()) < 3
    assert found["jobs_ahead"] <= 2  # a write waits for a step of the compaction and the end of a checkpoint at most


@pytest.mark.parametrize(
    ("rows", "live", "heavy", "flooded"),
    [(1000, 1000, False, False), (1701, 1000, True, False), (25_000, 1000, True, False), (25_001, 1000, True, True)],
)
def test_what_counts_as_garbage(rows: int, live: int, heavy: bool, flooded: bool) -> None:
    garbage = Garbage(rows, live)
    assert (garbage.heavy, garbage.flooded) == (heavy, flooded)


_MEMORY = """
import asyncio, gc, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from minikube_py.client.clock import SystemClock
from minikube_py.datastore.sqlite import open_sqlite

def resident():
    gc.collect()
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith(sys.argv[5]))

async def main():
    size, count, path = int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    if not path.exists():
        store = await open_sqlite(path, clock=SystemClock())
        for first in range(0, count, 500):
            await asyncio.gather(*(
                store.create(f"/registry/configmaps/default/{n:08}", (f"{n:08}" * (size // 8)).encode())
                for n in range(first, min(count, first + 500))
            ))
        await store.close()
        return
    before = resident()
    store = await open_sqlite(path, clock=SystemClock())
    live = sum(len(r.key) + len(r.value) for r in store.current(""))
    print(live, resident() - before)
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("value_bytes", [200, 1000])
def test_memory_is_at_most_twice_the_live_data_and_20_mb(tmp_path: Path, value_bytes: int) -> None:
    """At its peak too (VmHWM), with small objects too, after a start on a full file."""
    root, count = Path(__file__).resolve().parents[3], 40_000_000 // value_bytes
    arguments = [str(root), str(value_bytes), str(count), str(tmp_path / "s.db")]

    def run(field: str) -> list[int]:
        command = [sys.executable, "-c", _MEMORY, *arguments, field]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return [int(word) for word in done.stdout.split()]

    run("VmRSS")
    for field in ("VmRSS", "VmHWM"):
        live, used = run(field)
        assert live >= 40_000_000
        assert used <= 2 * live + 20_000_000, field
