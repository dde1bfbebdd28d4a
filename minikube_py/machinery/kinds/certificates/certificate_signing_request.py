"""CertificateSigningRequest: asks a signer for a certificate."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    go_quote,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, human_duration, name, part
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.names import (
    dns1123_label_errors,
    dns1123_subdomain_errors,
    name_is_path_segment,
)
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.certificates.v1.CertificateSigningRequest"
_SPEC = f"{DEFINITION}Spec"
_USAGES = (
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
)  # fmt: skip
_SIGNER_DESCRIPTION = """\
Requested signer for the request. It is a qualified name in the form: `scope-hostname.io/name`. If empty, it will be \
defaulted:
 1. If it's a kubelet client certificate, it is assigned
    "kubernetes.io/kube-apiserver-client-kubelet".
 2. If it's a kubelet serving certificate, it is assigned
    "kubernetes.io/kubelet-serving".
 3. Otherwise, it is assigned "kubernetes.io/legacy-unknown".
Distribution of trust for signers happens out of band. You can select on this field using `spec.signerName`."""
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_MIN_SECONDS = 600
_LONGEST_DOMAIN = 253
_LONGEST_SIGNER = _LONGEST_DOMAIN + 1 + (253 + 63 + 1)
_SIGNER_TEXT = "must be a fully qualified domain and path of the form 'example.com/signer-name'"


def fill(request: Object) -> None:
    """Conditions are true unless they say otherwise."""
    for condition in items(child(request, "status"), "conditions"):
        set_default(condition, status="True")


def validate(request: Object) -> list[FieldError]:
    """``ValidateCertificateSigningRequestCreate``."""
    spec = request.get("spec") or {}
    errors: list[FieldError] = []
    wrong = _request_problem(spec.get("request"))
    if wrong:
        errors.append(invalid_value("spec.request", spec.get("request"), wrong))
    usages: Sequence[str] = spec.get("usages") or ()
    if not usages:
        errors.append(required("spec.usages"))
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            errors.append(not_supported(f"spec.usages[{index}]", usage, _USAGES))
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            errors.append(duplicate(f"spec.usages[{index}]", usage))
    signer = spec.get("signerName") or ""
    if signer == _LEGACY_SIGNER:
        text = "the legacy signerName is not allowed via this API version"
        errors.append(invalid_value("spec.signerName", signer, text))
    else:
        errors += _signer_errors("spec.signerName", signer)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _MIN_SECONDS:
        text = f"may not specify a duration less than {_MIN_SECONDS} seconds (10 minutes)"
        errors.append(invalid_value("spec.expirationSeconds", seconds, text))
    return errors + _condition_errors(request.get("status") or {})


def _request_problem(encoded: str | None) -> str:
    """Why the first PEM block is no request that its key has signed; empty when it is."""
    try:
        data = base64.b64decode(encoded or "")
    except binascii.Error:
        data = b""
    block = _BLOCK.search(data.replace(b"\r\n", b"\n"))
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        request = x509.load_pem_x509_csr(block[0] + b"\n")
        if request.is_signature_valid:
            return ""
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        return str(error)
    if isinstance(key, RSAPublicKey):
        return "crypto/rsa: verification error"
    return f"x509: {'ECDSA' if isinstance(key, EllipticCurvePublicKey) else 'Ed25519'} verification failure"


_BLOCK = re.compile(rb"-----BEGIN ([^-\n]*)-----\n(.*?)-----END \1-----", re.DOTALL)


def certificate_problem(encoded: str) -> str:
    """Why this is no list of certificates in PEM blocks (``validateCertificate``); empty when it is, or is empty."""
    if not encoded:
        return ""
    blocks = _BLOCK.findall(base64.b64decode(encoded).replace(b"\r\n", b"\n"))
    for sort, body in blocks:
        if sort != b"CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {go_quote(sort.decode(errors='replace'))}"
        if b":" in body:
            return "no PEM block headers are permitted"
        from cryptography import x509

        try:
            x509.load_der_x509_certificate(base64.b64decode(body))
        except ValueError as error:
            return str(error)
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def _signer_errors(path: str, signer: str) -> list[FieldError]:
    """``ValidateSignerName``; of each half the first bad label is told."""
    if not signer:
        return [required(path)]
    segments = signer.split("/")
    if len(segments) != 2:
        return [invalid_value(path, signer, _SIGNER_TEXT)]
    domain, rest = segments
    errors = [too_long(path, _LONGEST_DOMAIN)] if len(domain) > _LONGEST_DOMAIN else []
    errors += _label_errors(path, domain, dns1123_label_errors)
    if "." not in domain:
        errors.append(invalid_value(path, domain, "should be a domain with at least two segments separated by dots"))
    errors += _label_errors(path, rest, dns1123_subdomain_errors)
    if len(signer) > _LONGEST_SIGNER:
        errors.append(too_long(path, _LONGEST_SIGNER))
    return errors


def _label_errors(path: str, dotted: str, check: Callable[[str], list[str]]) -> list[FieldError]:
    for label in dotted.split("."):
        if texts := check(label):
            return [invalid_value(path, dotted, f"validating label {go_quote(label)}: {text}") for text in texts]
    return []


def _condition_errors(status: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(status.get("conditions") or ()):
        path, kind, value = f"status.conditions[{index}]", condition.get("type") or "", condition.get("status") or ""
        if not kind:
            errors.append(required(f"{path}.type"))
        allowed = ("True",) if kind in ("Approved", "Denied", "Failed") else ("False", "True", "Unknown")
        if not value:
            errors.append(required(f"{path}.status"))
        elif value not in allowed:
            errors.append(not_supported(f"{path}.status", value, allowed))
        opposite = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if opposite in seen:
            text = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid_value("status.conditions", kind, text))
        if kind in seen:
            errors.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
    return errors


def validate_update(request: Object, old: Object) -> list[FieldError]:
    """The spec is kept by ``prepare_update``; certificate and conditions belong to subresources."""
    return _condition_errors(request.get("status") or {})


def validate_status(request: Object, old: Object) -> list[FieldError]:
    """``ValidateCertificateSigningRequestStatusUpdate``: decisions are made elsewhere, certificates are final."""
    status, before = request.get("status") or {}, old.get("status") or {}
    certificate, was = status.get("certificate") or "", before.get("certificate") or ""
    errors = _condition_errors(status)
    wrong = certificate_problem(certificate) if certificate != was else ""
    if wrong and not (was and certificate_problem(was)):
        errors.append(invalid_value("status.certificate", "<certificate data>", wrong))
    errors += _removed_errors(status, before)
    for kind in _DECISIONS:
        if len(_of_type(status, kind)) > len(_of_type(before, kind)):
            text = f'updates may not add a condition of type "{kind}"'
            errors.append(forbidden_field("status.conditions", text))
    if was and certificate != was:
        errors.append(forbidden_field("status.certificate", "updates may not modify existing certificate content"))
    return errors


def validate_approval(request: Object, old: Object) -> list[FieldError]:
    """``ValidateCertificateSigningRequestApprovalUpdate``: decisions are added, never taken back."""
    status = request.get("status") or {}
    return _condition_errors(status) + _removed_errors(status, old.get("status") or {})


_DECISIONS = ("Approved", "Denied")


def prepare_status(request: Object, old: Object) -> None:
    """Decisions that are there stay as they are (``preserveConditionInstances``)."""
    status, before = request.get("status") or {}, old.get("status") or {}
    conditions = status.get("conditions") or []
    for kind in _DECISIONS:
        kept = _of_type(before, kind)
        if len(kept) != len(_of_type(status, kind)):
            continue
        places = (place for place, condition in enumerate(conditions) if condition.get("type") == kind)
        for place, condition in zip(places, kept, strict=True):
            conditions[place] = thaw(condition)


def _of_type(status: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [condition for condition in status.get("conditions") or () if condition.get("type") == kind]


def _removed_errors(status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    return [
        forbidden_field("status.conditions", f'updates may not remove a condition of type "{kind}"')
        for kind in (*_DECISIONS, "Failed")
        if len(_of_type(status, kind)) < len(_of_type(before, kind))
    ]


def prepare_update(request: Object, old: Object) -> None:
    """The spec never changes."""
    request["spec"] = thaw(old.get("spec") or {})


def row(request: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(request, "spec"), part(request, "status")
    seconds = spec.get("expirationSeconds")
    return (
        name(request),
        age(request, now),
        spec.get("signerName") or "<none>",
        spec.get("username") or "",
        human_duration(seconds) if seconds is not None else "<none>",
        _state_text(status),
    )


def _state_text(status: Mapping[str, Any]) -> str:
    """``extractCSRStatus``: approval, failure, and whether there is a certificate."""
    kinds = {condition.get("type") for condition in status.get("conditions") or ()}
    text = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        text += ",Failed"
    return text + (",Issued" if status.get("certificate") else "")


KIND = Kind(
    resource=Resource(
        "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", namespaced=False
    ),
    singular="certificatesigningrequest",
    definition=DEFINITION,
    short_names=("csr",),
    subresources=(Subresource("approval"), Subresource("status")),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    prepare_status=prepare_status,
    name_errors=name_is_path_segment,
    has_status=True,
    columns=(
        NAME,
        AGE,
        column("SignerName", text=_SIGNER_DESCRIPTION),
        column("Requestor", text="Base64-encoded PKCS#10 CSR data"),
        column("RequestedDuration", f"{_SPEC}.expirationSeconds"),
        column("Condition", text="Conditions applied to the request, such as approval or denial."),
    ),
    row=row,
    selectable={"spec.signerName": lambda request: str(part(request, "spec").get("signerName") or "")},
    extra={"unsupported_field": "field label not supported: {field}", "validate_approval": validate_approval},
)
