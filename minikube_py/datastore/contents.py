"""Everything in a datastore, on its way into another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from minikube_py.datastore.rows import Row


@dataclass(frozen=True, slots=True)
class Contents:
    """``revision`` is the newest, ``leases`` are (id, TTL in seconds), ``rows`` the log in the order of ids."""

    revision: int
    compacted: int
    leases: Sequence[tuple[int, int]]
    rows: AsyncIterator[Sequence[Row]]
