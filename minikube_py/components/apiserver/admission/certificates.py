"""CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may give out identities,
and who asked for one.

Same rules and texts as ``plugin/pkg/admission/certificates``.
"""

from __future__ import annotations

import base64

from minikube_py.components.apiserver.admission.refusal import draft_spec, is_for, refuse
from minikube_py.components.apiserver.types import (
    SYSTEM_MASTERS,
    AdmissionRequest,
    Attributes,
    Authorizer,
    Decision,
    Operation,
    UserInfo,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

REQUESTS = Resource("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", False)
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


async def may_use_signer(authorizer: Authorizer, user: UserInfo, verb: str, signer: str) -> bool:
    """Whether the user may approve or sign for the signer, by its name or by its domain's wildcard."""
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        attributes = Attributes(
            verb=verb,
            path="",
            resource_request=True,
            group=REQUESTS.group,
            version="*",
            resource="signers",
            name=name,
        )
        decision, _ = await authorizer.authorize(user, attributes)
        if decision is Decision.ALLOW:
            return True
    return False


def _signer(request: AdmissionRequest) -> str:
    return str(((request.old or {}).get("spec") or {}).get("signerName") or "")


class CertificateRequester:
    """Writes into a new request who made it, whatever the request says itself.

    No plugin of Kubernetes' but what ``registry/certificates`` does on creation; signers trust these fields.
    """

    name = "CertificateRequester"
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, REQUESTS, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        user, spec = request.user, draft_spec(request.object)
        claims: Object = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        for field, value in claims.items():
            if value:
                spec[field] = value
            else:
                spec.pop(field, None)

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


class CertificateApproval:
    """``approve`` on the signer is needed to write approvals."""

    name = "CertificateApproval"
    handles_by_kind = True

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, REQUESTS, Operation.UPDATE, subresource="approval")

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        signer = _signer(request)
        if not await may_use_signer(self._authorizer, request.user, "approve", signer):
            raise refuse(request, f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning:
    """``sign`` on the signer is needed to write certificates and failures."""

    name = "CertificateSigning"
    handles_by_kind = True

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, REQUESTS, Operation.UPDATE, subresource="status")

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = _status(request.object), _status(request.old)
        if all(new.get(field) == old.get(field) for field in ("certificate", "conditions")):
            return
        signer = _signer(request)
        if not await may_use_signer(self._authorizer, request.user, "sign", signer):
            raise refuse(request, f'user not permitted to sign requests with signerName "{signer}"')


def _status(obj: Object | None) -> Object:
    found: Object = (obj or {}).get("status") or {}
    return found


class CertificateSubjectRestriction:
    """Nobody asks the API's own signer for a member of system:masters."""

    name = "CertificateSubjectRestriction"
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, REQUESTS, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        spec = (request.object or {}).get("spec") or {}
        if spec.get("signerName") != CLIENT_SIGNER:
            return
        try:
            groups = subject_values(spec.get("request") or "", "O")
        except ValueError:
            return  # validation has refused it already
        if SYSTEM_MASTERS in groups:
            why = f"use of {CLIENT_SIGNER} signer with {SYSTEM_MASTERS} group is not allowed"
            raise refuse(request, why)


def subject_values(encoded: str, attribute: str) -> list[str]:
    """The values of ``CN`` or ``O`` in the subject of a request. Raises ValueError for what cannot be parsed."""
    from cryptography import x509

    parsed = x509.load_pem_x509_csr(base64.b64decode(encoded))
    names = {"CN": x509.NameOID.COMMON_NAME, "O": x509.NameOID.ORGANIZATION_NAME}
    return [str(item.value) for item in parsed.subject.get_attributes_for_oid(names[attribute])]
