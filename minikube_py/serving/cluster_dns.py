"""The Service ``kube-system/kube-dns``: the name and the address under which clusters find their DNS."""

from __future__ import annotations

import asyncio
import logging

from minikube_py import agent, config
from minikube_py.client.types import Client, EventType
from minikube_py.config import ServerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NODES, SERVICES

log = logging.getLogger(__name__)

retry_seconds = 5.0


async def dns_service_with_first_worker(client: Client, settings: ServerSettings, clock: Clock) -> None:
    """On a server without a node nobody answers before there is a worker; then make the Service, sooner or later.

    Never raises ApiError: pods find the DNS by its address all the same.
    """
    await _first_node(client)
    done = False
    while not done:
        try:
            await ensure_dns_service(client, settings)
            done = True
        except ApiError as error:
            log.warning("cannot make the Service of the cluster DNS", extra={"error": error.message})
            await clock.sleep(retry_seconds)


async def _first_node(client: Client) -> None:
    """Wait for a node whose kubelet has a port: others are just objects that somebody wrote."""
    found, nodes = asyncio.Event(), client.informer(NODES)

    def on_node(type: EventType, node: Object, old: Object | None) -> None:
        endpoints = (node.get("status") or {}).get("daemonEndpoints") or {}
        if (endpoints.get("kubeletEndpoint") or {}).get("Port"):
            found.set()

    unsubscribe = nodes.subscribe(on_node)
    try:
        await found.wait()
    finally:
        unsubscribe()


async def ensure_dns_service(client: Client, settings: ServerSettings) -> None:
    """Create the Service unless it is there, or the DNS is disabled. Raises ApiError."""
    if "dns" in settings.disable:
        return
    namespace, name = agent.DNS_SERVICE
    try:
        await client.get(SERVICES, name, namespace)
    except ApiError as error:
        if not is_not_found(error):
            raise
        ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
        labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
        service = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"clusterIP": config.cluster_dns_address(settings), "ports": ports},
        }
        await client.create(SERVICES, service, namespace)
