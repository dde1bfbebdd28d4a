"""Signs certificate requests with the cluster's CAs: the seam through which keys never pass.

The counterpart of kube-controller-manager's ``csr signer`` with ``PermissiveSigningPolicy``: names and
public key come from the request, usages and lifetime from the caller, no other extension is copied.
``RequestSigner.sign`` blocks (files, keys): call it from a thread. Whoever calls it has decided that the
request deserves a certificate; here only its own signature is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_py.pki.authorities import LoadedAuthority, load_authority
from minikube_py.pki.errors import PkiError
from minikube_py.pki.layout import pki_files
from minikube_py.pki.time_floor import TimeFloor

if TYPE_CHECKING:
    from cryptography import x509

SIGNER_AUTHORITIES = {
    "kubernetes.io/kube-apiserver-client": "client_ca",
    "kubernetes.io/kube-apiserver-client-kubelet": "client_ca",
    "kubernetes.io/kubelet-serving": "server_ca",
    "kubernetes.io/legacy-unknown": "server_ca",
}
"""Which CA signs for which signer, as k3s configures its controller manager."""
backdate_seconds = 300.0
short_seconds = 8 * 3600.0
"""Below this the end is not moved back together with the beginning."""

_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_EXTENDED_USAGES = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}


class RequestSigner:
    """Reads the CAs for every signature, so that a rotation is seen at once."""

    def __init__(self, data_dir: Path, floor: TimeFloor) -> None:
        self._files = pki_files(data_dir)
        self._floor = floor

    def sign(self, signer_name: str, request_pem: bytes, usages: Sequence[str], seconds: float) -> bytes:
        """A certificate of ``seconds`` as PEM, followed by cross-signed certificates while a CA is succeeded.

        Raises PkiError: an unknown signer or usage, a request that does not prove its key, an expired CA.
        """
        name = SIGNER_AUTHORITIES.get(signer_name)
        if name is None:
            raise PkiError(f'unrecognized signerName: "{signer_name}"')
        now = self._floor.now()
        authority = load_authority(self._files[name], now)
        if authority is None:
            raise PkiError(f"{self._files[name].certificate} is missing: restart the server, which makes it anew")
        return sign_request(authority, request_pem, usages, seconds, now, self._floor.begin())


def sign_request(
    authority: LoadedAuthority, request_pem: bytes, usages: Sequence[str], seconds: float, now: float, begins: float
) -> bytes:
    """See ``RequestSigner.sign``."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    from minikube_py.pki.certificates import certificate_pem, is_self_signed, issuer_identifier, utc_time

    try:
        request = x509.load_pem_x509_csr(request_pem)
    except ValueError as error:
        raise PkiError(f"the request cannot be read: {error}") from error
    if not request.is_signature_valid:
        raise PkiError("the request is not signed with the key it asks for")
    end = now + seconds - (backdate_seconds if seconds >= short_seconds else 0.0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.signer.certificate.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_time(begins - backdate_seconds))
        .not_valid_after(utc_time(min(end, authority.ends)))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(issuer_identifier(authority.signer.certificate), critical=False)
    )
    for extension, critical in (*_usage_extensions(usages), *_names(request)):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(authority.signer.key, hashes.SHA256())
    return certificate_pem(certificate, *(one for one in authority.chain() if not is_self_signed(one)))


def _usage_extensions(usages: Sequence[str]) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509

    unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _EXTENDED_USAGES]
    if unknown:
        shown = " ".join(f'"{usage}"' for usage in unknown)
        raise PkiError(f"unrecognized usage values: [{shown}]")
    bits: dict[str, Any] = dict.fromkeys(_KEY_USAGES.values(), False)
    bits |= {_KEY_USAGES[usage]: True for usage in usages if usage in _KEY_USAGES}
    if not bits["key_agreement"]:  # X.509 gives these two a meaning beside it only
        bits |= {"encipher_only": False, "decipher_only": False}
    found: list[tuple[x509.ExtensionType, bool]] = []
    if any(bits.values()):
        found.append((x509.KeyUsage(**bits), True))
    extended = sorted({_EXTENDED_USAGES[usage] for usage in usages if usage in _EXTENDED_USAGES})
    if extended:
        found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(dotted) for dotted in extended]), False))
    return found


def _names(request: x509.CertificateSigningRequest) -> list[tuple[x509.ExtensionType, bool]]:
    """The alternative names that Go's x509 knows: DNS, address, mail and URI; critical without a subject."""
    from cryptography import x509

    try:
        asked = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise PkiError(f"the request's names cannot be read: {error}") from error
    kinds = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
    names = [name for name in asked if isinstance(name, kinds)]
    return [(x509.SubjectAlternativeName(names), not list(request.subject))] if names else []
