"""A small gRPC server on asyncio: HTTP/2 by own code, HPACK by ``hpack``.

``serve`` is the door: methods by path in, calls to their handlers out. ``frames`` and ``headers`` are
bytes in and out, ``connection`` reads, ``sender`` writes, ``budget`` stops floods, ``call`` is what a handler sees,
``running`` runs it, ``server`` listens, with ``tls`` if wanted. Requests and responses are bytes of protobuf messages;
nothing here knows what they mean.
Not served: compressed messages (refused as gRPC demands, with what is accepted).
"""

from __future__ import annotations

from minikube_py.datastore.etcd.transport.call import Call, Method, Shortcut, Streaming, Unary
from minikube_py.datastore.etcd.transport.server import serve
from minikube_py.datastore.etcd.transport.status import Code, StatusError
from minikube_py.datastore.etcd.transport.tls import server_context

__all__ = ["Call", "Code", "Method", "Shortcut", "StatusError", "Streaming", "Unary", "serve", "server_context"]
