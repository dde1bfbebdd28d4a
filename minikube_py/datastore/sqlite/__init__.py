"""The embedded engine: one SQLite file, one process, current state in memory.

``open_sqlite`` is the door. Its parts: ``file`` (owning and opening the file), ``disk`` (the thread
that owns a connection), ``log`` (the statements), ``intents`` and ``writer`` (group commit),
``volatile`` (heartbeats), ``reading`` (the past), ``housekeeping`` (leases, compaction, giving
space back), ``engine`` (the whole).
"""

from minikube_py.datastore.sqlite.engine import SqliteDatastore, open_sqlite
from minikube_py.datastore.sqlite.settings import SqliteSettings

__all__ = ["SqliteDatastore", "SqliteSettings", "open_sqlite"]
