"""``pyk3s datastore`` on files of its own: what it prints, and its one line when something is wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py.client.clock import SystemClock
from minikube_py.datastore.endpoints import open_endpoint


def pyk3s(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minikube_py.cli", "datastore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """A store with one key of three revisions."""
    made = f"sqlite:///{tmp_path}/state.db"

    async def fill() -> None:
        store = await open_endpoint(made, clock=SystemClock())
        record = await store.create("/registry/a", b"1", client="tester")
        for value in (b"2", b"3"):
            record = await store.update("/registry/a", value, expected_revision=record.mod_revision, client="tester")
        await store.close()

    asyncio.run(fill())
    return made


def test_check_stats_top_compact(endpoint: str) -> None:
    check = pyk3s("check", "--datastore-endpoint", endpoint)
    assert check.returncode == 0
    assert "no damage found" in check.stdout
    stats = pyk3s("stats", "--datastore-endpoint", endpoint).stdout
    assert "keys:             1\n" in stats
    assert "superseded rows:  2" in stats
    top = pyk3s("top", "--datastore-endpoint", endpoint).stdout
    assert "/registry/a" in top
    assert "tester" in top
    assert "compacted to revision 4" in pyk3s("compact", "--datastore-endpoint", endpoint).stdout
    assert "superseded rows:  0" in pyk3s("stats", "--datastore-endpoint", endpoint).stdout


def test_migrate_keeps_revisions(endpoint: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/other.db"
    assert "up to revision 4" in pyk3s("migrate", endpoint, target).stdout
    assert "revision:         4\n" in pyk3s("stats", "--datastore-endpoint", target).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["stats", "--datastore-endpoint", "mysql://h/x"], "use sqlite:///PATH", id="unknown engine"),
        pytest.param(["stats", "--datastore-endpoint", "sqlite:////no/such/file"], "/no/such/file", id="no file"),
        pytest.param(["serve", "--etcd-listen", "x:1", "--cert-file", __file__], "belong together", id="half of TLS"),
        pytest.param(["serve"], "--etcd-listen", id="serve without an address"),
    ],
)
def test_one_line(arguments: list[str], says: str) -> None:
    done = pyk3s(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.startswith("pyk3s: ") and done.stderr.count("\n") == 1
