"""Makes a SQLite datastore out of the contents of another store."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from minikube_py.datastore.contents import Contents
from minikube_py.datastore.sqlite import file, log
from minikube_py.datastore.sqlite.disk import DiskThread
from minikube_py.datastore.types import StoreUnavailable


async def write_store(path: Path, contents: Contents) -> int:
    """Write a new file; returns how many rows. Raises StoreUnavailable (the file exists, or cannot be written)."""
    if await asyncio.to_thread(path.exists):
        raise StoreUnavailable(f"{path}: exists; name a new file")
    unfinished = path.with_name(f"{path.name}.part")
    await asyncio.to_thread(unfinished.unlink, missing_ok=True)
    disk = DiskThread(unfinished, file.open_writer, name="datastore-import")
    count = 0
    try:
        async for rows in contents.rows:
            batch = log.Batch(rows=rows)
            await disk.call(lambda connection, batch=batch: log.append(connection, batch))  # type: ignore[misc]
            count += len(rows)
        last = log.Batch(
            meta=[("compacted", contents.compacted), ("floor", contents.revision)], new_leases=contents.leases
        )
        await disk.call(lambda connection: log.append(connection, last))
        await disk.call(log.empty_wal)
    finally:
        await disk.close()
    await asyncio.to_thread(os.replace, unfinished, path)
    return count
