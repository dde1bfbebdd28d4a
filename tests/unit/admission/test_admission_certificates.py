"""Who may approve, sign and ask for certificates, and that requests say who made them."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minikube_py.components.apiserver.admission.certificates import (
    REQUESTS,
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from minikube_py.components.apiserver.types import AdmissionRequest, Attributes, Decision, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind

SIGNER = "example.com/mine"
JOE = UserInfo("joe", ("devs",), "7", {"k": ("v",)})


class Signers:
    """Allows one verb on signers of these names."""

    def __init__(self, verb: str, *names: str) -> None:
        self.verb, self.names = verb, names

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        assert (attributes.group, attributes.resource) == ("certificates.k8s.io", "signers")
        ok = attributes.verb == self.verb and attributes.name in self.names
        return (Decision.ALLOW if ok else Decision.NO_OPINION), ""


def asking(new: dict, old: dict | None = None, subresource: str = "") -> AdmissionRequest:
    operation = Operation.UPDATE if old is not None else Operation.CREATE
    kind = Kind(REQUESTS, "certificatesigningrequest", "x")
    return AdmissionRequest(operation, kind, subresource, "", "r", JOE, new, old, {})


def request(**extra: object) -> dict:
    return {"metadata": {"name": "r"}, "spec": {"signerName": SIGNER}, **extra}


@pytest.mark.parametrize(
    ("names", "allowed"), [((SIGNER,), True), (("example.com/*",), True), (("example.com/other",), False), ((), False)]
)
async def test_approving_and_signing_need_rights_on_the_signer(names: tuple[str, ...], allowed: bool) -> None:
    signed = request(status={"certificate": "x"})
    cases = [
        (CertificateApproval(Signers("approve", *names)), asking(request(), request(), "approval"), "approve"),
        (CertificateSigning(Signers("sign", *names)), asking(signed, request(), "status"), "sign"),
    ]
    for plugin, asked, verb in cases:
        assert plugin.handles(asked)
        if allowed:
            await plugin.validate(asked)
            continue
        with pytest.raises(ApiError) as caught:
            await plugin.validate(asked)
        assert caught.value.message == (
            'certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to '
            f'{verb} requests with signerName "{SIGNER}"'
        )


async def test_status_without_a_new_certificate_needs_no_signer() -> None:
    await CertificateSigning(Signers("sign")).validate(asking(request(), request(), "status"))


def encoded(organization: str) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


@pytest.mark.parametrize(
    ("signer", "organization", "refused"),
    [
        ("kubernetes.io/kube-apiserver-client", "system:masters", True),
        ("kubernetes.io/kube-apiserver-client", "devs", False),
        (SIGNER, "system:masters", False),
    ],
)
async def test_nobody_asks_for_masters(signer: str, organization: str, refused: bool) -> None:
    draft = {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": encoded(organization)}}
    plugin = CertificateSubjectRestriction()
    if not refused:
        await plugin.validate(asking(draft))
        return
    with pytest.raises(ApiError, match="with system:masters group is not allowed"):
        await plugin.validate(asking(draft))


async def test_requests_say_who_made_them() -> None:
    lies = {"username": "admin", "groups": ["system:masters"], "extra": {"x": ["y"]}, "signerName": SIGNER}
    asked = asking({"metadata": {"name": "r"}, "spec": lies})
    await CertificateRequester().admit(asked)
    assert asked.object == {
        "metadata": {"name": "r"},
        "spec": {"signerName": SIGNER, "username": "joe", "uid": "7", "groups": ["devs"], "extra": {"k": ["v"]}},
    }
