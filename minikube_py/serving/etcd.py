"""The datastore's etcd face in a process."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from minikube_py import config
from minikube_py.serving.process import Server
from minikube_py.supervisor import Ready


async def run_etcd(server: Server, ready: Ready) -> None:
    """The datastore's etcd face, with the API server's certificate.

    Clients show a certificate of the CA that is named for them, else of the client CA. Renewed certificates and
    replaced CAs are used from the next handshake on; who is connected stays.
    """
    from minikube_py.datastore.etcd import EtcdTls, etcd_context, serve_etcd
    from minikube_py.host.file_changes import signature_of
    from minikube_py.host.tls import ServerTls, follow_files

    foundation, settings = server.foundation, server.settings
    pki, policy = foundation.pki, config.tls_policy(settings)
    own = [Path(settings.etcd_trusted_ca_file)] if settings.etcd_trusted_ca_file else []
    serving, authority = pki.serving_kube_apiserver, own[0] if own else pki.client_ca.certificate

    def context() -> ssl.SSLContext:
        certificate, key, trusted = (path.read_bytes() for path in (serving.certificate, serving.key, authority))
        return etcd_context(EtcdTls(certificate, key, trusted, policy.minimum, policy.ciphers))

    since = await asyncio.to_thread(signature_of, own)
    tls = await asyncio.to_thread(ServerTls, context)
    foundation.credentials.on_change("etcd", tls.exchange)
    async with asyncio.TaskGroup() as tasks:
        if own:
            tasks.create_task(follow_files(tls, own, server.clock, since=since), name="etcd-trusted-ca")
        tasks.create_task(
            serve_etcd(foundation.store, listen=settings.etcd_listen, tls=tls.context, ready=ready), name="etcd"
        )
