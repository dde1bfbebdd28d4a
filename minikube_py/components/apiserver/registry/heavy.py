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

_LARGE_BYTES = 16 * 1024
_FLAT = frozenset({("", "configmaps"), ("", "secrets")})
"""Kinds whose objects are little but text, which takes much less time than its size tells."""
_FLAT_BYTES = 128 * 1024
_INTRICATE = frozenset({"apiextensions.k8s.io", "admissionregistration.k8s.io"})
"""Groups of kinds that hold schemas and expressions, which take much longer to check than their size tells; the first
of them makes the process import the expression language."""
Result = TypeVar("Result")


def is_heavy(kind: Kind, ctx: RequestContext, entry: Entry | None = None) -> bool:
    """Whether the request's body, or the object that it is about, is large for its kind.

    So is the first object of a custom kind, for which the schema's checks and rules have to be compiled.
    """
    compiles = kind.extra.get("compiles")
    if compiles is not None and compiles():
        return True
    resource = kind.resource
    if resource.group in _INTRICATE:
        return True
    size = max(ctx.body_bytes, len(entry.item)) if entry is not None else ctx.body_bytes
    return size > (_FLAT_BYTES if (resource.group, resource.plural) in _FLAT else _LARGE_BYTES)


async def done(heavy: bool, work: Callable[[], Result]) -> Result:
    """What ``work`` gives; in a thread when it is heavy."""
    return await asyncio.to_thread(work) if heavy else work()
