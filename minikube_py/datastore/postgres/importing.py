"""Fills an empty PostgreSQL datastore with the contents of another store."""

from __future__ import annotations

import asyncpg

from minikube_py.datastore.contents import Contents
from minikube_py.datastore.postgres import log
from minikube_py.datastore.postgres.errors import CONNECTION_ERRORS, translated
from minikube_py.datastore.postgres.url import check_files
from minikube_py.datastore.types import StoreUnavailable


async def write_store(url: str, contents: Contents) -> int:
    """Fill the database in one transaction; returns how many rows. Raises StoreUnavailable when it is not empty."""
    await check_files(url)
    try:
        connection = await asyncpg.connect(url, timeout=10.0)
        try:
            await log.migrate(connection)
            async with connection.transaction():
                await log.lock(connection)
                if await connection.fetchval("SELECT EXISTS (SELECT FROM pyk3s_log)"):
                    raise StoreUnavailable("the database already holds a datastore; name an empty one")
                count = 0
                async for rows in contents.rows:
                    await log.append(connection, rows, 0)
                    count += len(rows)
                await log.set_meta(connection, "compacted", contents.compacted)
                await log.set_meta(connection, "floor", contents.revision)
                for lease, ttl in contents.leases:
                    await log.grant(connection, lease, ttl)
        finally:
            await connection.close()
    except CONNECTION_ERRORS as failure:
        raise translated(failure) from failure
    return count
