"""The database file: owning it, knowing that it is ours, its schema, and what its errors mean.

One process owns a file, by a lock on ``<file>.lock`` that the kernel drops when the process dies.
A file is ours when its ``application_id`` says so; anything else is left untouched.

Plain statements on the standard library's driver instead of SQLAlchemy Core and aiosqlite: on the
reference machine ``import sqlalchemy`` costs 0.1-0.5 s and 23 MB (``sqlite3``: 6 ms and 1.6 MB),
and aiosqlite adds a thread hop to each statement where a batch here needs two in all.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from pathlib import Path

from minikube_py.datastore.types import DatastoreError, StoreCorrupt, StoreLocked, StoreUnavailable

_BUSY_SECONDS = 5.0
WAL_PAGES_LIMIT = 4000  # a commit that finds more in the WAL moves them itself (see ``checkpoints``)
APPLICATION_ID = 0x706B3373  # "pk3s"

# Each entry takes the schema from its position to the next version; entries are never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY,           -- the revision
            key TEXT NOT NULL,
            value BLOB NOT NULL,
            create_revision INTEGER NOT NULL,
            version INTEGER NOT NULL,
            previous INTEGER NOT NULL,        -- id of the row that this one supersedes, or 0
            lease INTEGER NOT NULL,
            deleted INTEGER NOT NULL          -- 1: this row says that the key is gone
        ) STRICT""",
        "CREATE INDEX log_key ON log (key, id)",
        "CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_seconds INTEGER NOT NULL) STRICT",
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE migration (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
    ),
    (
        """CREATE TABLE log_of_ids (
            id INTEGER PRIMARY KEY,           -- revision and position in it, see datastore/rows.py
            key TEXT NOT NULL,
            value BLOB NOT NULL,
            create_revision INTEGER NOT NULL,
            version INTEGER NOT NULL,
            previous INTEGER NOT NULL,        -- id of the row that this one supersedes, or 0
            lease INTEGER NOT NULL,
            deleted INTEGER NOT NULL          -- 1: this row says that the key is gone
        ) STRICT""",
        """INSERT INTO log_of_ids
            SELECT id << 20, key, value, create_revision, version, previous << 20, lease, deleted
            FROM log ORDER BY id""",
        "DROP TABLE log",
        "ALTER TABLE log_of_ids RENAME TO log",
        "CREATE INDEX log_key ON log (key, id)",
        """CREATE TABLE churn (
            folder TEXT NOT NULL,
            client TEXT NOT NULL,
            revisions INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY (folder, client)
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        # Without an index by keys (see ``datastore/past.py``), and with the value last: a sweep that wants
        # ``previous`` does not follow a long value through its pages.
        """CREATE TABLE log_value_last (
            id INTEGER PRIMARY KEY,           -- revision and position in it, see datastore/rows.py
            key TEXT NOT NULL,
            create_revision INTEGER NOT NULL,
            version INTEGER NOT NULL,
            previous INTEGER NOT NULL,        -- id of the row that this one supersedes, or 0
            lease INTEGER NOT NULL,
            deleted INTEGER NOT NULL,         -- 1: this row says that the key is gone
            value BLOB NOT NULL
        ) STRICT""",
        """INSERT INTO log_value_last
            SELECT id, key, create_revision, version,
                CASE WHEN previous IN (SELECT id FROM log WHERE deleted) THEN 0 ELSE previous END,
                lease, deleted, value
            FROM log ORDER BY id""",
        "DROP TABLE log",
        "ALTER TABLE log_value_last RENAME TO log",
    ),
)

_LOCK_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def translated(error: Exception, path: Path, *, opening: bool = True) -> Exception:
    """The store's error for a driver's or the operating system's: one line, cause and mend.

    A file that another program holds is locked when it is ``opening``, later it only cannot be written now.
    """
    if isinstance(error, DatastoreError):
        return error
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _CORRUPT_CODES:
            return StoreCorrupt(
                f"{path}: {error}; the file is damaged or not a database: move it (with -wal and -shm) aside "
                "and restore a snapshot, or try 'sqlite3 FILE .recover'"
            )
        if code in _LOCK_CODES:
            kind = StoreLocked if opening else StoreUnavailable
            return kind(f"{path}: {error}; another program has the file open: end it")
        if code == sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"{path}: {error}; reads go on, free space on its file system to write again")
        if code == sqlite3.SQLITE_READONLY:
            return StoreUnavailable(f"{path}: {error}; make the file and its directory writable")
        return StoreUnavailable(f"{path}: {error}; look for disk errors in the kernel log")
    if isinstance(error, OSError):
        return StoreUnavailable(f"{path}: {error.strerror or error}; check the path, its rights and free space")
    return error


def acquire_lock(path: Path) -> int:
    """Own ``path`` in this process; returns the descriptor that holds the lock. Raises StoreLocked."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLocked(f"{path}: in use by process {owner}; stop it or use another file") from None
    except OSError:
        os.close(descriptor)
        raise
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # the process id in the lock file is only for the message above; a full disk may refuse it
    return descriptor


def open_writer(path: Path) -> sqlite3.Connection:
    """The writing connection: WAL, every commit fsynced, schema migrated. Raises sqlite3.Error, StoreCorrupt."""
    path.touch(mode=0o600, exist_ok=True)
    connection = _connect(path)
    try:
        _check_ours(connection, path)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_LIMIT}")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        connection.execute("PRAGMA cache_size = -2048")
        connection.execute("PRAGMA locking_mode = NORMAL")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection for historical reads; it cannot write."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -1024")
    return connection


def open_inspector(path: Path) -> sqlite3.Connection:
    """A connection that looks at a store in use; it cannot write. Raises StoreCorrupt when it is not ours, or older."""
    connection = open_reader(path)
    try:
        _check_ours(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != len(MIGRATIONS):
            raise StoreCorrupt(f"{path}: has schema version {version}, this program reads {len(MIGRATIONS)}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_copier(path: Path) -> sqlite3.Connection:
    """A connection for snapshots, and for checkpoints beside the writer."""
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
    )


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION_ID or (application == 0 and tables == 0):
        return
    raise StoreCorrupt(f"{path}: is a SQLite database of another program; name another file")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreCorrupt(
            f"{path}: has schema version {version}, this program knows {len(MIGRATIONS)}; use a newer release"
        )
    for number in range(version, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute("INSERT INTO migration VALUES (?, ?)", (number + 1, int(time.time())))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            rollback(connection)
            raise


def rollback(connection: sqlite3.Connection) -> None:
    """End a transaction that failed; SQLite may have rolled it back already (full disk, I/O error)."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
