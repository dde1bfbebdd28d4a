"""The files of a server's PKI: made once, kept while good, mended when not, private always."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.pki import Pki, PkiError, ensure_pki
from minikube_py.pki.authorities import KeyPair
from minikube_py.pki.certificates import (
    alternative_names,
    certificate_pem,
    certificate_subject,
    is_issued_by,
    load_certificates,
)
from minikube_py.pki.time_floor import software_seconds

NOW = 1_795_000_000.0
DAY = 24 * 3600.0
LEAVES = (
    "serving_kube_apiserver",
    "client_kube_apiserver",
    "client_auth_proxy",
    "client_admin",
    "client_controller",
    "client_scheduler",
    "client_kubelet",
    "serving_kubelet",
    "client_kube_proxy",
)


def ensure(data_dir: Path, now: float = NOW, *, sans: tuple[str, ...] = (), node_ip: str = "192.0.2.10") -> Pki:
    return ensure_pki(
        data_dir, node_name="node-a", node_ips=[node_ip], sans=sans, service_ip="10.43.0.1", clock=FakeClock(now)
    )


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def leaf(pair: KeyPair):
    return load_certificates(pair.certificate.read_bytes())[0]


def test_first_start_creates_everything_private(tmp_path: Path) -> None:
    pki = ensure(tmp_path / "data")
    assert set(pki.issued) >= {"server-ca", "client-ca", "request-header-ca", "client-admin"}
    for path in (tmp_path / "data").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert not list(tmp_path.rglob(".*")), "temporary files stay"


def test_every_leaf_is_signed_by_its_ca(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    for name in LEAVES:
        ca = pki.request_header_ca if name == "client_auth_proxy" else pki.client_ca
        ca = pki.server_ca if name.startswith("serving") else ca
        authority = load_certificates(ca.certificate.read_bytes())[0]
        assert is_issued_by(leaf(getattr(pki, name)), authority), name


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("client_admin", ("system:admin", frozenset({"system:masters"}))),
        ("client_kubelet", ("system:node:node-a", frozenset({"system:nodes"}))),
        ("client_scheduler", ("system:kube-scheduler", frozenset())),
    ],
)
def test_subjects(tmp_path: Path, name: str, subject: tuple[str, frozenset[str]]) -> None:
    assert certificate_subject(leaf(getattr(ensure(tmp_path), name))) == subject


def test_api_certificate_names_service_node_and_extra_names(tmp_path: Path) -> None:
    pki = ensure(tmp_path, sans=("api.example.com", "2001:db8::1"))
    names, addresses = alternative_names(leaf(pki.serving_kube_apiserver))
    assert {"kubernetes.default.svc.cluster.local", "localhost", "node-a", "api.example.com"} <= names
    assert {"127.0.0.1", "::1", "10.43.0.1", "192.0.2.10", "2001:db8::1"} <= addresses


def test_second_start_writes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = contents(tmp_path)
    assert ensure(tmp_path, NOW + 60).issued == ()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("days", "issued"),
    [(200, ()), (250, tuple(sorted(name.replace("_", "-") for name in LEAVES)))],
    ids=["165 days before expiry leaves stay", "115 days before expiry leaves are renewed"],
)
def test_renewal(tmp_path: Path, days: int, issued: tuple[str, ...]) -> None:
    before = ensure(tmp_path)
    key = before.client_admin.key.read_bytes()
    after = ensure(tmp_path, NOW + days * DAY)
    assert tuple(sorted(after.issued)) == issued
    assert after.client_admin.key.read_bytes() == key, "renewal keeps keys"


def test_new_name_renews_only_what_lacks_it(tmp_path: Path) -> None:
    ensure(tmp_path)
    assert ensure(tmp_path, sans=("new.example.com",)).issued == ("serving-kube-apiserver",)
    moved = ensure(tmp_path, sans=("new.example.com",), node_ip="192.0.2.99").issued
    assert set(moved) == {"serving-kube-apiserver", "serving-kubelet"}


def test_deleted_ca_certificate_is_made_anew_from_its_key(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    pki.server_ca.certificate.unlink()
    again = ensure(tmp_path, NOW + 60)
    assert "server-ca" in again.issued and "serving-kubelet" in again.issued


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def swap_for_a_leaf(pki: Pki) -> None:
    pki.client_ca.certificate.write_bytes(certificate_pem(leaf(pki.client_admin)))
    pki.client_ca.key.write_bytes(pki.client_admin.key.read_bytes())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda pki: pki.client_ca.key.unlink(), "is missing"),
        (lambda pki: pki.client_ca.certificate.write_bytes(b"junk"), "not a PEM certificate"),
        (lambda pki: pki.client_ca.key.write_bytes(pki.server_ca.key.read_bytes()), "does not belong"),
        (lambda pki: pki.client_admin.key.write_bytes(b"junk"), "not a private key"),
        (lambda pki: cut(pki.client_ca.certificate), "not a PEM certificate"),
        (lambda pki: cut(pki.client_ca.key), "not a private key"),
        (lambda pki: pki.client_ca.key.write_bytes(b""), "not a private key"),
        (swap_for_a_leaf, "is not a CA certificate"),
    ],
    ids=[
        "CA key lost",
        "CA certificate broken",
        "CA key of another CA",
        "leaf key broken",
        "CA certificate cut off",
        "CA key cut off",
        "CA key empty",
        "a leaf in the CA's place",
    ],
)
def test_damage_is_told_and_nothing_is_written(tmp_path: Path, damage, said: str) -> None:
    damage(ensure(tmp_path))
    before = contents(tmp_path)
    with pytest.raises(PkiError, match=said) as caught:
        ensure(tmp_path)
    assert "\n" not in str(caught.value) and ": " in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", [cut, lambda path: path.write_bytes(b""), Path.unlink], ids=["cut", "empty", "gone"])
def test_leaf_certificate_is_made_anew_from_its_key(tmp_path: Path, damage) -> None:
    pki = ensure(tmp_path)
    damage(pki.client_admin.certificate)
    assert ensure(tmp_path, NOW + 60).issued == ("client-admin",)


def test_board_that_boots_in_1970_keeps_its_certificates(tmp_path: Path) -> None:
    ensure(tmp_path)
    pki = ensure(tmp_path, 100.0)
    assert pki.issued == ()
    assert pki.floor.now() == pytest.approx(NOW, abs=1)
    assert "1970-01-01" in pki.floor.report()


def test_floor_is_learned_from_the_ca_when_its_file_is_lost(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "server" / "clock-floor").unlink()
    pki = ensure(tmp_path, 100.0, sans=("late.example.com",))
    assert leaf(pki.serving_kube_apiserver).not_valid_before_utc.timestamp() >= NOW - 2 * 3600


def test_first_boot_in_1970_makes_a_ca_for_the_future(tmp_path: Path) -> None:
    """Nothing has ever been seen, but this software is not older than itself."""
    pki = ensure(tmp_path, 100.0)
    assert leaf(pki.server_ca).not_valid_after_utc.timestamp() > software_seconds + 9.9 * 365 * DAY
    later = ensure(tmp_path, NOW + 2 * 365 * DAY)
    assert "server-ca" not in later.issued and "client-admin" in later.issued
    assert not later.floor.report()


def test_clock_that_was_ahead_once_harms_nobody_else(tmp_path: Path) -> None:
    """What was issued in the future begins anew when the clock is right, though the floor stays ahead."""
    ensure(tmp_path)
    ahead = ensure(tmp_path, NOW + 2 * 365 * DAY)
    assert leaf(ahead.client_admin).not_valid_before_utc.timestamp() > NOW + 700 * DAY
    right = ensure(tmp_path, NOW + DAY)
    assert right.floor.clock_is_behind and "client-admin" in right.issued
    assert leaf(right.client_admin).not_valid_before_utc.timestamp() < NOW + DAY
    assert leaf(right.client_admin).not_valid_after_utc.timestamp() > NOW + 1000 * DAY
    assert ensure(tmp_path, NOW + 2 * DAY).issued == ()


def test_floor_that_is_wrong_is_named_with_what_it_breaks(tmp_path: Path) -> None:
    ensure(tmp_path)
    floor = tmp_path / "server" / "clock-floor"
    floor.write_text(f"{NOW + 20 * 365 * DAY:.0f}")
    with pytest.raises(PkiError, match=r"has expired.*\(if it is right, remove .*clock-floor\)") as caught:
        ensure(tmp_path, NOW + DAY)
    assert "\n" not in str(caught.value)
    floor.unlink()
    assert ensure(tmp_path, NOW + DAY).issued == ()


def test_floor_is_written_once_a_day(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    pki = ensure_pki(tmp_path, node_name="n", node_ips=[], service_ip="10.43.0.1", clock=clock)
    assert not pki.floor.record()
    clock.jump(DAY + 1)
    assert pki.floor.record()
    assert not pki.floor.record()
