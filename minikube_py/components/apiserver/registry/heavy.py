"""Work on large objects is done in a thread, so that other requests get their turn: nothing holds the loop for long.

A thread is worth its way only where the work takes milliseconds. Such work is pure: it reads what is shared, and
changes nothing but its request's draft.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.types import RequestContext
from minikube_py.machinery.kind import Kind

_LARGE_BYTES = 128 * 1024
_INTRICATE = frozenset({"apiextensions.k8s.io", "admissionregistration.k8s.io"})
"""Groups of kinds that hold schemas and expressions, which take much longer to check than their size tells."""
_INTRICATE_BYTES = 8 * 1024
Result = TypeVar("Result")


def is_heavy(kind: Kind, ctx: RequestContext, entry: Entry | None = None) -> bool:
    """Whether the request's body, or the object that it is about, is large for its kind."""
    most = _INTRICATE_BYTES if kind.resource.group in _INTRICATE else _LARGE_BYTES
    return ctx.body_bytes > most or (entry is not None and len(entry.item) > most)


async def done(heavy: bool, work: Callable[[], Result]) -> Result:
    """What ``work`` gives; in a thread when it is heavy."""
    return await asyncio.to_thread(work) if heavy else work()
