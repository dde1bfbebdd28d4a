"""Counts what the event loop does between two turns: calls of functions, in Python and in C, by each step.

A step is what the loop runs without letting anything else have its turn. Calls are the same on every machine, however
slow or loaded, which time is not; 20,000 of them take some five milliseconds. What one call in C takes (sorting,
parsing) is not seen: ``bench/holds`` measures that.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

_CALLS = frozenset({"call", "c_call"})


class Steps:
    """The longest step so far, in calls, and the package's function in which most of its calls were made."""

    def __init__(self) -> None:
        self.longest = 0
        self._calls = 0

    def watch(self, run: Any) -> Any:
        """``Handle._run`` that tells where a step begins."""

        def step(handle: asyncio.Handle) -> None:
            self._calls = 0
            run(handle)
            self.longest = max(self.longest, self._calls)

        return step

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event in _CALLS:
            self._calls += 1

    def since(self) -> int:
        """The longest step since the last call."""
        found, self.longest = self.longest, 0
        return found


@contextmanager
def counted_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """Count while the context lasts, in the loop of this thread."""
    steps = Steps()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", steps.watch(asyncio.Handle._run))  # type: ignore[attr-defined]
        sys.setprofile(steps.profile)
        try:
            yield steps
        finally:
            sys.setprofile(None)
