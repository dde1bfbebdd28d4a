"""The datastore's etcd face in a process."""

from __future__ import annotations

import asyncio

from minikube_py import config
from minikube_py.serving.process import Server
from minikube_py.supervisor import Ready


async def run_etcd(server: Server, ready: Ready) -> None:
    """The datastore's etcd face, with the API server's certificate; clients show one of the client CA's."""
    from minikube_py.certificates import restart_on_change
    from minikube_py.datastore.etcd import EtcdTls, serve_etcd

    pki, store, policy = server.foundation.pki, server.foundation.store, config.tls_policy(server.settings)
    files = (pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key, pki.client_ca.certificate)

    async def serve() -> None:
        certificate, key, authority = [await asyncio.to_thread(path.read_bytes) for path in files]
        tls = EtcdTls(certificate, key, authority, policy.minimum, policy.ciphers)
        await serve_etcd(store, listen=server.settings.etcd_listen, tls=tls, ready=ready)

    await restart_on_change(server.foundation.credentials, "etcd", serve)
