"""A start of containerd that is cancelled leaves no process, whatever it was doing.

containerd's part is played by a program that never answers, so that every start is still under way when it is ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.clock import SystemClock
from minikube_py.components.kubelet.runtime import containerd
from minikube_py.components.kubelet.runtime.containerd_config import (
    ContainerdSettings,
    Machine,
    containerd_settings,
    render_config,
)

_longest_wait_seconds = 60.0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    program, never = tmp_path / "containerd", tmp_path / "never"
    os.mkfifo(never)
    program.write_text(f"#!/bin/sh\nread line < {never}\n")  # waits without a process of its own
    program.chmod(0o755)
    return Machine(str(program), "/usr/lib/cni", "native", may_lower_oom_score=False, has_apparmor=False)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[ContainerdSettings]:
    with tempfile.TemporaryDirectory() as short:  # for the length of sockets' paths
        yield containerd_settings(tmp_path / "data", Path(short))


def processes_of(settings: ContainerdSettings) -> list[int]:
    """The processes that have the configuration among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(settings.config_file).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


async def until_started(settings: ContainerdSettings) -> int:
    async with asyncio.timeout(_longest_wait_seconds):
        while True:  # the file is there before its text
            if settings.pid_file.exists() and (text := settings.pid_file.read_text()).endswith("\n"):
                return int(text)
            await asyncio.sleep(0.01)


async def end(task: asyncio.Task[containerd.ContainerdProcess]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_containerd_does_not_answer_yet(settings: ContainerdSettings, machine: Machine) -> None:
    starting = asyncio.create_task(containerd.start_containerd(settings, machine, SystemClock()))
    pid = await until_started(settings)
    assert processes_of(settings) == [pid]
    await end(starting)
    assert processes_of(settings) == []
    assert not settings.pid_file.exists()


async def test_cancelled_while_the_process_is_being_made(
    settings: ContainerdSettings, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    start, started = containerd._start, []

    def held(settings: ContainerdSettings, machine: Machine) -> containerd.ContainerdProcess:
        entered.set()
        assert go_on.wait(_longest_wait_seconds)
        started.append(start(settings, machine))
        return started[0]

    monkeypatch.setattr(containerd, "_start", held)
    starting = asyncio.create_task(containerd.start_containerd(settings, machine, SystemClock()))
    assert await asyncio.to_thread(entered.wait, _longest_wait_seconds)
    starting.cancel()
    await asyncio.sleep(0)  # the cancellation arrives before the process is there
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(started) == 1
    assert processes_of(settings) == []
    assert not settings.pid_file.exists()


async def test_cancelled_while_one_is_being_adopted(
    settings: ContainerdSettings, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    answers = containerd._answers

    async def noted(*arguments: Any, **named: Any) -> bool:
        asked.set()
        return await answers(*arguments, **named)

    monkeypatch.setattr(containerd, "_answers", noted)
    await asyncio.to_thread(containerd._write_files, settings, render_config(settings, machine))
    left = await asyncio.to_thread(containerd._start, settings, machine)
    assert left.child is not None
    adopting = asyncio.create_task(containerd.start_containerd(settings, machine, SystemClock()))
    try:
        await asyncio.wait_for(asked.wait(), _longest_wait_seconds)
        await end(adopting)
        assert await asyncio.to_thread(left.child.wait, _longest_wait_seconds) == -signal.SIGTERM
    finally:
        await left.stop(SystemClock())
    assert not settings.pid_file.exists()
