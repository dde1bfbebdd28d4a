"""What PostgreSQL's and the network's errors mean: which pass by, and the store's error for the others."""

from __future__ import annotations

import asyncio

import asyncpg

from minikube_py.datastore.types import DatastoreError, StoreCorrupt, StoreUnavailable

# Everything that a connection may raise; the last is asyncpg's word for one that broke at a bad moment.
CONNECTION_ERRORS = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
FOREIGN_SCHEMA = "the database has schema version {found}, this program knows {known}; use a newer release"

# A server that stops, starts, fails over or has no connection left; the next attempt may reach a better one.
_PASSING = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InternalClientError,
)


def is_passing(error: Exception) -> bool:
    """Whether it is worth to connect anew and try again."""
    return isinstance(error, _PASSING)


def translated(error: Exception) -> Exception:
    """The store's error: one line, cause and mend."""
    if isinstance(error, DatastoreError):
        return error
    if isinstance(error, asyncpg.DiskFullError):
        return StoreUnavailable(f"database: {error}; reads go on, free space on its file system to write again")
    if isinstance(error, (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError)):
        return StoreCorrupt(f"database: {error}; restore a backup")
    if is_passing(error):
        return StoreUnavailable(f"database: {error or type(error).__name__}; is it up and reachable?")
    if isinstance(error, asyncpg.PostgresError):
        return StoreUnavailable(f"database: {error}")
    return error
