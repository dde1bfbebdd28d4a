"""The shared cases against a real containerd, and what only the real one can show."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_suite import *  # noqa: F403 - the shared cases
from runtime_suite import Bench

from minikube_py.client.clock import SystemClock
from minikube_py.components.kubelet.runtime.containerd import start_containerd
from minikube_py.components.kubelet.runtime.containerd_config import ContainerdSettings, probe_machine
from minikube_py.components.kubelet.runtime.cri import CriRuntime
from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE
from minikube_py.components.kubelet.runtime.types import (
    ContainerSecurity,
    ContainerState,
    NamespaceMode,
    NamespaceOptions,
    RuntimeFailure,
)


async def test_a_commands_output_and_exit_code_come_back(bench: Bench) -> None:
    _, container_id = await bench.started(bench.pod())
    command = ["sh", "-c", "echo $COLOUR; echo oops >&2; exit 4"]
    result = await bench.runtime.exec_sync(container_id, command, timeout_seconds=30)
    assert (result.stdout, result.stderr, result.exit_code) == (b"blue\n", b"oops\n", 4)


async def test_a_command_that_takes_too_long_is_ended(bench: Bench) -> None:
    _, container_id = await bench.started(bench.pod())
    with pytest.raises(RuntimeFailure) as caught:
        await bench.runtime.exec_sync(container_id, ["sleep", "60"], timeout_seconds=1)
    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_the_generated_sandbox_program_reaps_orphans(bench: Bench) -> None:
    """In a shared process namespace the sandbox's program is the parent of orphans."""
    shared = NamespaceOptions(pid=NamespaceMode.POD)
    pod = bench.pod(namespaces=shared)
    sandbox_id = await bench.sandbox(pod)
    config = replace(bench.container(pod), security=ContainerSecurity(namespaces=shared))
    container_id = await bench.runtime.create_container(sandbox_id, config, pod)
    await bench.runtime.start_container(container_id)
    await bench.runtime.exec_sync(container_id, ["sh", "-c", "(sleep 0.05 &) ; true"], timeout_seconds=30)
    script = "sleep 0.2; cat /proc/1/comm; cat /proc/[0-9]*/stat"
    seen = await bench.runtime.exec_sync(container_id, ["sh", "-c", script], timeout_seconds=30)
    lines = seen.stdout.decode().splitlines()
    assert lines[0] == "pause"
    assert not [line for line in lines[1:] if ") Z " in line]


async def test_the_sandbox_image_is_pinned(bench: Bench) -> None:
    image = await bench.runtime.image_status(PAUSE_IMAGE)
    assert image is not None and image.pinned


async def test_the_kernel_knows_the_limits(bench: Bench) -> None:
    _, container_id = await bench.started(bench.pod())
    await bench.runtime.update_resources(container_id, Resources(memory_limit_bytes=32 << 20))  # noqa: F405
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"
    seen = await bench.runtime.exec_sync(container_id, ["sh", "-c", script], timeout_seconds=30)
    assert int(seen.stdout.split()[0]) == 32 << 20


async def test_pods_survive_a_killed_containerd_and_the_next_one_knows_them(
    bench: Bench, settings: ContainerdSettings
) -> None:
    """The fixture's component only sees its containerd end; a new one is started here."""
    _, container_id = await bench.started(bench.pod())
    os.kill(int(settings.pid_file.read_text()), signal.SIGKILL)
    clock = SystemClock()
    machine = await asyncio.to_thread(probe_machine, settings)
    await until(lambda: not settings.pid_file.exists())  # noqa: F405 - the component cleans up after it
    process = await start_containerd(settings, machine, clock)
    runtime = CriRuntime(str(settings.socket), clock)
    assert (await runtime.container_status(container_id)).container.state is ContainerState.RUNNING
    await runtime.close()

    adopted = await start_containerd(settings, machine, clock)
    assert adopted.pid == process.pid
    os.close(adopted.pid_fd)
    await bench.cleanup()
    bench.sandboxes.clear()
    await process.stop(clock)


async def test_logs_are_written_where_the_pod_wants_them(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id = await bench.sandbox(pod)
    config = replace(bench.container(pod), command=("sh", "-c", "echo out; echo err >&2"))
    container_id = await bench.runtime.create_container(sandbox_id, config, pod)
    async with recorded(bench.runtime) as events:  # noqa: F405
        await bench.runtime.start_container(container_id)
        await until(lambda: any(event.kind is EventKind.STOPPED for event in events))  # noqa: F405
    text = await asyncio.to_thread(Path(pod.log_directory, "main.log").read_text)
    assert {line.split(" ", 1)[1] for line in text.splitlines()} == {"stdout F out", "stderr F err"}
