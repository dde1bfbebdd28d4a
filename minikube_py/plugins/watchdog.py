"""Watches what plugins do on the event loop: names what blocks it, interrupts what does not end.

``step`` runs a plain function and ``watched`` drives a coroutine step by step; both tell a thread what runs. The
thread sleeps while no plugin does anything. A step that holds the loop for ``slow_seconds`` is logged with the file
and line it is at; one that holds it for ``stuck_seconds`` is interrupted by an exception inside its Python code. A call
into C that does not return (``time.sleep``) can be named but not interrupted.

Invariant: the exception is only ever raised inside a step: it is sent while the step is known to run, and the end of
a step waits until nothing can be on its way.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
slow_seconds = 0.05
stuck_seconds = 1.0
_quiet_after_seconds = 1.0


class PluginStuck(Exception):
    """A plugin held the event loop for too long and was interrupted."""


class _Interrupt(BaseException):
    """What is raised inside a step; BaseException, so that a plugin's ``except Exception`` does not take it."""


@dataclass(slots=True)
class _Running:
    part: str
    since: float
    thread: int
    told: bool = False
    interrupted: bool = False


class Watchdog:
    """See the module. ``offence`` is called on the event loop's thread with the part that was interrupted."""

    def __init__(
        self, offence: Callable[[str], None], *, slow: float = slow_seconds, stuck: float = stuck_seconds
    ) -> None:
        self._offence = offence
        self._slow = slow
        self._stuck = stuck
        self._lock = threading.Lock()
        self._active = threading.Event()
        self._running: _Running | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        self.slow_steps: dict[str, int] = {}

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._active.set()
        if self._thread is not None:
            self._thread.join(2)

    def step(self, part: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of a plugin. Raises what it raises, and PluginStuck when it had to be interrupted."""
        running = _Running(part, time.monotonic(), threading.get_ident())
        if not self._active.is_set():
            self._awaken()
        outer = self._running
        try:
            try:
                self._running = running
                return function(*arguments)
            finally:
                with self._lock:
                    self._running = outer
                _delivered()
        except _Interrupt:
            with self._lock:  # the interrupt may have come while the step was being ended
                self._running = outer
            self._offence(part)
            raise PluginStuck(f"{part} held the event loop for over {self._stuck:g} s and was interrupted") from None

    def watched(self, part: str, coroutine: Coroutine[Any, Any, T]) -> Watched[T]:
        """An awaitable that runs the coroutine, each of its steps as ``step`` does."""
        return Watched(self, part, coroutine)

    def _awaken(self) -> None:
        self._active.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="plugin-watchdog", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._ended:
            self._active.wait()
            time.sleep(self._slow / 2)
            now = time.monotonic()
            with self._lock:
                running = self._running
                if running is None:
                    if now - last > _quiet_after_seconds:
                        self._active.clear()
                    continue
                last = now
                self._judge(running, now - running.since)

    def _judge(self, running: _Running, seconds: float) -> None:
        """Runs with the lock, so that the step cannot end meanwhile."""
        if seconds >= self._slow and not running.told:
            running.told = True
            self.slow_steps[running.part] = self.slow_steps.get(running.part, 0) + 1
            where = _where(sys._current_frames().get(running.thread))
            log.warning("plugin blocks the event loop", extra={"part": running.part, "at": where})
        if seconds >= self._stuck and not running.interrupted:
            running.interrupted = True
            where = _where(sys._current_frames().get(running.thread))
            log.error(
                "plugin does not give the event loop back; interrupting it", extra={"part": running.part, "at": where}
            )
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(running.thread), ctypes.py_object(_Interrupt))


class Watched(Coroutine[Any, Any, T]):
    """A coroutine whose steps are watched; can be awaited, made a task of and cancelled like any other."""

    def __init__(self, watchdog: Watchdog, part: str, coroutine: Coroutine[Any, Any, T]) -> None:
        self._watchdog = watchdog
        self._part = part
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self._watchdog.step(self._part, self._coroutine.send, value)

    def throw(self, error: Any, *rest: Any) -> Any:
        return self._watchdog.step(self._part, self._coroutine.throw, error, *rest)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return _driven(self)


def _driven(coroutine: Watched[T]) -> Generator[Any, Any, T]:
    try:
        waited = coroutine.send(None)
        while True:
            try:
                value = yield waited
            except BaseException as error:
                waited = coroutine.throw(error)
            else:
                waited = coroutine.send(value)
    except StopIteration as end:
        result: T = end.value
        return result


def _delivered() -> None:
    """Give an interrupt that is already on its way the chance to arrive: the interpreter looks at calls and loops."""
    for _ in range(2):
        time.monotonic()


def _where(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "?"
