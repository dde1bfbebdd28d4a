"""NodeRestriction: a kubelet writes only its own node, its own pods' status, its lease, and tokens of its pods.

The Node authorizer lets kubelets near these resources; here it is checked which objects and which fields.
Same rules and texts as ``plugin/pkg/admission/noderestriction``.
"""

from __future__ import annotations

from collections.abc import Mapping

from minikube_py.components.apiserver.admission.certificates import subject_values
from minikube_py.components.apiserver.admission.pod_references import referenced_resource
from minikube_py.components.apiserver.admission.refusal import refuse, request_name
from minikube_py.components.apiserver.admission.token_audiences import TokenAudiences
from minikube_py.components.apiserver.authorization.node import LEASE_NAMESPACE, NODE_PREFIX, node_of
from minikube_py.components.apiserver.authorization.pod_needs import MIRROR_ANNOTATION
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import ADMIT
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import conflict, go_quote, not_found
from minikube_py.machinery.local_volumes import FINALIZER, node_of_volume
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
_GROWTH = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
_KUBELET_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
_RESOURCES = frozenset(
    {
        ("", "pods"),
        ("", "nodes"),
        ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"),
        ("", "serviceaccounts"),
        ("certificates.k8s.io", "certificatesigningrequests"),
        ("coordination.k8s.io", "leases"),
        ("storage.k8s.io", "csinodes"),
        ("resource.k8s.io", "resourceslices"),
    }
)


class NodeRestriction:
    """Requests of kubelets."""

    name = "NodeRestriction"
    phases = (ADMIT,)

    def __init__(self, pods: Lookup, nodes: Lookup, audiences: TokenAudiences) -> None:
        self._pods = pods
        self._nodes = nodes
        self._audiences = audiences

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.kind.resource
        return (resource.group, resource.plural) in _RESOURCES and node_of(request.user) is not None

    async def admit(self, request: AdmissionRequest) -> None:
        node = node_of(request.user)
        if not node:
            raise refuse(request, f'could not determine node from user "{request.user.name}"')
        match request.kind.resource.plural, request.subresource:
            case "pods", subresource:
                await self._pods_of(request, node, subresource)
            case "nodes", _:
                _check_node(request, node)
            case "persistentvolumeclaims", subresource:
                _check_claim(request, node, subresource)
            case "persistentvolumes", _:
                _check_volume(request, node)
            case "serviceaccounts", "token":
                await self._token(request, node)
            case "certificatesigningrequests", "":
                _check_certificate_request(request, node)
            case "leases", _:
                _check_lease(request, node)
            case "csinodes", _:
                if request_name(request) != node:
                    raise refuse(request, "can only access CSINode with the same name as the requesting node")
            case "resourceslices", _:
                _check_slice(request, node)

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""

    async def _pods_of(self, request: AdmissionRequest, node: str, subresource: str) -> None:
        match subresource:
            case "":
                await self._pod(request, node)
            case "status":
                _check_pod_status(request, node)
            case "eviction":
                await self._eviction(request, node)
            case other:
                why = f"unexpected pod subresource {go_quote(other)}, only 'status' and 'eviction' are allowed"
                raise refuse(request, why)

    async def _pod(self, request: AdmissionRequest, node: str) -> None:
        if request.operation is Operation.CREATE and request.object is not None:
            await self._mirror_pod(request, request.object, node)
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

    async def _mirror_pod(self, request: AdmissionRequest, pod: Object, node: str) -> None:
        """A pod from a file of the node: its own, owned by its Node, and without a right to anything."""
        who = f'node "{node}"'
        if MIRROR_ANNOTATION not in annotations_of(pod):
            why = f'pod does not have "{MIRROR_ANNOTATION}" annotation, {who} can only create mirror pods'
            raise refuse(request, why)
        if _node_name(pod) != node:
            raise refuse(request, f"{who} can only create pods with spec.nodeName set to itself")
        owners = metadata(pod).get("ownerReferences") or ()
        if len(owners) > 1:
            raise refuse(request, f"{who} can only create pods with a single owner reference set to itself")
        if not owners or _named(owners[0]) != ("v1", "Node", node):
            raise refuse(request, f"{who} can only create pods with an owner reference set to itself")
        if not owners[0].get("controller"):
            raise refuse(request, f"{who} can only create pods with a controller owner reference set to itself")
        if owners[0].get("blockOwnerDeletion"):
            raise refuse(request, f"{who} must not set blockOwnerDeletion on an owner reference")
        registered = await self._nodes.get(node)
        if registered is None:
            raise not_found("", "nodes", node)
        if owners[0].get("uid") != uid_of(registered):
            why = f"node {node} UID mismatch: expected {owners[0].get('uid') or ''} got {uid_of(registered)}"
            raise refuse(request, why)
        if resource := referenced_resource(pod):
            raise refuse(request, f"{who} can not create pods that reference {resource}")

    async def _eviction(self, request: AdmissionRequest, node: str) -> None:
        if _node_name(await self._existing(request)) != node:
            raise refuse(request, f"node {node} can only evict pods with spec.nodeName set to itself")

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


def _named(owner: Mapping[str, object]) -> tuple[object, object, object]:
    return owner.get("apiVersion"), owner.get("kind"), owner.get("name")


def _check_pod_status(request: AdmissionRequest, node: str) -> None:
    if request.operation is not Operation.UPDATE or request.old is None:
        raise refuse(request, f'unexpected operation "{request.operation.value}"')
    new, old = request.object or {}, request.old
    if _node_name(old) != node:
        raise refuse(request, f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
    if dict(labels_of(new)) != dict(labels_of(old)):
        raise refuse(request, f'node "{node}" cannot update labels through pod status')
    if _claim_statuses(new) != _claim_statuses(old):
        raise refuse(request, f'node "{node}" cannot update resource claim statues')
    if _status(new).get("extendedResourceClaimStatus") != _status(old).get("extendedResourceClaimStatus"):
        raise refuse(request, f'node "{node}" cannot update extended resource claim status')


def _status(obj: Object) -> Object:
    found: Object = obj.get("status") or {}
    return found


def _claim_statuses(pod: Object) -> list[tuple[object, object]]:
    listed = _status(pod).get("resourceClaimStatuses") or ()
    return [(item.get("name"), item.get("resourceClaimName")) for item in listed]


def _check_claim(request: AdmissionRequest, node: str, subresource: str) -> None:
    """A node reports how far it got with growing a volume, nothing else."""
    if subresource != "status":
        raise refuse(request, "may only update PVC status")
    if request.operation is not Operation.UPDATE or request.old is None:
        raise refuse(request, f'unexpected operation "{request.operation.value}"')
    if _without_growth(request.object or {}) != _without_growth(request.old):
        why = f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
        raise refuse(request, why)


def _check_volume(request: AdmissionRequest, node: str) -> None:
    """A node tells that the folder of a volume of its own is gone, nothing else; Kubernetes' nodes write no volumes."""
    new, old = request.object, request.old
    if request.operation is not Operation.UPDATE or new is None or old is None:
        raise refuse(request, f'unexpected operation "{request.operation.value}"')
    if node_of_volume(old) != node or _without_finalizers(new) != _without_finalizers(old):
        raise refuse(request, f'node "{node}" can only remove the finalizer {FINALIZER} of volumes on itself')
    before, after = (set(metadata(each).get("finalizers") or ()) for each in (old, new))
    if not (after <= before <= after | {FINALIZER}):
        raise refuse(request, f'node "{node}" can only remove the finalizer {FINALIZER} of volumes on itself')


def _without_finalizers(volume: Object) -> Object:
    skipped = ("resourceVersion", "managedFields", "finalizers")
    meta = {key: value for key, value in metadata(volume).items() if key not in skipped}
    return {"metadata": meta, "spec": volume.get("spec"), "status": volume.get("status")}


def _without_growth(claim: Object) -> Object:
    meta = {key: value for key, value in metadata(claim).items() if key not in ("resourceVersion", "managedFields")}
    status = {key: value for key, value in _status(claim).items() if key not in _GROWTH}
    rest = {key: value for key, value in claim.items() if key not in ("metadata", "status", "kind", "apiVersion")}
    return {**rest, "metadata": meta, "status": status}


def _check_certificate_request(request: AdmissionRequest, node: str) -> None:
    """What a kubelet asks of the signers of kubelets' certificates is about itself."""
    spec = (request.object or {}).get("spec") or {}
    if request.operation is not Operation.CREATE or spec.get("signerName") not in _KUBELET_SIGNERS:
        return
    try:
        asked = subject_values(spec.get("request") or "", "CN")
    except ValueError as error:
        raise refuse(request, f"unable to parse csr: {error}") from error
    if asked != [f"{NODE_PREFIX}{node}"]:
        raise refuse(request, f"can only create a node CSR with CN={NODE_PREFIX}{node}")


def _check_node(request: AdmissionRequest, node: str) -> None:
    name = request_name(request)
    if name != node:
        raise refuse(request, f'node "{node}" is not allowed to modify node "{name}"')
    new, old = request.object, request.old
    if new is None or request.operation is Operation.DELETE:
        return
    source = _spec(new).get("configSource")
    if request.operation is Operation.CREATE:
        if source is not None:
            raise refuse(request, f'node "{node}" is not allowed to create pods with a non-nil configSource')
        forbidden = sorted(key for key in labels_of(new) if _is_forbidden_on_create(key))
        if forbidden:
            raise refuse(request, f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}')
        return
    if old is None:
        return
    if source is not None and source != _spec(old).get("configSource"):
        raise refuse(request, f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
    if (_spec(new).get("taints") or []) != (_spec(old).get("taints") or []):
        raise refuse(request, f'node "{node}" is not allowed to modify taints')
    if metadata(new).get("ownerReferences") != metadata(old).get("ownerReferences"):
        raise refuse(request, f'node "{node}" is not allowed to modify ownerReferences')
    modified = sorted(key for key in _modified(labels_of(new), labels_of(old)) if _is_forbidden_on_update(key))
    if modified:
        raise refuse(request, f"is not allowed to modify labels: {', '.join(modified)}")


def _spec(obj: Object) -> Object:
    found: Object = obj.get("spec") or {}
    return found


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
    """Creation and each deletion of a collection; the rest is the Node authorizer's, which knows the object."""
    judged = {Operation.CREATE: request.object, Operation.DELETE: request.old}.get(request.operation)
    if judged is not None and _spec(judged).get("nodeName") != node:
        verb = request.operation.value.lower()
        raise refuse(request, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")
