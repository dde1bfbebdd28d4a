"""Who wants to know how long CEL took: an API server sets ``cel_observer`` for all that runs on its behalf.

A module of its own, because the engine itself is large and loaded only where expressions are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

Observe = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class CelObserver:
    """Both are called with seconds, ``evaluated`` also from threads."""

    compiled: Observe
    evaluated: Observe


cel_observer: ContextVar[CelObserver | None] = ContextVar("cel_observer", default=None)
