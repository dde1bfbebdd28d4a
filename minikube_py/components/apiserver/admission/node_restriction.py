"""NodeRestriction: a kubelet writes only its own node, its own pods' status, its lease, and tokens of its pods.

The Node authorizer lets kubelets near these resources; here it is checked which objects and which fields.
Same rules and texts as ``plugin/pkg/admission/noderestriction``.
"""

from __future__ import annotations

from collections.abc import Mapping

from minikube_py.components.apiserver.admission.refusal import refuse, request_name
from minikube_py.components.apiserver.admission.token_audiences import TokenAudiences
from minikube_py.components.apiserver.authorization.node import LEASE_NAMESPACE, node_of
from minikube_py.components.apiserver.authorization.pod_needs import MIRROR_ANNOTATION, needs_of
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import ADMIT
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import conflict, not_found
from minikube_py.machinery.objects import Object, annotations_of, labels_of, metadata, uid_of

RESTRICTED_NAMESPACE = "node-restriction.kubernetes.io"
_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
    }
)
_KUBELET_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESOURCES = frozenset(
    {
        ("", "pods"),
        ("", "nodes"),
        ("", "serviceaccounts"),
        ("coordination.k8s.io", "leases"),
        ("storage.k8s.io", "csinodes"),
        ("resource.k8s.io", "resourceslices"),
    }
)


class NodeRestriction:
    """Requests of kubelets."""

    name = "NodeRestriction"
    phases = (ADMIT,)

    def __init__(self, pods: Lookup, audiences: TokenAudiences) -> None:
        self._pods = pods
        self._audiences = audiences

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.kind.resource
        return (resource.group, resource.plural) in _RESOURCES and node_of(request.user) is not None

    async def admit(self, request: AdmissionRequest) -> None:
        node = node_of(request.user)
        if not node:
            raise refuse(request, f'could not determine node from user "{request.user.name}"')
        match request.kind.resource.plural, request.subresource:
            case "pods", "":
                await self._pod(request, node)
            case "pods", "status":
                await self._pod_status(request, node)
            case "pods", "eviction":
                await self._eviction(request, node)
            case "pods", other:
                raise refuse(request, f'unexpected pod subresource "{other}", only "status" and "eviction" are allowed')
            case "nodes", _:
                _check_node(request, node)
            case "serviceaccounts", "token":
                await self._token(request, node)
            case "leases", _:
                _check_lease(request, node)
            case "csinodes", _:
                if request_name(request) != node:
                    raise refuse(request, "can only access CSINode with the same name as the requesting node")
            case "resourceslices", _:
                _check_slice(request, node)

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""

    async def _pod(self, request: AdmissionRequest, node: str) -> None:
        if request.operation is Operation.CREATE and request.object is not None:
            _check_mirror_pod(request, request.object, node)
        elif request.operation is Operation.DELETE:
            pod = await self._existing(request)
            if _node_name(pod) != node:
                raise refuse(request, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        else:
            raise refuse(
                request,
                f'unexpected operation "{request.operation.value}", node "{node}" can only create and delete '
                "mirror pods",
            )

    async def _pod_status(self, request: AdmissionRequest, node: str) -> None:
        if request.operation is not Operation.UPDATE or request.old is None:
            raise refuse(request, f'unexpected operation "{request.operation.value}"')
        if _node_name(request.old) != node:
            raise refuse(request, f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
        if dict(labels_of(request.object or {})) != dict(labels_of(request.old)):
            raise refuse(request, f'node "{node}" cannot update labels through pod status')

    async def _eviction(self, request: AdmissionRequest, node: str) -> None:
        if _node_name(await self._existing(request)) != node:
            raise refuse(request, f'node "{node}" can only evict pods with spec.nodeName set to itself')

    async def _existing(self, request: AdmissionRequest) -> Object:
        if request.old is not None and "spec" in request.old:
            return request.old
        name = request_name(request)
        pod = await self._pods.get(name, request.namespace)
        if pod is None:
            raise not_found("", "pods", name)
        return pod

    async def _token(self, request: AdmissionRequest, node: str) -> None:
        reference = ((request.object or {}).get("spec") or {}).get("boundObjectRef") or {}
        if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
            raise refuse(request, "node requested token not bound to a pod")
        if not reference.get("uid"):
            raise refuse(request, "node requested token with a pod binding without a uid")
        pod = await self._pods.get(reference["name"], request.namespace)
        if pod is None:
            raise not_found("", "pods", reference["name"])
        if uid_of(pod) != reference["uid"]:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise conflict("", "pods", reference["name"], why)
        if _node_name(pod) != node:
            raise refuse(request, "node requested token bound to a pod scheduled on a different node")
        await self._audiences.check(request, pod)


def _node_name(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _check_mirror_pod(request: AdmissionRequest, pod: Object, node: str) -> None:
    who = f'node "{node}"'
    if MIRROR_ANNOTATION not in annotations_of(pod):
        raise refuse(request, f'pod does not have "{MIRROR_ANNOTATION}" annotation, {who} can only create mirror pods')
    if _node_name(pod) != node:
        raise refuse(request, f"{who} can only create pods with spec.nodeName set to itself")
    owners = metadata(pod).get("ownerReferences") or ()
    if len(owners) > 1:
        raise refuse(request, f"{who} can only create pods with a single owner reference set to itself")
    for owner in owners:
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise refuse(request, f"{who} can only create pods with an owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise refuse(request, f"{who} must not set blockOwnerDeletion on an owner reference")
    # Without the annotation the pod's references count, which is what has to be judged here.
    bare = {**pod, "metadata": {**metadata(pod), "annotations": {}}}
    needs = needs_of(bare)
    for found, words in (
        (needs.service_account, "a service account"),
        (needs.secrets, "secrets"),
        (needs.config_maps, "configmaps"),
        (needs.claims, "persistentvolumeclaims"),
        (needs.resource_claims, "resourceclaims"),
    ):
        if found:
            raise refuse(request, f"{who} can not create pods that reference {words}")


def _check_node(request: AdmissionRequest, node: str) -> None:
    name = request_name(request)
    if name != node:
        raise refuse(request, f'node "{node}" is not allowed to modify node "{name}"')
    new, old = request.object, request.old
    if new is None or request.operation is Operation.DELETE:
        return
    if request.operation is Operation.CREATE:
        forbidden = sorted(key for key in labels_of(new) if _is_forbidden_on_create(key))
        if forbidden:
            raise refuse(request, f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}')
        return
    if old is None:
        return
    if (new.get("spec") or {}).get("taints") != (old.get("spec") or {}).get("taints"):
        raise refuse(request, f'node "{node}" is not allowed to modify taints')
    modified = sorted(key for key in _modified(labels_of(new), labels_of(old)) if _is_forbidden_on_update(key))
    if modified:
        raise refuse(request, f'node "{node}" is not allowed to modify labels: {", ".join(modified)}')
    if metadata(new).get("ownerReferences") != metadata(old).get("ownerReferences"):
        raise refuse(request, f'node "{node}" is not allowed to modify ownerReferences')


def _modified(new: Mapping[str, str], old: Mapping[str, str]) -> set[str]:
    return {key for key in {**new, **old} if new.get(key) != old.get(key)}


def _namespace(label: str) -> str:
    return label.partition("/")[0] if "/" in label else ""


def _within(namespace: str, domain: str) -> bool:
    return namespace == domain or namespace.endswith(f".{domain}")


def _is_kubernetes_label(label: str) -> bool:
    namespace = _namespace(label)
    return _within(namespace, "kubernetes.io") or _within(namespace, "k8s.io")


def _is_kubelet_label(label: str) -> bool:
    return label in _KUBELET_LABELS or any(_within(_namespace(label), domain) for domain in _KUBELET_NAMESPACES)


def _is_forbidden_on_create(label: str) -> bool:
    """On registration all of Kubernetes' labels but the kubelet's own are refused."""
    return _is_kubernetes_label(label) and not _is_kubelet_label(label)


def _is_forbidden_on_update(label: str) -> bool:
    return _within(_namespace(label), RESTRICTED_NAMESPACE) or _is_forbidden_on_create(label)


def _check_lease(request: AdmissionRequest, node: str) -> None:
    if request.namespace != LEASE_NAMESPACE:
        raise refuse(request, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if request_name(request) != node:
        raise refuse(request, "can only access node lease with the same name as the requesting node")


def _check_slice(request: AdmissionRequest, node: str) -> None:
    for obj in (request.object, request.old):
        if obj is not None and (obj.get("spec") or {}).get("nodeName") != node:
            raise refuse(request, "can only access ResourceSlice with the same NodeName as the current node")
