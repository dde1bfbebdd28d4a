"""CertificateSigningRequest: asks a signer for a certificate."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, invalid_value, not_supported, required
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
    """Why the PEM request does not parse; empty when it does."""
    try:
        data = base64.b64decode(encoded or "")
    except binascii.Error:
        data = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in data:
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509

    try:
        x509.load_pem_x509_csr(data)
    except ValueError as error:
        return str(error)
    return ""


def _signer_errors(path: str, signer: str) -> list[FieldError]:
    if not signer:
        return [required(path)]
    segments = signer.split("/")
    if len(segments) != 2:
        return [invalid_value(path, signer, _SIGNER_TEXT)]
    domain, rest = segments
    errors = [invalid_value(path, domain, f"validating label \"{label}\": {text}") for label in domain.split(".")
              for text in dns1123_label_errors(label)]  # fmt: skip
    if "." not in domain:
        errors.append(invalid_value(path, domain, "should be a domain with at least two segments separated by dots"))
    return errors + [invalid_value(path, rest, text) for text in dns1123_subdomain_errors(rest)]


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
        if kind in seen and kind not in ("Approved", "Denied", "Failed"):
            errors.append(duplicate(f"{path}.type", kind))
        opposite = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if opposite in seen:
            text = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid_value("status.conditions", kind, text))
        seen.add(kind)
    return errors


def validate_update(request: Object, old: Object) -> list[FieldError]:
    """The spec is kept by ``prepare_update``; certificate and conditions belong to subresources."""
    return _condition_errors(request.get("status") or {})


def validate_status(request: Object, old: Object) -> list[FieldError]:
    """``ValidateCertificateSigningRequestStatusUpdate``: decisions and certificates are final."""
    status, before = request.get("status") or {}, old.get("status") or {}
    errors = _condition_errors(status) + _removed_errors(status, before)
    certificate, was = status.get("certificate"), before.get("certificate")
    if certificate and certificate != was:
        if was:
            text = "updates may not modify set certificate content"
            errors.append(forbidden_field("status.certificate", text))
        elif b"-----BEGIN CERTIFICATE-----" not in base64.b64decode(certificate):
            text = "must contain at least one CERTIFICATE PEM block"
            errors.append(invalid_value("status.certificate", "<certificate data>", text))
    return errors


def _removed_errors(status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    kept = [condition.get("type") for condition in status.get("conditions") or ()]
    return [
        forbidden_field("status.conditions", f'updates may not remove a condition of type "{kind}"')
        for kind in ("Approved", "Denied", "Failed")
        if any(condition.get("type") == kind for condition in before.get("conditions") or ()) and kind not in kept
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
    extra={"unsupported_field": "field label not supported: {field}"},
)
