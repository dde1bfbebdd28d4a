"""The PostgreSQL engine: one database, any number of servers on it at the same time.

``open_postgres`` is the door. ``schema`` makes the tables, ``log`` has the statements, ``mirror`` the
state that a server keeps in memory, ``writer`` the group commit, ``follower`` what other servers
write, ``engine`` the whole. Why revisions have no gaps is told in ``writer``.
"""

from minikube_py.datastore.postgres.engine import PostgresDatastore, open_postgres
from minikube_py.datastore.postgres.settings import PostgresSettings

__all__ = ["PostgresDatastore", "PostgresSettings", "open_postgres"]
