"""The ``default/kubernetes`` Service and what leads to it: the way pods find the API server.

Follows ``pkg/controlplane/controller/kubernetesservice``; run once at every start, nearly free when
everything is as it should be.
"""

from __future__ import annotations

import ipaddress

from minikube_py.client.types import Client
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, SERVICES, Resource

NAMESPACE, NAME = "default", "kubernetes"
SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_LABELS = {"component": "apiserver", "provider": "kubernetes"}


async def ensure_kubernetes_service(client: Client, network: str, address: str, port: int) -> None:
    """Create or correct the system namespaces, the Service, its Endpoints and its EndpointSlice.

    ``network``: see ``ServiceRanges``; the Service has one address, of the first range.
    """
    for name in SYSTEM_NAMESPACES:
        await _ensure(client, NAMESPACES, {"metadata": {"name": name}}, None, compare=())
    ip = str(ipaddress.ip_network(network.partition(",")[0].strip()).network_address + 1)
    await _ensure(client, SERVICES, _service(ip), NAMESPACE, compare=())
    await _ensure(client, ENDPOINTS, _endpoints(address, port), NAMESPACE, compare=("subsets",))
    await _ensure(client, ENDPOINT_SLICES, _slice(address, port), NAMESPACE, compare=("endpoints", "ports"))


async def _ensure(
    client: Client, resource: Resource, wanted: Object, namespace: str | None, *, compare: tuple[str, ...]
) -> None:
    name = wanted["metadata"]["name"]
    try:
        found = await client.get(resource, name, namespace)
    except ApiError as error:
        if not is_not_found(error):
            raise
        try:
            await client.create(resource, wanted, namespace)
        except ApiError as late:
            if not is_already_exists(late):
                raise
        return
    if any(not _covers(found.get(field), wanted[field]) for field in compare):
        draft = thaw(found)
        draft.update({field: wanted[field] for field in compare})
        await client.update(resource, draft, namespace)


def _covers(found: object, wanted: object) -> bool:
    """Whether ``found`` says all that ``wanted`` says (defaults may have been added)."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_covers, found, wanted))
    return found == wanted


def _service(ip: str) -> Object:
    return {
        "metadata": {"name": NAME, "labels": dict(_LABELS)},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }


def _endpoints(address: str, port: int) -> Object:
    subset = {"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}
    return {
        "metadata": {"name": NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [subset],
    }


def _slice(address: str, port: int) -> Object:
    return {
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
