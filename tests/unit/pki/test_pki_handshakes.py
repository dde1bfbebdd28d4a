"""Real TLS across rotations: the server that goes on, clients with the old and the new bundle."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pki_support import DAY, NOW, client_context, connect, ensure, handshake, leaf, server_context

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.kubelet.api.access import certificate_identity
from minikube_py.host.tls import ServerTls
from minikube_py.pki import Pki
from minikube_py.pki.authorities import KeyPair
from minikube_py.pki.certificates import alternative_names, certificate_subject
from minikube_py.pki.rotation import rotate_authorities, rotate_leaves

ENCODING = Encoding.DER


def listener(pki: Pki) -> ServerTls:
    return ServerTls(lambda: server_context(pki.serving_kube_apiserver, pki.client_ca.certificate))


def copy_of(pair: KeyPair, folder: Path) -> KeyPair:
    """What somebody holds who was given the files before the rotation."""
    copied = KeyPair(folder / pair.certificate.name, folder / pair.key.name)
    copied.certificate.write_bytes(pair.certificate.read_bytes())
    copied.key.write_bytes(pair.key.read_bytes())
    return copied


def test_new_leaf_is_shown_to_new_connections(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    tls, client = listener(pki), client_context(pki.server_ca.certificate.read_bytes())
    before = leaf(pki.serving_kube_apiserver)
    assert handshake(tls.context, client)[0] == before.public_bytes(ENCODING)
    rotate_leaves(tmp_path, FakeClock(NOW + 60), ["api-server"])
    asyncio.run(tls.exchange())
    after = leaf(pki.serving_kube_apiserver)
    assert handshake(tls.context, client)[0] == after.public_bytes(ENCODING) != before.public_bytes(ENCODING)
    assert after.public_key() != before.public_key()
    assert certificate_subject(after) == certificate_subject(before)
    assert alternative_names(after) == alternative_names(before)


def test_ca_rotation_cuts_nobody_off(tmp_path: Path) -> None:
    pki = ensure(tmp_path / "data")
    tls, old_bundle = listener(pki), pki.server_ca.certificate.read_bytes()
    old_server = server_context(pki.serving_kube_apiserver, pki.client_ca.certificate)
    old_client = copy_of(pki.client_admin, tmp_path)
    rotate_authorities(tmp_path / "data", FakeClock(NOW + 60))
    asyncio.run(tls.exchange())
    new_bundle = pki.server_ca.certificate.read_bytes()
    assert new_bundle != old_bundle
    for bundle in (old_bundle, new_bundle):
        for client in (old_client, pki.client_admin):
            shown, seen = handshake(tls.context, client_context(bundle, client))
            assert shown == leaf(pki.serving_kube_apiserver).public_bytes(ENCODING)
            assert seen == leaf(client).public_bytes(ENCODING)
    # the other way round: who has the new bundle already meets a server that has not exchanged yet
    handshake(old_server, client_context(new_bundle, old_client))


def test_two_rotations_in_a_row(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    tls, oldest = listener(pki), pki.server_ca.certificate.read_bytes()
    for _ in range(2):  # within the same second
        rotate_authorities(tmp_path, FakeClock(NOW + 60))
    asyncio.run(tls.exchange())
    handshake(tls.context, client_context(oldest, pki.client_admin))


def test_distrusted_ca_is_refused_both_ways(tmp_path: Path) -> None:
    pki = ensure(tmp_path / "data")
    tls, old_bundle = listener(pki), pki.server_ca.certificate.read_bytes()
    old_client = copy_of(pki.client_admin, tmp_path)
    rotate_authorities(tmp_path / "data", FakeClock(NOW + 60), distrust_old=True)
    asyncio.run(tls.exchange())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls.context, client_context(old_bundle))
    with pytest.raises(ssl.SSLError):
        handshake(tls.context, client_context(pki.server_ca.certificate.read_bytes(), old_client))


def test_broken_files_leave_the_server_as_it_was(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    tls, client = listener(pki), client_context(pki.server_ca.certificate.read_bytes())
    pki.serving_kube_apiserver.key.write_bytes(pki.client_admin.key.read_bytes())
    with pytest.raises(ssl.SSLError):
        asyncio.run(tls.exchange())
    handshake(tls.context, client)


def test_own_leaf_that_has_not_begun_proves_a_wrong_clock(tmp_path: Path) -> None:
    from minikube_py.components.apiserver.settings import KubeletTls
    from minikube_py.components.apiserver.streaming.streams import kubelet_context
    from minikube_py.host.tls import X509_V_FLAG_NO_CHECK_TIME

    pki = ensure(tmp_path)
    files = KubeletTls(str(pki.server_ca.certificate), str(pki.client_admin.certificate), str(pki.client_admin.key))
    assert kubelet_context(files, 100.0).verify_flags & X509_V_FLAG_NO_CHECK_TIME
    assert not kubelet_context(files, NOW).verify_flags & X509_V_FLAG_NO_CHECK_TIME


@pytest.mark.parametrize(
    ("after_seconds", "known"), [(-2 * DAY, False), (0, True), (300 * DAY, True), (366 * DAY, False)]
)
def test_node_api_judges_times_itself(tmp_path: Path, after_seconds: float, known: bool) -> None:
    """OpenSSL must not compare times with a clock that may be wrong, so the kubelet does, by a better one."""
    pki = ensure(tmp_path)
    server = server_context(pki.serving_kubelet, pki.client_ca.certificate)
    _, there = connect(server, client_context(pki.server_ca.certificate.read_bytes(), pki.client_kube_apiserver))
    identity = certificate_identity(there, NOW + after_seconds)
    assert (identity is not None) == known
    if identity is not None:
        assert identity.name == "system:apiserver" and "system:masters" in identity.groups
