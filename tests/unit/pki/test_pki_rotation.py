"""Rotation on demand and certificate authorities that somebody brought along, good and bad."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from pki_support import DAY, NOW, YEAR, client_context, ensure, handshake, leaf, server_context, verifies

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.pki import PkiError, ensure_server_token, load_service_account_tokens
from minikube_py.pki import certificates as x
from minikube_py.pki.authorities import KeyPair, load_authority
from minikube_py.pki.certificates import certificate_pem, is_issued_by, key_pem, load_certificates
from minikube_py.pki.inspection import Verdict, inspect_certificates, next_renewal
from minikube_py.pki.rotation import rotate_authorities, rotate_leaves

NAMES = ("server-ca", "client-ca", "request-header-ca")


RSA_KEY = rsa.generate_private_key(65537, 2048)  # what other tools make; one is enough for all tests
SIGNS = x509.KeyUsage(True, False, False, False, False, True, True, False, False)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def corporate(
    folder: Path,
    *,
    now: float = NOW,
    years: float = 5,
    with_root: bool = True,
    ca: bool = True,
    root: x.Authority | None = None,
) -> x.Authority:
    """An intermediate with an RSA key under somebody's own root, in a folder; returns the root."""
    folder.mkdir(parents=True, exist_ok=True)
    root = root or x.make_authority("Example Root", now)
    key = RSA_KEY
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("Example Clusters"))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(x.utc_time(now - 60))
        .not_valid_after(x.utc_time(now + years * YEAR))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x.issuer_identifier(root.certificate), critical=False)
        .sign(root.key, hashes.SHA256())
    )
    bundle = [certificate, root.certificate] if with_root else [certificate]
    (folder / "server-ca.crt").write_bytes(certificate_pem(*bundle))
    (folder / "server-ca.key").write_bytes(key_pem(key))
    return root


def test_old_files_are_kept_private_beside(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    before = pki.client_admin.key.read_bytes()
    done = rotate_leaves(tmp_path, FakeClock(NOW + 60), ["admin"])
    assert done.names == ("client-admin",)
    assert (done.backup / "client-admin.key").read_bytes() == before != pki.client_admin.key.read_bytes()
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_rotated_leaves_are_good_at_the_next_start(tmp_path: Path) -> None:
    ensure(tmp_path)
    rotate_leaves(tmp_path, FakeClock(NOW + 60))
    assert ensure(tmp_path, NOW + 120).issued == ()
    rotate_authorities(tmp_path, FakeClock(NOW + 180))
    assert ensure(tmp_path, NOW + 240).issued == ()


def test_own_ca_before_the_first_start(tmp_path: Path) -> None:
    """k3s's way: files in ``server/tls`` that are there already are used; an intermediate is sent along."""
    root = corporate(tmp_path / "server" / "tls")
    pki = ensure(tmp_path)
    assert "server-ca" not in pki.issued and "client-ca" in pki.issued
    chain = pki.serving_kube_apiserver.certificate.read_bytes()
    assert verifies(chain, certificate_pem(root.certificate), NOW)
    handshake(
        server_context(pki.serving_kube_apiserver, pki.client_ca.certificate),
        client_context(certificate_pem(root.certificate)),
    )


def test_own_ca_is_never_succeeded_by_itself(tmp_path: Path) -> None:
    corporate(tmp_path / "server" / "tls", years=1.2)
    ensure(tmp_path)
    assert "server-ca" not in ensure(tmp_path, NOW + YEAR).issued
    found = {one.file.name: one for one in inspect_certificates(tmp_path, NOW + YEAR)}
    assert found["server-ca.crt"].is_usable
    assert next_renewal(tmp_path) > NOW + YEAR


def test_replacing_by_an_own_ca_keeps_old_peers(tmp_path: Path) -> None:
    pki = ensure(tmp_path / "data")
    old = pki.server_ca.certificate.read_bytes()
    root = corporate(tmp_path / "new" / "tls")
    done = rotate_authorities(tmp_path / "data", FakeClock(NOW + 60), source=tmp_path / "new")
    assert set(done.names) == {"server-ca", "serving-kube-apiserver", "serving-kubelet"}
    server = server_context(pki.serving_kube_apiserver, pki.client_ca.certificate)
    for bundle in (old, certificate_pem(root.certificate), pki.server_ca.certificate.read_bytes()):
        handshake(server, client_context(bundle, pki.client_admin))
    assert load_certificates(old)[0] in load_certificates(pki.server_ca.certificate.read_bytes())


@pytest.mark.parametrize("same_root", [True, False], ids=["same root", "another root of the same name"])
def test_another_intermediate_of_the_same_name(tmp_path: Path, same_root: bool) -> None:
    first = corporate(tmp_path / "data" / "server" / "tls")
    pki = ensure(tmp_path / "data")
    second = corporate(tmp_path / "new", root=first if same_root else None)
    rotate_authorities(tmp_path / "data", FakeClock(NOW + 60), source=tmp_path / "new")
    trusted = [second] if same_root else [first, second]
    for root in trusted:
        assert verifies(
            pki.serving_kube_apiserver.certificate.read_bytes(), certificate_pem(root.certificate), NOW + 60
        )


def test_new_service_key_signs_and_the_old_one_verifies(tmp_path: Path) -> None:
    pki = ensure(tmp_path / "data")
    issuer = ["https://kubernetes.default.svc"]
    token = load_service_account_tokens(pki.service_key, issuer).sign({"sub": "x"})
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "service.key").write_bytes(key_pem(x.new_key()))
    rotate_authorities(tmp_path / "data", FakeClock(NOW + 60), source=tmp_path / "new")
    after = load_service_account_tokens(pki.service_key, issuer)
    assert after.verify(token) is not None and after.sign({"sub": "x"}) != token
    assert len(after.jwks()["keys"]) == 2
    assert after.jwks()["keys"][0] != load_service_account_tokens(pki.service_key, issuer).jwks()["keys"][1]


def test_server_token_follows_the_ca(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    before = ensure_server_token(tmp_path, pki.server_ca.certificate)
    rotate_authorities(tmp_path, FakeClock(NOW + 60))
    after = ensure_server_token(tmp_path, pki.server_ca.certificate)
    assert after.secret == before.secret and after.ca_hash != before.ca_hash
    bundle = pki.server_ca.certificate.read_bytes()
    assert before.vouched_bundle(bundle) == bundle, "tokens handed out before the rotation still pin the cluster"
    assert load_certificates(after.vouched_bundle(bundle)) == load_certificates(bundle)[:2]
    impostor = certificate_pem(x.make_authority("impostor", NOW).certificate)
    assert after.vouched_bundle(certificate_pem(load_certificates(bundle)[0]) + impostor) == certificate_pem(
        load_certificates(bundle)[0]
    )
    assert not after.pins(impostor)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda new: corporate(new, with_root=False), "lacks the root that signed it"),
        (lambda new: corporate(new, ca=False), "is not a CA certificate"),
        (lambda new: corporate(new, now=NOW - 6 * YEAR), "has expired"),
        (lambda new: corporate(new, now=NOW + DAY), "is not valid yet"),
        (lambda new: corporate(new, years=0.1), "expires within 120 days"),
        (lambda new: (corporate(new), (new / "server-ca.key").unlink()), "server-ca.key is missing"),
        (lambda new: (corporate(new), (new / "server-ca.key").write_bytes(key_pem(x.new_key()))), "does not belong"),
        (lambda new: (corporate(new), cut(new / "server-ca.crt")), "not a PEM certificate"),
        (lambda new: (corporate(new), cut(new / "server-ca.key")), "not a private key"),
        (lambda new: new.mkdir(), "holds no CA"),
        (lambda new: (new.mkdir(), (new / "service.key").write_text("junk")), "not a key in PEM form"),
    ],
    ids=[
        "no root", "no CA", "expired", "not yet valid", "ends soon", "key missing", "key of another",
        "certificate cut off", "key cut off", "nothing there", "service key broken",
    ],
)  # fmt: skip
def test_bad_authorities_are_told_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    ensure(tmp_path / "data")
    before = contents(tmp_path / "data")
    spoil(tmp_path / "new")
    with pytest.raises(PkiError, match=said) as caught:
        rotate_authorities(tmp_path / "data", FakeClock(NOW), source=tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "data") == before


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


def test_expired_ca_needs_force(tmp_path: Path) -> None:
    ensure(tmp_path)
    late = NOW + 11 * YEAR
    with pytest.raises(PkiError, match="rotate-ca --force"):
        ensure(tmp_path, late)
    with pytest.raises(PkiError, match="--force replaces it all the same"):
        rotate_authorities(tmp_path, FakeClock(late))
    rotate_authorities(tmp_path, FakeClock(late), force=True)
    assert ensure(tmp_path, late + 60).issued == ()
    assert {one.verdict for one in inspect_certificates(tmp_path, late + 60)} == {Verdict.OK}


def test_rotation_without_an_installation(tmp_path: Path) -> None:
    for rotate in (rotate_leaves, rotate_authorities):
        with pytest.raises(PkiError, match="start `pyk3s server` once"):
            rotate(tmp_path, FakeClock(NOW))
    with pytest.raises(PkiError, match="unknown service 'etcd'"):
        ensure(tmp_path)
        rotate_leaves(tmp_path, FakeClock(NOW), ["etcd"])


def test_succession_is_cross_signed(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    old = load_certificates(pki.client_ca.certificate.read_bytes())[0]
    rotate_authorities(tmp_path, FakeClock(NOW + 60))
    new, bridge, kept = load_certificates(pki.client_ca.certificate.read_bytes())
    assert kept == old and is_issued_by(bridge, old) and bridge.public_key() == new.public_key()
    assert bridge.not_valid_after_utc <= old.not_valid_after_utc
    loaded = load_authority(KeyPair(pki.client_ca.certificate, pki.client_ca.key), NOW + 60)
    assert loaded is not None and loaded.signer.certificate == new
    assert is_issued_by(leaf(pki.client_admin), new)


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        (lambda pki: pki.client_admin.certificate.unlink(), Verdict.BROKEN),
        (lambda pki: cut(pki.client_admin.certificate), Verdict.BROKEN),
        (lambda pki: pki.client_admin.key.unlink(), Verdict.BROKEN),
        (lambda pki: cut(pki.client_admin.key), Verdict.BROKEN),
        (
            lambda pki: pki.client_admin.certificate.write_bytes(pki.client_controller.certificate.read_bytes()),
            Verdict.BROKEN,
        ),
        (lambda pki: pki.client_ca.key.unlink(), Verdict.BROKEN),
    ],
    ids=[
        "certificate gone",
        "certificate cut off",
        "key gone",
        "key cut off",
        "certificate of another key",
        "CA's key",
    ],
)
def test_inspection_finds_what_cannot_be_used(
    tmp_path: Path, damage: Callable[[object], object], verdict: Verdict
) -> None:
    damage(ensure(tmp_path))
    bad = [one for one in inspect_certificates(tmp_path, NOW) if not one.is_usable]
    assert [one.verdict for one in bad] == [verdict] and bad[0].note
