"""etcd's v3 gRPC interface over any ``TransactionalStore``. ``serve_etcd`` is the door.

``messages`` makes the message classes, ``keys`` maps etcd's bytes to this store's text, ``errors``
has etcd's texts and codes, ``ranges`` and ``transactions`` translate requests and answers; ``kv``,
``watch``, ``lease`` and ``maintenance`` are the services, ``server`` gives them their gRPC paths, and
``transport`` is the gRPC server. protobuf and hpack are imported only by ``serve_etcd``.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.datastore.transactions import TransactionalStore


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """PEM texts. With ``client_ca`` every client must show a certificate that it signed.

    ``ciphers`` is OpenSSL's list for TLS 1.2.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = "ECDHE+AESGCM:ECDHE+CHACHA20"


def etcd_context(tls: EtcdTls) -> ssl.SSLContext:
    """What ``serve_etcd`` takes. Blocks. Raises OSError: the texts are no certificate or key, or not of each other."""
    from minikube_py.datastore.etcd.transport import server_context

    try:
        context = server_context(tls.certificate, tls.key, tls.client_ca)
        context.minimum_version = tls.minimum_version
        context.set_ciphers(tls.ciphers)
    except (ssl.SSLError, ValueError) as failure:  # ValueError: nothing in it
        raise OSError(
            f"etcd interface: {failure}; certificate, key and client CA must be PEM and belong together"
        ) from failure
    return context


async def serve_etcd(
    store: TransactionalStore,
    *,
    listen: str,
    tls: ssl.SSLContext | None = None,
    ready: Callable[[], None],
    bound: Callable[[str], None] | None = None,
) -> None:
    """Serve ``store`` at ``listen`` (HOST:PORT, port 0 chooses one; or unix:PATH) until cancelled.

    ``tls`` is of ``etcd_context``, or chooses such a one for each handshake (``host.tls.ServerTls``).

    ``bound`` learns the address, ``ready`` is called when it serves. Raises OSError when the address
    cannot be taken.
    """
    from minikube_py.datastore.etcd.server import run_server

    await run_server(store, listen=listen, tls=tls, ready=ready, bound=bound)


__all__ = ["EtcdTls", "etcd_context", "serve_etcd"]
