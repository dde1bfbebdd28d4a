"""The datastore and the PKI, opened side by side, and the API server on them; everything else needs these."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from minikube_py import config
from minikube_py.serving.collecting import pace
from minikube_py.serving.process import Foundation, Server
from minikube_py.supervisor import Ready

if TYPE_CHECKING:
    from minikube_py.certificates import ServerCredentials


async def run_foundation(server: Server, ready: Ready) -> None:
    """Datastore and PKI side by side, then the API server on them; afterwards the store's housekeeping."""
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from minikube_py.datastore.endpoints import open_endpoint
    from minikube_py.serving.api import make_api
    from minikube_py.serving.encryption import encrypted

    disable_created_metrics()  # type: ignore[no-untyped-call]  # Kubernetes has no ``_created`` series
    credentials_task = asyncio.create_task(asyncio.to_thread(_credentials, server))
    try:
        store = await open_endpoint(
            config.datastore_endpoint(server.settings),
            clock=server.clock,
            client_rate=server.settings.datastore_client_rate,
        )
    except BaseException:
        credentials_task.cancel()
        raise
    try:
        credentials = await credentials_task
        registry, node_registry = CollectorRegistry(), CollectorRegistry()
        registry.register(node_registry)
        encryption = await encrypted(server.settings, server.data, store, server.clock, registry)
        api = make_api(server, store, credentials, registry, encryption)
        store.tap(pace())
        server.lay(Foundation(credentials, store, api, registry, node_registry))
        ready()
        try:
            await store.run()
        finally:
            api.close()
    finally:
        await store.close()


def _credentials(server: Server) -> ServerCredentials:
    """The PKI and the join tokens. Blocks. Raises PkiError, OSError, DefinitionsMissing."""
    from minikube_py.certificates import ServerCredentials
    from minikube_py.machinery.schema import definitions

    definitions()  # read the bundle here, in a thread: the first request must not read it on the loop
    return ServerCredentials(server.settings, server.clock)
