"""What can be set of the SQLite engine. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """``retention_seconds``: how long superseded records can be read; ``heavy_retention_seconds``: when there are
    more of them than live ones. ``volatile_reserve``: revisions between two writes of the volatile floor.
    ``stall_seconds``: how long a write, or a read of the past, waits for the disk; as long as etcd's request timeout.
    ``close_seconds``: how long closing waits for a disk that hangs.
    ``client_rate``: revisions a second that each named client may write (see ``quota``); 0: as many as it likes."""

    retention_seconds: float = 300.0
    heavy_retention_seconds: float = 30.0
    flush_seconds: float = 600.0
    volatile_reserve: int = 10_000
    stall_seconds: float = 7.0
    close_seconds: float = 7.0
    client_rate: float = 0.0
