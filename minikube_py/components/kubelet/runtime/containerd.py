"""Starts, adopts, supervises and stops the node's own containerd.

``run_containerd`` is the component. What holds:

- containerd runs in a session of its own, so that it and the pods survive ``kill -9`` of pyk3s; the
  next start finds it by pid file and socket and adopts it, unless its configuration has changed.
- pods survive a restart of containerd too: their shims do not belong to it.
- once ``ready`` has been called, CRI answers, and the sandbox image and all archives of the images
  folder are there.
- cancelled at any moment of the start, it leaves no containerd, neither a new one nor one that it was about to adopt.
- its end is noticed at once (a pid file descriptor), without polling; it raises ``RuntimeFailure``,
  and the supervisor starts again.

Errors: ``RuntimeMissing`` when programs are missing, ``RuntimeFailure`` for all else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from minikube_py.components.kubelet.runtime.containerd_config import (
    ContainerdSettings,
    Machine,
    probe_machine,
    program_path,
    render_config,
)
from minikube_py.components.kubelet.runtime.cri import CriRuntime
from minikube_py.components.kubelet.runtime.images.build import build_pause_archive
from minikube_py.components.kubelet.runtime.images.importer import import_folder, import_image_archive, wait_visible
from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE
from minikube_py.components.kubelet.runtime.types import RuntimeFailure
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

start_timeout_seconds = 30.0
stop_timeout_seconds = 10.0
largest_log_bytes = 10 << 20
longest_socket_path_bytes = 107
_PRIVATE = 0o600
_first_pause_seconds = 0.005
_longest_pause_seconds = 0.1

Obtained = TypeVar("Obtained", bound="ContainerdProcess | None")


async def run_containerd(settings: ContainerdSettings, clock: Clock, ready: Callable[[], None]) -> None:
    """Run containerd until cancelled; then stop it, leaving the pods alone."""
    machine = await asyncio.to_thread(probe_machine, settings)
    process = await start_containerd(settings, machine, clock)
    try:
        await _provide_images(settings, clock)
        ready()
        await process.ended()
        raise RuntimeFailure("containerd", "UNAVAILABLE", f"containerd ended; its log is {settings.log_file}")
    finally:
        await asyncio.shield(process.stop(clock))


async def start_containerd(settings: ContainerdSettings, machine: Machine, clock: Clock) -> ContainerdProcess:
    """Adopt a running containerd of these settings, or start one; returns when CRI answers.

    When it raises, also when it is cancelled, containerd is stopped.
    """
    _check_socket_path(settings)
    config = render_config(settings, machine)
    changed = await asyncio.to_thread(_write_files, settings, config)
    async with _stopped_on_failure(partial(_adopt, settings), clock) as found:
        if found is not None and not changed and await _answers(settings, clock, timeout_seconds=5.0, process=found):
            log.info("containerd adopted", extra={"pid": found.pid})
            return found
        if found is not None:
            await found.stop(clock)
    begin = clock.monotonic()
    async with _stopped_on_failure(partial(_start, settings, machine), clock) as process:
        if not await _answers(settings, clock, timeout_seconds=start_timeout_seconds, process=process):
            last = await asyncio.to_thread(_last_line, settings.log_file)
            raise RuntimeFailure(
                "containerd", "UNAVAILABLE", f"containerd does not start: {last} ({settings.log_file})"
            )
    log.info("containerd started", extra={"pid": process.pid, "after_seconds": round(clock.monotonic() - begin, 3)})
    return process


@contextlib.asynccontextmanager
async def _stopped_on_failure(obtain: Callable[[], Obtained], clock: Clock) -> AsyncIterator[Obtained]:
    """The process that ``obtain`` (run in a thread) gives; it is stopped when the block does not end well.

    A thread cannot be cancelled: who is cancelled meanwhile waits for it, since it may have started a process.
    """
    obtaining = asyncio.ensure_future(asyncio.to_thread(obtain))
    try:
        yield await asyncio.shield(obtaining)
    except BaseException:
        await asyncio.shield(_stop_obtained(obtaining, clock))
        raise


async def _stop_obtained(obtaining: Awaitable[ContainerdProcess | None], clock: Clock) -> None:
    try:
        process = await obtaining
    except Exception:  # nothing was obtained; the caller raises the same
        return
    if process is not None:
        await process.stop(clock)


async def stop_containerd(settings: ContainerdSettings, clock: Clock) -> None:
    """Stop a containerd of these settings that some earlier process left (``quickstart --down``)."""
    process = await asyncio.to_thread(_adopt, settings)
    if process is not None:
        await process.stop(clock)


@dataclass(slots=True)
class ContainerdProcess:
    """One running containerd, ours or adopted; ``child`` is None when another process started it."""

    pid: int
    pid_fd: int
    pid_file: Path
    child: subprocess.Popen[bytes] | None = None

    async def ended(self) -> None:
        """Return once the process has ended."""
        if self.pid_fd < 0:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def on_end() -> None:
            if not done.done():
                done.set_result(None)

        loop.add_reader(self.pid_fd, on_end)
        try:
            await done
        finally:
            loop.remove_reader(self.pid_fd)

    async def stop(self, clock: Clock) -> None:
        """TERM, KILL after ``stop_timeout_seconds``; removes the pid file. Pods go on. May be called twice."""
        if self.pid_fd < 0:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pid_fd, number)
            if await _within(self.ended(), stop_timeout_seconds, clock):
                break
        if self.child is not None:
            self.child.wait()  # has ended: reaps without waiting
        os.close(self.pid_fd)
        self.pid_fd = -1
        await asyncio.to_thread(_forget, self.pid_file, self.pid)


async def _within(waiting: Coroutine[None, None, None], seconds: float, clock: Clock) -> bool:
    """Whether a coroutine ends in time, by the given clock."""
    task = asyncio.ensure_future(waiting)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        return task.done()
    finally:
        for item in (task, timer):
            item.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)


async def _answers(
    settings: ContainerdSettings, clock: Clock, *, timeout_seconds: float, process: ContainerdProcess
) -> bool:
    """Whether CRI answers in time. containerd tells nobody when it listens, hence the short pauses."""
    deadline = clock.monotonic() + timeout_seconds
    pause = _first_pause_seconds
    runtime = CriRuntime(str(settings.socket), clock)
    try:
        while clock.monotonic() < deadline:
            try:
                await runtime.status()
                return True
            except RuntimeFailure as failure:
                log.debug("containerd does not answer yet", extra={"error": failure.message})
            if await _within(process.ended(), pause, clock):
                return False
            pause = min(pause * 1.5, _longest_pause_seconds)
        return False
    finally:
        await runtime.close()


async def _provide_images(settings: ContainerdSettings, clock: Clock) -> None:
    """Import the sandbox image and the images folder; CRI shows them when this returns."""
    socket = str(settings.socket)
    runtime = CriRuntime(socket, clock)
    try:
        names: list[str] = []
        if await runtime.image_status(PAUSE_IMAGE) is None:
            archive = settings.root / "pause.tar"
            await asyncio.to_thread(build_pause_archive, archive)
            names += await import_image_archive(socket, archive)
            await asyncio.to_thread(archive.unlink)
        names += await import_folder(socket, settings.images_dir)
        await wait_visible(runtime, names, clock)
    finally:
        await runtime.close()


def _check_socket_path(settings: ContainerdSettings) -> None:
    """Raises RuntimeFailure for a path that the kernel cannot take."""
    longest = str(settings.socket) + ".ttrpc"
    if len(os.fsencode(longest)) > longest_socket_path_bytes:
        raise RuntimeFailure(
            "containerd", "INVALID_ARGUMENT", f"{longest} is too long for a socket: choose a shorter --run-dir"
        )


def _write_files(settings: ContainerdSettings, config: str) -> bool:
    """Make the folders and write the configuration; tells whether it differs from the last one."""
    for folder in (
        settings.root,
        settings.state,
        settings.config_file.parent,
        settings.log_file.parent,
        settings.cni_conf_dir,
        settings.registry_config_dir,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    if settings.config_file.exists() and settings.config_file.read_text(encoding="utf-8") == config:
        return False
    temporary = settings.config_file.with_suffix(".new")
    temporary.touch(_PRIVATE)
    temporary.write_text(config, encoding="utf-8")
    temporary.replace(settings.config_file)
    return True


def _adopt(settings: ContainerdSettings) -> ContainerdProcess | None:
    """The running containerd of these settings. A pid that another program has by now does not count."""
    pid = _pid_in(settings.pid_file)
    if pid is None:
        return None
    try:
        pid_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # The descriptor is open: from here on the pid cannot be given to another process unnoticed.
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        command = []
    if os.fsencode(settings.config_file) not in command:
        os.close(pid_fd)
        return None
    return ContainerdProcess(pid, pid_fd, settings.pid_file)


def _pid_in(path: Path) -> int | None:
    """The process id in a pid file; None when there is none."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _forget(pid_file: Path, pid: int) -> None:
    """Remove a pid file, unless another start has written its own by now."""
    if _pid_in(pid_file) == pid:
        pid_file.unlink()


def _start(settings: ContainerdSettings, machine: Machine) -> ContainerdProcess:
    """Start containerd with its output in the log file, which starts anew when it has become large."""
    log_file = settings.log_file
    if log_file.exists() and log_file.stat().st_size > largest_log_bytes:
        log_file.replace(log_file.with_suffix(".log.1"))
    settings.socket.unlink(missing_ok=True)  # left by a killed one: nobody listens on it
    output = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        os.fchmod(output, _PRIVATE)
        child = subprocess.Popen(
            [machine.containerd, "--config", str(settings.config_file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": program_path()},
            start_new_session=True,
        )
    finally:
        os.close(output)
    settings.pid_file.write_text(f"{child.pid}\n", encoding="ascii")
    return ContainerdProcess(child.pid, os.pidfd_open(child.pid), settings.pid_file, child)


def _last_line(path: Path) -> str:
    """The end of a log, for an error of one line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it wrote nothing"
