"""What a server does for its workers: rights to join, the facts of the cluster, the CA bundle for whoever asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from minikube_py import config
from minikube_py.bootstrap_tokens import ensure_bindings
from minikube_py.certificates import ServerCredentials
from minikube_py.joining.cluster import CA_PATH, ClusterFacts, publish_facts
from minikube_py.machinery.errors import ApiError
from minikube_py.serving.process import Foundation, Server

log = logging.getLogger(__name__)

retry_seconds = 5.0


def public_documents(credentials: ServerCredentials) -> Mapping[str, Callable[[], bytes]]:
    """Texts for everybody, by path."""
    return {CA_PATH: lambda: credentials.root_ca.value.encode()}


async def tell_nodes(server: Server) -> None:
    """Give nodes their rights and publish what they need to know. Raises ApiError, OSError."""
    from minikube_py.components.apiserver.types import LOOPBACK

    found = server.foundation
    await asyncio.gather(ensure_bindings(found.api.client(LOOPBACK)), _publish(server, found))


async def follow_authorities(server: Server) -> None:
    """Publish it again whenever the CAs have changed, until cancelled: nodes must hear of new ones sooner or later."""
    found, changed = server.foundation, asyncio.Event()

    async def note() -> None:
        changed.set()

    found.credentials.on_change("node configuration", note)
    while True:
        await changed.wait()
        changed.clear()
        try:
            await _publish(server, found)
        except (ApiError, OSError) as error:
            log.error(
                "cannot tell nodes of the new authorities", extra={"error": str(error), "retry_seconds": retry_seconds}
            )
            changed.set()
            await server.clock.sleep(retry_seconds)


async def _publish(server: Server, found: Foundation) -> None:
    from minikube_py.components.apiserver.types import LOOPBACK

    settings, pki = server.settings, found.pki
    server_ca, client_ca = [
        await asyncio.to_thread(pair.certificate.read_text) for pair in (pki.server_ca, pki.client_ca)
    ]
    facts = ClusterFacts(
        cluster_cidr=settings.cluster_cidr,
        service_cidr=config.node_service_cidr(settings),
        cluster_dns=config.cluster_dns_address(settings),
        cluster_domain=settings.cluster_domain,
        disable=settings.disable,
        flannel_backend=settings.flannel_backend,
        server_ca=server_ca,
        client_ca=client_ca,
    )
    await publish_facts(found.api.client(LOOPBACK), facts)
