"""``--datastore-endpoint``: what it may be, and opening what it names.

``sqlite:///PATH`` (three slashes and a relative path, or four: an absolute one) or libpq's
``postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE&...``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from minikube_py.datastore.transactions import TransactionalStore
from minikube_py.datastore.types import StoreUnavailable
from minikube_py.machinery.clock import Clock


def sqlite_path(endpoint: str) -> Path | None:
    """The file of a SQLite endpoint; None: it is PostgreSQL's. Raises ValueError for anything else.

    >>> sqlite_path("sqlite:////var/lib/pyk3s/state.db")
    PosixPath('/var/lib/pyk3s/state.db')
    """
    parts = urlsplit(endpoint)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return Path(unquote(parts.path[1:]))
    if parts.scheme in ("postgresql", "postgres"):
        return None
    raise ValueError(
        f"datastore endpoint {without_password(endpoint)!r}: use sqlite:///PATH or postgresql://HOST/DATABASE"
    )


async def check_there(path: Path) -> None:
    """Raise StoreUnavailable unless ``path`` is a file: what only looks at a datastore, or moves it, makes none."""
    if await asyncio.to_thread(path.is_dir):
        raise StoreUnavailable(f"{path}: is a folder; name the file, such as {path}/state.db")
    if not await asyncio.to_thread(path.is_file):
        raise StoreUnavailable(f"{path}: there is no such file; name the one of a datastore")


def without_password(endpoint: str) -> str:
    """The endpoint for messages and logs."""
    parts = urlsplit(endpoint)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


async def open_endpoint(endpoint: str, *, clock: Clock, client_rate: float = 0.0) -> TransactionalStore:
    """Open, or set up, the datastore; ``client_rate``: see ``quota``. Raises ValueError and what the engines raise."""
    path = sqlite_path(endpoint)
    if path is not None:
        from minikube_py.datastore.sqlite import SqliteSettings, open_sqlite

        return await open_sqlite(path, clock=clock, settings=SqliteSettings(client_rate=client_rate))
    from minikube_py.datastore.postgres import PostgresSettings, open_postgres

    return await open_postgres(endpoint, clock=clock, settings=PostgresSettings(client_rate=client_rate))
