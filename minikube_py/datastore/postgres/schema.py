"""The tables, in SQLAlchemy Core; imported only when a database has to be set up or migrated."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SchemaItem

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

_FIRST: tuple[Table | Index, ...] = (log, log_key, lease, meta, churn)
# Dead rows are what this table is made of: let autovacuum come early, in small steps.
_TUNING = "ALTER TABLE pyk3s_log SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1)"


def migrations() -> tuple[tuple[str, ...], ...]:
    """Statements from each version of the schema to the next; entries are never changed."""
    return ((*map(_ddl, _FIRST), _TUNING),)


def _ddl(item: SchemaItem) -> str:
    statement = CreateTable(item) if isinstance(item, Table) else CreateIndex(item)  # type: ignore[arg-type]
    return str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
