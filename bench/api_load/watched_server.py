"""`pyk3s` whose event loop tells of every step that took long: CPU time of the loop's thread, and where it was.

    HOLDS_FILE=/tmp/holds HOLDS_SECONDS=0.003 .venv/bin/python bench/api_load/watched_server.py server ...

One JSON object a line: ``cpu`` and ``collector`` (of it, in Python's garbage collector) in milliseconds, the oldest
``generation`` that was collected, ``step`` (what the loop called) and ``places``, the package's frames that a sampling
thread saw while the step ran, innermost first.

asyncio's own loop runs instead of uvloop, whose steps cannot be seen from outside. What asyncio's TLS takes for sending
does not count: uvloop needs a tenth of it. CPU time is what a step itself needs: other threads and other processes of
the machine do not count.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from asyncio.sslproto import SSLProtocol
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

_PACKAGE = "minikube_py/"
_SAMPLE_SECONDS = 0.001
_DEPTH = 4


class Watch:
    """Measures each step of the loop that runs in the thread which made this."""

    def __init__(self, out: TextIO, longest: float) -> None:
        self._out = out
        self._longest = longest
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._running = False
        self._places: Counter[tuple[str, ...]] = Counter()
        self._collecting, self._generation, self._sending = 0.0, 0, 0.0
        gc.callbacks.append(self._collected)
        threading.Thread(target=self._sample, name="holds", daemon=True).start()

    def around(self, run: Any) -> Any:
        """``Handle._run`` with a measure around it."""

        def measured(handle: asyncio.Handle) -> None:
            self._places.clear()
            self._collecting, self._generation, self._sending = 0.0, 0, 0.0
            self._running, begin = True, time.thread_time()
            try:
                run(handle)
            finally:
                self._running = False
                seconds = time.thread_time() - begin - self._sending
                if seconds >= self._longest:
                    self._tell(handle, seconds)

        return measured

    def sending(self, write: Any) -> Any:
        """A function of asyncio's TLS, whose time is left out."""

        def measured(*arguments: Any) -> Any:
            begin = time.thread_time()
            try:
                return write(*arguments)
            finally:
                self._sending += time.thread_time() - begin

        return measured

    def _tell(self, handle: asyncio.Handle, seconds: float) -> None:
        places = [[" < ".join(place), count] for place, count in self._places.most_common(6)]
        told = {"cpu": seconds * 1e3, "collector": self._collecting * 1e3, "generation": self._generation}
        told |= {"step": _shown(handle), "places": places}
        self._out.write(json.dumps(told) + "\n")
        self._out.flush()

    def _collected(self, phase: str, told: dict[str, int]) -> None:
        if threading.get_ident() == self._thread:
            now = time.thread_time()
            self._collecting += -now if phase == "start" else now
            self._generation = max(self._generation, told["generation"])

    def _sample(self) -> None:
        """Only a step that already took a while is looked into."""
        while True:
            time.sleep(_SAMPLE_SECONDS)
            if self._running:
                frame = sys._current_frames().get(self._thread)
                if frame is not None:
                    self._places[_frames(frame)] += 1


def _frames(frame: FrameType | None) -> tuple[str, ...]:
    found: list[str] = []
    while frame is not None and len(found) < _DEPTH:
        name = frame.f_code.co_filename
        if _PACKAGE in name:
            found.append(f"{name.rpartition(_PACKAGE)[2]}:{frame.f_lineno} {frame.f_code.co_name}")
        elif not found and frame.f_code.co_filename != __file__:
            found.append(f"{Path(name).name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(found)


def _shown(handle: asyncio.Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        return f"{owner.get_name()} {getattr(coroutine, '__qualname__', coroutine)}"
    return str(getattr(callback, "__qualname__", callback))


def main() -> None:
    import uvloop

    out = Path(os.environ["HOLDS_FILE"]).open("w")  # noqa: SIM115  # as long as the process

    def watched_loop() -> asyncio.AbstractEventLoop:
        watch = Watch(out, float(os.environ.get("HOLDS_SECONDS", "0.003")))
        asyncio.Handle._run = watch.around(asyncio.Handle._run)  # type: ignore[attr-defined]
        SSLProtocol._write_appdata = watch.sending(SSLProtocol._write_appdata)  # type: ignore[attr-defined]
        return asyncio.SelectorEventLoop()

    uvloop.new_event_loop = watched_loop
    sys.setswitchinterval(0.0005)
    from minikube_py.cli import main as command

    command()


if __name__ == "__main__":
    main()
