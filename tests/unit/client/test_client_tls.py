"""Client contexts: who is believed, what is shown, and that no text is silently taken for none."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minikube_py.client.kubeconfig import Connection
from minikube_py.client.tls import client_context, connection_context, files_context


def self_signed(name: str) -> tuple[bytes, bytes]:
    """(certificate, key) as PEM; the certificate is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


@pytest.fixture(scope="module")
def server() -> tuple[bytes, bytes]:
    return self_signed("server")


def handshake(
    client: ssl.SSLContext, tmp_path: Path, shown: tuple[bytes, bytes], trusted: bytes = b"", name: str = "server"
) -> bytes | None:
    """The client's certificate as the server sees it. Raises ssl.SSLError when one does not believe the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_bytes(b"".join(shown))
    context.load_cert_chain(tmp_path / "server.pem")
    if trusted:
        context.load_verify_locations(cadata=trusted.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        context.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[1].getpeercert(binary_form=True)


def test_trusts_the_bundle_and_shows_the_certificate(server: tuple[bytes, bytes], tmp_path: Path) -> None:
    certificate, key = self_signed("client")
    connection = Connection("https://server", ca_pem=server[0], cert_pem=certificate, key_pem=key)
    seen = handshake(connection_context(connection), tmp_path, server, trusted=certificate)
    assert seen == x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)


def test_files_are_as_good_as_texts(server: tuple[bytes, bytes], tmp_path: Path) -> None:
    certificate, key = self_signed("client")
    for name, text in (("ca", server[0]), ("cert", certificate), ("key", key)):
        (tmp_path / name).write_bytes(text)
    context = files_context(str(tmp_path / "ca"), str(tmp_path / "cert"), str(tmp_path / "key"))
    assert handshake(context, tmp_path, server, trusted=certificate)


@pytest.mark.parametrize(
    ("bundle", "name"),
    [("another", "server"), ("", "server"), ("own", "elsewhere")],
    ids=["signed by another", "only the system's authorities", "another name"],
)
def test_believes_nobody_else(bundle: str, name: str, server: tuple[bytes, bytes], tmp_path: Path) -> None:
    ca_pem = {"another": self_signed("server")[0], "": b"", "own": server[0]}[bundle]
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(ca_pem=ca_pem), tmp_path, server, name=name)
    assert handshake(client_context(ca_pem=ca_pem, insecure=True), tmp_path, server, name=name) is None


def test_comments_of_a_bundle_may_be_in_any_language(server: tuple[bytes, bytes], tmp_path: Path) -> None:
    context = client_context(ca_pem="# Zertifikate für Köln\n".encode() + server[0])
    handshake(context, tmp_path, server)
    assert context.cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("text", [b"\n", b"\xff\xfe", b"no certificate"])
def test_a_bundle_without_certificates_is_refused(text: bytes) -> None:
    with pytest.raises(ssl.SSLError):
        client_context(ca_pem=text)


def test_a_certificate_needs_its_own_key() -> None:
    with pytest.raises(ssl.SSLError):
        client_context(cert_pem=self_signed("one")[0], key_pem=self_signed("two")[1], insecure=True)


async def test_an_insecure_context_is_made_without_the_system_bundle() -> None:
    """It is made on the loop for each proxied request, so it must not read the system's authorities."""
    context = client_context(insecure=True)
    await asyncio.sleep(0)
    assert context.cert_store_stats()["x509"] == 0
