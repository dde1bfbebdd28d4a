"""What can be set of the PostgreSQL engine. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """As ``SqliteSettings``. ``stall_seconds``: how long a write waits for the database, ``read_seconds`` a read."""

    retention_seconds: float = 300.0
    heavy_retention_seconds: float = 60.0
    stall_seconds: float = 30.0
    read_seconds: float = 10.0
    connect_seconds: float = 5.0
    client_rate: float = 0.0
