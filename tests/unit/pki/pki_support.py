"""What several tests of the PKI need: a server's files at a moment, handshakes in memory, chains judged at a time."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authentication.certificates import CertificateJudge
from minikube_py.host.tls import ignore_times
from minikube_py.machinery.errors import ApiError
from minikube_py.pki import Pki, ensure_pki
from minikube_py.pki.authorities import KeyPair
from minikube_py.pki.certificates import load_certificates

NOW = 1_795_000_000.0
DAY = 24 * 3600.0
YEAR = 365 * DAY
NODE = "node-a"


def ensure(data_dir: Path, now: float = NOW, *, sans: tuple[str, ...] = (), node_ip: str = "192.0.2.10") -> Pki:
    return ensure_with(data_dir, FakeClock(now), sans=sans, node_ip=node_ip)


def ensure_with(
    data_dir: Path,
    clock: FakeClock,
    *,
    sans: tuple[str, ...] = (),
    node_ip: str = "192.0.2.10",
    leaf_seconds: float = YEAR,
) -> Pki:
    return ensure_pki(
        data_dir,
        node_name=NODE,
        node_ips=[node_ip],
        sans=sans,
        service_ip="10.43.0.1",
        clock=clock,
        leaf_seconds=leaf_seconds,
    )


def leaf(pair: KeyPair) -> x509.Certificate:
    return load_certificates(pair.certificate.read_bytes())[0]


def verifies(chain_pem: bytes, bundle_pem: bytes, now: float) -> bool:
    """Whether somebody who trusts the bundle's roots accepts the server's chain at that moment."""
    peer, *sent = load_certificates(chain_pem)
    builder = PolicyBuilder().store(Store(load_certificates(bundle_pem))).time(datetime.fromtimestamp(now, UTC))
    try:
        builder.build_server_verifier(x509.DNSName("localhost")).verify(peer, sent)
    except VerificationError:
        return False
    return True


def is_known(client_pem: bytes, bundle_pem: bytes, now: float) -> bool:
    """Whether the API server takes the client certificate at that moment."""
    judge = CertificateJudge(load_certificates(bundle_pem), lambda: now)
    try:
        return judge.user_of(load_certificates(client_pem)[0].public_bytes(Encoding.DER)) is not None
    except ApiError:
        return False


def server_context(pair: KeyPair, client_bundle: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(client_bundle)
    ignore_times(context)
    return context


def client_context(bundle_pem: bytes, pair: KeyPair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=bundle_pem.decode())
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    ignore_times(context)
    return context


def connect(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A whole TLS handshake in memory; the client's and the server's side of it. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [here, there]
    for _ in range(10):
        for side in tuple(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not pending:
            return here, there
    raise AssertionError("the handshake does not end")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes, bytes | None]:
    """The certificates that client and server saw."""
    here, there = connect(server, client)
    seen = here.getpeercert(binary_form=True)
    assert seen is not None
    return seen, there.getpeercert(binary_form=True)
