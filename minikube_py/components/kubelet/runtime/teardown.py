"""Takes an own containerd away with all its pods: what ``quickstart --down`` and uninstalling need.

In order: every sandbox is stopped and removed through CRI (which gives back addresses, interfaces
and network namespaces), containerd ends, what an unclean end left is ended and unmounted by hand,
and the folders go. Only processes and mounts of these settings are touched: shims carry the
socket's path on their command line, mounts lie under the root or state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import signal
from pathlib import Path

from minikube_py.components.kubelet.runtime.containerd import start_containerd, stop_containerd
from minikube_py.components.kubelet.runtime.containerd_config import ContainerdSettings, RuntimeMissing, probe_machine
from minikube_py.components.kubelet.runtime.cri import CriRuntime
from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeFailure
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

_at_once = 8
_MNT_DETACH = 2


async def remove_containerd(settings: ContainerdSettings, clock: Clock) -> None:
    """Leave nothing of these settings behind; nothing there is fine."""
    if await asyncio.to_thread(settings.root.exists):
        try:
            await _remove_pods_of(settings, clock)
        except (RuntimeMissing, RuntimeFailure) as error:
            log.warning("pods are removed without their runtime", extra={"error": str(error)})
    await stop_containerd(settings, clock)
    await asyncio.to_thread(_remove_leftovers, settings)


async def remove_pods(runtime: Runtime) -> None:
    """Stop and remove every sandbox with its containers, a few at a time. Raises RuntimeFailure."""
    slots = asyncio.Semaphore(_at_once)

    async def remove(sandbox_id: str) -> None:
        async with slots:
            await runtime.stop_sandbox(sandbox_id)
            await runtime.remove_sandbox(sandbox_id)

    sandboxes = await runtime.list_sandboxes()
    results = await asyncio.gather(*(remove(item.id) for item in sandboxes), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _remove_pods_of(settings: ContainerdSettings, clock: Clock) -> None:
    machine = await asyncio.to_thread(probe_machine, settings)
    process = await start_containerd(settings, machine, clock)
    runtime = CriRuntime(str(settings.socket), clock)
    try:
        await remove_pods(runtime)
    finally:
        await runtime.close()
        await process.stop(clock)


def _remove_leftovers(settings: ContainerdSettings) -> None:
    """End shims and their containers, unmount, delete. Blocks."""
    for pid in _shims(settings):
        for victim in [*_children(pid), pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
    libc = ctypes.CDLL(None, use_errno=True)
    for target in _mounts_under(settings.root, settings.state):
        if libc.umount2(os.fsencode(target), _MNT_DETACH) != 0:
            log.warning("cannot unmount", extra={"path": target, "error": os.strerror(ctypes.get_errno())})
    for folder in (settings.root, settings.state, settings.config_file.parent):
        shutil.rmtree(folder, ignore_errors=True)


def _shims(settings: ContainerdSettings) -> list[int]:
    """Shims that serve our socket."""
    socket = os.fsencode(settings.socket)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"containerd-shim" in command[0] and socket in command:
                    found.append(int(entry.name))
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def _mounts_under(*folders: Path) -> list[str]:
    """Mount points under the folders, innermost first."""
    prefixes = tuple(f"{folder}/" for folder in folders)
    targets = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        target = line.split()[4].replace("\\040", " ")
        if target.startswith(prefixes):
            targets.append(target)
    return list(reversed(targets))
