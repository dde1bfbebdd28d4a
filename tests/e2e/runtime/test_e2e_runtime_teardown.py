"""Nothing is left of a containerd that is taken away, however it ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from runtime_suite import Bench

from minikube_py.client.clock import SystemClock
from minikube_py.components.kubelet.runtime.containerd_config import ContainerdSettings
from minikube_py.components.kubelet.runtime.teardown import remove_containerd


def traces(settings: ContainerdSettings) -> list[str]:
    """Mounts and processes that name the settings' folders."""
    base = str(settings.root.parents[2])
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if base in line]
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if base in command:
                mounts.append(command)
    return mounts


@pytest.mark.parametrize("unclean", [False, True], ids=["running", "runtime killed"])
async def test_pods_mounts_processes_and_folders_go(bench: Bench, settings: ContainerdSettings, unclean: bool) -> None:
    await bench.started(bench.pod())
    await bench.started(bench.pod())
    bench.sandboxes.clear()
    assert len([trace for trace in traces(settings) if "/netns/" in trace]) == 2
    if unclean:
        os.kill(int(settings.pid_file.read_text()), signal.SIGKILL)
    await remove_containerd(settings, SystemClock())
    assert traces(settings) == []
    assert not settings.root.exists() and not settings.state.exists()
    await remove_containerd(settings, SystemClock())
