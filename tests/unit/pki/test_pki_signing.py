"""What the cluster's CAs sign for others: names, usages and times of the certificate."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pki_support import NOW, YEAR, ensure

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.pki import PkiError
from minikube_py.pki.certificates import is_issued_by, load_certificates
from minikube_py.pki.rotation import rotate_authorities
from minikube_py.pki.signing import RequestSigner

CLIENT = "kubernetes.io/kube-apiserver-client"
SERVING = "kubernetes.io/kubelet-serving"
SAN = x509.SubjectAlternativeName(
    [
        x509.DNSName("n1"),
        x509.IPAddress(ip_address("192.0.2.1")),
        x509.RFC822Name("a@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/x"),
        x509.DirectoryName(x509.Name([])),
    ]
)


def request_of(*extensions: x509.ExtensionType, subject: str = "jane") -> x509.CertificateSigningRequest:
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def pem_of(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_bytes(Encoding.PEM)


@pytest.fixture
def signer(tmp_path: Path) -> RequestSigner:
    return RequestSigner(tmp_path, ensure(tmp_path).floor)


def one(signer: RequestSigner, request: x509.CertificateSigningRequest, *usages: str, seconds: float = YEAR):
    return load_certificates(signer.sign(SERVING, pem_of(request), usages, seconds))[0]


def test_names_and_key_come_from_the_request(signer: RequestSigner) -> None:
    constraint = x509.BasicConstraints(ca=True, path_length=None)
    asked = request_of(SAN, constraint)
    got = one(signer, asked, "server auth")
    assert got.public_key() == asked.public_key() and got.subject == asked.subject
    names = got.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert len(list(names.value)) == 4 and not names.critical, "Go knows no directory names"
    assert got.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    nameless = one(signer, request_of(SAN, subject=""), "server auth")
    assert nameless.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@pytest.mark.parametrize(
    ("seconds", "begins", "ends"),
    [(600, -300, 600), (3600, -300, 3600), (8 * 3600, -300, 8 * 3600 - 300), (YEAR, -300, YEAR - 300)],
    ids=["ten minutes", "an hour", "eight hours", "a year"],
)
def test_times(signer: RequestSigner, seconds: float, begins: float, ends: float) -> None:
    got = one(signer, request_of(), "server auth", seconds=seconds)
    assert got.not_valid_before_utc.timestamp() == NOW + begins
    assert got.not_valid_after_utc.timestamp() == NOW + ends


def test_no_certificate_outlives_its_ca(signer: RequestSigner, tmp_path: Path) -> None:
    authority = load_certificates((tmp_path / "server" / "tls" / "server-ca.crt").read_bytes())[0]
    got = one(signer, request_of(), "server auth", seconds=20 * YEAR)
    assert got.not_valid_after_utc == authority.not_valid_after_utc


def test_usages(signer: RequestSigner) -> None:
    got = one(signer, request_of(), "digital signature", "key encipherment", "server auth", "client auth", "s/mime")
    usage = got.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.key_encipherment and not usage.key_cert_sign
    extended = {oid.dotted_string for oid in got.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
    assert extended == {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.4"}
    with pytest.raises(x509.ExtensionNotFound):
        one(signer, request_of(), "client auth").extensions.get_extension_for_class(x509.KeyUsage)
    agreed = one(signer, request_of(), "key agreement", "encipher only").extensions
    assert agreed.get_extension_for_class(x509.KeyUsage).value.encipher_only


@pytest.mark.parametrize(
    ("signer_name", "pem", "usages", "said"),
    [
        ("example.com/mine", pem_of(request_of()), ["client auth"], 'unrecognized signerName: "example.com/mine"'),
        (CLIENT, b"junk", ["client auth"], "cannot be read"),
        (CLIENT, pem_of(request_of())[:80], ["client auth"], "cannot be read"),
        (CLIENT, pem_of(request_of()), ["client auth", "flying"], 'unrecognized usage values: \\["flying"\\]'),
    ],
    ids=["signer", "junk", "truncated", "usage"],
)
def test_refusals(signer: RequestSigner, signer_name: str, pem: bytes, usages: list[str], said: str) -> None:
    with pytest.raises(PkiError, match=said):
        signer.sign(signer_name, pem, usages, 600)


def test_request_must_prove_its_key(signer: RequestSigner) -> None:
    der = bytearray(request_of().public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der))
    with pytest.raises(PkiError, match="not signed with the key"):
        signer.sign(CLIENT, pem_of(forged), ["client auth"], 600)


def test_rotation_is_seen_at_once(signer: RequestSigner, tmp_path: Path) -> None:
    rotate_authorities(tmp_path, FakeClock(NOW + 60))
    new, _, old = load_certificates((tmp_path / "server" / "tls" / "client-ca.crt").read_bytes())
    signed, bridge = load_certificates(signer.sign(CLIENT, pem_of(request_of()), ["client auth"], 600))
    assert is_issued_by(signed, new) and is_issued_by(bridge, old), "who knows only the old CA can follow"
