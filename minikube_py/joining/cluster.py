"""What a server tells its nodes: the ConfigMap ``kube-system/pyk3s-node-config``, and who may read it.

In kubeadm's manner (``kubelet-config``): nodes and bootstrapping nodes read it by name, nobody else does. It holds
nothing secret: address ranges, the domain, what is disabled, and the CA bundles, which nodes take over in a rotation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from minikube_py.bootstrap_tokens import NODE_GROUP
from minikube_py.client.types import Client, WriteOptions
from minikube_py.config import ServerSettings
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import CONFIG_MAPS, ROLE_BINDINGS, ROLES, Resource

CA_PATH = "/cacerts"
"""Where a server gives its CA bundle to anybody, as k3s does; joiners check it by the hash in their token."""
NAMESPACE, NAME = "kube-system", "pyk3s-node-config"
ROLE = "pyk3s:node-config"
_RBAC = "rbac.authorization.k8s.io"
_WRITE = WriteOptions(field_manager="pyk3s")


class FactsUnreadable(ValueError):
    """The ConfigMap (or its copy on disk) lacks something; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What all nodes of a cluster have in common. The bundles are PEM texts."""

    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    disable: tuple[str, ...]
    flannel_backend: str
    server_ca: str
    client_ca: str

    def data(self) -> dict[str, str]:
        """As the ConfigMap holds it."""
        return {
            "cluster-cidr": self.cluster_cidr,
            "service-cidr": self.service_cidr,
            "cluster-dns": self.cluster_dns,
            "cluster-domain": self.cluster_domain,
            "disable": ",".join(self.disable),
            "flannel-backend": self.flannel_backend,
            "server-ca.crt": self.server_ca,
            "client-ca.crt": self.client_ca,
        }


def facts_of(data: Mapping[str, str]) -> ClusterFacts:
    """The facts in the data of the ConfigMap. Raises FactsUnreadable."""
    try:
        return ClusterFacts(
            cluster_cidr=data["cluster-cidr"],
            service_cidr=data["service-cidr"],
            cluster_dns=data["cluster-dns"],
            cluster_domain=data["cluster-domain"],
            disable=tuple(part for part in data["disable"].split(",") if part),
            flannel_backend=data["flannel-backend"],
            server_ca=data["server-ca.crt"],
            client_ca=data["client-ca.crt"],
        )
    except KeyError as error:
        raise FactsUnreadable(
            f"{NAMESPACE}/{NAME} lacks {error.args[0]}: is the server as new as the agent?"
        ) from error


def told(settings: ServerSettings, node_name: str, facts: ClusterFacts) -> ServerSettings:
    """A node's settings with its cluster's facts in them."""
    return replace(
        settings,
        node_name=node_name,
        cluster_cidr=facts.cluster_cidr,
        service_cidr=facts.service_cidr,
        cluster_dns=facts.cluster_dns,
        cluster_domain=facts.cluster_domain,
        disable=facts.disable,
        flannel_backend=facts.flannel_backend,
    )


async def read_facts(client: Client) -> ClusterFacts:
    """The facts as the server has them now. Raises ApiError, FactsUnreadable."""
    found = await client.get(CONFIG_MAPS, NAME, NAMESPACE)
    return facts_of(found.get("data") or {})


async def publish_facts(client: Client, facts: ClusterFacts) -> None:
    """Create or correct the ConfigMap; the role and its binding are made once and then the administrator's."""
    wanted: Object = {"metadata": {"name": NAME}, "data": facts.data()}
    created, _, _ = await asyncio.gather(  # at once: one commit of the datastore
        _created(client, CONFIG_MAPS, wanted),
        _created(client, ROLES, _role()),
        _created(client, ROLE_BINDINGS, _role_binding()),
    )
    if not created:
        found = await client.get(CONFIG_MAPS, NAME, NAMESPACE)
        if found.get("data") != wanted["data"]:
            await client.update(CONFIG_MAPS, {**found, "data": wanted["data"]}, NAMESPACE, options=_WRITE)


async def _created(client: Client, resource: Resource, obj: Object) -> bool:
    """Create what is missing; whether it was. Looks first: at most starts everything is there."""
    try:
        await client.get(resource, name_of(obj), NAMESPACE)
    except ApiError as error:
        if not is_not_found(error):
            raise
    else:
        return False
    try:
        await client.create(resource, obj, NAMESPACE, options=_WRITE)
    except ApiError as error:
        if not is_already_exists(error):  # another server was faster
            raise
        return False
    return True


def _role() -> Object:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get", "list", "watch"]}
    return {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": {"name": ROLE}, "rules": [rule]}


def _role_binding() -> Object:
    groups = [{"apiGroup": _RBAC, "kind": "Group", "name": name} for name in (NODE_GROUP, "system:nodes")]
    role = {"apiGroup": _RBAC, "kind": "Role", "name": ROLE}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": role,
        "subjects": groups,
    }
