"""Intents that only the SQLite engine has: leases on its disk, and the flush of volatile keys."""

from __future__ import annotations

from minikube_py.datastore.intents import Intent
from minikube_py.datastore.sqlite.volatile import Unwritten


class LeaseIntent(Intent):
    """A new lease, or (``drop``) the end of one whose keys are gone already."""

    __slots__ = ("drop", "lease", "ttl_seconds")

    def __init__(self, lease: int, ttl_seconds: int, *, drop: bool = False) -> None:
        super().__init__()
        self.lease = lease
        self.ttl_seconds = ttl_seconds
        self.drop = drop


class FlushIntent(Intent):
    """Write volatile records with revision <= ``upto``; ``closing``: no volatile revision is given out after it."""

    __slots__ = ("closing", "entries", "upto")

    def __init__(self, upto: int, *, closing: bool = False) -> None:
        super().__init__()
        self.upto = upto
        self.closing = closing
        self.entries: list[Unwritten] = []
