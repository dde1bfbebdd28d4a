"""The Node authorizer: a kubelet reads only what the pods on its node need.

In place of the reference's graph, an index of pods by node and a small record of what each pod refers
to; a question walks the pods of one node. Reasons are those of
``plugin/pkg/auth/authorizer/node/node_authorizer.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minikube_py.client.types import Client
from minikube_py.components.apiserver.authorization.pod_needs import PodNeeds, needs_of, volume_secrets
from minikube_py.components.apiserver.authorization.rules import Rule, rule_allows
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import Attributes, Decision, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, namespace_of, resource_version_of, uid_of
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource
from minikube_py.machinery.selectors import parse_field_selector

NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
NODE_INDEX = "spec.nodeName"
LEASE_NAMESPACE = "kube-node-lease"
remembered_pods = 4096
VOLUME_ATTACHMENTS = Resource("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", False)
_READS = ("get", "list", "watch")
_WRITES_OWN = ("get", "create", "update", "patch", "delete")
_Answer = tuple[Decision, str]
_ALLOWED: _Answer = (Decision.ALLOW, "")


def node_of(user: UserInfo) -> str | None:
    """The node's name when the user is a kubelet, else None (``nodeidentifier.NodeIdentity``)."""
    if not user.name.startswith(NODE_PREFIX) or NODES_GROUP not in user.groups:
        return None
    return user.name[len(NODE_PREFIX) :]


def node_name_of_pod(pod: Object) -> tuple[str, ...]:
    """Index function: the node that a pod is bound to."""
    name = (pod.get("spec") or {}).get("nodeName")
    return (name,) if name else ()


def _no(reason: str) -> _Answer:
    return Decision.NO_OPINION, reason


class NodeAuthorizer:
    """Decides for kubelets; has no opinion about anybody else. ``rules`` are those of ClusterRole system:node."""

    def __init__(self, client: Client, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._pods = Lookup(client, PODS)
        self._claims = Lookup(client, PERSISTENT_VOLUME_CLAIMS)
        self._volumes = Lookup(client, PERSISTENT_VOLUMES)
        self._attachments = Lookup(client, VOLUME_ATTACHMENTS)
        self._needs: dict[str, tuple[str, PodNeeds]] = {}
        self._ready = False

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        node = node_of(user)
        if node is None:
            return Decision.NO_OPINION, ""
        if not node:
            return _no(f'unknown node for user "{user.name}"')
        if attributes.resource_request:
            answer = await self._subdivided(node, attributes)
            if answer is not None:
                return answer
        if any(rule_allows(rule, attributes) for rule in self._rules):
            return _ALLOWED
        return Decision.NO_OPINION, ""

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        """For kubelets the list is not complete: most of what they may do depends on their pods."""
        if node_of(user) is None:
            return [], []
        return [], ["node authorizer does not support user rule resolution"]

    async def _subdivided(self, node: str, a: Attributes) -> _Answer | None:
        """The answer for resources to which a node has access object by object; None for the others."""
        match (a.group, a.resource):
            case ("", "secrets" | "configmaps"):
                return await self._read_namespaced(node, a)
            case ("", "persistentvolumeclaims") if a.subresource == "status":
                return await self._update_status(node, a)
            case (
                ("", "persistentvolumeclaims" | "persistentvolumes")
                | ("resource.k8s.io", "resourceclaims")
                | ("storage.k8s.io", "volumeattachments")
            ):
                return await self._get_one(node, a)
            case ("", "serviceaccounts"):
                return await self._service_account(node, a)
            case ("coordination.k8s.io", "leases"):
                return _own_lease(node, a)
            case ("storage.k8s.io", "csinodes"):
                return _own_csi_node(node, a)
            case ("resource.k8s.io", "resourceslices"):
                return _own_slices(node, a)
            case ("", "nodes"):
                return _own_node(node, a)
            case ("", "pods"):
                return await self._pod(node, a)
        return None

    async def _read_namespaced(self, node: str, a: Attributes) -> _Answer:
        if a.verb not in _READS:
            return _no("can only read resources of this type")
        if a.subresource:
            return _no("cannot read subresource")
        if not a.namespace:
            return _no("can only read namespaced object of this type")
        return await self._related(node, a)

    async def _get_one(self, node: str, a: Attributes) -> _Answer:
        if a.verb != "get":
            return _no("can only get individual resources of this type")
        if a.subresource:
            return _no("cannot get subresource")
        return await self._related(node, a)

    async def _update_status(self, node: str, a: Attributes) -> _Answer:
        if a.verb not in ("update", "patch"):
            return _no("can only get individual resources of this type")
        return await self._related(node, a)

    async def _service_account(self, node: str, a: Attributes) -> _Answer:
        if a.verb == "get" and not a.subresource:
            return await self._related(node, a)
        if a.verb != "create" or not a.name:
            return _no("can only create tokens for individual service accounts")
        if a.subresource != "token":
            return _no("can only create token subresource of service account")
        return await self._related(node, a)

    async def _related(self, node: str, a: Attributes) -> _Answer:
        if not a.name:
            return _no("No Object name found")
        await self._prepare()
        if await self._reaches(node, a):
            return _ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    async def _pod(self, node: str, a: Attributes) -> _Answer:
        if a.subresource == "status" and a.verb in ("update", "patch"):
            return _ALLOWED  # NodeRestriction checks whose pod it is
        if a.subresource == "eviction" and a.verb == "create":
            return _ALLOWED
        if a.subresource:
            return Decision.NO_OPINION, ""
        if a.verb in ("create", "delete"):
            return _ALLOWED  # mirror pods; NodeRestriction checks them
        if a.verb == "get":
            return await self._related(node, a)
        if a.verb in ("list", "watch"):
            if _selected(a.field_selector, NODE_INDEX) == node:
                return _ALLOWED
            return _no("can only list/watch pods with spec.nodeName field selector")
        return Decision.NO_OPINION, ""

    async def _prepare(self) -> None:
        if self._ready:
            return
        self._pods.informer.add_index(NODE_INDEX, node_name_of_pod)
        await self._pods.synced()
        self._ready = True

    def _pods_of(self, node: str) -> Sequence[Object]:
        return self._pods.informer.by_index(NODE_INDEX, node)

    async def _reaches(self, node: str, a: Attributes) -> bool:
        match a.resource:
            case "pods":
                pod = await self._pods.get(a.name, a.namespace)
                return pod is not None and node in node_name_of_pod(pod)
            case "persistentvolumes":
                return any(name == a.name for _, name in self._bound_volumes(node))
            case "volumeattachments":
                attachment = await self._attachments.get(a.name)
                return attachment is not None and (attachment.get("spec") or {}).get("nodeName") == node
        for pod in self._pods_of(node):
            if namespace_of(pod) == a.namespace and _refers(self._needs_of(pod), a):
                return True
        return a.resource == "secrets" and any(
            (a.namespace, a.name) == secret
            for namespace, name in self._bound_volumes(node)
            for secret in volume_secrets(self._volumes.informer.get(name) or {}, namespace)
        )

    def _bound_volumes(self, node: str) -> Iterator[tuple[str, str]]:
        """(claim's namespace, PersistentVolume) of the claims that the node's pods use."""
        for pod in self._pods_of(node):
            namespace = namespace_of(pod)
            for claim_name in self._needs_of(pod).claims:
                claim = self._claims.informer.get(claim_name, namespace)
                volume = ((claim or {}).get("spec") or {}).get("volumeName")
                if volume:
                    yield namespace, volume

    def _needs_of(self, pod: Object) -> PodNeeds:
        uid, version = uid_of(pod), resource_version_of(pod)
        known = self._needs.get(uid)
        if known is None or known[0] != version:
            if len(self._needs) >= remembered_pods:
                self._needs.clear()
            known = (version, needs_of(pod))
            self._needs[uid] = known
        return known[1]


def _refers(needs: PodNeeds, a: Attributes) -> bool:
    match a.resource:
        case "secrets":
            return a.name in needs.secrets
        case "configmaps":
            return a.name in needs.config_maps
        case "persistentvolumeclaims":
            return a.name in needs.claims
        case "resourceclaims":
            return a.name in needs.resource_claims
        case "serviceaccounts":
            return a.name == needs.service_account
    return False


def _own_lease(node: str, a: Attributes) -> _Answer:
    if a.verb not in _WRITES_OWN:
        return _no("can only get, create, update, patch, or delete a node lease")
    if a.namespace != LEASE_NAMESPACE:
        return _no(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if a.verb != "create" and a.name != node:
        return _no("can only access node lease with the same name as the requesting node")
    return _ALLOWED


def _own_csi_node(node: str, a: Attributes) -> _Answer:
    if a.subresource:
        return _no("cannot authorize CSINode subresources")
    if a.verb not in _WRITES_OWN:
        return _no("can only get, create, update, patch, or delete a CSINode")
    if a.verb != "create" and a.name != node:
        return _no("can only access CSINode with the same name as the requesting node")
    return _ALLOWED


def _own_slices(node: str, a: Attributes) -> _Answer:
    if a.subresource:
        return _no("cannot authorize ResourceSlice subresources")
    if a.verb in _WRITES_OWN:
        return _ALLOWED  # NodeRestriction compares the slice's nodeName
    if a.verb in ("list", "watch", "deletecollection"):
        if _selected(a.field_selector, NODE_INDEX) == node:
            return _ALLOWED
        return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
    return _no("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch")


def _own_node(node: str, a: Attributes) -> _Answer:
    if a.subresource == "status" and a.verb in ("update", "patch"):
        return _ALLOWED
    if a.subresource:
        return Decision.NO_OPINION, ""
    if a.verb in ("create", "update", "patch"):
        return _ALLOWED  # NodeRestriction checks whose node it is
    if a.verb in _READS:
        name = a.name or _selected(a.field_selector, "metadata.name")
        if name == node:
            return _ALLOWED
        if not name:
            return _no(f"node '{node}' cannot read all nodes, only its own Node object")
        return _no(f"node '{node}' cannot read '{name}', only its own Node object")
    return Decision.NO_OPINION, ""


def _selected(selector: str, path: str) -> str:
    """The value that a field selector demands of a path; empty when it demands none."""
    if not selector:
        return ""
    try:
        return parse_field_selector(selector).exact(path) or ""
    except ApiError:
        return ""  # the registry refuses the request with the parser's text
