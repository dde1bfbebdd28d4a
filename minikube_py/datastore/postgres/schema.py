"""The tables, in SQLAlchemy Core; imported only when a database has to be set up or migrated."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SchemaItem

from minikube_py.datastore.postgres.log import CHANNEL, LOCK
from minikube_py.datastore.rows import POSITION_BITS

_metadata = MetaData()

# Columns as in the SQLite engine. Keys are bytea: PostgreSQL's text has no zero byte, and bytea is
# compared byte by byte whatever the collation. ``batch`` tells a server whether a commit was its own.
log = Table(
    "pyk3s_log",
    _metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("create_revision", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("previous", BigInteger, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("deleted", SmallInteger, nullable=False),
    Column("batch", BigInteger, nullable=False),
)
log_key = Index("pyk3s_log_key", log.c.key, log.c.id)

lease = Table(
    "pyk3s_lease",
    _metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("ttl_seconds", BigInteger, nullable=False),
    Column("expires_at", Float, nullable=False),  # seconds, of the database's clock
)

meta = Table(
    "pyk3s_meta", _metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)

churn = Table(
    "pyk3s_churn",
    _metadata,
    Column("folder", Text, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("revisions", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# What a server that believes to know everything asks for: see ``writer``. Each statement of it sees what was committed
# before it began, unlike those of one query, so it does see what came while it waited for the lock.
_APPEND = f"""
    CREATE FUNCTION pyk3s_append(
        known bigint, batch bigint, listener bigint, ids bigint[], keys bytea[], contents bytea[], creations bigint[],
        versions bigint[], predecessors bigint[], leases bigint[], deletions smallint[]
    ) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RETURN false;
        END IF;
        PERFORM pg_advisory_xact_lock({LOCK});
        IF known <> greatest(1, coalesce((SELECT max(id) FROM pyk3s_log), 0) >> {POSITION_BITS},
                             coalesce((SELECT value FROM pyk3s_meta WHERE name = 'floor'), 0)) THEN
            RETURN false;
        END IF;
        INSERT INTO pyk3s_log (id, key, value, create_revision, version, previous, lease, deleted, batch)
            SELECT *, batch FROM unnest(ids, keys, contents, creations, versions, predecessors, leases, deletions);
        IF EXISTS (SELECT FROM pyk3s_listener WHERE process <> listener) THEN
            PERFORM pg_notify('{CHANNEL}', '');
        END IF;
        RETURN true;
    END $$"""
# The database's processes of all followers, so that who is alone notifies nobody: see ``log.register``.
_LISTENERS = "CREATE TABLE pyk3s_listener (process bigint PRIMARY KEY)"
# Reads of the past do without it (``datastore/past.py``), as they do without naming deletions as predecessors.
_WITHOUT_KEYS = (
    "DROP INDEX pyk3s_log_key",
    """UPDATE pyk3s_log SET previous = 0 FROM pyk3s_log deletion
       WHERE deletion.id = pyk3s_log.previous AND deletion.deleted <> 0""",
)

_FIRST: tuple[Table | Index, ...] = (log, log_key, lease, meta, churn)
# Dead rows are what this table is made of: let autovacuum come early, in small steps.
_TUNING = "ALTER TABLE pyk3s_log SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1)"


def migrations() -> tuple[tuple[str, ...], ...]:
    """Statements from each version of the schema to the next; entries are never changed."""
    return (*map(_ddl, _FIRST), _TUNING), (*_WITHOUT_KEYS, _LISTENERS, _APPEND)


def _ddl(item: SchemaItem) -> str:
    statement = CreateTable(item) if isinstance(item, Table) else CreateIndex(item)  # type: ignore[arg-type]
    return str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
