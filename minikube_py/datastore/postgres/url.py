"""The files that a PostgreSQL URL names (libpq's ``sslrootcert``, ``sslcert``, ``sslkey``, ``sslcrl``)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from minikube_py.datastore.types import StoreUnavailable

_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


async def check_files(url: str) -> None:
    """Raise StoreUnavailable, with the file's name, when one cannot be read; the TLS library does not tell which."""
    for name, value in parse_qsl(urlsplit(url).query):
        if name not in _FILES:
            continue
        try:
            await asyncio.to_thread(Path(value).read_bytes)
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreUnavailable(f"database: cannot read {value}, which {name} names: {why}") from error
