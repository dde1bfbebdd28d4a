"""NodeRestriction: what a kubelet may write of pods, claims, its Node, slices and certificate requests."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.certificates import REQUESTS
from minikube_py.components.apiserver.admission.node_restriction import NodeRestriction
from minikube_py.components.apiserver.admission.token_audiences import CSI_DRIVERS, TokenAudiences
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Decision, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource

SLICES = Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", namespaced=False)
KUBELET = UserInfo("system:node:n1", ("system:nodes",))
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": True}
NODE = 'node "n1"'


class NoRights:
    async def authorize(self, user: UserInfo, attributes: Any) -> tuple[Decision, str]:
        return Decision.NO_OPINION, ""


async def ask(
    resource: Resource,
    new: dict[str, Any] | None,
    *,
    operation: Operation = Operation.CREATE,
    old: dict[str, Any] | None = None,
    subresource: str = "",
) -> str:
    """What is said against the request; empty when it is let in."""
    client = FakeClient(FakeClock())
    client.seed(NODES, {"metadata": {"name": "n1", "uid": "u1"}})
    claims, volumes, drivers = (Lookup(client, r) for r in (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, CSI_DRIVERS))
    audiences = TokenAudiences(claims, volumes, drivers, NoRights())
    plugin = NodeRestriction(Lookup(client, PODS), Lookup(client, NODES), audiences)
    meta = (new or old or {}).get("metadata") or {}
    kind, namespace = Kind(resource, "x", "x"), meta.get("namespace", "")
    request = AdmissionRequest(operation, kind, subresource, namespace, meta["name"], KUBELET, new, old, {})
    assert plugin.handles(request)
    try:
        await plugin.admit(request)
    except ApiError as error:
        assert error.code == 403
        return error.message.partition(" is forbidden: ")[2]
    return ""


def mirror(*owners: dict[str, Any], **spec: Any) -> dict[str, Any]:
    meta = {"name": "p", "namespace": "ns", "annotations": {"kubernetes.io/config.mirror": "h"}}
    return {
        "metadata": {**meta, "ownerReferences": list(owners or (OWNER,))},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}], **spec},
    }


def volume(**source: Any) -> dict[str, Any]:
    return mirror(volumes=[{"name": "v", **source}])


def projected(**source: Any) -> dict[str, Any]:
    return volume(projected={"sources": [{"downwardAPI": {}}, source]})


REFERENCES = f"{NODE} can not create pods that reference "


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (mirror(), ""),
        (mirror(volumes=[{"name": "h", "hostPath": {"path": "/"}}, {"name": "e", "emptyDir": {}}]), ""),
        (mirror(nodeName="n2"), f"{NODE} can only create pods with spec.nodeName set to itself"),
        (mirror(OWNER, OWNER), f"{NODE} can only create pods with a single owner reference set to itself"),
        (
            {**mirror(), "metadata": {**mirror()["metadata"], "ownerReferences": []}},
            f"{NODE} can only create pods with an owner reference set to itself",
        ),
        (mirror({**OWNER, "name": "n2"}), f"{NODE} can only create pods with an owner reference set to itself"),
        (
            mirror({**OWNER, "controller": False}),
            f"{NODE} can only create pods with a controller owner reference set to itself",
        ),
        (
            mirror({**OWNER, "blockOwnerDeletion": True}),
            f"{NODE} must not set blockOwnerDeletion on an owner reference",
        ),
        (mirror({**OWNER, "uid": "old"}), "node n1 UID mismatch: expected old got u1"),
        (mirror(serviceAccountName="x"), f"{REFERENCES}serviceaccounts"),
        (mirror(imagePullSecrets=[{"name": "s"}]), f"{REFERENCES}secrets"),
        (volume(configMap={"name": "c"}), f"{REFERENCES}configmaps"),
        (mirror(resourceClaims=[{"name": "r"}]), f"{REFERENCES}resourceclaims"),
        (volume(csi={"driver": "d"}), f"{REFERENCES}csidrivers (via CSI volumes)"),
        (volume(persistentVolumeClaim={"claimName": "c"}), f"{REFERENCES}persistentvolumeclaims"),
        (volume(ephemeral={}), f"{REFERENCES}persistentvolumeclaims (via ephemeral volumes)"),
        (projected(serviceAccountToken={}), f"{REFERENCES}serviceaccounts (via projected volumes)"),
        (projected(clusterTrustBundle={}), f"{REFERENCES}clustertrustbundles"),
    ],
)
async def test_mirror_pods(pod: dict[str, Any], why: str) -> None:
    assert await ask(PODS, pod) == why


@pytest.mark.parametrize(
    ("subresource", "operation", "new", "why"),
    [
        ("status", Operation.UPDATE, {"phase": "Running"}, ""),
        (
            "status",
            Operation.UPDATE,
            {"resourceClaimStatuses": [{"name": "r", "resourceClaimName": "x"}]},
            f"{NODE} cannot update resource claim statues",
        ),
        (
            "status",
            Operation.UPDATE,
            {"extendedResourceClaimStatus": {"resourceClaimName": "x"}},
            f"{NODE} cannot update extended resource claim status",
        ),
        ("log", Operation.CONNECT, {}, "unexpected pod subresource \"log\", only 'status' and 'eviction' are allowed"),
        (
            "",
            Operation.UPDATE,
            {},
            f'unexpected operation "UPDATE", {NODE} can only create and delete mirror pods',
        ),
    ],
)
async def test_pods_of_the_node(subresource: str, operation: Operation, new: dict[str, Any], why: str) -> None:
    old = mirror()
    assert await ask(PODS, {**old, "status": new}, operation=operation, old=old, subresource=subresource) == why


@pytest.mark.parametrize(
    ("subresource", "change", "why"),
    [
        ("", {}, "may only update PVC status"),
        ("status", {"status": {"phase": "Bound", "capacity": {"storage": "2Gi"}, "conditions": [{}]}}, ""),
        (
            "status",
            {"status": {"phase": "Lost"}},
            f"{NODE} is not allowed to update fields other than status.quantity and status.conditions",
        ),
        (
            "status",
            {"metadata": {"name": "d", "namespace": "ns", "labels": {"a": "b"}}},
            f"{NODE} is not allowed to update fields other than status.quantity and status.conditions",
        ),
    ],
)
async def test_claims(subresource: str, change: dict[str, Any], why: str) -> None:
    meta = {"name": "d", "namespace": "ns"}
    old = {"metadata": {**meta, "resourceVersion": "1", "managedFields": []}, "status": {"phase": "Bound"}}
    new = {"metadata": meta, "status": {"phase": "Bound"}, **change}
    found = await ask(PERSISTENT_VOLUME_CLAIMS, new, operation=Operation.UPDATE, old=old, subresource=subresource)
    assert found == why


SOURCE = {"configSource": {"configMap": {}}}
LABELS = {"kubernetes.io/hostname": "n1", "node-restriction.kubernetes.io/x": "y", "example.com/a": "b"}


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        ({"spec": SOURCE}, None, f"{NODE} is not allowed to create pods with a non-nil configSource"),
        ({"spec": SOURCE}, {}, f"{NODE} is not allowed to update configSource to a new non-nil configSource"),
        ({"spec": SOURCE}, {"spec": SOURCE}, ""),
        ({}, {"spec": SOURCE}, ""),
        ({"spec": {"taints": []}}, {}, ""),
        (
            {"metadata": {"name": "n1", "ownerReferences": [OWNER]}},
            {},
            f"{NODE} is not allowed to modify ownerReferences",
        ),
        (
            {"metadata": {"name": "n1", "labels": LABELS}},
            {},
            "is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
        (
            {"metadata": {"name": "n1", "labels": LABELS}},
            None,
            f"{NODE} is not allowed to set the following labels: node-restriction.kubernetes.io/x",
        ),
    ],
)
async def test_its_own_node(new: dict[str, Any], old: dict[str, Any] | None, why: str) -> None:
    named = {"metadata": {"name": "n1"}}
    before = None if old is None else {**named, **old}
    operation = Operation.CREATE if old is None else Operation.UPDATE
    assert await ask(NODES, {**named, **new}, operation=operation, old=before) == why


@pytest.mark.parametrize(
    ("operation", "node", "why"),
    [
        (Operation.CREATE, "n1", ""),
        (Operation.CREATE, "n2", "can only create ResourceSlice with the same NodeName as the requesting node"),
        (Operation.DELETE, "n2", "can only delete ResourceSlice with the same NodeName as the requesting node"),
        (Operation.UPDATE, "n2", ""),
    ],
)
async def test_slices(operation: Operation, node: str, why: str) -> None:
    described = {"metadata": {"name": "s"}, "spec": {"nodeName": node}}
    new = None if operation is Operation.DELETE else described
    old = None if operation is Operation.CREATE else described
    assert await ask(SLICES, new, operation=operation, old=old) == why


def certificate_request(common_name: str, signer: str) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    encoded = base64.b64encode(signed.public_bytes(Encoding.PEM)).decode()
    return {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": encoded}}


@pytest.mark.parametrize(
    ("common_name", "signer", "why"),
    [
        ("system:node:n1", "kubernetes.io/kubelet-serving", ""),
        ("system:node:n2", "kubernetes.io/kube-apiserver-client", ""),
        (
            "system:node:n2",
            "kubernetes.io/kubelet-serving",
            "can only create a node CSR with CN=system:node:n1",
        ),
        (
            "joe",
            "kubernetes.io/kube-apiserver-client-kubelet",
            "can only create a node CSR with CN=system:node:n1",
        ),
    ],
)
async def test_certificate_requests(common_name: str, signer: str, why: str) -> None:
    assert await ask(REQUESTS, certificate_request(common_name, signer)) == why


async def test_certificate_request_that_is_none() -> None:
    draft = {"metadata": {"name": "r"}, "spec": {"signerName": "kubernetes.io/kubelet-serving", "request": "eA=="}}
    assert (await ask(REQUESTS, draft)).startswith("unable to parse csr: ")
