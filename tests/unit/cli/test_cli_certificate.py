"""``pyk3s certificate`` and ``pyk3s token`` on a data folder: what they print, and one line when something is wrong."""

from __future__ import annotations

import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from minikube_py.cli import main
from minikube_py.client.clock import SystemClock
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.machinery.clock import Clock
from minikube_py.pki import ensure_pki, ensure_server_token, parse_join_token

YEAR = 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def pyk3s(*arguments: str) -> Done:
    """The command in this process; what ``sys.exit`` is given with a text goes to standard error, as Python does it."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(args=list(arguments), prog_name="pyk3s")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
    return Done(code, out.getvalue(), err.getvalue())


def install(folder: Path, clock: Clock) -> str:
    pki = ensure_pki(folder, node_name="n", node_ips=[], service_ip="10.43.0.1", clock=clock)
    ensure_server_token(folder, pki.server_ca.certificate)
    return str(folder)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return install(tmp_path / "data", SystemClock())


def test_check_shows_every_certificate(data: str) -> None:
    table = pyk3s("certificate", "check", "-d", data)
    assert table.returncode == 0 and table.stderr == ""
    for word in ("FILENAME", "RESIDUAL TIME", "client-admin.crt", "CN=system:admin", "ClientAuth", "server-ca.crt"):
        assert word in table.stdout
    rows = json.loads(pyk3s("certificate", "check", "-d", data, "-o", "json").stdout)
    assert len(rows) == 12 and {row["status"] for row in rows} == {"OK"}
    only = json.loads(pyk3s("certificate", "check", "-d", data, "-o", "json", "--service", "kubelet,admin").stdout)
    assert {Path(row["filename"]).name for row in only} == {
        "client-admin.crt", "client-kubelet.crt", "serving-kubelet.crt",
    }  # fmt: skip


def test_check_fails_for_an_expired_certificate(data: str) -> None:
    (Path(data) / "server" / "clock-floor").write_text(f"{SystemClock().now() + 1.5 * YEAR:.0f}\n")
    done = pyk3s("certificate", "check", "-d", data, "-o", "text")
    assert done.returncode == 1
    assert "CN=system:admin,O=system:masters: EXPIRED" in done.stdout
    assert "if it is right, remove" in done.stderr
    assert done.stderr.endswith("pyk3s: 9 of 12 certificates cannot be used\n")


def test_check_tells_of_a_clock_that_is_behind(tmp_path: Path) -> None:
    folder = install(tmp_path / "data", FakeClock(SystemClock().now() + YEAR))
    done = pyk3s("certificate", "check", "-d", folder)
    assert done.returncode == 0
    assert "certificates are judged by the later time until the clock is set" in done.stderr


def test_rotate_and_rotate_ca(data: str) -> None:
    before = (Path(data) / "server/tls/client-admin.crt").read_bytes()
    done = pyk3s("certificate", "rotate", "-d", data, "--service", "admin")
    assert done.stdout.startswith("rotated client-admin; the old files are in ")
    assert (Path(data) / "server/tls/client-admin.crt").read_bytes() != before
    done = pyk3s("certificate", "rotate-ca", "-d", data)
    assert done.returncode == 0 and "rotated server-ca, client-ca, request-header-ca" in done.stdout
    shown = re.search(r"agents join with: (\S+)", done.stdout)
    assert shown and parse_join_token(shown[1]).pins((Path(data) / "server/tls/server-ca.crt").read_bytes())
    assert pyk3s("certificate", "check", "-d", data).returncode == 0


def test_token_rotate(data: str) -> None:
    old = (Path(data) / "server/token").read_text().strip()
    done = pyk3s("token", "rotate", "-d", data, "--token", old, "--new-token", "fresh")
    assert done.stdout.strip().endswith("::server:fresh")
    assert (Path(data) / "server/token").read_text() == done.stdout


def test_generated_token_has_the_form() -> None:
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}\n", pyk3s("token", "generate").stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["certificate", "check", "-d", "/nowhere"], "start `pyk3s server` once, or give --data-dir"),
        (["certificate", "rotate", "-d", "DATA", "--service", "etcd"], "unknown service 'etcd'; known are admin"),
        (["certificate", "rotate-ca", "-d", "DATA", "--path", "EMPTY"], "holds no CA: put server-ca.crt"),
        (["token", "rotate", "-d", "DATA", "--token", "wrong"], "the given token is not the server's"),
        (["token", "rotate", "-d", "/nowhere", "--token", "x"], "/nowhere/server/token is missing"),
        (["token", "list", "--kubeconfig", "/nowhere"], "cannot read kubeconfig /nowhere"),
    ],
)
def test_failures_are_one_line(data: str, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "empty").mkdir()
    given = [{"DATA": data, "EMPTY": str(tmp_path / "empty")}.get(text, text) for text in arguments]
    done = pyk3s(*given)
    assert done.returncode == 1
    assert done.stderr.startswith("pyk3s: ") and says in done.stderr and done.stderr.count("\n") == 1
