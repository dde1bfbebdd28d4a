"""What a server does for its workers: rights to join, the facts of the cluster, the CA bundle for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from minikube_py import config
from minikube_py.bootstrap_tokens import ensure_bindings
from minikube_py.certificates import ServerCredentials
from minikube_py.joining.cluster import ClusterFacts, publish_facts
from minikube_py.serving.process import Foundation, Server

CA_PATH = "/cacerts"
"""k3s's. Joiners check what they get there against the hash in their token."""


def public_documents(credentials: ServerCredentials) -> Mapping[str, Callable[[], bytes]]:
    """Texts for everybody, by path."""
    return {CA_PATH: lambda: credentials.root_ca.value.encode()}


async def tell_nodes(server: Server) -> None:
    """Publish what nodes need to know, now and whenever the CAs change. Raises ApiError, OSError."""
    from minikube_py.components.apiserver.types import LOOPBACK

    found = server.foundation
    await ensure_bindings(found.api.client(LOOPBACK))
    publish = partial(_publish, server, found)
    await publish()
    found.credentials.on_change("node configuration", publish)


async def _publish(server: Server, found: Foundation) -> None:
    from minikube_py.components.apiserver.types import LOOPBACK

    settings, pki = server.settings, found.pki
    server_ca, client_ca = [
        await asyncio.to_thread(pair.certificate.read_text) for pair in (pki.server_ca, pki.client_ca)
    ]
    facts = ClusterFacts(
        cluster_cidr=settings.cluster_cidr,
        service_cidr=settings.service_cidr,
        cluster_dns=config.cluster_dns_address(settings),
        cluster_domain=settings.cluster_domain,
        disable=settings.disable,
        flannel_backend=settings.flannel_backend,
        server_ca=server_ca,
        client_ca=client_ca,
    )
    await publish_facts(found.api.client(LOOPBACK), facts)
